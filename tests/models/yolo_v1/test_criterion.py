"""YOLO v1 by hand: the five terms of the loss, the responsible box, and decoding.

Also tests ``edgevision.models.yolo_v1.decoding``, ``edgevision.models.yolo_v1.network``,
``edgevision.models.yolo_v1.settings``.
"""

from __future__ import annotations

import math

import pytest
import torch

from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.settings import BackboneConfig
from edgevision.models.yolo_v1.criterion import YoloV1Loss
from edgevision.models.yolo_v1.decoding import YoloDecoding
from edgevision.models.yolo_v1.network import YoloAnswers, YoloV1
from edgevision.models.yolo_v1.settings import YoloV1Config

CONFIG = YoloV1Config(BackboneConfig("shufflenet_v2_x1_0", "random"), 64, channels=16)
"""2x2 cells of 32 pixels, two boxes a cell."""


def answers() -> YoloAnswers:
    """Cell 0 says: a box of a quarter of the input at its middle, and one of the whole input."""
    boxes = torch.full((1, 4, 2, 4), 0.5)
    boxes[0, 0, 1, 2:] = 1.0
    confidence = torch.full((1, 4, 2), 0.2)
    return YoloAnswers(boxes, confidence, torch.full((1, 4, 3), 0.4))


def targets(
    boxes: list[list[float]], labels: list[int], ignore: list[bool] | None = None
) -> DetectionTargets:
    flags = torch.tensor(ignore or [False] * len(boxes), dtype=torch.bool)
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    known = torch.ones(3, dtype=torch.bool)
    return DetectionTargets(corners, torch.tensor(labels, dtype=torch.int64), flags, known)


def test_the_five_terms_by_hand() -> None:
    # A box of 16 x 16 pixels (a quarter of the side, root 0.5) centred at (12, 16): cell 0, (0.375, 0.5).
    losses = YoloV1Loss(CONFIG, 3)(answers(), [targets([[4, 8, 20, 24]], [2])])
    # Box 0 of cell 0 is centred at (16, 16), of the same size: the overlap is 12 * 16 / (2 * 256 - 192).
    overlap = 192 / 320
    assert losses["centre"].item() == pytest.approx(5 * 0.125**2)
    assert losses["size"].item() == pytest.approx(0)
    assert losses["object"].item() == pytest.approx((0.2 - overlap) ** 2)
    assert losses["empty"].item() == pytest.approx(0.5 * 7 * 0.2**2)
    assert losses["class"].item() == pytest.approx(2 * 0.4**2 + 0.6**2)


def test_the_box_that_overlaps_most_is_responsible() -> None:
    losses = YoloV1Loss(CONFIG, 3)(answers(), [targets([[0, 0, 62, 62]], [0])])
    # Its centre, (31, 31), lies in cell 0; box 1 has the whole input, cut nowhere: (-16, -16, 48, 48).
    root = math.sqrt(62 / 64)
    assert losses["size"].item() == pytest.approx(5 * 2 * (1 - root) ** 2, rel=1e-4)


def test_of_two_objects_in_a_cell_the_larger_is_learnt() -> None:
    criterion = YoloV1Loss(CONFIG, 3)
    large, small = [2.0, 2, 30, 30], [12.0, 12, 20, 20]
    both = criterion(answers(), [targets([large, small], [0, 1])])
    turned = criterion(answers(), [targets([small, large], [1, 0])])
    alone = criterion(answers(), [targets([large], [0])])
    for name in alone:
        assert both[name].item() == pytest.approx(alone[name].item()) == pytest.approx(turned[name].item())


def test_an_image_without_objects_teaches_silence_outside_regions_to_ignore() -> None:
    losses = YoloV1Loss(CONFIG, 3)(answers(), [targets([], [])])
    assert losses["empty"].item() == pytest.approx(0.5 * 8 * 0.04)
    assert losses["object"].item() == losses["class"].item() == losses["centre"].item() == 0
    losses = YoloV1Loss(CONFIG, 3)(answers(), [targets([[0, 0, 32, 64]], [0], [True])])
    assert losses["empty"].item() == pytest.approx(0.5 * 4 * 0.04)


def test_scores_are_class_times_confidence_and_boxes_are_pixels() -> None:
    found = YoloDecoding(CONFIG, 3)(answers())
    assert found.boxes.shape == (1, 8, 4)
    assert found.boxes[0, 0].tolist() == [8, 8, 24, 24]
    assert found.boxes[0, 7].tolist() == [40, 40, 56, 56]  # cell 3
    assert found.scores.shape == (1, 8, 3)
    assert found.scores.unique().tolist() == pytest.approx([0.08])


def test_the_network_answers_for_each_cell() -> None:
    raw = YoloV1(CONFIG, 3).eval()(torch.zeros(2, 3, 64, 64))
    assert raw.boxes.shape == (2, 4, 2, 4)
    assert raw.confidence.shape == (2, 4, 2)
    assert raw.classes.shape == (2, 4, 3)
    assert all(((one > 0) & (one < 1)).all() for one in raw)
