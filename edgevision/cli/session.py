"""What ``edgevision run`` does once its options are read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console

from edgevision.cli.app import EXIT_DAMAGED
from edgevision.cli.outputs import check_named_outputs, make_default_folder, plan_outputs
from edgevision.cli.progress import say, show_progress, show_summary
from edgevision.cli.signals import signal_exit_code, stop_on_signals
from edgevision.detector import Detector, check_conf_threshold
from edgevision.engines import check_engine_name, load_engine
from edgevision.errors import EdgeVisionError, UsageError
from edgevision.files import atomic_path
from edgevision.overlay import Overlay
from edgevision.pipeline import Pipeline, RunReport, StopRequest
from edgevision.video import Sink, Source, expand_sources, open_sink, open_source
from edgevision.zoo import default_model, find_model


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of ``edgevision run``; its help says what they mean."""

    source: str
    model: str | None
    engine: str
    conf_threshold: float
    classes: Sequence[str] | None
    output: Path | None
    save_json: Path | None
    display: bool
    max_frames: int | None
    stats: Path | None
    overwrite: bool


def run_request(request: Request) -> int:
    """Runs the model on each source in turn.

    Everything that can be refused is refused before any output is made.

    Returns:
        The exit code: 0, 3 where the input was damaged, 130 or 143 where a signal ended the run, or that
        of the worst error where one of several sources failed.

    Raises:
        EdgeVisionError: the request is impossible, or its only source failed.
    """
    check_conf_threshold(request.conf_threshold)
    check_engine_name(request.engine)
    if request.max_frames is not None and request.max_frames < 1:
        raise UsageError(f"--max-frames {request.max_frames} is impossible; expected 1 or more")
    sources = expand_sources(request.source)
    model = default_model("detection").path if request.model is None else find_model(request.model)
    outputs = {"--output": request.output, "--save-json": request.save_json, "--stats": request.stats}
    check_named_outputs(outputs, [*sources, str(model)], len(sources), request.overwrite)

    console = Console(stderr=True)
    stop = StopRequest()
    reports: list[RunReport] = []
    codes: list[int] = []
    with load_engine(model, request.engine) as engine:
        detector = Detector(engine, request.conf_threshold, request.classes)
        for uri in sources:
            try:
                report = _run_source(uri, detector, request, stop, console)
            except EdgeVisionError as error:
                if len(sources) == 1:
                    raise
                say(console, f"error: {error}")  # one bad video must not stop the others
                codes.append(error.exit_code)
                continue
            reports.append(report)
            codes.append(_exit_code(report))
            if report.stopped in ("SIGINT", "SIGTERM", "window"):
                break
    if request.stats is not None:
        document = reports if len(sources) > 1 else reports[0]
        with atomic_path(request.stats) as partial:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    # Signals before failures, failures before damaged input.
    return max(codes, key=lambda code: (code > 128, code in (1, 2), code))


def _run_source(
    uri: str, detector: Detector, request: Request, stop: StopRequest, console: Console
) -> RunReport:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_source(uri))
        info = source.info
        plan = plan_outputs(info, request.output, request.save_json, request.display)
        for picture in plan.pictures:
            make_default_folder(picture)
        stack.enter_context(stop_on_signals(stop))
        sinks = [
            stack.enter_context(_open(address, source, detector, request.overwrite))
            for address in (*plan.pictures, *filter(None, [plan.records]))
        ]
        pipeline = Pipeline(
            source,
            [detector],
            sinks,
            [Overlay(detector.manifest)] if plan.pictures else [],
            max_frames=request.max_frames,
            show_status=info.is_live,
        )
        expected = [count for count in (info.frame_count, request.max_frames) if count is not None]
        total = min(expected) if expected and not (info.is_live and request.max_frames is None) else None
        with show_progress(info, total, plan.hint, console) as report_progress:
            report = pipeline.run(stop, report_progress)
    show_summary(report, [sink.name for sink in sinks if sink.name != "window"], console)
    return report


def _open(address: str, source: Source, detector: Detector, overwrite: bool) -> Sink:
    return open_sink(
        address,
        info=source.info,
        classes=[detector.manifest.classes],
        models=[detector.manifest.name],
        overwrite=overwrite,
    )


def _exit_code(report: RunReport) -> int:
    damaged = report.problem is not None or (report.skipped > 0 and not report.is_live)
    return signal_exit_code(report.stopped) or (EXIT_DAMAGED if damaged else 0)
