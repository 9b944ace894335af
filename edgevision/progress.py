"""How long work of known or unknown length shows how far it is: whoever calls it decides where that goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

OnDone = Callable[[int], None]
"""Called with the number of items that are done."""

Progress = Callable[[str, int | None], AbstractContextManager[OnDone]]
"""Opens one piece of work: what is done, and how many items there are (None where nobody knows)."""

Note = Callable[[str], None]
"""Called with one line for the user."""


@contextmanager
def no_progress(label: str, total: int | None) -> Iterator[OnDone]:
    """Shows nothing."""
    yield lambda done: None


def no_note(line: str) -> None:
    """Says nothing."""
