"""``edgevision run``: a model on a source, with images and results out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgevision.cli.options import (
    LogFormatOption,
    LogJsonOption,
    OverwriteOption,
    RebuildOption,
    TrustOption,
    WatchOption,
)
from edgevision.cli.stream_options import PAGE_OPTIONS, STREAM_OPTIONS, given, page, takes
from edgevision.service.logs import LogFormat

if TYPE_CHECKING:
    from rich.console import Console

    from edgevision.pipeline import StopRequest
    from edgevision.session.models import OpenEngine
    from edgevision.session.request import RunRequest
    from edgevision.session.run import SessionObserver, StreamOutcome


@takes(STREAM_OPTIONS, after="streams")
@takes(PAGE_OPTIONS, after="web")
def run_command(
    source: list[str] = typer.Option(
        [],
        "--source",
        help="A video, an image, a folder or 'pattern*' of either, webcam, /dev/video0, rtsp:..., or demo. "
        "Several run at the same time. Options of cameras follow the address: docs/guides/cameras.md.",
    ),
    streams: Path | None = typer.Option(
        None,
        "--streams",
        help="YAML file of sources, each with its own settings (docs/guides/streams.md). Options given here "
        "hold for all of them.",
    ),
    watch: WatchOption = False,
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    threads: int | None = typer.Option(
        None,
        "--threads",
        help="CPU threads of the engine, decoders and encoders. Default: by the number of cores.",
    ),
    stats: Path | None = typer.Option(None, "--stats", help="Write counts and times of the run as JSON."),
    metrics_port: int | None = typer.Option(
        None,
        "--metrics-port",
        help="Port of /metrics (Prometheus) and /healthz (docs/guides/operations.md).",
    ),
    metrics_host: str = typer.Option(
        "127.0.0.1", "--metrics-host", help="Address to serve them at; 0.0.0.0 lets other machines connect."
    ),
    web: str | None = typer.Option(
        None,
        "--web",
        metavar="[HOST:]PORT",
        help="Serve a page with live video, state, events and zones (docs/guides/web.md); to this machine "
        "only, unless an address such as 0.0.0.0:8080 and --web-password are given.",
    ),
    log_format: LogFormatOption = LogFormat.TEXT,
    log_json: LogJsonOption = False,
    overwrite: OverwriteOption = False,
    append: bool = typer.Option(
        False,
        "--append",
        help="Continue JSON lines, events and numbered images that exist, and rename other existing outputs; "
        "for services, which start again. --overwrite takes precedence.",
    ),
    **settings: Any,
) -> None:
    """Run a model on a video, an image, a camera or a stream, or on several at the same time.

    Without any output (--output, --save-json, --save-masks, --events, --record, --display or --web), a file
    is drawn into <stem>.edgevision.mp4 in the current folder, and a live source opens a window, or shows a
    status line where there is no display.

    \b
    Examples:
      edgevision run --source webcam
      edgevision run --source street.mp4
      edgevision run --source street.mp4 --output boxes.mp4 --save-json boxes.jsonl --classes person,car
      edgevision run --source 'clips/*.mp4' --output drawn/ --conf 0.5
      edgevision run --source road.mp4 --model unet-light --save-masks masks/
      edgevision run --source rtsp://camera.local/stream --display --max-latency 150ms
      edgevision run --source rtsp://a.local/1 --source rtsp://b.local/1 --output recorded/ --track
      edgevision run --source rtsp://a.local/1 --record clips/ --record-on person --keep 20GB
      edgevision run --source gate.mp4 --then clothes.onnx --on person --every-track --events seen.jsonl
      edgevision run --source rtsp://a.local/1 --zones zones.yaml --events mqtt://broker.local/yard
      edgevision run --source rtsp://a.local/1 --track --web 8080
    """
    from edgevision.cli.ahead import LoadAhead  # these load the runtime, so not for --help

    engine, precision = settings["engine"], settings["precision"]
    models = [*settings["model"], *filter(None, [settings["fallback_model"], settings["then"]])]
    ahead_of, most = source if streams is None else [], settings["max_frames"]
    with LoadAhead(ahead_of, models, engine, precision, threads, most) as ahead:
        from edgevision.cli.console import open_console
        from edgevision.errors import UsageError
        from edgevision.pipeline import StopRequest
        from edgevision.service.service import Service
        from edgevision.session.request import PlanPolicy, RunRequest
        from edgevision.session.spec import StreamSpec, read_streams

        console, stop = open_console(LogFormat.JSON if log_json else log_format), StopRequest()
        of_streams = given(settings)
        if streams is None and not source:
            raise UsageError(
                "no source; name one with --source, or a file with --streams (see 'edgevision run --help')"
            )
        if streams is not None and source:
            raise UsageError(f"`streams` and `source` do not go together; {streams} says it for each stream")
        if streams is not None:
            specs = read_streams(streams, of_streams)
        else:
            specs = [StreamSpec(source=one, **of_streams) for one in source]
        request = RunRequest(
            streams=specs,
            plans=PlanPolicy(trust, rebuild),
            threads=threads,
            stats=stats,
            overwrite=overwrite,
            append=append and not overwrite,
            default_outputs=web is None,
            web=page(web, settings),
            reload_from=streams,
            watch=watch,
            given=of_streams,
            service=Service(metrics_port=metrics_port, metrics_host=metrics_host, notify=True),
        )
        run_session(request, console, stop, open_engine=ahead.open)


def run_session(
    request: RunRequest,
    console: Console,
    stop: StopRequest,
    observer: SessionObserver | None = None,
    *,
    open_engine: OpenEngine | None = None,
) -> None:
    """Runs a session, shows how it goes, and ends in the exit code of its outcomes.

    Args:
        request: what to run.
        console: where errors go.
        stop: set by a signal.
        observer: shows how it goes; by default with progress and a summary.
        open_engine: opens a model file; by default one that builds plans again where that is allowed.
    """
    from edgevision.cli.any_model import open_engine as open_any
    from edgevision.cli.app import collect_as_usual
    from edgevision.cli.console import say
    from edgevision.cli.run_console import ConsoleObserver, show_log, with_name
    from edgevision.session.reload import ReloadRequest
    from edgevision.session.run import Session

    reload = ReloadRequest()
    observer = observer or ConsoleObserver(console, stop, None if request.reload_from is None else reload)
    collect_as_usual()
    with show_log(console):
        outcomes = Session(
            request, open_engine=open_engine or open_any, observer=observer, stop=stop, reload=reload
        ).run()
    for outcome in outcomes:
        if outcome.error is not None:
            line = with_name(outcome.name, outcome.error)
            say(console, f"error: {line} (exit status {_exit_code(outcome)})")
    # Signals before failures, failures before damaged input.
    exit_code = max(map(_exit_code, outcomes), key=lambda code: (code > 128, code in (1, 2), code), default=0)
    if exit_code:
        raise typer.Exit(exit_code)


def _exit_code(outcome: StreamOutcome) -> int:
    """0, 3 where the input was damaged, 129 or more where a signal ended it, or that of its error."""
    from edgevision.cli.app import EXIT_DAMAGED
    from edgevision.cli.signals import signal_exit_code
    from edgevision.errors import EdgeVisionError

    if outcome.error is not None:
        return outcome.error.exit_code if isinstance(outcome.error, EdgeVisionError) else 1
    report = outcome.statistics
    if report is None:
        return 0
    damaged = report.problem is not None or (report.skipped > 0 and not report.is_live)
    return signal_exit_code(report.stopped or "") or (EXIT_DAMAGED if damaged else 0)
