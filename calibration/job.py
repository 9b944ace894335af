"""Float model, frames and perhaps labelled data to the files of an int8 model: ``edgevision calibrate``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgevision.cache import Cache
from edgevision.calibration.agreement import compared_classes, hold_out, open_agreement
from edgevision.calibration.calibrate import calibrate
from edgevision.calibration.float_model import FloatModel, load_float_model
from edgevision.calibration.markdown import render_markdown
from edgevision.calibration.outcome import RANGE_CHOICES, WEIGHT_SCALES, Settings
from edgevision.calibration.ranges import PERCENTILE
from edgevision.calibration.report import CalibrationReport, make_report
from edgevision.calibration.sampling.sample import CalibrationSet, sample_frames
from edgevision.calibration.speed import measure_speed, timed_engines
from edgevision.errors import SinkError, UsageError, nearest
from edgevision.evaluation.detection import DEFAULT_MIN_BOXES
from edgevision.evaluation.labelled import LabelledData, chosen_classes
from edgevision.evaluation.yardstick import Yardstick
from edgevision.files import atomic_path, refuse_existing, write_json
from edgevision.graph.compose import save_model
from edgevision.progress import Note, Progress, no_note, no_progress
from edgevision.zoo import find_model


@dataclass(frozen=True, kw_only=True)
class CalibrationRequest:
    """What is to be calibrated, on what, and how.

    Attributes:
        model: an FP32 ONNX file of ours, or the name of a model that ships.
        sources: where frames come from, see :func:`edgevision.video.open_source`.
        out: the ONNX file to write; its report and the list of frames go beside it.
        frames: the most distinct frames to draw.
        method: how ranges are chosen, one of :data:`~edgevision.calibration.outcome.RANGE_CHOICES`.
        percentile: for ``percentile``: share of the magnitudes to hold, in per cent.
        labelled: data to hold the accuracy on; None accepts any drop.
        max_drop: how far the figure on ``labelled`` may fall, 0.01 by default. Without labelled data: how far
            the answers on frames held out may be from the float model's; None then accepts any.
        min_share: share of the convolution work that must stay in int8, 0 to 1.
        must_hold: False where a model over ``max_drop`` is written too, with a warning.
        weight_scale: one of :data:`~edgevision.calibration.outcome.WEIGHT_SCALES`.
        min_boxes: labelled boxes that a class needs to count in ``ap50_mean``.
        classes: hold the accuracy on these only, see :func:`edgevision.data.classes.parse_classes`; None for
            every class that both the model and the data have.
        seed: random seed for the draw of frames.
        cache: folder to keep ranges and rankings in; None keeps nothing.
        overwrite: replace outputs that exist.
    """

    model: str
    sources: tuple[str, ...]
    out: Path
    frames: int = 512
    method: str = "auto"
    percentile: float = PERCENTILE
    labelled: LabelledData | None = None
    max_drop: float | None = None
    min_share: float = 0.8
    must_hold: bool = True
    weight_scale: str = "channel"
    min_boxes: int = DEFAULT_MIN_BOXES
    classes: str | None = None
    seed: int = 0
    cache: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a calibration has written.

    Attributes:
        report: everything about the int8 model.
        outputs: the model, its report for people and for programs, and the list of frames.
        warnings: one line for each thing that the user should know.
    """

    report: CalibrationReport
    outputs: tuple[Path, ...]
    warnings: tuple[str, ...]


