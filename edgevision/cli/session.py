"""What ``edgevision run`` does once its options are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console

from edgevision.cli.app import EXIT_DAMAGED
from edgevision.cli.outputs import check_named_outputs, default_stem, make_folder, plan_outputs
from edgevision.cli.plans import PlanPolicy, open_engine
from edgevision.cli.progress import say, show_progress, show_summary
from edgevision.cli.signals import signal_exit_code, stop_on_signals
from edgevision.detector import Detector, check_conf_threshold
from edgevision.engines import Engine, check_engine_name, describe
from edgevision.errors import EdgeVisionError, UsageError, nearest
from edgevision.files import atomic_path
from edgevision.overlay import Overlay, check_opacity
from edgevision.pipeline import Pipeline, StopRequest, StreamStatistics
from edgevision.video import Sink, Source, expand_sources, open_sink, open_source
from edgevision.video.image_files import is_pattern
from edgevision.video.masks import MaskSink, refuse_existing_folder
from edgevision.zoo import default_model, find_model


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of ``edgevision run``; its help says what they mean."""

    source: str
    models: Sequence[str]
    engine: str
    plans: PlanPolicy
    conf_threshold: float
    classes: Sequence[str] | None
    output: Path | None
    save_json: Path | None
    save_masks: Path | None
    alpha: float
    display: bool
    max_frames: int | None
    stats: Path | None
    overwrite: bool


def run_request(request: Request) -> int:
    """Runs the models on each source in turn.

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
    check_opacity(request.alpha)
    if not request.source.strip():
        raise UsageError("--source is empty; expected a file, a folder, webcam, an address or demo")
    sources = expand_sources(request.source)
    models = [find_model(name) for name in request.models] or [default_model("detection").path]
    if request.save_masks is not None:
        refuse_existing_folder(request.save_masks, request.overwrite)
    outputs = {"--output": request.output, "--save-json": request.save_json, "--stats": request.stats}
    check_named_outputs(outputs, [*sources, *map(str, models)], len(sources), request.overwrite)

    console = Console(stderr=True)
    stop = StopRequest()
    reports: list[StreamStatistics] = []
    codes: list[int] = []
    with contextlib.ExitStack() as opened:
        engines = [
            opened.enter_context(open_engine(model, request.engine, request.plans)) for model in models
        ]
        detectors = make_detectors(engines, request.conf_threshold, request.classes)
        header = (f"{engine.manifest.name}: {describe(engine)}" for engine in engines)
        masks = None if request.save_masks is None else _segmenters(detectors)
        for uri in sources:
            try:
                report = _run_source(uri, detectors, masks, len(sources) > 1, request, stop, console, header)
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
    uri: str,
    detectors: Sequence[Detector],
    masks: Sequence[int] | None,
    several: bool,
    request: Request,
    stop: StopRequest,
    console: Console,
    header: Iterator[str],
) -> StreamStatistics:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_source(uri))
        info = source.info
        plan = plan_outputs(info, request.output, request.save_json, request.display, request.save_masks)
        for picture in plan.pictures:
            if is_pattern(picture):
                make_folder(Path(picture).parent)
        stack.enter_context(stop_on_signals(stop))
        addresses = [*plan.pictures, *filter(None, [plan.records])]
        # Who only watches wants the recording's own speed; who also records wants it done.
        paced = addresses == ["window"] and masks is None and not info.is_live
        sinks = [
            stack.enter_context(_open(address, source, detectors, request.overwrite, paced))
            for address in addresses
        ]
        if masks is not None and request.save_masks is not None:
            folder = request.save_masks
            if several:
                folder.mkdir(exist_ok=True)
                folder /= default_stem(info)
            names = [detector.manifest.name for detector in detectors]
            sinks.append(stack.enter_context(MaskSink(folder, info, names, masks, request.overwrite)))
        pipeline = Pipeline(
            source,
            detectors,
            sinks,
            [Overlay(detector.manifest, request.alpha) for detector in detectors] if plan.pictures else [],
            max_frames=request.max_frames,
            show_status=info.is_live,
        )
        expected = [count for count in (info.frame_count, request.max_frames) if count is not None]
        total = min(expected) if expected and not (info.is_live and request.max_frames is None) else None
        for line in header:  # of several sources only the first still finds lines in it
            say(console, line)
        with show_progress(info, total, plan.hint, console) as report_progress:
            report = pipeline.run(stop, report_progress)
    show_summary(report, [sink.name for sink in sinks if sink.name != "window"], console)
    return report


def _open(address: str, source: Source, detectors: Sequence[Detector], overwrite: bool, paced: bool) -> Sink:
    return open_sink(
        address,
        info=source.info,
        classes=[detector.manifest.classes for detector in detectors],
        models=[detector.manifest.name for detector in detectors],
        overwrite=overwrite,
        paced=paced,
    )


def make_detectors(
    engines: Sequence[Engine], conf_threshold: float, classes: Sequence[str] | None
) -> list[Detector]:
    """One detector for each engine; of ``classes`` each takes those that it knows.

    Raises:
        UsageError: no model has a class of that name, or two models have one name.
    """
    names = [engine.manifest.name for engine in engines]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two models are called '{name}'; results could not be told apart")
    if classes is None or len(engines) == 1:
        return [Detector(engine, conf_threshold, classes) for engine in engines]
    finders = [engine for engine in engines if engine.manifest.task == "detection"]
    known = list(dict.fromkeys(name for engine in finders for name in engine.manifest.classes))
    for name in classes:
        if name not in known:
            raise UsageError(f"no model has the class '{name}'{nearest(name, known)}")
    return [
        Detector(engine, conf_threshold, _own_classes(engine, classes) if engine in finders else None)
        for engine in engines
    ]


def _own_classes(engine: Engine, classes: Sequence[str]) -> list[str]:
    own = [name for name in classes if name in engine.manifest.classes]
    if not own:
        raise UsageError(f"{engine.manifest.name} has none of the classes {', '.join(classes)}; leave it out")
    return own


def _segmenters(detectors: Sequence[Detector]) -> list[int]:
    """Positions of the models that give class maps."""
    found = [i for i, detector in enumerate(detectors) if detector.manifest.task == "segmentation"]
    if not found:
        names = ", ".join(detector.manifest.name for detector in detectors)
        raise UsageError(f"--save-masks needs a segmentation model; {names} only detects boxes")
    return found


def _exit_code(report: StreamStatistics) -> int:
    damaged = report.problem is not None or (report.skipped > 0 and not report.is_live)
    return signal_exit_code(report.stopped or "") or (EXIT_DAMAGED if damaged else 0)
