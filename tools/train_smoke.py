"""The whole workshop in some minutes, for a model of every family on made-up images.

Trains, checks that the loss falls, evaluates, exports and runs the exported file, each step through the
command line.

    .venv/bin/python tools/train_smoke.py [--folder runs/smoke] [--only retinanet-light,ssd]

Exits with 1 and a line that says which expectation failed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from needed import installed

with installed():
    import cv2
    import numpy as np
    from numpy.typing import NDArray

    from edgevision.config import config_folder, read_document

SIDE = 128
CLASSES = ("disc", "square")
COLOURS = ((60, 60, 220), (220, 120, 40))

NO_LOSSES = ("time", "seen", "lr", "images_per_second")
"""What a line of a run's log holds beside its losses."""

QUICK = [
    "optimiser.lr_factors={}",
    "optimiser.freeze_backbone_images=0",
    "optimiser.ema_decay=0.98",
]
"""Of every run: the whole network learns, from nothing."""


OWN_PYRAMID = ('initial=""', "model.pyramid=fpn")
"""Of a network that would begin with the shipped detector's pyramid."""


@dataclass(frozen=True)
class Case:
    """One family.

    Attributes:
        config: its configuration in ``configs/models``.
        labels: how its data are labelled, a key of :data:`LABELS`.
        settings: over those of the configuration and :data:`QUICK`.
        figures: what its report must hold at least, by a dotted key.
        fall: how far the loss must fall, as a share of where it begins; 0 for a family that is fitted at once
            and so has none.
        start: the setting that has it start from random weights; empty for a family that always does.
        made: settings that name a file, which it writes into the folder that it is given.
        refused: what the export says of a family that no engine runs; its checkpoint is measured instead.
    """

    config: str
    labels: str
    settings: tuple[str, ...]
    figures: dict[str, float]
    fall: float = 0.3
    start: str = "model.backbone.weights=random"
    made: Callable[[Path], tuple[str, ...]] = lambda folder: ()
    refused: str = ""


def two_class_cfg(folder: Path) -> tuple[str, ...]:
    """The network of ``yolo-v3.yaml`` for the classes here."""
    document = read_document(config_folder() / "models" / "yolo-v3.yaml")
    text: str = document["model"]["cfg"]
    before, after = len(document["classes"]), len(CLASSES)
    for wanted, given in (
        (f"classes={after}", f"classes={before}"),
        (f"filters={3 * (5 + after)}", f"filters={3 * (5 + before)}"),
    ):
        text = text.replace(f"{given}\n", f"{wanted}\n")
    path = folder / "yolo-v3.cfg"
    path.write_text(text)
    return (f"model.cfg={path}",)


SMALL_MAPS = (
    f"model.input_width={SIDE}",
    f"model.input_height={SIDE}",
    "augment.crop_width=96",
    "augment.crop_height=96",
    "loop.images=1600",
    "loop.validate_every=1600",
)
"""Of a segmenter."""


