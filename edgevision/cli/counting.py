"""A progress bar for work that is counted in pictures. It goes to stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)


@contextmanager
def counting(console: Console, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Shows how many of ``total`` are done, with the time left; nothing where stderr is no terminal.

    Args:
        console: where to.
        label: what is being done.
        total: how many there will be, or None where nobody knows.
    """
    ends = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    columns = (
        TextColumn("{task.description}", markup=False),
        *(ends if total is not None else (SpinnerColumn(), TextColumn("{task.completed}"))),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
