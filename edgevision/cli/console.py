"""Where commands say what they do: lines on stderr, and how many of many are done."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, cast

from rich.console import Console

from edgevision.cli.app import Commands, name_options
from edgevision.service.logs import JsonLines, LogFormat


class LogConsole(Console):
    """Where a run says what it does: lines with the time of day where stderr is no terminal."""


def open_console(log_format: LogFormat) -> Console:
    """Where a run says what it does; a failure of the command is written in the same form."""
    if log_format is LogFormat.TEXT:
        return LogConsole(stderr=True)
    Commands.json_errors = True
    return Console(file=cast("IO[str]", JsonLines(sys.stderr)))


def say(console: Console, line: str, **fields: object) -> None:
    """One line, as it is: no markup, no colours; a log of JSON has the fields beside it.

    The log of a run is wrapped between words on a terminal, and has the time of day elsewhere.
    """
    line = name_options(line)
    if isinstance(console.file, JsonLines):
        console.file.write_fields(line, fields)
        return
    if isinstance(console, LogConsole):
        line = wrapped(line, console.width) if console.is_terminal else f"{time_of_day()} {line}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def wrapped(line: str, width: int) -> str:
    """A line on as many as it needs, none longer than ``width``, none ending within a word or a number."""
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def time_of_day() -> str:
    """Now, in local time: ``2026-11-21 16:48:00``."""
    return f"{datetime.now():%Y-%m-%d %H:%M:%S}"


def plural(noun: str, count: int) -> str:
    """The noun, in the plural where the count is not 1."""
    return noun if count == 1 else noun + "s"


def clock(seconds: float) -> str:
    """``0:01:12``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def fitted(parts: Sequence[str], width: int) -> str:
    """The parts, two spaces apart, as far as they fit into a line; none of them is cut.

    The first is always there.
    """
    line = parts[0]
    for part in parts[1:]:
        longer = f"{line}  {part}"
        if part and len(longer.rstrip()) <= width:
            line = longer
    return line


@contextmanager
def counting(console: Console, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Shows how many of ``total`` are done, with the time left; nothing where stderr is no terminal.

    Args:
        console: where to.
        label: what is being done.
        total: how many there will be, or None where nobody knows.
    """
    if not console.is_terminal:
        yield lambda done: None
        return
    from rich.progress import (  # for terminals alone, where it costs a moment
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    ends = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    columns = (
        TextColumn("{task.description}", markup=False),
        *(ends if total is not None else (SpinnerColumn(), TextColumn("{task.completed}"))),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
