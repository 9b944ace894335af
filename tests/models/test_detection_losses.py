"""The detector's criterion against hand-worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from edgevision.models.anchor_matching import AdaptiveMatcher, DetectionTargets, OverlapMatcher
from edgevision.models.anchors import AnchorConfig, anchor_grid, encode_boxes
from edgevision.models.detection_losses import DetectionLoss, certain_share, focal_loss
from edgevision.models.retinanet import HeadMaps, flatten_maps
from edgevision.models.settings import Certainty, DetectionLossConfig

BOXES = torch.tensor([[0.0, 0.0, 10.0, 10.0]])


def targets(
    boxes: torch.Tensor, labels: list[int], ignore: list[bool] | None = None, known: list[bool] | None = None
) -> DetectionTargets:
    return DetectionTargets(
        boxes.reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(ignore or [False] * len(labels), dtype=torch.bool),
        torch.tensor(known or [True, True]),
    )


@pytest.mark.parametrize(
    ("p", "target", "expected"),
    [
        (0.5, 1.0, 0.25 * 0.25 * math.log(2)),
        (0.5, 0.0, 0.75 * 0.25 * math.log(2)),
        (0.9, 1.0, 0.25 * 0.01 * -math.log(0.9)),
        (0.9, 0.0, 0.75 * 0.81 * -math.log(0.1)),
    ],
)
def test_focal_loss_by_hand(p: float, target: float, expected: float) -> None:
    logit = torch.tensor([math.log(p / (1 - p))])
    assert float(focal_loss(logit, torch.tensor([target]), 0.25, 2.0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_gradient_of_the_focal_loss_by_hand(p: float) -> None:
    """Lin et al. 2017, appendix B: ``alpha_t (1 - p_t)^gamma (gamma p_t log(p_t) + p_t - 1)`` for 1.

    For 0 it has the opposite sign and ``1 - p`` in place of ``p``.
    """
    for target, p_t, alpha_t, sign in ((1.0, p, 0.25, 1), (0.0, 1 - p, 0.75, -1)):
        logit = torch.tensor([math.log(p / (1 - p))], dtype=torch.float64, requires_grad=True)
        focal_loss(logit, torch.tensor([target], dtype=torch.float64), 0.25, 2.0).sum().backward()
        expected = sign * alpha_t * (1 - p_t) ** 2 * (2 * p_t * math.log(p_t) + p_t - 1)
        assert logit.grad is not None
        assert float(logit.grad) == pytest.approx(expected, rel=1e-6)


def test_focal_loss_equals_torchvisions() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(500, generator=generator) * 5
    wanted = (torch.rand(500, generator=generator) < 0.3).float()
    torch.testing.assert_close(
        focal_loss(logits, wanted, 0.4, 1.5), sigmoid_focal_loss(logits, wanted, 0.4, 1.5)
    )


def test_matching_by_hand() -> None:
    anchors = torch.tensor(
        [
            [0.0, 0.0, 10.0, 10.0],  # IoU 1: positive
            [0.0, 0.0, 10.0, 5.0],  # IoU 0.5: positive
            [0.0, 0.0, 10.0, 4.5],  # IoU 0.45: left out
            [0.0, 0.0, 10.0, 3.9],  # IoU 0.39: background
            [20.0, 20.0, 30.0, 30.0],  # IoU 0: background
        ]
    )
    matches = OverlapMatcher(0.5, 0.4)(anchors, targets(BOXES, [1]))
    assert matches.positive.tolist() == [0, 1]
    assert matches.objects.tolist() == [0, 0]
    assert matches.weight.tolist() == [[1, 1], [1, 1], [0, 0], [1, 1], [1, 1]]


def test_an_object_that_no_anchor_covers_well_takes_the_best_one() -> None:
    anchors = torch.tensor([[0.0, 0.0, 40.0, 40.0], [0.0, 0.0, 30.0, 30.0], [50.0, 50.0, 60.0, 60.0]])
    matches = OverlapMatcher(0.5, 0.4)(anchors, targets(BOXES, [0]))
    assert matches.positive.tolist() == [1]
    assert matches.weight.tolist() == [[1, 1], [1, 1], [1, 1]]


def test_regions_to_ignore_silence_their_own_class_only() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [2.0, 2.0, 4.0, 4.0], [20.0, 20.0, 30.0, 30.0]])
    matches = OverlapMatcher(0.5, 0.4)(anchors, targets(BOXES, [1], ignore=[True]))
    assert matches.positive.tolist() == []
    # The first anchor is the region, the second lies inside it, the third is elsewhere.
    assert matches.weight.tolist() == [[1, 0], [1, 0], [1, 1]]


def test_objects_count_from_the_original_list_when_regions_come_first() -> None:
    boxes = torch.tensor([[50.0, 50.0, 60.0, 60.0], [0.0, 0.0, 10.0, 10.0]])
    matches = OverlapMatcher(0.5, 0.4)(BOXES, targets(boxes, [0, 1], ignore=[True, False]))
    assert matches.objects.tolist() == [1]


def test_classes_that_a_data_set_does_not_label_teach_nothing() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    matches = OverlapMatcher(0.5, 0.4)(anchors, targets(BOXES, [0], known=[True, False]))
    assert matches.weight.tolist() == [[1, 0], [1, 0]]


def test_flattening_follows_the_order_of_the_anchors() -> None:
    config = AnchorConfig(strides=(8,), scales=(1.0,), ratios=(0.5, 2.0))
    grid = anchor_grid(config, 16, 24)[0]
    # Channel a * 4 + k holds coordinate k of anchor a, so flattening gives the grid back.
    maps = torch.from_numpy(grid.reshape(1, 2, 3, 2 * 4)).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(flatten_maps([maps], 4)[0].numpy(), grid)


@pytest.mark.parametrize("box", ["giou", "smooth_l1"])
def test_perfect_boxes_cost_nothing_and_wrong_ones_do(box: str) -> None:
    config = DetectionLossConfig(box=box)  # type: ignore[arg-type]
    anchors = AnchorConfig(strides=(8,), scales=(1.0,), ratios=(1.0,))
    loss = DetectionLoss(config, anchors, input_size=64, classes=2)
    grid = anchor_grid(anchors, 64, 64)[0]
    wanted = torch.tensor([[20.0, 20.0, 50.0, 54.0]])
    perfect = encode_boxes(wanted.numpy(), grid).astype(np.float32)
    deltas = torch.from_numpy(perfect.reshape(1, 8, 8, 4)).permute(0, 3, 1, 2)
    logits = torch.full((1, 2, 8, 8), -4.0)
    truth = [targets(wanted, [1])]
    good = loss(HeadMaps([logits], [deltas]), truth)
    bad = loss(HeadMaps([logits], [deltas + 0.3]), truth)
    assert float(good["box"]) == pytest.approx(0, abs=1e-5)
    assert float(bad["box"]) > 0.05


def test_certainty_by_hand() -> None:
    certain = certain_share(Certainty(0.45, 12.0), torch.tensor([0.45, 0.45 + math.log(3) / 12, 1.0]))
    torch.testing.assert_close(certain, torch.tensor([0.5, 0.75, 1.0]))


def test_the_loss_of_a_doubtful_label_is_least_at_its_probability() -> None:
    p = torch.linspace(0.01, 0.99, 99)
    losses = focal_loss(torch.logit(p), torch.full_like(p, 0.3), 0.25, 2.0)
    assert float(p[losses.argmin()]) == pytest.approx(0.3, abs=1e-5)
    # At p = 0.5: alpha_t = 0.3 * 0.25 + 0.7 * 0.75, factor 0.2^2, cross-entropy log 2.
    assert float(losses[49]) == pytest.approx(0.6 * 0.04 * math.log(2), rel=1e-4)


def test_a_doubtful_box_weighs_less_beside_a_certain_one() -> None:
    anchors = AnchorConfig(strides=(8,), scales=(1.0,), ratios=(1.0,), base_size=1.0)
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [16.0, 16.0, 24.0, 24.0]])  # the anchors of two cells
    deltas = torch.zeros(1, 4, 4, 4)
    deltas[0, 0, 0, 0] = 0.5  # off by half a side at the first box; the second is perfect
    logits = torch.full((1, 2, 4, 4), -4.0)

    def box_loss(certainty: Certainty | None) -> float:
        config = DetectionLossConfig(box="smooth_l1", certainty=certainty)
        truth = targets(boxes, [0, 0])._replace(scores=torch.tensor([0.45, 1.0]))
        return float(DetectionLoss(config, anchors, 32, 2)(HeadMaps([logits], [deltas]), [truth])["box"])

    off = 0.5 - 0.5 / 9  # smooth L1 of 0.5 with beta 1/9
    assert box_loss(None) == pytest.approx(off / 2, rel=1e-5)
    assert box_loss(Certainty(0.45, 12.0)) == pytest.approx(0.5 * off / 1.5, rel=1e-5)


def test_an_image_without_objects_has_a_finite_loss_and_gradient() -> None:
    anchors = AnchorConfig(strides=(8,), scales=(1.0,), ratios=(1.0,))
    loss = DetectionLoss(DetectionLossConfig(), anchors, input_size=32, classes=2)
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    losses = loss(HeadMaps([logits], [torch.zeros(1, 4, 4, 4)]), [targets(torch.zeros(0, 4), [])])
    # 16 anchors x 2 classes at p = 0.5: each costs 0.75 * 0.25 * log 2.
    assert losses["class"].item() == pytest.approx(32 * 0.75 * 0.25 * math.log(2), rel=1e-5)
    assert losses["box"].item() == 0
    losses["class"].backward()
    assert logits.grad is not None
    assert bool((logits.grad > 0).all())


def grid_of(strides: tuple[int, ...], side: int) -> tuple[torch.Tensor, AdaptiveMatcher]:
    """Square anchors of two cells a side, and the matcher for them."""
    config = AnchorConfig(strides=strides, base_size=2.0, scales=(1.0,), ratios=(1.0,))
    levels = anchor_grid(config, side, side)
    matcher = AdaptiveMatcher([len(level) for level in levels], 1, 0.4)
    return torch.from_numpy(np.concatenate(levels)), matcher


def test_adaptive_matching_by_hand() -> None:
    # Cells of 8 in a 64 x 64 image: 16 x 16 anchors around (4, 4), (12, 4) ... The object is the anchor
    # of cell (3, 3). Of its nine nearest cells, that one overlaps by 1, four neighbours by 8*16 / (2*256 -
    # 8*16) = 1/3, four diagonal ones by 64 / (512 - 64) = 1/7. Mean 0.3228, standard deviation 0.2687: the
    # threshold is 0.5915, and only the cell itself passes.
    anchors, matcher = grid_of((8,), 64)
    box = torch.tensor([20.0, 20.0, 36.0, 36.0])
    matches = matcher(anchors, targets(box, [1]))
    assert matches.positive.tolist() == [3 * 8 + 3]
    assert matches.objects.tolist() == [0]
    assert bool((matches.weight == 1).all())  # all the others are background, none is left out


def test_adaptive_matching_takes_the_level_that_fits() -> None:
    anchors, matcher = grid_of((8, 16), 64)
    # As large as the anchors of the second level, around its cell (1, 1) at (24, 24).
    matches = matcher(anchors, targets(torch.tensor([8.0, 8.0, 40.0, 40.0]), [0]))
    assert 64 + 4 + 1 in matches.positive.tolist()
    assert all(index >= 64 for index in matches.positive.tolist())


def test_adaptive_matching_gives_a_contested_anchor_to_the_better_object() -> None:
    anchors, matcher = grid_of((8,), 64)
    first, second = torch.tensor([20.0, 20.0, 36.0, 36.0]), torch.tensor([21.0, 20.0, 37.0, 36.0])
    matches = matcher(anchors, targets(torch.stack([second, first]), [0, 1]))
    taken = dict(zip(matches.positive.tolist(), matches.objects.tolist(), strict=True))
    assert taken[3 * 8 + 3] == 1


def test_adaptive_matching_leaves_no_object_out() -> None:
    anchors, matcher = grid_of((8, 16), 64)
    # Two pixels wide and between the centres of the cells: no anchor's centre lies in it.
    matches = matcher(anchors, targets(torch.tensor([7.0, 7.0, 9.0, 9.0]), [1]))
    assert len(matches.positive) > 0
    assert set(matches.objects.tolist()) == {0}


def test_adaptive_matching_keeps_regions_to_ignore_silent() -> None:
    anchors, matcher = grid_of((8,), 64)
    region, box = torch.tensor([20.0, 20.0, 36.0, 36.0]), torch.tensor([44.0, 44.0, 60.0, 60.0])
    matches = matcher(anchors, targets(torch.stack([region, box]), [1, 1], ignore=[True, False]))
    assert set(matches.objects.tolist()) == {1}
    assert matches.weight[3 * 8 + 3].tolist() == [1, 0]


def test_quality_asks_for_the_overlap_of_the_predicted_box() -> None:
    anchors = AnchorConfig(strides=(8,), scales=(1.0,), ratios=(1.0,), base_size=1.0)
    deltas = torch.zeros(1, 4, 4, 4)
    deltas[0, 0, 0, 0] = 0.5  # half a side off: overlap 4 * 8 / (2 * 64 - 4 * 8) = 1/3
    box = torch.tensor([0.0, 0.0, 8.0, 8.0])
    config = DetectionLossConfig(quality=True)
    loss = DetectionLoss(config, anchors, input_size=32, classes=2)

    def class_loss(p: float) -> float:
        logits = torch.full((1, 2, 4, 4), -20.0)
        logits[0, 1, 0, 0] = math.log(p / (1 - p))
        return float(loss(HeadMaps([logits], [deltas]), [targets(box, [1])])["class"])

    assert class_loss(1 / 3) == pytest.approx(0, abs=1e-6)
    assert class_loss(0.2) > 1e-3
    assert class_loss(0.9) > 1e-3
