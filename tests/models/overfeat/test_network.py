"""A sliding window: equal to the crop-by-crop answer, with a loss and a merging worked out by hand.

Also tests ``edgevision.models.overfeat.criterion``, ``edgevision.models.overfeat.decoding``,
``edgevision.models.overfeat.settings``.
"""

from __future__ import annotations

import math

import pytest
import torch

from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.overfeat.criterion import OverFeatLoss
from edgevision.models.overfeat.decoding import OverFeatDecoding, merged, overlaps
from edgevision.models.overfeat.network import OverFeat, OverFeatAnswers, windows
from edgevision.models.overfeat.settings import STRIDE, OverFeatConfig
from edgevision.models.settings import BackboneConfig

BACKBONE = BackboneConfig("shufflenet_v2_x1_0", "random", leaky=0.1)


def small(**settings: object) -> OverFeatConfig:
    """Windows of 111 pixels; over 160, four by four of them."""
    known = {"units": 1, "cells": 3, "hidden": 16, "scales": (1.0,)}
    return OverFeatConfig(BACKBONE, 160, **{**known, **settings})  # type: ignore[arg-type]


def target(boxes: list[list[float]], labels: list[int], ignore: bool = False) -> DetectionTargets:
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    flags = torch.full((len(boxes),), ignore, dtype=torch.bool)
    return DetectionTargets(
        corners, torch.tensor(labels, dtype=torch.int64), flags, torch.ones(2, dtype=torch.bool)
    )


@pytest.mark.parametrize(("units", "cells"), [(1, 3), (2, 1)])
def test_sliding_gives_what_the_classifier_says_of_each_crop(units: int, cells: int) -> None:
    config = small(units=units, cells=cells)
    torch.manual_seed(0)
    model = OverFeat(config, 3).eval()
    image = torch.randn(1, 3, 160, 160)
    slid = model.slide(image)
    (grid,) = config.grids()
    assert slid.logits.shape == (1, grid * grid, 4)
    assert windows(config).shape == (grid * grid, 4)
    crops = torch.cat(
        [
            image[:, :, top : top + config.window, left : left + config.window]
            for left, top, _, _ in windows(config).astype(int).tolist()
        ]
    )
    alone = model.slide(crops)  # one window in each
    assert alone.logits.shape == (grid * grid, 1, 4)
    torch.testing.assert_close(slid.logits[0], alone.logits[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(slid.offsets[0], alone.offsets[:, 0], rtol=1e-4, atol=1e-5)
    assert slid.logits.std(dim=1).min() > 1e-6, "windows that differ"


def test_windows_lie_at_the_stride_and_shrink_with_the_scale() -> None:
    config = small(scales=(1.0, 2.0))
    places = windows(config)
    assert config.window == 111
    assert config.sides() == (160, 320)
    assert config.grids() == (4, 14)
    assert places[:2].tolist() == [[0, 0, 111, 111], [STRIDE, 0, STRIDE + 111, 111]]
    assert places[16:18].tolist() == [[0, 0, 55.5, 55.5], [8, 0, 63.5, 55.5]]
    model = OverFeat(config, 3).eval()
    assert model(torch.zeros(1, 3, 160, 160)).logits.shape == (1, len(places), 4)


def test_a_hand_worked_loss() -> None:
    """One object where window 5 is: it and two windows that show nothing learn, each with three equal logits,
    ln 3. Half a window further, two of four corners are half a side off: a mean of a quarter."""
    config = small(negatives=2, box_weight=4.0, overlap=0.9)
    criterion = OverFeatLoss(config, 2)
    answers = OverFeatAnswers(torch.zeros(1, 16, 3), torch.zeros(1, 16, 4))
    losses = criterion(answers, [target([[16, 16, 127, 127]], [1])])
    assert losses["class"].item() == pytest.approx(math.log(3))
    assert losses["box"].item() == pytest.approx(0)
    moved = answers._replace(offsets=torch.tensor([0.5, 0.0, 0.5, 0.0]).expand(1, 16, 4))
    assert criterion(moved, [target([[16, 16, 127, 127]], [1])])["box"].item() == pytest.approx(4 * 0.25)


def test_only_the_most_offending_windows_learn_that_they_show_nothing() -> None:
    config = small(negatives=1, overlap=0.9)
    logits = torch.zeros(1, 16, 3)
    logits[0, 9, 0] = 5.0  # sure of a class where nothing is
    answers = OverFeatAnswers(logits, torch.zeros(1, 16, 4))
    offending = math.log(2 + math.exp(5.0))
    alone = OverFeatLoss(config, 2)(answers, [target([], [])])
    assert alone["class"].item() == pytest.approx(offending, rel=1e-5)
    assert alone["box"].item() == 0
    beside = OverFeatLoss(config, 2)(answers, [target([[0, 0, 111, 111]], [0])])
    assert beside["class"].item() == pytest.approx((offending + math.log(3)) / 2, rel=1e-5)
    # All windows overlap a region to ignore: nothing is learnt of them.
    region = OverFeatLoss(small(overlap=0.1), 2)(answers, [target([[0, 0, 160, 160]], [0], ignore=True)])
    assert region["class"].item() == 0


def test_boxes_of_one_class_that_overlap_become_their_weighted_mean() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [2, 0, 12, 10], [0, 0, 10, 10], [50, 50, 60, 60], [5, 5, 5, 5]]])
    assert overlaps(boxes)[0, 0].tolist() == pytest.approx([1, 80 / 120, 1, 0, 0])
    scores = torch.tensor([[[0.6, 0.0], [0.2, 0.0], [0.0, 0.9], [0.5, 0.0], [0.4, 0.0]]])
    found = merged(boxes, scores, 0.5)[0]
    # Three parts of the first and one of the second; the third is of another class.
    assert found[0].tolist() == pytest.approx([0.5, 0, 10.5, 10])
    assert found[1].tolist() == pytest.approx([0.5, 0, 10.5, 10])
    assert torch.equal(found[2:], boxes[0, 2:])


def test_answers_are_boxes_and_probabilities_without_the_column_for_nothing() -> None:
    config = small()
    offsets = torch.zeros(1, 16, 4)
    offsets[0, 0] = torch.tensor([1.0, 0.0, 1.0, 0.0])
    offsets[0, 1] = torch.tensor([1.0, 0.0, -1.0, 0.0])  # the right edge left of the left one
    logits = torch.zeros(1, 16, 3)
    logits[0, :, 2] = math.log(2)
    # Every other window is of the same class and overlaps some: merging off, to see the boxes.
    answers = OverFeatDecoding(small(merge=0.999), 2)(OverFeatAnswers(logits, offsets))
    assert answers.boxes[0, 0].tolist() == [111, 0, 222, 111]
    assert answers.boxes[0, 1].tolist() == [16, 0, 127, 111]
    assert answers.boxes[0, 15].tolist() == [48, 48, 159, 159]
    assert answers.scores[0, 3].tolist() == pytest.approx([0.25, 0.25])
    assert config.merge == 0.5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scales": (0.5,)}, "each to leave an input of 111 pixels"),
        ({"backbone": BackboneConfig("resnet18", "random")}, "expected shufflenet_v2_x1_0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OverFeatConfig(**{"backbone": BACKBONE, "input_size": 160, "units": 1, **settings})  # type: ignore[arg-type]
