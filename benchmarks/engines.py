"""How fast each engine runs each precision of a model on this machine, and how good its answers are.

    python benchmarks/engines.py [--models NAME ...] [--rounds 40] [--threads N] [--images 100] [--json PATH]

All engines of a model take turns, one inference each, in an order that turns round each time, so that what
else the machine does falls on all alike; ``speedup`` is the median over those turns of FP32 in ONNX Runtime
over the one in question. ``cpu_ms`` is processor time of all threads, which says most on a machine that is
used for other things too. Preprocessing, decoding and suppression are in the graph and so in every figure.

FP16 and INT8 files are made here from the FP32 one. INT8 is plain min-max calibration of every layer that can
be quantised: its accuracy is not that of ``edgevision calibrate``, which bounds the loss.

``retinanet-light`` and ``unet-light`` have trained weights: their accuracy on the first ``--images`` pictures
of the validation data, where those are there, stands beside. ``retinanet-resnet18`` at 320 (128 channels, 4
dense layers a head) has random weights: latency only. Prints a table.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from calibration.accuracy import DetectionYardstick, SegmentationYardstick, Yardstick
from calibration.model import load_float_model
from calibration.qdq import insert_qdq
from calibration.ranges import measure_ranges, thresholds
from edgevision.config import config_folder, load_config
from edgevision.data.detection import load_coco
from edgevision.data.segmentation import load_segmentation
from edgevision.engines import Engine, load_engine
from edgevision.engines.base import usable_cores
from edgevision.engines.choose import FileFacts, choose_engines, has_int8_sums, machine_facts
from edgevision.errors import EdgeVisionError
from edgevision.files import write_json
from edgevision.manifest import INPUT_NAME, Manifest, Precision, read_manifest, write_manifest
from edgevision.preprocess import Letterbox
from edgevision.zoo import find_model
from export.parity_report import engines_here
from export.precision import export_half

Kind = tuple[Precision, str]
"""A precision and an engine's name."""

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
RESNET18 = "retinanet-resnet18"
MODELS = ("retinanet-light", "unet-light", RESNET18)
REFERENCE: Kind = ("fp32", "onnxruntime")
_CALIBRATION_PICTURES = 48
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """One inference, in milliseconds: on the clock, and of all threads' processor time."""

    wall_ms: float
    cpu_ms: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help="that ship, ONNX files, or " + RESNET18)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--images", type=int, default=100, help="for accuracy; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="write the result here too")
    options = parser.parse_args()
    try:
        result = {
            "commit": commit(),
            "machine": describe_machine(options.threads),
            "rounds": options.rounds,
            "models": [
                measure_model(name, options.rounds, options.threads, options.images)
                for name in options.models
            ],
            "load_after": round(os.getloadavg()[0], 2),
        }
    except EdgeVisionError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        write_json(options.json, result)
    print(markdown(result))
    return 0


def measure_model(name: str, rounds: int, threads: int, images: int) -> dict[str, Any]:
    """Every engine on every precision of one model."""
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        source = write_resnet18(folder / f"{RESNET18}.onnx") if name == RESNET18 else find_model(name)
        manifest = read_manifest(source)
        pictures = letterboxed(manifest)
        files = write_precisions(source, folder, pictures)
        engines: dict[Kind, Engine] = {}
        for precision, path in files.items():
            for name_of_engine in engines_here():
                engine = open_or_say(path, name_of_engine, threads)
                if isinstance(engine, str):
                    left_out[f"{precision} {name_of_engine}"] = engine
                else:
                    engines[precision, name_of_engine] = opened.enter_context(engine)
        turns = take_turns(engines, pictures, rounds)
        yardstick = find_yardstick(manifest, images) if images and name != RESNET18 else None
        for kind, engine in engines.items():
            precision, engine_name = kind
            chosen = choose_engines(machine_facts(), FileFacts(precision))[0].engine == engine_name
            rows.append(
                {
                    "precision": precision,
                    "engine": engine.name,
                    "auto": chosen,
                    **summary(turns[kind], turns[REFERENCE]),
                    "accuracy": None if yardstick is None else round(yardstick.measure(engine).value, 4),
                }
            )
    return {
        "model": name,
        "input": [manifest.input_width, manifest.input_height],
        "weights": "random: latency only" if name == RESNET18 else "trained",
        "figure": None if yardstick is None else yardstick.figure,
        "images": None if yardstick is None else yardstick.pictures,
        "data": None if yardstick is None else yardstick.source,
        "engines": rows,
        "left_out": left_out,
    }


def open_or_say(path: Path, engine: str, threads: int) -> Engine | str:
    """The engine, or why it cannot be had."""
    try:
        return load_engine(path, engine, threads)
    except EdgeVisionError as error:
        return str(error)


