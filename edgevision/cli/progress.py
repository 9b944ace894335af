"""What people see while a run goes on, and after it. All of it goes to stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from edgevision.pipeline import RunStatistics, StreamStatistics
from edgevision.types import DropReason
from edgevision.video.base import SourceInfo

Report = Callable[[RunStatistics], None]
_PLAIN_EVERY_S = 10.0
_DROPS = {
    DropReason.NEWER_FRAME.value: "passed over for a newer frame",
    DropReason.SHUTDOWN.value: "read ahead, not processed",
}


@contextmanager
def show_progress(info: SourceInfo, total: int | None, hint: str, console: Console) -> Iterator[Report]:
    """A progress bar with the time left for a file, a status line for a live source.

    Args:
        info: the source.
        total: frames to expect, or None where nobody knows.
        hint: a remark at the end of the line.
        console: where to; a plain line now and then where it is not a terminal.
    """
    if not console.is_terminal:
        yield _plain_lines(info, hint, console)
        return
    known = total is not None
    columns = (
        TextColumn("{task.description}", markup=False),
        *((BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) if known else (SpinnerColumn(),)),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with Bar(*columns, console=console, transient=True, refresh_per_second=5) as bar:
        task = bar.add_task(info.name, total=total, figures=f"waiting for the first frame  {hint}")

        def report(run: RunStatistics) -> None:
            progress = run.streams[0]
            bar.update(task, completed=progress.written, figures=f"{_figures(progress, info)}  {hint}")

        yield report


def _plain_lines(info: SourceInfo, hint: str, console: Console) -> Report:
    """For logs: a line at the start and every ten seconds of a live source, silence for a file."""
    last = float("-inf")

    def report(run: RunStatistics) -> None:
        nonlocal last
        progress = run.streams[0]
        now = time.monotonic()
        if info.is_live and now - last >= _PLAIN_EVERY_S:
            last = now
            say(
                console,
                f"{info.name}: {progress.written} frames  {_figures(progress, info)}  {hint}".rstrip(),
            )

    return report


def _figures(progress: StreamStatistics, info: SourceInfo) -> str:
    text = f"{progress.recent_frames_per_second:.1f} fps"
    if info.is_live:
        text += f"  {progress.last_latency_ms:.0f} ms"
        dropped = sum(progress.frames.dropped.values())
        text += f"  {dropped} dropped" if dropped else ""
    return text


def show_summary(report: StreamStatistics, outputs: Sequence[str], console: Console) -> None:
    """What was done, what was found, where the time went, and what went wrong."""
    say(
        console,
        f"{report.source}: {report.written} {_plural('frame', report.written)} in {report.seconds:.1f} s "
        f"({report.frames_per_second:.1f} a second)",
    )
    if report.class_shares:
        shares = (f"{name} {share:.1%}" for name, share in report.class_shares.items())
        say(console, f"  area: {', '.join(shares)}")
    if report.detections or not report.class_shares:
        found = ", ".join(f"{name} {count}" for name, count in report.detections.items())
        say(console, f"  detections: {found or 'none'}")
    times = ", ".join(f"{stage} {figures.mean_ms:.1f}" for stage, figures in report.stages.items())
    say(console, f"  ms a frame by stage (they overlap): {times}")
    for reason, count in report.frames.dropped.items():
        say(console, f"  {_DROPS.get(reason, reason)}: {count} of the {report.frames.captured} frames read")
    if outputs:
        say(console, f"  written: {', '.join(outputs)}")
    if report.stopped in ("SIGINT", "SIGTERM"):
        say(console, f"  ended early by {report.stopped}; the outputs are complete up to there")
    for note in report.notes:
        say(console, f"note: {note}")
    if report.problem:
        say(console, f"warning: {report.problem}")
    if report.skipped:
        damaged = _plural("undecodable frame", report.skipped)
        say(console, f"warning: {report.source}: skipped {report.skipped} {damaged}")


def say(console: Console, line: str) -> None:
    """One line, as it is: no markup, no wrapping, no colours."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else noun + "s"
