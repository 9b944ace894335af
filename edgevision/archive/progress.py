"""What whoever starts an archive is told: how far it is, and how it ended."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from edgevision.archive.records import FileSummary, Status


@dataclass(frozen=True, slots=True)
class ArchiveProgress:
    """How far an archive is.

    Attributes:
        files, total: finished, and to be done in this run.
        share: 0..1, by the sizes of the files.
        workers: what each is at: the name of its file, and what it does with it; empty for nothing.
    """

    files: int
    total: int
    share: float
    workers: tuple[str, ...]


class ArchiveObserver:
    """Follows an archive, on the thread that runs it; what is not overridden does nothing."""

    def note(self, text: str) -> None:
        """One line for the user."""

    def while_running(self) -> AbstractContextManager[Callable[[ArchiveProgress], None]]:
        """Entered before work is given out; what it gives is called a few times a second."""
        return contextlib.nullcontext(lambda progress: None)


@dataclass(frozen=True, slots=True)
class ArchiveOutcome:
    """How it ended.

    Attributes:
        summaries: of every file in the archive, by name; incomplete where it was stopped.
        processed: how many files were read in this run.
        written: what was written for the whole archive.
        stopped: what ended it early; None where it is complete.
        unreadable: folders of the sources that could not be looked into, and why.
    """

    summaries: tuple[FileSummary, ...]
    processed: int
    written: tuple[Path, ...]
    stopped: str | None = None
    unreadable: tuple[str, ...] = ()

    def count(self, status: Status) -> int:
        """How many files went so."""
        return sum(one.status is status for one in self.summaries)


def count_by_status(summaries: Sequence[FileSummary]) -> Counter[Status]:
    """How many files went how."""
    return Counter(one.status for one in summaries)
