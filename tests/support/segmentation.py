"""A segmentation set and a training run of seconds: coloured rectangles on a dark road."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np

from edgevision.config import config_folder
from edgevision.data.segmentation.dataset import SegmentationSource
from edgevision.training.config import SegmenterTraining, load_run

CLASSES = ("road", "car", "sign")
BGR = ((60, 60, 60), (0, 0, 220), (220, 120, 0))
IGNORE = 9


def write_set(folder: Path, train: int = 8, val: int = 4, size: tuple[int, int] = (96, 64)) -> Path:
    """A folder in the layout of :mod:`edgevision.data.segmentation.dataset`; the first row of each label is
    ignored.

    Names start with ``a_`` and ``b_`` in turn, as those of two sequences would.
    """
    rng = np.random.default_rng(5)
    width, height = size
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        names = [f"{'ab'[i % 2]}_{split}{i}" for i in range(count)]
        for name in names:
            ids = np.zeros((height, width), np.uint8)
            for class_id in (1, 2):
                x, y = int(rng.integers(0, width - 32)), int(rng.integers(0, height - 24))
                ids[y : y + 24, x : x + 32] = class_id
            image = np.array(BGR, np.uint8)[ids] + rng.integers(0, 30, (height, width, 3), dtype=np.uint8)
            ids[0] = IGNORE
            cv2.imwrite(str(folder / "images" / split / f"{name}.png"), image)
            cv2.imwrite(str(folder / "labels" / split / f"{name}.png"), ids)
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
    classes = [{"id": i, "name": name, "rgb": BGR[i][::-1]} for i, name in enumerate((*CLASSES,))]
    document = {
        "ignore_index": IGNORE,
        "classes": [*classes, {"id": IGNORE, "name": "void", "rgb": [0, 0, 0]}],
    }
    (folder / "classes.json").write_text(json.dumps(document))
    return folder


def small_run(folder: Path, *overrides: str) -> SegmenterTraining:
    """A run of the light UNet on such a set, with a small decoder and random weights."""
    run = load_run(
        config_folder() / "models" / "unet-light.yaml",
        [
            "name=small",
            "classes=[road, car, sign]",
            "colours=[[60, 60, 60], [220, 0, 0], [0, 120, 220]]",
            "model.backbone={name: shufflenet_v2_x1_0, weights: random}",
            "model.input_width=96",
            "model.input_height=64",
            "model.channels=[16, 16, 16, 16]",
            "model.dropout=0",
            "augment={photometric: 0.2, rotate: 0.2, scale_min: 0.9, scale_max: 1.3}",
            "loop={images: 32, batch_size: 4, workers: 0, seed: 1, validate_every: 16, save_every: 8}",
            "optimiser.lr=0.005",
            "optimiser.warmup_images=8",
            "optimiser.ema_decay=0.8",
            *overrides,
        ],
    )
    assert isinstance(run, SegmenterTraining)
    train, val = (SegmentationSource(str(folder), split) for split in ("train", "val"))
    data = msgspec.structs.replace(run.data, train=(train,), val=val)
    return msgspec.structs.replace(run, data=data)
