"""Speed of each engine with each precision of a model on this machine, and accuracy of the results.

    python benchmarks/engines.py [--models NAME ...] [--rounds 40] [--threads N] [--images 100] [--json PATH]

The engines of a model alternate, one inference each, in an order that reverses every round, so that other
load on the machine affects all alike. ``speedup`` is the median over the rounds of the time of FP32 in ONNX
Runtime divided by that of the engine. ``cpu_ms`` is the CPU time of all threads, which is the most reliable
figure on a busy machine. Preprocessing, decoding and NMS are in the graph and included in every figure.
``recordings_fps`` is frames per second with several inferences in flight, as in a run of files.

FP16 files are derived from the FP32 file. INT8 is the file that ships under the model's name, or lies beside
the ONNX file as ``STEM.int8.onnx``. Where there is none (``int8: "calibrated here"``), it is plain
calibration (99.99th percentile) of every layer that can be quantised.

Models that ship have trained weights: accuracy is measured on the first ``--images`` images of the
validation data, if those are available. ``retinanet-resnet18`` at 320 (128 channels, 4
dense layers a head) has random weights: latency only. Prints a table.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import SHARED, Figures, commit, machine, new_parser, report
from engines_files import RESNET18, letterboxed, precisions, shipped_int8, write_resnet18
from numpy.typing import NDArray

from edgevision.contract.manifest import INPUT_NAME, Manifest, Precision
from edgevision.contract.model_file import read_manifest
from edgevision.data.classes import NO_GROUPS, parse_groups
from edgevision.data.detection.dataset import load_coco
from edgevision.data.segmentation.dataset import load_segmentation
from edgevision.engines import Engine, load_engine
from edgevision.engines.base import usable_cores
from edgevision.engines.choose import FileFacts, choose_engines, has_int8_sums, machine_facts
from edgevision.errors import EdgeVisionError
from edgevision.evaluation.yardstick import DetectionYardstick, SegmentationYardstick, Yardstick
from edgevision.export.parity.parity import engines_here
from edgevision.pipeline import ThreadBudget
from edgevision.zoo import find_model

Kind = tuple[Precision, str]
"""A precision and an engine's name."""

ROADS = ("road=road,mark", "background=*")
MODELS = ("retinanet-light", "unet-road", "unet-light", RESNET18)
REFERENCE: Kind = ("fp32", "onnxruntime")
_WARM_UP = 3
_FLIGHT = 12
"""Frames of one measurement with several in flight."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One inference, in milliseconds: wall time, and CPU time of all threads."""

    wall_ms: float
    cpu_ms: float


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, help="that ship, ONNX files, or " + RESNET18)
    parser.add_argument("--rounds", type=int, default=40, help="of each model and engine")
    parser.add_argument(
        "--threads", type=int, default=usable_cores(), help="of the engine; default: all cores"
    )
    parser.add_argument("--images", type=int, default=100, help="for accuracy; 0 leaves it out")
    options = parser.parse_args()
    return report(
        lambda: measure(options.models, options.rounds, options.threads, options.images),
        options.json,
        show=markdown,
    )


def measure(models: Sequence[str], rounds: int, threads: int, images: int) -> Figures:
    """Every model on every engine."""
    return {
        "commit": commit(),
        "machine": {**machine(), "threads": threads, "int8_sums": has_int8_sums()},
        "rounds": rounds,
        "models": [measure_model(name, rounds, threads, images) for name in models],
        "load_after": round(os.getloadavg()[0], 2),
    }


def measure_model(name: str, rounds: int, threads: int, images: int) -> Figures:
    """Every engine on every precision of one model."""
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        source = write_resnet18(folder / f"{RESNET18}.onnx") if name == RESNET18 else find_model(name)
        manifest = read_manifest(source)
        frames = letterboxed(manifest)
        shipped = shipped_int8(name)
        origin = "beside it" if name.endswith(".onnx") else "shipped"
        files = precisions(source, folder, frames, shipped)
        engines: dict[Kind, Engine] = {}
        for precision, path in files.items():
            for name_of_engine in engines_here():
                engine = open_or_reason(path, name_of_engine, threads, 1)
                if isinstance(engine, str):
                    left_out[f"{precision} {name_of_engine}"] = engine
                else:
                    engines[precision, name_of_engine] = opened.enter_context(engine)
        timings = alternate(engines, frames, rounds)
        requests = ThreadBudget.of(threads, for_throughput=True).requests
        in_flight: dict[Kind, Engine] = {}
        for kind in engines:
            engine = open_or_reason(files[kind[0]], kind[1], threads, requests)
            if not isinstance(engine, str):
                in_flight[kind] = opened.enter_context(engine)
        rates = throughput(in_flight, frames, math.ceil(rounds / 6))
        yardstick = find_yardstick(manifest, images) if images and name != RESNET18 else None
        for kind, engine in engines.items():
            precision, engine_name = kind
            chosen = choose_engines(machine_facts(), FileFacts(precision))[0].engine == engine_name
            rows.append(
                {
                    "precision": precision,
                    "engine": engine.name,
                    "auto": chosen,
                    **summary(timings[kind], timings[REFERENCE]),
                    "recordings_fps": round(rates[kind], 1),
                    "accuracy": None if yardstick is None else round(yardstick.measure(engine).required(), 4),
                }
            )
    return {
        "model": name,
        "input": [manifest.input_width, manifest.input_height],
        "weights": "random: latency only" if name == RESNET18 else "trained",
        "int8": origin if shipped else "calibrated here",
        "figure": None if yardstick is None else yardstick.figure,
        "images": None if yardstick is None else yardstick.images,
        "data": None if yardstick is None else yardstick.source,
        "engines": rows,
        "left_out": left_out,
    }


