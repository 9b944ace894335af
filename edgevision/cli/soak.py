"""``edgevision soak``: a long run under faults, with a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import EngineOption, OverwriteOption

if TYPE_CHECKING:
    from rich.console import Console

    from edgevision.pipeline import RunStatistics
    from edgevision.soak import OnSample, Sample, SoakReport

EXIT_FAILED = 1
_PLAIN_EVERY_S = 60.0


def soak_command(
    minutes: float = typer.Option(20.0, "--minutes", help="How long to run."),
    source: str | None = typer.Option(
        None,
        "--source",
        help="Any source; opened again when it ends. Default: the demo, live, with frames dropped, damaged, "
        "frozen and resized, and the connection lost (chaos://).",
    ),
    model: str | None = typer.Option(
        None, "--model", help="Name of a model that ships, or path of an ONNX file. Default: the detector."
    ),
    engine: EngineOption = "auto",
    warm_up: float = typer.Option(
        5.0, "--warm-up", help="Minutes at the start that do not count for memory, handles and threads."
    ),
    json_path: Path | None = typer.Option(None, "--json", help="Write the report as JSON."),
    overwrite: OverwriteOption = False,
) -> None:
    """Run the whole pipeline for a long time on a faulty source, and check that nothing grows or is lost.

    Every 20 seconds the stream is paused until no frame is in progress. Between these pauses, after the
    warm-up, resident memory may grow by less than 1 MB an hour (the whole 95 % interval of a fit), and the
    numbers of file handles and threads must stay the same. The frame ledger must agree with what the source
    and the outputs count themselves. Outputs go to a temporary folder.

    \b
    Examples:
      edgevision soak --minutes 20 --json soak.json
      edgevision soak --minutes 600 --source 'chaos://rtsp://camera.local/live?disconnect=0.001'

    \b
    Exit codes: 0 passed, 1 failed (or the run itself failed), 130 or 143 ended early by a signal.
    """
    import tempfile

    from rich.console import Console

    from edgevision.cli.any_model import open_engine
    from edgevision.cli.signals import signal_exit_code, stop_on_signals
    from edgevision.files import refuse_existing
    from edgevision.model import Model
    from edgevision.pipeline import StopRequest, ThreadBudget
    from edgevision.session.request import PlanPolicy
    from edgevision.soak import check_length, default_source, soak
    from edgevision.zoo import default_model, find_model

    check_length(minutes, warm_up * 60)
    if json_path is not None:
        refuse_existing(json_path, overwrite)
    path = default_model("detection").path if model is None else find_model(model)
    console, stop = Console(stderr=True), StopRequest()
    ThreadBudget.of().apply()
    with (
        open_engine(path, engine, PlanPolicy()) as opened,
        tempfile.TemporaryDirectory() as folder,
        _watching(console, minutes) as on_sample,
        stop_on_signals(stop),
    ):
        report = soak(
            default_source() if source is None else source,
            [Model(opened)],
            Path(folder),
            minutes=minutes,
            warm_up_s=warm_up * 60,
            stop=stop,
            on_sample=on_sample,
        )
    _show(report, json_path, console)
    exit_code = signal_exit_code(stop.reason or "") or (0 if report.passed else EXIT_FAILED)
    if exit_code:
        raise typer.Exit(exit_code)


@contextmanager
def _watching(console: Console, minutes: float) -> Iterator[OnSample]:
    """A line that stays in place, or a line a minute where stderr is not a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from edgevision.cli.console import say

    if console.is_terminal:
        columns = (
            TextColumn("soak"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
        )
        with Progress(*columns, console=console, transient=True, refresh_per_second=2) as bar:
            task = bar.add_task("soak", total=minutes * 60, figures="")
            yield lambda sample, run: bar.update(
                task, completed=sample.seconds, figures=_figures(sample, run)
            )
        return
    next_line_s = 0.0

    def report(sample: Sample, run: RunStatistics) -> None:
        nonlocal next_line_s
        if sample.seconds >= next_line_s:
            next_line_s += _PLAIN_EVERY_S
            say(console, f"{sample.seconds / 60:.0f} min: {_figures(sample, run)}")

    yield report


def _figures(sample: Sample, run: RunStatistics) -> str:
    frames = sum(stream.frames.captured for stream in run.streams)
    return (
        f"{sample.memory_mib:.1f} MiB  {sample.handles} handles  {sample.threads} threads  "
        f"{frames} frames  {run.streams[0].recent_frames_per_second:.1f} fps"
    )


def _show(report: SoakReport, json_path: Path | None, console: Console) -> None:
    from edgevision.cli.console import say
    from edgevision.files import write_json

    say(console, f"{report.source}: {report.seconds / 60:.1f} minutes")
    for check in report.checks:
        say(console, f"  {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.found}")
        if not check.passed:
            say(console, f"       expected: {check.expected}")
    say(console, "passed" if report.passed else "failed")
    if json_path is not None:
        write_json(json_path, report)