def take_turns(
    engines: Mapping[Kind, Engine], pictures: Sequence[NDArray[np.uint8]], rounds: int
) -> dict[Kind, list[Turn]]:
    """One inference of each engine a round, on the same picture; every other round in the other order."""
    turns: dict[Kind, list[Turn]] = {kind: [] for kind in engines}
    for engine in engines.values():
        for _ in range(_WARM_UP):
            engine.infer({INPUT_NAME: pictures[0]})
    for turn in range(rounds):
        inputs = {INPUT_NAME: pictures[turn % len(pictures)]}
        for kind in list(engines)[:: -1 if turn % 2 else 1]:
            wall, cpu = time.perf_counter(), time.process_time()
            engines[kind].infer(inputs)
            turns[kind].append(Turn((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3))
    return turns


def summary(turns: Sequence[Turn], reference: Sequence[Turn]) -> dict[str, float]:
    """Times of one engine, and its gain over the reference, turn by turn."""
    ordered = sorted(one.wall_ms for one in turns)
    gains = [base.wall_ms / one.wall_ms for base, one in zip(reference, turns, strict=True)]
    return {
        "median_ms": round(statistics.median(ordered), 2),
        "p95_ms": round(ordered[math.ceil(0.95 * len(ordered)) - 1], 2),
        "cpu_ms": round(statistics.median(one.cpu_ms for one in turns), 2),
        "speedup": round(statistics.median(gains), 3),
    }


def write_precisions(
    source: Path, folder: Path, pictures: Sequence[NDArray[np.uint8]]
) -> dict[Precision, Path]:
    """The FP16 and the INT8 file of an FP32 one, in ``folder``, and that one itself."""
    half, int8 = folder / "model.fp16.onnx", folder / "model.int8.onnx"
    export_half(source, half)
    model = load_float_model(source)
    tensors = [layer.data for layer in model.candidates]
    ranges = measure_ranges(model.graph, tensors, lambda: pictures, histograms=False)
    onnx.save(insert_qdq(model.graph, model.candidates, thresholds(ranges, "minmax")), int8)
    write_manifest(int8, msgspec.structs.replace(model.manifest, precision="int8"))
    return {"fp32": source, "fp16": half, "int8": int8}


def write_resnet18(path: Path) -> Path:
    """A RetinaNet on ResNet-18 with random weights: the shape of the detector for GPUs, made smaller."""
    import torch

    from edgevision.models.retinanet import RetinaNet
    from edgevision.training.config import DetectorTraining
    from export.to_onnx import export_detector

    large = load_config(config_folder() / "models" / "retinanet-resnet50.yaml", DetectorTraining)
    backbone = msgspec.structs.replace(large.model.backbone, name="resnet18", weights="random")
    model = msgspec.structs.replace(large.model, backbone=backbone, input_size=320, channels=128)
    config = msgspec.structs.replace(large, name=RESNET18, model=model)
    torch.manual_seed(0)
    export_detector(RetinaNet(config.model, len(config.classes)), config, {}, path)
    return path


def letterboxed(manifest: Manifest) -> list[NDArray[np.uint8]]:
    """Photographs as the model takes them, uint8 ``[1, H, W, 3]``: training data, or scikit-image's."""
    sub = "detection/images/train_real" if manifest.task == "detection" else "camvid/images/train"
    files = sorted((SHARED / sub).rglob("*.[jp][pn]g"))
    step = max(1, len(files) // _CALIBRATION_PICTURES)
    images = [cv2.imread(str(file)) for file in files[::step][:_CALIBRATION_PICTURES]]
    if not images:
        from skimage import data

        images = [
            np.ascontiguousarray(one()[..., ::-1]) for one in (data.astronaut, data.chelsea, data.rocket)
        ]
    size = (manifest.input_width, manifest.input_height)
    return [
        Letterbox.fit(image.shape[1], image.shape[0], *size, manifest.resize).image(image)[None]
        for image in images
        if image is not None
    ]


def find_yardstick(manifest: Manifest, images: int) -> Yardstick | None:
    """The first pictures of the shared validation data, in the model's classes; None where there are none."""
    if manifest.task == "detection":
        labels = SHARED / "detection" / "instances_val.json"
        if not labels.is_file():
            return None
        data = load_coco(labels, labels.parent / "images" / "val", manifest.classes)
        return DetectionYardstick(replace(data, images=data.images[:images]), labels.name)
    folder = SHARED / "camvid"
    if not (folder / "classes.json").is_file():
        return None
    pictures = load_segmentation(folder, "val", manifest.classes)
    return SegmentationYardstick(replace(pictures, pictures=pictures.pictures[:images]), "camvid val")


def describe_machine(threads: int) -> dict[str, Any]:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return {
        "processor": found[1] if found else platform.processor() or platform.machine(),
        "int8_sums": has_int8_sums(),
        "cores": usable_cores(),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str | None:
    """The commit that is measured, ``-dirty`` where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def markdown(result: Mapping[str, Any]) -> str:
    """The result as a table; engines that ``--engine auto`` takes are marked."""
    lines = [
        "| model | precision | engine | median ms | p95 ms | CPU ms | speedup | accuracy |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for model in result["models"]:
        for row in model["engines"]:
            accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:.3f} {model['figure']}"
            engine = row["engine"] + (" *" if row["auto"] else "")
            lines.append(
                f"| {model['model']} | {row['precision']} | {engine} | {row['median_ms']:.1f} "
                f"| {row['p95_ms']:.1f} | {row['cpu_ms']:.1f} | {row['speedup']:.2f} | {accuracy} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