CASES = (
    Case(
        "retinanet-light",
        "boxes",
        (
            "model.channels=48",
            "optimiser.warmup_images=160",
            "augment.mosaic=0.0",
            "loop.images=2400",
            "loop.validate_every=1200",
        ),
        {"ap50_mean": 0.5},
    ),
    Case(
        "unet-light",
        "label maps",
        (
            *SMALL_MAPS,
            "model.channels=[48, 32, 24, 16]",
            "optimiser.lr=0.002",
            "optimiser.warmup_images=160",
        ),
        {"miou": 0.5},
    ),
    Case("fcn", "label maps", (*SMALL_MAPS, "optimiser.lr=0.004"), {"miou": 0.5}),
    Case("segnet", "label maps", SMALL_MAPS, {"miou": 0.5}, start=""),
    Case("deconvnet", "label maps", (*SMALL_MAPS, "model.middle=128"), {"miou": 0.5}, start=""),
    Case(
        "ssd",
        "boxes",
        ("model.levels=3", "model.channels=48", "loop.images=2400", "loop.validate_every=2400"),
        {"ap50_mean": 0.4},
    ),
    Case(
        "yolo-v1",
        "boxes",
        ("model.channels=64", "loop.images=2400", "loop.validate_every=2400"),
        {"ap50_mean": 0.3},
    ),
    Case(
        "yolo-v3",
        "boxes",
        ("loop.images=2400", "loop.validate_every=2400"),
        {"ap50_mean": 0.6},
        start="model.weights=random",
        made=two_class_cfg,
    ),
    Case(
        "r-cnn",
        "boxes",
        (
            "model.search.count=50",
            "model.crop=64",
            "model.fit.images=80",
            "model.fit.cost=1.0",
            "model.fit.ridge=1.0",
        ),
        {"ap50_mean": 0.7},
        fall=0,
        refused="train family faster-rcnn",
    ),
    Case(
        "fast-rcnn",
        "boxes",
        (
            "model.search.count=50",
            "model.regions.hidden=64",
            "model.regions.samples=32",
            "optimiser.lr=0.002",
            "loop.batch_size=8",
            "loop.images=800",
            "loop.validate_every=800",
        ),
        {"ap50_mean": 0.3},
        refused="train family faster-rcnn",
    ),
    Case(
        "faster-rcnn",
        "boxes",
        (
            *OWN_PYRAMID,
            "model.channels=48",
            "model.regions.hidden=64",
            "model.proposals.count=40",
            "loop.images=1600",
            "loop.validate_every=1600",
        ),
        {"ap50_mean": 0.1},
    ),
    Case(
        "mask-rcnn",
        "boxes",
        (
            *OWN_PYRAMID,
            "model.channels=48",
            "model.regions.hidden=64",
            "model.proposals.count=40",
            "model.masks.channels=16",
            "loop.images=1600",
            "loop.validate_every=1600",
        ),
        {"ap50_mean": 0.1},
    ),
    Case(
        "largest-object",
        "boxes",
        (
            "model.channels=32",
            "model.hidden=64",
            "model.dropout=0.1",
            "augment={photometric: 0.0, zoom_out: 0.0, iou_crop: 0.0, aspect: 1.0}",
            "optimiser.lr=0.003",
            "loop.images=2400",
            "loop.validate_every=2400",
        ),
        {"largest_object.class_accuracy": 0.6},
    ),
    Case(
        "overfeat",
        "boxes",
        (
            "model.units=1",
            "model.cells=1",
            "model.scales=[1.0, 1.5, 2.0]",
            "model.hidden=64",
            "loop.images=1600",
            "loop.validate_every=1600",
        ),
        {"ap50_mean": 0.3},
    ),
    Case(
        "classifier",
        "crops",
        ("model.channels=64", "loop.images=1600", "loop.validate_every=1600"),
        {"top1": 0.9},
        0.2,  # of the smoothed label a part is never learnt
    ),
    Case(
        "multi-label",
        "labels",
        ("model.channels=64", "loop.images=1600", "loop.validate_every=1600"),
        {"map": 0.8},
    ),
)
"""In the order in which they run."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("runs/smoke"),
        help="to work in, default runs/smoke; what is in it is deleted first",
    )
    parser.add_argument("--only", default="", help="configurations, separated by commas; default: all")
    options = parser.parse_args()
    folder: Path = options.folder
    known = [case.config for case in CASES]
    names = [name for name in options.only.split(",") if name] or known
    unknown = ", ".join(name for name in names if name not in known)
    expect(not unknown, f"no case is called {unknown}; expected some of {', '.join(known)}")
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for split, count, seed in (("train", 240, 0), ("val", 40, 1)):
        make_images(folder / "data", split, count, seed)
    seen = []
    for case in CASES:
        if case.config not in names:
            continue
        report = smoke(folder, case)
        for key, least in case.figures.items():
            value = found(report, key)
            expect(value > least, f"{case.config}: {key} is {value}, expected over {least}")
            seen.append(f"{case.config} {key} {value:.3f}")
    say(f"train-smoke: {', '.join(seen)}; {time.monotonic() - started:.0f} s")


def found(report: dict[str, Any], key: str) -> float:
    """The figure of a dotted key."""
    value: Any = report
    for part in key.split("."):
        value = value[part]
    return float(value)


def smoke(folder: Path, case: Case) -> dict[str, Any]:
    """Trains, evaluates, exports and runs one model; returns its evaluation report."""
    sources, evaluation = LABELS[case.labels](folder / "data")
    config = case.config
    run = folder / config
    made = case.made(folder)
    start = [case.start] if case.start else []
    settings = (f"name=smoke-{config}", *sources, *start, *QUICK, *case.settings, *made)
    options = [part for setting in settings for part in ("--set", setting)]
    edgevision("train", str(config_folder() / "models" / f"{config}.yaml"), "--out", str(run), *options)
    if case.fall:
        check_fall(run / "log.jsonl", case)
    checkpoint, model = run / "last.pt", run / "model.onnx"
    report = run / "report.json"
    if case.refused:
        line = edgevision("export", str(checkpoint), "--out", str(model), fails=True)
        expect(case.refused in line, f"{config}: the export said {line!r}, expected {case.refused!r}")
        edgevision("eval", "--model", str(checkpoint), *evaluation, "--json", str(report))
    else:
        edgevision("export", str(checkpoint), "--out", str(model))
        edgevision("eval", "--model", str(model), *evaluation, "--json", str(report))
        run_on_images(folder / "data" / "images" / "val", model, config)
    figures: dict[str, Any] = json.loads(report.read_text())
    return figures


def check_fall(log: Path, case: Case) -> None:
    """The loss of the last steps is below that of the first."""
    losses = [
        sum(value for key, value in entry.items() if key not in NO_LOSSES)
        for entry in map(json.loads, log.read_text().splitlines())
        if "lr" in entry
    ]
    first, last = float(np.mean(losses[:5])), float(np.mean(losses[-5:]))
    expect(
        last < (1 - case.fall) * first,
        f"{case.config}: the loss went from {first:.3f} to {last:.3f}, expected a fall by {case.fall:.0%}",
    )


def run_on_images(images: Path, model: Path, config: str) -> None:
    """Runs an exported file on every image, drawn and written."""
    drawn, results = model.with_name("drawn"), model.with_name("results.jsonl")
    drawn.mkdir()
    edgevision(
        "run",
        "--source",
        str(images),
        "--model",
        str(model),
        "--output",
        str(drawn),
        "--save-json",
        str(results),
    )
    lines = len(results.read_text().splitlines())
    expect(lines == 40, f"{config}: {lines} results for 40 images")


Labelled = tuple[list[str], list[str]]
"""Settings for a training, and options for an evaluation."""


def coco_data(data: Path, kind: str) -> Labelled:
    """Boxes in COCO's json, for a detector (``coco``) or a classifier (``crops``, ``labels``)."""

    def source(split: str) -> str:
        return f"{{kind: {kind}, annotations: {data}/{split}.json, images: {data}/images/{split}}}"

    settings = [
        "classes=[disc, square]",
        f"model.input_size={SIDE}",
        f"data.train=[{source('train')}]",
        f"data.val={source('val')}",
        "data.description=made-up images",
    ]
    options = ["--data", str(data / "val.json"), "--images", str(data / "images" / "val")]
    return settings, [*options, "--crops"] if kind == "crops" else options


