"""Where commands say what they do: lines on stderr, and how many of many are done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from edgevision.cli.app import Commands, name_options
from edgevision.service.logs import JsonLines, LogFormat


def open_console(log_format: LogFormat) -> Console:
    """Where a run says what it does; a failure of the command is written in the same form."""
    if log_format is LogFormat.TEXT:
        return Console(stderr=True)
    Commands.json_errors = True
    return Console(file=cast("IO[str]", JsonLines(sys.stderr)))


def say(console: Console, line: str, **fields: object) -> None:
    """One line, as it is: no markup, no wrapping, no colours; a log of JSON has the fields beside it."""
    line = name_options(line)
    if isinstance(console.file, JsonLines):
        console.file.write_fields(line, fields)
    else:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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
