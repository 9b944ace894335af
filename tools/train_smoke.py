"""The whole workshop in two to three minutes, for a detector and a segmenter on made-up images.

Trains, checks that the loss falls, evaluates, exports and runs the exported file, each step through the
command line.

    .venv/bin/python tools/train_smoke.py [--folder runs/smoke]

Exits with 1 and a line that says which expectation failed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.config import config_folder

SIDE = 128
CLASSES = ("disc", "square")
COLOURS = ((60, 60, 220), (220, 120, 40))

DETECTOR = [
    "name=smoke-detector",
    "classes=[disc, square]",
    f"model.input_size={SIDE}",
    "model.channels=48",
    "model.backbone.weights=random",
    "optimiser.lr_factors={}",
    "optimiser.warmup_images=160",
    "optimiser.ema_decay=0.98",
    "augment.mosaic=0.0",
    "loop.images=2400",
    "loop.validate_every=1200",
]
SEGMENTER = [
    "name=smoke-segmenter",
    "classes=[background, disc, square]",
    "colours=[[0, 0, 0], [220, 60, 60], [40, 120, 220]]",
    f"model.input_width={SIDE}",
    f"model.input_height={SIDE}",
    "model.channels=[48, 32, 24, 16]",
    "model.backbone.weights=random",
    "augment.crop_width=96",
    "augment.crop_height=96",
    "optimiser.lr_factors={}",
    "optimiser.lr=0.002",
    "optimiser.warmup_images=160",
    "optimiser.ema_decay=0.98",
    "loop.images=1600",
    "loop.validate_every=1600",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/smoke"))
    folder: Path = parser.parse_args().folder
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for split, count, seed in (("train", 240, 0), ("val", 40, 1)):
        make_images(folder / "data", split, count, seed)
    detector = smoke(folder, "retinanet-light", detector_data(folder), DETECTOR)
    segmenter = smoke(folder, "unet-light", segmenter_data(folder), SEGMENTER)
    expect(
        detector["ap50_mean"] > 0.5, f"the detector's ap50_mean is {detector['ap50_mean']}, expected over 0.5"
    )
    expect(segmenter["miou"] > 0.5, f"the segmenter's miou is {segmenter['miou']}, expected over 0.5")
    figures = f"ap50_mean {detector['ap50_mean']:.3f}, miou {segmenter['miou']:.3f}"
    say(f"train-smoke: trained, evaluated, exported and run: {figures}; {time.monotonic() - started:.0f} s")


def smoke(
    folder: Path, config: str, data: tuple[list[str], list[str]], settings: list[str]
) -> dict[str, Any]:
    """Trains, evaluates, exports and runs one model; returns its evaluation report."""
    sources, evaluation = data
    run = folder / config
    options = [part for setting in (*settings, *sources) for part in ("--set", setting)]
    edgevision("train", str(config_folder() / "models" / f"{config}.yaml"), "--out", str(run), *options)
    losses = [
        sum(value for key, value in entry.items() if key in ("class", "box", "cross_entropy", "dice"))
        for entry in map(json.loads, (run / "log.jsonl").read_text().splitlines())
        if "lr" in entry
    ]
    first, last = float(np.mean(losses[:5])), float(np.mean(losses[-5:]))
    expect(
        last < 0.7 * first, f"{config}: the loss went from {first:.3f} to {last:.3f}, expected a fall by 30 %"
    )
    model = run / "model.onnx"
    edgevision("export", str(run / "last.pt"), "--out", str(model))
    edgevision("eval", "--model", str(model), *evaluation, "--json", str(run / "report.json"))
    drawn, results = run / "drawn", run / "results.jsonl"
    images = folder / "data" / "images" / "val"
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
    report: dict[str, Any] = json.loads((run / "report.json").read_text())
    return report


def detector_data(folder: Path) -> tuple[list[str], list[str]]:
    """Settings and evaluation options for the detector."""
    data = folder / "data"

    def source(split: str) -> str:
        return f"{{kind: coco, annotations: {data}/{split}.json, images: {data}/images/{split}}}"

    settings = [
        f"data.train=[{source('train')}]",
        f"data.val={source('val')}",
        "data.description=made-up images",
    ]
    return settings, ["--data", str(data / "val.json"), "--images", str(data / "images" / "val")]


def segmenter_data(folder: Path) -> tuple[list[str], list[str]]:
    """Settings and evaluation options for the segmenter."""
    data = folder / "data"
    settings = [
        f"data.train=[{{folder: {data}, split: train}}]",
        f"data.val={{folder: {data}, split: val}}",
        "data.description=made-up images",
    ]
    return settings, ["--data", str(data), "--split", "val"]


def make_images(data: Path, split: str, count: int, seed: int) -> None:
    """Discs and squares on noise, labelled in COCO's json and as class maps."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for part in ("images", "labels"):
        (data / part / split).mkdir(parents=True)
    for number in range(count):
        image = cv2.resize(rng.integers(60, 200, (16, 16, 3), dtype=np.uint8), (SIDE, SIDE))
        labels = np.zeros((SIDE, SIDE), np.uint8)
        for corner in ((0, 0), (SIDE // 2, SIDE // 2)):
            kind = int(rng.integers(2))
            box = paint(image, labels, kind, corner, rng)
            annotations.append({"image_id": number, "category_id": kind + 1, "bbox": box})
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


def edgevision(*arguments: str) -> None:
    """Runs the command line; ends this program where it fails."""
    say(f"edgevision {' '.join(arguments[:2])} ...")
    done = subprocess.run([sys.executable, "-m", "edgevision", *arguments], capture_output=True, text=True)
    expect(done.returncode == 0, f"edgevision {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")


def expect(condition: bool, failure: str) -> None:
    if not condition:
        raise SystemExit(f"train-smoke: {failure}")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