def label_map_data(data: Path) -> Labelled:
    """Label maps, for a segmenter."""
    settings = [
        "classes=[background, disc, square]",
        "colours=[[0, 0, 0], [220, 60, 60], [40, 120, 220]]",
        f"data.train=[{{folder: {data}, split: train}}]",
        f"data.val={{folder: {data}, split: val}}",
        "data.description=made-up images",
    ]
    return settings, ["--data", str(data), "--split", "val"]


LABELS: dict[str, Callable[[Path], Labelled]] = {
    "boxes": lambda data: coco_data(data, "coco"),
    "crops": lambda data: coco_data(data, "crops"),
    "labels": lambda data: coco_data(data, "labels"),
    "label maps": label_map_data,
}
"""How the made-up data are labelled."""


def make_images(data: Path, split: str, count: int, seed: int) -> None:
    """Discs and squares on noise, labelled in COCO's json and as class maps."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for part in ("images", "labels"):
        (data / part / split).mkdir(parents=True)
    for number in range(count):
        noise = rng.integers(60, 200, (16, 16, 3), dtype=np.uint8)
        image = np.asarray(cv2.resize(noise, (SIDE, SIDE)), np.uint8)
        labels = np.zeros((SIDE, SIDE), np.uint8)
        for corner in ((0, 0), (SIDE // 2, SIDE // 2)):
            kind = int(rng.integers(2))
            box = paint(image, labels, kind, corner, rng)
            annotations.append(
                {
                    "image_id": number,
                    "category_id": kind + 1,
                    "bbox": box,
                    "segmentation": [outline(kind, box)],
                }
            )
        cv2.imwrite(str(data / "images" / split / f"{number:03d}.png"), image)
        cv2.imwrite(str(data / "labels" / split / f"{number:03d}.png"), labels)
        images.append({"id": number, "file_name": f"{number:03d}.png", "width": SIDE, "height": SIDE})
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (data / f"{split}.json").write_text(json.dumps(document))
    names = ("background", *CLASSES)
    (data / "classes.json").write_text(
        json.dumps({"classes": [{"id": i, "name": n} for i, n in enumerate(names)]})
    )


def outline(kind: int, box: list[int]) -> list[float]:
    """The polygon of a shape that :func:`paint` drew in a box, ``[x, y, x, y, ...]``."""
    x, y, side, _ = box
    if kind == 1:
        return [x, y, x + side, y, x + side, y + side, x, y + side]
    turns = np.arange(32) * (2 * np.pi / 32)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1) * (side / 2) + (x + side / 2, y + side / 2)
    return [float(value) for value in circle.ravel()]


def paint(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    kind: int,
    corner: tuple[int, int],
    rng: np.random.Generator,
) -> list[int]:
    """Draws one shape in the quarter of the image that begins at ``corner``; returns its box."""
    side = 2 * int(rng.integers(12, 26))
    x, y = (start + int(rng.integers(0, SIDE // 2 - side + 1)) for start in corner)
    for canvas, value in ((image, COLOURS[kind]), (labels, (kind + 1,))):
        if kind == 0:
            cv2.circle(canvas, (x + side // 2, y + side // 2), side // 2, value, -1)
        else:
            cv2.rectangle(canvas, (x, y), (x + side - 1, y + side - 1), value, -1)
    return [x, y, side, side]


def edgevision(*arguments: str, fails: bool = False) -> str:
    """Runs the command line and returns what it says; ends this program where it fails, or does not though it
    should."""
    say(f"edgevision {' '.join(arguments[:2])} ...")
    done = subprocess.run([sys.executable, "-m", "edgevision", *arguments], capture_output=True, text=True)
    outcome = f"edgevision {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}"
    expect((done.returncode != 0) is fails, outcome)
    return done.stderr


def expect(condition: bool, failure: str) -> None:
    if not condition:
        raise SystemExit(f"train-smoke: {failure}")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