def run_calibration(
    request: CalibrationRequest,
    *,
    command: str = "",
    note: Note = no_note,
    progress: Progress = no_progress,
) -> Calibrated:
    """Calibrates one model.

    All outputs are made in a folder of their own and moved to their places at the end, so an end before
    that, by an interrupt too, leaves nothing.

    Args:
        request: what to do.
        command: how this was called, for the report.
        note: called with a line for each model that was evaluated.
        progress: shows how far each step is.

    Raises:
        EdgeVisionError: the request is impossible, or the accuracy budget cannot be met.
    """
    settings = _settings(request)
    outputs = _outputs(request.out)
    for path in outputs:
        refuse_existing(path, request.overwrite)
    model = load_float_model(find_model(request.model))
    if model.path.resolve() == request.out.resolve():
        raise UsageError(f"`out` {request.out} is the float model itself; choose another name")
    yardstick = _yardstick(request, model)
    if yardstick is None and request.max_drop is not None:
        compared_classes(model, request.classes)
    with _staging(request.out) as folder:
        frames = _sample(request, model, folder / "frames", progress)
        held = None
        if yardstick is None and request.max_drop is not None:
            frames, held = hold_out(frames, request.frames)
            yardstick = open_agreement(model, held, request.min_boxes, request.classes)
        result = calibrate(model, frames, settings, yardstick, Cache(request.cache), progress, note)
        made = [folder / path.name for path in outputs]
        stored = save_model(result.graph, made[0], result.manifest)
        with progress("timing", len(timed_engines())) as on_engine:
            speed = measure_speed(model.path, made[0], next(frames.batches(1)), on_engine)
        report = make_report(
            model,
            frames,
            settings,
            result,
            int8_file=request.out.name,
            int8_sha256=stored.sha256,
            int8_bytes=made[0].stat().st_size,
            sources=request.sources,
            speed=speed,
            command=command,
        )
        with atomic_path(made[1]) as unfinished:
            unfinished.write_text(render_markdown(report), encoding="utf-8")
        write_json(made[2], report)
        frames.write_list(made[3], held)
        _publish(made, outputs)
    return Calibrated(report, outputs, (*frames.notes, *result.warnings))


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that is gone when the block ends, however it ends."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".calibrate-", dir=out.parent))
    except OSError as error:
        raise SinkError(f"cannot write in {out.parent}: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(made: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Moves what was made to its place; the model last, so that whoever finds it finds its report too."""
    try:
        for source, target in reversed(list(zip(made, outputs, strict=True))):
            source.replace(target)
    except OSError as error:
        raise SinkError(f"cannot write {outputs[0]} and its report: {error.strerror}") from error


def _outputs(out: Path) -> tuple[Path, ...]:
    """The model, its report for people and for programs, and the list of frames."""
    return (out, *(out.with_suffix(suffix) for suffix in (".md", ".json", ".frames.json")))


def _settings(request: CalibrationRequest) -> Settings:
    if request.out.suffix.lower() != ".onnx":
        raise UsageError(f"`out` {request.out}: expected a file name that ends in .onnx")
    method = next((name for name in RANGE_CHOICES if name == request.method), None)
    if method is None:
        hint = nearest(request.method, RANGE_CHOICES) or f"; choose one of {', '.join(RANGE_CHOICES)}"
        raise UsageError(f"unknown method '{request.method}'{hint}")
    weight_scale = next((name for name in WEIGHT_SCALES if name == request.weight_scale), None)
    if weight_scale is None:
        hint = nearest(request.weight_scale, WEIGHT_SCALES) or f"; expected {' or '.join(WEIGHT_SCALES)}"
        raise UsageError(f"`weight_scale` {request.weight_scale}{hint}")
    if not 50 <= request.percentile <= 100:
        raise UsageError(f"`percentile` {request.percentile:g}: expected 50 to 100")
    if not 0 <= request.min_share <= 1:
        raise UsageError(f"`min_share` {request.min_share:g}: expected 0 to 1")
    max_drop = Settings.max_drop if request.max_drop is None else request.max_drop
    if not 0 <= max_drop < 1:
        raise UsageError(f"`max_drop` {max_drop:g}: expected 0 or more and less than 1")
    return Settings(
        method=method,
        percentile=request.percentile,
        max_drop=max_drop,
        min_share=request.min_share,
        must_hold=request.must_hold,
        weight_scale=weight_scale,
    )


def _sample(
    request: CalibrationRequest, model: FloatModel, store: Path, progress: Progress
) -> CalibrationSet:
    manifest = model.manifest
    size = (manifest.input_width, manifest.input_height)
    with progress("sampling frames", None) as on_frame:
        seen = 0

        def count(name: str, done: int, total: int | None) -> None:
            nonlocal seen
            seen += 1
            on_frame(seen)

        return sample_frames(
            request.sources, request.frames, size, manifest.resize, request.seed, store, count
        )


def _yardstick(request: CalibrationRequest, model: FloatModel) -> Yardstick | None:
    """The labelled data, in the classes that both they and the model have."""
    labelled = request.labelled
    if labelled is None:
        return None
    labelled.check_task(request.model, model.manifest.task)
    models = {request.model: model.manifest.classes}
    return labelled.open(
        lambda names: chosen_classes(request.classes, models, names, labelled.data),
        request.min_boxes,
        model.manifest,
    )
