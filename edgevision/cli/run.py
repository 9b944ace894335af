"""``edgevision run``: a model on a source, with images and results out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgevision.cli.options import (
    EngineOption,
    OverwriteOption,
    RebuildOption,
    TlsCertOption,
    TlsKeyOption,
    TrustOption,
    WebAllowLocalOption,
    WebDataOption,
    WebKeepDaysOption,
    WebKeepOption,
    WebNameOption,
    WebPasswordOption,
    YesOrNo,
)
from edgevision.service.logs import LogFormat

if TYPE_CHECKING:
    from rich.console import Console

    from edgevision.pipeline import StopRequest
    from edgevision.session.request import RunRequest
    from edgevision.session.run import StreamOutcome


def run_command(
    source: list[str] = typer.Option(
        [],
        "--source",
        help="A video, an image, a folder or 'pattern*' of either, webcam, /dev/video0, rtsp:..., or demo. "
        "Several run at the same time. Options of cameras follow the address: docs/guides/cameras.md.",
    ),
    streams: Path | None = typer.Option(
        None, "--streams", help="YAML file of sources, each with its own outputs (docs/guides/streams.md)."
    ),
    model: list[str] = typer.Option(
        [],
        "--model",
        help="Name of a model that ships, or path of an ONNX file. Several draw on the same image. "
        "Default: the first detector.",
    ),
    fallback_model: str | None = typer.Option(
        None,
        "--fallback-model",
        help="A faster model with the same classes, for when --max-latency cannot be held otherwise.",
    ),
    then: str | None = typer.Option(
        None,
        "--then",
        help="A second model, a classifier or one that finds objects, on what the first found "
        "(docs/guides/python.md, docs/reference/jsonl.md: attributes).",
    ),
    on: str | None = typer.Option(
        None, "--on", help="Classes that the second model looks at: person,car. Default: all."
    ),
    every_track: bool = typer.Option(
        False, "--every-track", help="The second model looks at each object once; implies --track."
    ),
    engine: EngineOption = "auto",
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    threads: int | None = typer.Option(
        None,
        "--threads",
        help="CPU threads of the engine, decoders and encoders. Default: by the number of cores.",
    ),
    conf: float = typer.Option(0.35, "--conf", help="Leave out detections below this score, 0 to 1."),
    classes: str | None = typer.Option(
        None, "--classes", help="Only these classes, separated by commas: person,car."
    ),
    track: bool = typer.Option(
        False, "--track", help="Give each object a number that stays with it (docs/guides/zones.md)."
    ),
    zones: Path | None = typer.Option(
        None, "--zones", help="YAML file of zones and lines to watch; implies --track (docs/guides/zones.md)."
    ),
    max_latency: str | None = typer.Option(
        None,
        "--max-latency",
        help="Hold the time from capture to output under this, as in 150ms (live sources): frames are "
        "skipped, then the fallback model is used.",
    ),
    every: str | None = typer.Option(
        None, "--every", help="One frame of 5, as in 5, or the first of every second, as in 1s."
    ),
    start: str | None = typer.Option(None, "--start", help="Of a recording, from here on: 90s or 1:30."),
    end: str | None = typer.Option(None, "--end", help="Of a recording, up to here."),
    tiles: str | None = typer.Option(
        None,
        "--tiles",
        help="For small objects: look at 2x2 overlapping tiles of each image too, or 3x2:0.2 (overlap).",
    ),
    output: str | None = typer.Option(
        None,
        "--output",
        help="Where the drawn images go: .mp4, .jpg, frames/%06d.jpg, a folder, or as a stream to rtsp://, "
        "rtmp://, udp://, tcp://, live.m3u8 or - (docs/guides/cameras.md).",
    ),
    save_json: Path | None = typer.Option(
        None, "--save-json", help="Where the results go as JSON lines: .jsonl, or a folder."
    ),
    save_masks: Path | None = typer.Option(
        None,
        "--save-masks",
        help="Folder for class maps as PNGs of class ids, at the source's size (segmentation).",
    ),
    events: list[str] = typer.Option(
        [],
        "--events",
        help="Where events of objects go: a .jsonl file, a folder, or mqtt[s]://user@host/prefix. May be "
        "given several times; implies --track (docs/reference/events.md).",
    ),
    event_pictures: Path | None = typer.Option(
        None, "--event-pictures", help="Folder for a JPEG of each object in the events."
    ),
    record: Path | None = typer.Option(
        None, "--record", help="Folder for continuous recording (docs/guides/recording.md)."
    ),
    rotate: str | None = typer.Option(
        None, "--rotate", help="Start a new file every 10m, 1h or 500MB. Default: 10m."
    ),
    keep: str | None = typer.Option(
        None, "--keep", help="Remove the oldest recordings beyond this size, as in 20GB. Default: keep all."
    ),
    record_on: str | None = typer.Option(
        None, "--record-on", help="Record only clips around these classes: person,car."
    ),
    pre: str | None = typer.Option(None, "--pre", help="Pre-roll of a clip. Default: 5s."),
    post: str | None = typer.Option(None, "--post", help="Post-roll of a clip. Default: 10s."),
    record_drawn: YesOrNo = typer.Option(
        YesOrNo.YES,
        "--record-drawn",
        help="no: record without drawings, and keep the boxes beside; the page draws them.",
    ),
    alpha: float = typer.Option(0.45, "--alpha", help="Opacity of class maps, 0 to 1."),
    display: bool = typer.Option(
        False, "--display", help="Show a window, recordings at their own speed; q or Esc ends the run."
    ),
    max_frames: int | None = typer.Option(None, "--max-frames", help="End after this many frames."),
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
    web_password: WebPasswordOption = None,
    web_name: WebNameOption = None,
    web_data: WebDataOption = None,
    web_keep: WebKeepOption = None,
    web_keep_days: WebKeepDaysOption = None,
    web_allow_local: WebAllowLocalOption = False,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    log_format: LogFormat = typer.Option(
        LogFormat.TEXT, "--log-format", help="Format of stderr: text, or json with one object a line."
    ),
    overwrite: OverwriteOption = False,
    append: bool = typer.Option(
        False,
        "--append",
        help="Continue JSON lines, events and numbered images that exist, and rename other existing outputs; "
        "for services, which start again. --overwrite takes precedence.",
    ),
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
    from edgevision.cli.console import open_console  # these load the runtime, so not for --help
    from edgevision.errors import UsageError
    from edgevision.pipeline import StopRequest
    from edgevision.service.service import Service
    from edgevision.session.request import PlanPolicy, RunRequest
    from edgevision.session.spec import StreamSpec, listed, read_streams
    from edgevision.tiling import Tiling
    from edgevision.web.settings import web_settings

    console, stop = open_console(log_format), StopRequest()
    outputs: dict[str, Any] = _given(output=output, save_json=save_json, save_masks=save_masks)
    settings: dict[str, Any] = _given(
        display=display,
        track=track,
        zones=zones,
        max_latency=max_latency,
        every=every,
        start=start,
        end=end,
        events=events,
        event_pictures=event_pictures,
        record=record,
        rotate=rotate,
        keep=keep,
        record_on=record_on,
        pre=pre,
        post=post,
    )
    if record_drawn is YesOrNo.NO:
        settings["record_drawn"] = False
    if streams is None and not source:
        raise UsageError(
            "no source; name one with --source, or a file with --streams (see 'edgevision run --help')"
        )
    if streams is not None and (source or outputs):
        clash = "source" if source else next(iter(outputs))
        raise UsageError(f"`streams` and `{clash}` do not go together; {streams} says it for each stream")
    if streams is not None:
        specs = read_streams(streams, settings)
    else:
        specs = [StreamSpec(source=one, **outputs, **settings) for one in source]
    request = RunRequest(
        streams=specs,
        models=model,
        fallback_model=fallback_model,
        then=then,
        on=None if on is None else listed(on),
        every_track=every_track,
        engine=engine,
        plans=PlanPolicy(trust, rebuild),
        threads=threads,
        conf_threshold=conf,
        classes=None if classes is None else listed(classes),
        alpha=alpha,
        max_frames=max_frames,
        tiles=None if tiles is None else Tiling.parse(tiles),
        stats=stats,
        overwrite=overwrite,
        append=append and not overwrite,
        default_outputs=web is None,
        web=web_settings(
            web,
            password=web_password,
            names=web_name,
            folder=web_data,
            keep=web_keep,
            keep_days=web_keep_days,
            tls_cert=tls_cert,
            tls_key=tls_key,
            allow_local=web_allow_local,
        ),
        service=Service(metrics_port=metrics_port, metrics_host=metrics_host, notify=True),
    )
    run_session(request, console, stop)


def run_session(request: RunRequest, console: Console, stop: StopRequest) -> None:
    """Runs a session, shows how it goes, and ends in the exit code of its outcomes."""
    from edgevision.cli.any_model import open_engine
    from edgevision.cli.console import say
    from edgevision.cli.run_console import ConsoleObserver, show_log, with_name
    from edgevision.session.run import Session

    observer = ConsoleObserver(console, stop)
    with show_log(console):
        outcomes = Session(request, open_engine=open_engine, observer=observer, stop=stop).run()
    for outcome in outcomes:
        if outcome.error is not None:
            line = with_name(outcome.name, outcome.error)
            say(console, f"error: {line} (exit status {_exit_code(outcome)})")
    # Signals before failures, failures before damaged input.
    exit_code = max(map(_exit_code, outcomes), key=lambda code: (code > 128, code in (1, 2), code), default=0)
    if exit_code:
        raise typer.Exit(exit_code)


def _given(**options: object) -> dict[str, object]:
    """The options that were given, as a stream takes them."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if value not in (None, False, [])
    }


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
