"""The line of a stream on a terminal: a bar with the time left, and what is seen."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from edgevision.cli.console import clock, fitted

_BAR = 12  # columns


def open_bars(console: Console) -> Progress:
    """A line for each stream that is added, as much of it as the terminal is wide; gone at the end."""
    return Progress(StreamColumn(console), console=console, transient=True, refresh_per_second=5)


class StreamColumn(ProgressColumn):
    """The whole line of a stream: its name, how far it is, and the parts of ``task.fields["parts"]``.

    Args:
        console: whose width counts.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def render(self, task: Task) -> Text:
        """The line; parts that do not fit are left out."""
        parts = [task.description]
        if task.total is not None:
            done = round(_BAR * min(task.completed / max(task.total, 1), 1))
            left = task.time_remaining
            parts += ["━" * done + "─" * (_BAR - done), f"{task.completed:.0f}/{task.total:.0f}"]
            parts += [] if left is None else [f"{clock(left)} left"]
        return Text(fitted([*parts, *task.fields["parts"]], self._console.width - 1), no_wrap=True)
