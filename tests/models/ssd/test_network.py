"""An SSD by hand: anchors, offsets, matching, loss and decoding.

Also tests ``edgevision.models.ssd.anchors``, ``edgevision.models.ssd.criterion``,
``edgevision.models.ssd.decoding``, ``edgevision.models.ssd.settings``.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.settings import BackboneConfig
from edgevision.models.ssd.anchors import decode_offsets, ssd_anchors
from edgevision.models.ssd.criterion import SsdLoss
from edgevision.models.ssd.decoding import SsdDecoding
from edgevision.models.ssd.network import Ssd, SsdAnswers
from edgevision.models.ssd.settings import SsdConfig, SsdLossConfig

BACKBONE = BackboneConfig("shufflenet_v2_x1_0", "random")


def grid(size: int = 256, **settings: object) -> SsdConfig:
    """The 4x4 grid of one square anchor a cell that one starts with."""
    known = {"first_stride": 64, "levels": 1, "scales": (1.0,), "ratios": ((1.0, 1.0),), "channels": 16}
    return SsdConfig(BACKBONE, size, **{**known, **settings})  # type: ignore[arg-type]


def targets(
    boxes: list[list[float]], labels: list[int], ignore: list[bool] | None = None
) -> DetectionTargets:
    flags = torch.tensor(ignore or [False] * len(boxes))
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return DetectionTargets(
        corners, torch.tensor(labels, dtype=torch.int64), flags, torch.ones(2, dtype=torch.bool)
    )


def test_the_grid_that_one_starts_with() -> None:
    anchors, cells = ssd_anchors(grid())
    assert anchors.shape == (16, 4)
    assert anchors[0].tolist() == [32, 32, 64, 64]
    assert anchors[6].tolist() == [32 + 2 * 64, 32 + 64, 64, 64]  # row 1, column 2
    assert set(cells.tolist()) == {64}


def test_maps_halve_and_each_cell_has_an_anchor_for_each_scale_and_ratio() -> None:
    config = SsdConfig(BACKBONE, 320, first_stride=16, levels=4)
    assert config.grids() == (20, 10, 5, 3)
    anchors, cells = ssd_anchors(config)
    assert len(anchors) == 9 * (400 + 100 + 25 + 9)
    assert anchors[:3, 2:].tolist() == pytest.approx(np.array([[11.2, 11.2], [11.2, 5.6], [5.6, 11.2]]))
    assert cells[-1] == pytest.approx(320 / 3)


def test_a_centre_moves_half_a_cell_and_a_side_grows_by_half() -> None:
    anchors, cells = (torch.from_numpy(one) for one in ssd_anchors(grid()))
    still = decode_offsets(torch.zeros(16, 4), anchors, cells)
    assert still[0].tolist() == [0, 0, 64, 64]
    far = decode_offsets(torch.full((16, 4), 50.0), anchors, cells)
    assert far[0].tolist() == [64 - 48, 64 - 48, 64 + 48, 64 + 48]


def test_the_network_says_something_of_every_anchor() -> None:
    for config in (grid(), SsdConfig(BACKBONE, 96, first_stride=16, levels=3, channels=16)):
        raw = Ssd(config, 2).eval()(torch.zeros(1, 3, config.input_size, config.input_size))
        count = len(ssd_anchors(config)[0])
        assert raw.logits.shape == (1, count, 2)
        assert raw.offsets.shape == (1, count, 4)
        assert raw.logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.3)


def test_a_hand_worked_loss() -> None:
    """One object exactly on anchor 5: plain cross-entropy of ln 2 for 32 scores of 0.5, and no distance."""
    criterion = SsdLoss(grid(loss=SsdLossConfig(form="bce", box_weight=1.0)), 2)
    raw = SsdAnswers(torch.zeros(1, 16, 2), torch.zeros(1, 16, 4))
    losses = criterion(raw, [targets([[64, 64, 128, 128]], [1])])
    assert losses["class"].item() == pytest.approx(32 * math.log(2))
    assert losses["box"].item() == pytest.approx(0)
    # Eight pixels to the right: two of four corners are 8 / 256 off.
    losses = criterion(raw, [targets([[72, 64, 136, 128]], [1])])
    assert losses["box"].item() == pytest.approx(2 * 8 / 256 / 4)


def test_the_best_anchor_learns_a_small_object_and_two_learn_one_between_them() -> None:
    criterion = SsdLoss(grid(), 2)
    small = criterion.matcher(
        torch.tensor([[0.0, 0, 64, 64], [64, 0, 128, 64]]), targets([[10, 10, 20, 20]], [0])
    )
    assert small.positive.tolist() == [0]
    wide = torch.tensor([[0.0, 0, 64, 64], [16, 0, 80, 64], [64, 0, 128, 64]])
    both = criterion.matcher(wide, targets([[8, 0, 72, 64]], [0]))
    assert both.positive.tolist() == [0, 1]


def test_a_region_to_ignore_teaches_nothing() -> None:
    criterion = SsdLoss(grid(loss=SsdLossConfig(form="bce")), 2)
    raw = SsdAnswers(torch.zeros(1, 16, 2), torch.zeros(1, 16, 4))
    losses = criterion(raw, [targets([[0, 0, 128, 128]], [0], [True])])
    # The four anchors in the region are silent about class 0.
    assert losses["class"].item() == pytest.approx((32 - 4) * math.log(2))


def test_answers_are_boxes_and_probabilities() -> None:
    raw = SsdAnswers(torch.zeros(1, 16, 2), torch.zeros(1, 16, 4))
    answers = SsdDecoding(grid(), 2)(raw)
    assert answers.boxes[0, 15].tolist() == [192, 192, 256, 256]
    assert answers.scores.unique().tolist() == [0.5]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 250}, "input_size is 250; expected a positive multiple of 32"),
        ({"levels": 4}, "levels is 4; expected 1 or more, and a last map of one cell or more"),
        ({"scales": ()}, "scales or ratios is empty"),
        ({"loss": {"overlap": 0}}, "overlap is 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], words: str) -> None:
    if "loss" in settings:
        with pytest.raises(ValueError, match=words):
            SsdLossConfig(overlap=0)
    else:
        with pytest.raises(ValueError, match=words):
            grid(**settings)  # type: ignore[arg-type]
