"""The files of one recording: their names, and which are removed beyond a disk budget."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import weakref
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from edgevision.errors import SinkError
from edgevision.files import atomic_path
from edgevision.recording.segment import notes_path

_LOG = logging.getLogger(__name__)


class SegmentStore:
    """Names segments ``STEM-20261121T155124.120Z.mp4``, and removes the oldest beyond a budget.

    Only segments that this recording made are removed: their names are listed in ``.STEM.segments`` beside
    them, one a line, from run to run. A file that was renamed does not belong to it any more and stays.
    While another process records ``STEM`` here, this one is called ``STEM~2``, with a list of its own.

    Args:
        folder: created if it does not exist.
        stem: begins each name; two streams in one folder need two.
        keep: bytes that all segments together may take, what lies beside them included; None for no limit.
        now: wall clock, for tests.

    Attributes:
        stem: as above.
        made, removed: segments of this run.

    Raises:
        SinkError: the folder cannot be created or written.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        keep: int | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.folder, self.keep = folder, keep
        self.made = self.removed = 0
        self._now = now
        try:
            folder.mkdir(exist_ok=True)
            self.stem, self._release = _claim(folder, stem)
            self._index = folder / f".{self.stem}.segments"
            listed = _read_lines(self._index)
        except OSError as error:
            raise SinkError(f"cannot record in {folder}: {error.strerror or error}") from error
        weakref.finalize(self, self._release)
        self._sizes = {name: size for name in listed if (size := self._size(name)) is not None}

    def close(self) -> None:
        """Lets another process have the names; safe to call twice."""
        self._release()

    def new_path(self) -> Path:
        """A name for the next segment, entered in the index.

        Raises:
            OSError: the index cannot be written.
        """
        moment = self._now().strftime("%Y%m%dT%H%M%S.%f")[:-3]
        name, number = f"{self.stem}-{moment}Z.mp4", 1
        while (self.folder / name).exists():
            number += 1
            name = f"{self.stem}-{moment}Z-{number}.mp4"
        with self._index.open("a", encoding="utf-8") as index:
            index.write(f"{name}\n")
        self._sizes[name] = 0
        self.made += 1
        return self.folder / name

    def settle(self, current: Path | None = None) -> None:
        """Removes the oldest segments until all fit the budget; never ``current``, which still grows."""
        if self.keep is None:
            return
        for name in list(self._sizes):
            # Finished files do not grow; one that was deleted by hand only makes room.
            if self._sizes[name] == 0 or (current is not None and name == current.name):
                self._sizes[name] = self._size(name) or 0
        excess = self.total - self.keep
        gone: list[str] = []
        for name, size in self._sizes.items():  # in the order in which they were made
            if excess <= 0:
                break
            if current is None or name != current.name:
                gone.append(name)
                excess -= size
        if gone:
            self._remove(gone)

    def finished(self, path: Path) -> None:
        """Notes the size of a segment that is finished; an empty one is removed."""
        self._sizes[path.name] = self._size(path.name) or 0
        if not self._sizes[path.name]:
            del self._sizes[path.name]
            self.made -= 1
            with contextlib.suppress(OSError):  # of a disk that is not available any more
                path.unlink(missing_ok=True)
                notes_path(path).unlink(missing_ok=True)

    @property
    def total(self) -> int:
        """Bytes of all segments, as last seen."""
        return sum(self._sizes.values())

    def _remove(self, names: list[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
            notes_path(self.folder / name).unlink(missing_ok=True)
            del self._sizes[name]
            self.removed += 1
        with atomic_path(self._index) as partial:
            partial.write_text("".join(f"{name}\n" for name in self._sizes), encoding="utf-8")

    def _size(self, name: str) -> int | None:
        """None for what is not, or no longer, an ordinary file of this recording."""
        path = self.folder / name
        is_own = name.startswith(f"{self.stem}-") and name.endswith(".mp4") and path.name == name
        if not is_own or path.is_symlink() or not path.is_file():
            return None
        notes, size = notes_path(path), path.stat().st_size
        return size + notes.stat().st_size if size and notes.is_file() else size


class _Lock:
    """A locked file, until it is called."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def __call__(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _claim(folder: Path, stem: str) -> tuple[str, _Lock]:
    """The first of ``stem``, ``stem~2`` and so on under which nobody records in the folder, and its lock.

    Raises:
        OSError: a file for the lock cannot be made.
    """
    for number in itertools.count(1):
        name = stem if number == 1 else f"{stem}~{number}"
        descriptor = os.open(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        except OSError as error:
            _LOG.warning(
                "%s cannot be locked (%s); record there from one process only", folder, error.strerror
            )
        if number > 1:
            _LOG.warning("another process records %s in %s; these files are called %s", stem, folder, name)
        return name, _Lock(descriptor)
    raise AssertionError("there is no end of numbers")


def _read_lines(index: Path) -> list[str]:
    """The lines of an index, which is made where it is missing; a symbolic link is refused."""
    descriptor = os.open(index, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape") as lines:
        return lines.read().splitlines()
