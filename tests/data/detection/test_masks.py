"""Shapes drawn as masks, and masks that move along with their boxes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgevision.contract.manifest import Resize
from edgevision.data.detection.augment import DetectionAugment
from edgevision.data.detection.loading import DetectionData
from edgevision.data.detection.masks import draw_shapes
from edgevision.data.detection.sources import CocoSource, YoloSource, load_source
from edgevision.data.formats.raw import Shape
from edgevision.data.settings import AugmentConfig
from edgevision.errors import DataError

SQUARE = [10.0, 20.0, 30.0, 20.0, 30.0, 40.0, 10.0, 40.0]


def test_polygons_and_run_lengths_are_drawn_at_the_size_that_was_read() -> None:
    runs = {"size": [4, 4], "counts": [4, 8, 4]}  # columns 1 and 2 of four
    masks = draw_shapes([Shape([SQUARE]), Shape(), Shape(runs)], 32, 32, 0.5, 0.5)
    assert masks[0].sum() == 100
    assert masks[0, 10:20, 5:15].all()
    assert not masks[1].any()
    assert masks[2, :, 8:24].all()
    assert masks[2].sum() == 32 * 16


@pytest.fixture
def source(tmp_path: Path) -> CocoSource:
    """One image of 64 x 48 pixels with a bright square and its polygon."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[20:40, 10:30] = 255
    cv2.imwrite(str(tmp_path / "one.png"), image)
    document = {
        "images": [{"id": 1, "file_name": "one.png", "width": 64, "height": 48}],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 20, 20], "segmentation": [SQUARE]}
        ],
    }
    (tmp_path / "labels.json").write_text(json.dumps(document))
    return CocoSource(str(tmp_path / "labels.json"), str(tmp_path))


def test_masks_follow_their_objects_through_every_step(source: CocoSource) -> None:
    data = load_source(source, ["square"], shapes=True)
    config = AugmentConfig(photometric=0, zoom_out=0.5, iou_crop=0.5, rotate=0.3, flip=0.5, mosaic=0.3)
    loaded = DetectionData([data], 64, Resize(), DetectionAugment(config, 0))
    seen = 0
    for position in range(24):
        sample = loaded[position, 0]
        assert sample.masks is not None
        assert sample.masks.shape == (len(sample.boxes), 64, 64)
        bright = (sample.image[..., 0] > 128).to(torch.uint8)
        covered = sample.masks.amax(dim=0) if len(sample.masks) else torch.zeros_like(bright)
        shared, either = (covered & bright).sum().item(), (covered | bright).sum().item()
        assert shared >= 0.75 * either
        for mask, box in zip(sample.masks, sample.boxes, strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            seen += 1
            assert columns.min() >= box[0].item() - 1.5
            assert rows.max() < box[3].item() + 1.5
    assert seen > 20


def test_without_shapes_there_are_no_masks(source: CocoSource) -> None:
    loaded = DetectionData([load_source(source, ["square"])], 64, Resize(), None)
    assert loaded[0, 0].masks is None


def test_only_coco_holds_shapes() -> None:
    with pytest.raises(DataError, match="expected kind: coco"):
        load_source(YoloSource("folder"), ["square"], shapes=True)
