"""A detector's training of seconds: coloured rectangles on noise, a small input, random weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np

from edgevision.config import config_folder, load_config
from edgevision.data.detection.sources import CocoSource
from edgevision.training.config import DetectorTraining


class RunsCode:
    """What a crafted checkpoint holds: it makes a folder where it is unpickled.

    Args:
        trace: the folder.
    """

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._trace),)


def small_run(folder: Path, *overrides: str) -> DetectorTraining:
    """Twelve images of 64x64 with a red car or a blue dog; written into ``folder``."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    images, annotations = [], []
    for i in range(12):
        image = rng.integers(0, 80, (64, 64, 3), dtype=np.uint8)
        x, y, side = (int(v) for v in (*rng.integers(0, 30, 2), rng.integers(16, 32)))
        image[y : y + side, x : x + side] = (0, 0, 255) if i % 2 else (255, 0, 0)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), image)
        images.append({"id": i, "file_name": f"{i}.png"})
        annotations.append({"image_id": i, "category_id": 1 + i % 2, "bbox": [x, y, side, side]})
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "set.json").write_text(json.dumps(document))
    config = load_config(
        config_folder() / "models" / "retinanet-light.yaml",
        DetectorTraining,
        [
            "classes=[car, dog]",
            "model.backbone.weights=random",
            "model.input_size=64",
            "model.channels=16",
            "loop={images: 48, batch_size: 4, workers: 0, seed: 1, validate_every: 24, save_every: 8}",
            "optimiser.warmup_images=8",
            "optimiser.lr_factors={backbone: 0.0}",
            # What ships is tuned now and then; these tests ask other things.
            "loss={box: giou, box_weight: 2.0}",
            "augment={}",
            "distillation=null",
            *overrides,
        ],
    )
    source = CocoSource(str(folder / "set.json"), str(folder / "images"))
    return msgspec.structs.replace(
        config, data=msgspec.structs.replace(config.data, train=(source,), val=source)
    )
