"""Makes the other precisions of a model that ships again, measures them, and puts them beside its FP32 file.

    .venv/bin/python tools/zoo_precisions.py retinanet-light unet-light --data ../shared/data
    .venv/bin/python tools/zoo_precisions.py retinanet-light --precision fp16 --data ../shared/data

For each model: INT8 is calibrated without labels on the frames named in RECIPES, FP16 is what 'edgevision
export' writes; the file and the FP32 one are measured on labelled images, each in the engine that a run would
take here; the figures, and by how much the first of them fell (``drop``), are written into the manifest of
edgevision/zoo/NAME.int8.onnx or NAME.fp16.onnx. A file with a larger drop than ``auto`` would take is refused
and left in the folder that --keep names. --file measures a file that was calibrated before.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from needed import installed

with installed():
    import msgspec
    from rich.console import Console

    from edgevision.cache import cache_folder
    from edgevision.calibration.job import CalibrationRequest, run_calibration
    from edgevision.cli.any_model import open_model
    from edgevision.cli.console import counting
    from edgevision.contract.model_file import read_manifest, write_manifest
    from edgevision.data.classes import parse_groups
    from edgevision.errors import EdgeVisionError, ModelError
    from edgevision.evaluation.job import Evaluation, evaluate
    from edgevision.evaluation.labelled import LabelledData
    from edgevision.evaluation.report import DetectionReport, SegmentationReport
    from edgevision.export.to_half import export_half
    from edgevision.files import atomic_path
    from edgevision.zoo import ZooModel, folder, shipped_model
    from edgevision.zoo.quickest import MOST_DROP


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is calibrated and measured; paths below the folder of the data.

    Attributes:
        sources, frames, method: see :class:`CalibrationRequest`.
        labels, images, split: labelled data, see :class:`LabelledData`.
        groups: of a segmenter, measured with these classes as one.
        classes: of a detector, measured on these.
    """

    sources: tuple[str, ...]
    frames: int
    method: str
    labels: str
    images: str | None = None
    split: str | None = None
    groups: tuple[str, ...] = ()
    classes: str | None = None


RECIPES = {
    "retinanet-light": Recipe(
        sources=(
            "detection/images/train_pseudo",
            "videos/04_vehicles_ahmetozlu.mp4",
            "videos/07_udacity_vehicle_test_video.mp4",
        ),
        frames=400,
        method="auto",
        labels="detection/instances_val.json",
        images="detection/images/val",
        classes="voc",
    ),
    "unet-light": Recipe(
        sources=("camvid/images/train", "videos/07_udacity_vehicle_test_video.mp4"),
        frames=192,
        method="minmax",
        labels="camvid",
        split="val",
    ),
    "unet-road": Recipe(
        sources=(
            "detection/images/highway_train",
            "videos/04_vehicles_ahmetozlu.mp4",
            "videos/07_udacity_vehicle_test_video.mp4",
        ),
        frames=192,
        method="minmax",
        labels="camvid",
        split="val",
        groups=("road=road,mark", "background=*"),
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", choices=sorted(RECIPES), help="that ship")
    parser.add_argument("--data", type=Path, required=True, help="folder of the images and labels")
    parser.add_argument("--precision", choices=("int8", "fp16"), default="int8", help="default int8")
    parser.add_argument("--file", type=Path, help="an INT8 file of the one model, calibrated before")
    parser.add_argument("--keep", type=Path, help="folder for files that are refused, and for reports")
    options = parser.parse_args()
    if options.file is not None and len(options.models) != 1:
        parser.error("--file is of one model; name it alone")
    if options.file is not None and options.precision == "fp16":
        parser.error("--file is an INT8 file; FP16 is made of the FP32 file")
    try:
        for name in options.models:
            make(name, options.precision, options.data, options.file, options.keep)
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def make(name: str, precision: str, data: Path, made: Path | None, keep: Path | None) -> None:
    """One model in one precision: made, measured, and put in its place.

    Raises:
        EdgeVisionError: a step failed, or the drop is too large.
    """
    recipe, shipped = RECIPES[name], shipped_model(name)
    if shipped is None:
        raise ModelError(f"no model called {name} ships")
    progress = partial(counting, Console(stderr=True))
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / f"{name}.{precision}.onnx"
        if precision == "fp16":
            export_half(shipped.path, out)
        else:
            calibrate(shipped, recipe, data, made, out)
        labelled = LabelledData(
            data=data / recipe.labels,
            images=None if recipe.images is None else data / recipe.images,
            split=recipe.split,
            groups=parse_groups(recipe.groups),
        )
        with open_model(str(shipped.path), "auto") as first, open_model(str(out), "auto") as second:
            found = evaluate([first, second], labelled, classes=recipe.classes, progress=progress)
        drop = write_figures(out, found)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for path in Path(temporary).glob(f"{name}.{precision}.*"):
                shutil.copyfile(path, keep / path.name)
        if drop > MOST_DROP:
            raise ModelError(
                f"{name}: {precision} loses {drop:.4f}, more than {MOST_DROP:g}; it is not put into "
                f"{folder()}. Of int8, try other frames, or 'edgevision calibrate' with labelled data"
            )
        with atomic_path(folder() / out.name) as partial_file:
            shutil.copyfile(out, partial_file)


def calibrate(shipped: ZooModel, recipe: Recipe, data: Path, made: Path | None, out: Path) -> None:
    """Puts the INT8 file at ``out``: calibrated now, or ``made`` before.

    Raises:
        EdgeVisionError: it cannot be calibrated, or was made of another file.
    """
    if made is None:
        done = run_calibration(
            CalibrationRequest(
                model=shipped.name,
                sources=tuple(str(data / source) for source in recipe.sources),
                out=out,
                frames=recipe.frames,
                method=recipe.method,
                cache=cache_folder("calibration"),
            ),
            progress=partial(counting, Console(stderr=True)),
        )
        for line in done.warnings:
            sys.stderr.write(f"warning: {line}\n")
    else:
        shutil.copyfile(made, out)
    facts = read_manifest(out).calibration
    if facts is None or facts.float_sha256 != read_manifest(shipped.path).sha256:
        raise ModelError(f"{made or out} was not calibrated from {shipped.path}")


def write_figures(path: Path, found: Evaluation) -> float:
    """Writes what was measured into the file's manifest, and returns the drop."""
    report = found.report()
    if isinstance(report, DetectionReport):
        names: tuple[str, ...] = ("ap50_mean", "ap50", "ap", "ar")
    elif isinstance(report, SegmentationReport):
        names = ("miou", "dice", "pixel_accuracy")
    else:
        raise ModelError(f"{path}: expected a detector or a segmenter")
    figures: dict[str, float] = {name: round(getattr(report, name), 4) for name in names}
    interval = found.interval
    if interval is None:
        raise ModelError(f"{path}: no class has enough labels")
    figures["drop"] = round(-interval.value, 4)
    write_manifest(path, msgspec.structs.replace(read_manifest(path), figures=figures))
    shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    sys.stdout.write(
        f"{path.name}: {shown} (95 % interval {-interval.high:.4f} to {-interval.low:.4f}), "
        f"{path.stat().st_size / 1e6:.1f} MB, {report.engine}\n"
    )
    sys.stdout.flush()
    return figures["drop"]


if __name__ == "__main__":
    sys.exit(main())
