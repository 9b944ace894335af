"""What ``edgevision calibrate`` does once its options are read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from edgevision.calibration.cache import Cache, cache_folder
from edgevision.calibration.calibrate import calibrate
from edgevision.calibration.float_model import FloatModel, load_float_model
from edgevision.calibration.markdown import render_markdown, verdict
from edgevision.calibration.outcome import CHOICES, Settings
from edgevision.calibration.report import make_report
from edgevision.calibration.sampling.sample import CalibrationSet, sample_frames
from edgevision.calibration.speed import measure_speed, timed_engines
from edgevision.calibration.yardstick import DetectionYardstick, SegmentationYardstick, Yardstick
from edgevision.cli.app import Commands
from edgevision.cli.console import counting, say
from edgevision.cli.signals import end_on_sigterm
from edgevision.data.classes import canonical
from edgevision.data.detection.dataset import select_classes
from edgevision.data.formats.coco import read_coco
from edgevision.data.segmentation.dataset import load_segmentation
from edgevision.errors import DataError, SinkError, UsageError, nearest
from edgevision.files import atomic_path, refuse_existing, write_json
from edgevision.graph.compose import save_model
from edgevision.zoo import find_model


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of ``edgevision calibrate``; its help says what they mean."""

    model: str
    sources: tuple[str, ...]
    out: Path
    frames: int
    method: str
    percentile: float
    data: Path | None
    images: Path | None
    split: str | None
    max_drop: float
    min_share: float
    min_boxes: int
    seed: int
    cache: Path | None
    no_cache: bool
    overwrite: bool


def run_calibration(request: Request) -> None:
    """Calibrates one model; see ``edgevision calibrate --help``.

    All outputs are made in a folder of their own and moved to their places at the end, so an end before
    that, by Ctrl-C too, leaves nothing.

    Raises:
        EdgeVisionError: the request is impossible, or the accuracy budget cannot be met.
    """
    settings = _settings(request)
    for path in _outputs(request.out):
        refuse_existing(path, request.overwrite)
    model = load_float_model(find_model(request.model))
    if model.path.resolve() == request.out.resolve():
        raise UsageError(f"--out {request.out} is the float model itself; choose another name")
    yardstick = _yardstick(request, model)
    console = Console(stderr=True)
    cache = Cache(None if request.no_cache else request.cache or cache_folder())
    with end_on_sigterm(), _staging(request.out) as folder:
        frames = _sample(request, model, folder / "frames", console)
        stage, tell = partial(counting, console), partial(say, console)
        result = calibrate(model, frames, settings, yardstick, cache, stage, tell)
        made = [folder / path.name for path in _outputs(request.out)]
        stored = save_model(result.graph, made[0], result.manifest)
        with counting(console, "timing", len(timed_engines())) as progress:
            speed = measure_speed(model.path, made[0], next(frames.batches(1)), progress)
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
            command=Commands.line,
        )
        with atomic_path(made[1]) as unfinished:
            unfinished.write_text(render_markdown(report), encoding="utf-8")
        write_json(made[2], report)
        frames.write_list(made[3])
        _publish(made, _outputs(request.out))
    for line in (*frames.notes, *result.warnings):
        say(console, f"warning: {line}")
    say(Console(), f"{request.out}: {verdict(report)}")
    method = result.manifest.calibration.method if result.manifest.calibration else settings.method
    beside = ", ".join(path.name for path in _outputs(request.out)[1:])
    say(Console(), f"  ranges by {method}; report and frames: {beside}")
    for one in report.speed:
        say(Console(), f"  {one.engine}: {one.float_ms:.1f} ms in float, {one.int8_ms:.1f} ms in int8")


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


def _publish(made: list[Path], outputs: list[Path]) -> None:
    """Moves what was made to its place; the model last, so that who finds it finds its report too."""
    try:
        for source, target in reversed(list(zip(made, outputs, strict=True))):
            source.replace(target)
    except OSError as error:
        raise SinkError(f"cannot write {outputs[0]} and its report: {error.strerror}") from error


def _outputs(out: Path) -> list[Path]:
    """The model, its report for people and for programs, and the list of frames."""
    return [out, *(out.with_suffix(suffix) for suffix in (".md", ".json", ".frames.json"))]


def _settings(request: Request) -> Settings:
    if request.out.suffix.lower() != ".onnx":
        raise UsageError(f"--out {request.out}: expected a file name that ends in .onnx")
    method = next((name for name in CHOICES if name == request.method), None)
    if method is None:
        hint = nearest(request.method, CHOICES) or f"; choose one of {', '.join(CHOICES)}"
        raise UsageError(f"unknown method '{request.method}'{hint}")
    if not 50 <= request.percentile <= 100:
        raise UsageError(f"--percentile {request.percentile:g}: expected 50 to 100")
    if not 0 <= request.min_share <= 1:
        raise UsageError(f"--min-share {request.min_share:g}: expected 0 to 1")
    if not 0 <= request.max_drop < 1:
        raise UsageError(f"--max-drop {request.max_drop:g}: expected 0 or more and less than 1")
    return Settings(
        method=method,
        percentile=request.percentile,
        max_drop=request.max_drop,
        min_share=request.min_share,
    )


def _sample(request: Request, model: FloatModel, store: Path, console: Console) -> CalibrationSet:
    manifest = model.manifest
    size = (manifest.input_width, manifest.input_height)
    with counting(console, "sampling frames", None) as progress:
        seen = 0

        def report(name: str, done: int, total: int | None) -> None:
            nonlocal seen
            seen += 1
            progress(seen)

        return sample_frames(
            request.sources, request.frames, size, manifest.resize, request.seed, store, report
        )


def _yardstick(request: Request, model: FloatModel) -> Yardstick | None:
    """The labelled data, in the classes that both they and the model have."""
    detects = model.manifest.task == "detection"
    if request.data is None:
        if request.images is not None or request.split is not None:
            raise UsageError("--images and --split belong to --data; name the labelled data with --data")
        return None
    if detects:
        if request.images is None or request.split is not None:
            raise UsageError(f"{request.model} is a detector; expected --data JSON --images DIR")
        raw = read_coco(request.data, request.images)
        chosen = _common(request, model, raw.classes)
        labelled = select_classes(raw, chosen)
        _check_there([image.path for image in raw.images], request)
        return DetectionYardstick(labelled, str(request.data), request.min_boxes)
    if request.split is None or request.images is not None:
        raise UsageError(f"{request.model} is a segmenter; expected --data FOLDER --split NAME")
    known = load_segmentation(request.data, request.split).classes
    data = load_segmentation(request.data, request.split, _common(request, model, known))
    _check_there([path for one in data.pictures for path in (one.image, one.labels)], request)
    return SegmentationYardstick(data, f"{request.data}/{request.split}")


def _common(request: Request, model: FloatModel, labelled: tuple[str, ...]) -> tuple[str, ...]:
    in_data = {canonical(name) for name in labelled}
    known = model.manifest.classes
    chosen = tuple(name for name in known if canonical(name) in in_data)
    if not chosen:
        raise DataError(
            f"{request.data}: none of its {len(labelled)} classes is one of {request.model}"
            f"{nearest(known[0], labelled)}"
        )
    return chosen


def _check_there(paths: list[Path], request: Request) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        first = f", the first: {missing[0]}" if missing else ""
        raise DataError(
            f"{len(missing)} of {len(paths)} files of {request.data} are missing{first}; "
            "check the folder, or the list"
        )