def open_or_reason(path: Path, engine: str, threads: int, requests: int) -> Engine | str:
    """The engine, or the reason why it is not available."""
    try:
        return load_engine(path, engine, threads, requests=requests)
    except EdgeVisionError as error:
        return str(error)


def alternate(
    engines: Mapping[Kind, Engine], frames: Sequence[NDArray[np.uint8]], rounds: int
) -> dict[Kind, list[Timing]]:
    """One inference of each engine per round, on the same frame; every other round in reverse order."""
    timings: dict[Kind, list[Timing]] = {kind: [] for kind in engines}
    for engine in engines.values():
        for _ in range(_WARM_UP):
            engine.infer({INPUT_NAME: frames[0]})
    for number in range(rounds):
        inputs = {INPUT_NAME: frames[number % len(frames)]}
        for kind in list(engines)[:: -1 if number % 2 else 1]:
            wall, cpu = time.perf_counter(), time.process_time()
            engines[kind].infer(inputs)
            wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
            timings[kind].append(Timing(wall_s * 1e3, cpu_s * 1e3))
    return timings


def throughput(
    engines: Mapping[Kind, Engine], frames: Sequence[NDArray[np.uint8]], rounds: int
) -> dict[Kind, float]:
    """Frames per second with all requests of an engine in flight: medians over alternating rounds."""
    inputs = [{INPUT_NAME: frames[i % len(frames)]} for i in range(_FLIGHT)]
    rates: dict[Kind, list[float]] = {kind: [] for kind in engines}
    for number in range(rounds + 1):
        for kind in list(engines)[:: -1 if number % 2 else 1]:
            with ThreadPoolExecutor(engines[kind].requests) as threads:
                start = time.perf_counter()
                for _ in threads.map(engines[kind].infer, inputs):
                    pass
                rates[kind].append(_FLIGHT / (time.perf_counter() - start))
    return {kind: statistics.median(values[1:]) for kind, values in rates.items()}  # the first warms up


def summary(timings: Sequence[Timing], reference: Sequence[Timing]) -> dict[str, float]:
    """Times of one engine, and its gain over the reference, round by round."""
    ordered = sorted(one.wall_ms for one in timings)
    gains = [base.wall_ms / one.wall_ms for base, one in zip(reference, timings, strict=True)]
    return {
        "median_ms": round(statistics.median(ordered), 2),
        "p95_ms": round(ordered[math.ceil(0.95 * len(ordered)) - 1], 2),
        "cpu_ms": round(statistics.median(one.cpu_ms for one in timings), 2),
        "speedup": round(statistics.median(gains), 3),
    }


def find_yardstick(manifest: Manifest, images: int) -> Yardstick | None:
    """The first images of the shared validation data, in the model's classes; None if there are none.

    A segmenter of other classes than CamVid's is measured on the road alone.
    """
    if manifest.task == "detection":
        labels = SHARED / "detection" / "instances_val.json"
        if not labels.is_file():
            return None
        boxes = load_coco(labels, labels.parent / "images" / "val", manifest.classes)
        return DetectionYardstick(replace(boxes, images=boxes.images[:images]), labels.name)
    folder = SHARED / "camvid"
    if not (folder / "classes.json").is_file():
        return None
    known = load_segmentation(folder, "val").classes
    groups = NO_GROUPS if set(manifest.classes) <= set(known) else parse_groups(ROADS)
    classes = tuple(dict.fromkeys(groups.mapping(manifest.classes).values()))
    masks = load_segmentation(folder, "val", classes, groups=groups)
    return SegmentationYardstick(replace(masks, images=masks.images[:images]), "camvid val")


def markdown(result: Mapping[str, Any]) -> str:
    """The result as a table; the choices of ``--engine auto`` are marked."""
    lines = [
        "| model | precision | engine | median ms | p95 ms | CPU ms | speedup | recordings, fps | accuracy |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for model in result["models"]:
        for row in model["engines"]:
            accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:.3f} {model['figure']}"
            engine = row["engine"] + (" *" if row["auto"] else "")
            lines.append(
                f"| {model['model']} | {row['precision']} | {engine} | {row['median_ms']:.1f} "
                f"| {row['p95_ms']:.1f} | {row['cpu_ms']:.1f} | {row['speedup']:.2f} "
                f"| {row['recordings_fps']:.1f} | {accuracy} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
