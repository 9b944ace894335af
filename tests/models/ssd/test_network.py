"""An SSD by hand: anchors, offsets, matching, loss and decoding.

Also tests ``edgevision.models.ssd.anchors``, ``edgevision.models.ssd.criterion``,
``edgevision.models.ssd.decoding``, ``edgevision.models.ssd.settings``.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from edgevision.evaluation.detection import evaluate_detections
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.dense import DenseDecoder
from edgevision.models.settings import BackboneConfig, DecodeConfig
from edgevision.models.ssd.anchors import as_corners, decode_offsets, ssd_anchors
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
    assert anchors[:3, 2:].tolist() == pytest.approx(np.array([[16, 16], [16, 8], [8, 16]]))
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
        assert raw.offsets.abs().max().item() < 0.5  # every box begins near its anchor


def test_every_map_of_the_backbone_is_predicted_from() -> None:
    """Its last ones know most of what objects are: none is passed over, and the coarser follow from it."""
    for first, levels, own in ((16, 1, [232]), (16, 4, [232, 464]), (32, 2, [464]), (64, 2, [])):
        model = Ssd(SsdConfig(BACKBONE, 256, first_stride=first, levels=levels, channels=16), 2)  # type: ignore[arg-type]
        widths = [tower[0].in_channels for tower in model.towers]  # type: ignore[index,union-attr]
        assert widths == [*own, *[16] * (levels - len(own))]
        if model.shrink:
            assert model.shrink[0][0].in_channels == 464  # type: ignore[index,union-attr]


def test_a_hand_worked_loss() -> None:
    """One object exactly on anchor 5: plain cross-entropy of ln 2 for 32 scores of 0.5, and no distance."""
    criterion = SsdLoss(grid(loss=SsdLossConfig(form="bce", box_weight=1.0)), 2)
    raw = SsdAnswers(torch.zeros(1, 16, 2), torch.zeros(1, 16, 4))
    losses = criterion(raw, [targets([[64, 64, 128, 128]], [1])])
    assert losses["class"].item() == pytest.approx(32 * math.log(2))
    assert losses["box"].item() == pytest.approx(0)
    # Eight pixels to the right: two of four corners are an eighth of the cell off.
    losses = criterion(raw, [targets([[72, 64, 136, 128]], [1])])
    assert losses["box"].item() == pytest.approx(2 * 8 / 64 / 4)


def test_a_small_object_counts_as_much_as_a_large_one() -> None:
    """The same share of its cell off, on the finest map and on the next: the same loss of the box."""
    config = SsdConfig(
        BACKBONE, 96, first_stride=16, levels=2, scales=(1.0,), ratios=((1.0, 1.0),), channels=16
    )
    criterion = SsdLoss(config, 2)
    count = len(ssd_anchors(config)[0])
    raw = SsdAnswers(torch.zeros(1, count, 2), torch.zeros(1, count, 4))
    small = criterion(raw, [targets([[18, 16, 34, 32]], [0])])
    large = criterion(raw, [targets([[36, 32, 68, 64]], [0])])
    assert small["box"].item() == pytest.approx(config.loss.box_weight * 2 / 16 / 2)
    assert small["box"].item() == pytest.approx(large["box"].item())


def test_anchors_of_all_maps_leave_no_size_of_a_square_uncovered() -> None:
    """With one centre, an anchor overlaps a square by more than half: sides from 12 to 320 of 320 pixels."""
    anchors = torch.from_numpy(ssd_anchors(SsdConfig(BACKBONE, 320, levels=5))[0])
    shapes = as_corners(torch.cat([torch.zeros(len(anchors), 2), anchors[:, 2:]], dim=1).unique(dim=0))
    sides = torch.arange(12, 321, 4)[:, None].float()
    squares = as_corners(torch.cat([torch.zeros(len(sides), 2), sides, sides], dim=1))
    assert (box_iou(squares, shapes).max(dim=1).values > 0.5).all()


def test_eight_images_are_learnt_by_heart() -> None:
    """Discs of three sizes and two classes: nearly all are found again."""
    torch.manual_seed(0)
    config = SsdConfig(BACKBONE, 96, levels=3, channels=32, dropout=0.0)
    images, labelled = torch.zeros(8, 3, 96, 96), []
    for number, image in enumerate(images):
        boxes = [[4 + 2 * number, 6, 24 + 2 * number, 26], [30, 40, 30 + 40 + 2 * number, 90]]
        for label, (x, y, right, bottom) in enumerate(boxes):
            image[label, y:bottom, x:right] = 2.0
        labelled.append(targets([[float(side) for side in box] for box in boxes], [0, 1]))
    network, criterion = Ssd(config, 2).train(), SsdLoss(config, 2)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(60):
        loss = torch.stack(list(criterion(network(images), labelled).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    decoder = DenseDecoder(SsdDecoding(config, 2), 96, DecodeConfig())
    found = dict(enumerate(decoder(network(images))))
    truth = {
        image: GroundTruth(one.boxes.numpy(), one.labels.numpy(), one.ignore.numpy())
        for image, one in enumerate(labelled)
    }
    assert evaluate_detections(found, truth, ("small", "large")).figures.ap50 > 0.9


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


def test_a_last_map_without_a_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="levels is 4; expected a last map of one cell or more"):
        grid(levels=4)
