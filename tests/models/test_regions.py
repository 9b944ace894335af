"""The second stage by hand: which regions learn, their loss, and the boxes that follow."""

from __future__ import annotations

import math

import pytest
import torch

from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.regions import (
    RegionAnswers,
    RegionBoxes,
    RegionDecoder,
    RegionDecoding,
    RegionLoss,
    RegionSampler,
    RegionSamples,
    RegionStage,
    as_regions,
    numbered,
    region_answers,
    region_boxes,
)
from edgevision.models.settings import DecodeConfig, RegionConfig


def targets(
    boxes: list[list[float]],
    labels: list[int],
    ignore: list[bool] | None = None,
    known: tuple[bool, ...] = (True, True),
) -> DetectionTargets:
    flags = torch.tensor(ignore or [False] * len(boxes), dtype=torch.bool)
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return DetectionTargets(corners, torch.tensor(labels, dtype=torch.int64), flags, torch.tensor(known))


def test_half_an_object_is_enough_and_the_objects_are_regions_too() -> None:
    proposals = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 4], [50, 50, 60, 60]])
    torch.manual_seed(0)
    found = RegionSampler(0.5, 8, 0.5)(proposals, targets([[0, 0, 10, 8]], [1]))
    assert len(found.boxes) == 4  # IoU 0.8, 0.5, 0, and the object itself
    assert len(found.objects) == 3
    assert found.boxes[3].tolist() == [50, 50, 60, 60]
    assert not found.silent.any()


def test_no_more_than_a_share_shows_objects() -> None:
    proposals = torch.cat(
        [torch.tensor([[0.0, 0, 10, 10]]).repeat(20, 1), torch.tensor([[50.0, 50, 60, 60]]).repeat(20, 1)]
    )
    found = RegionSampler(0.5, 8, 0.25)(proposals, targets([[0, 0, 10, 10]], [0]))
    assert (len(found.objects), len(found.boxes)) == (2, 8)


def test_what_nobody_labelled_is_silent() -> None:
    proposals = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    found = RegionSampler(0.5, 8, 0.5)(proposals, targets([[48, 48, 70, 70]], [0], [True], (True, False)))
    assert len(found.objects) == 0
    by_place = dict(zip(map(tuple, found.boxes.tolist()), found.silent.tolist(), strict=True))
    assert by_place == {(0, 0, 10, 10): [False, True], (50, 50, 60, 60): [True, True]}


def test_the_loss_by_hand() -> None:
    region = torch.tensor([[0.0, 0, 10, 20], [30, 30, 40, 40]])
    sample = RegionSamples(region, torch.tensor([0]), torch.zeros(2, 2, dtype=torch.bool))
    truth = targets([[1, 0, 11, 20]], [1])
    # p = (1, 2, 5) / 8 and (2, 1, 1) / 4: -log 5/8 and -log 1/2, over two regions.
    logits = torch.log(torch.tensor([[1.0, 2, 5], [2, 1, 1]]))
    offsets = torch.zeros(2, 2, 4)
    losses = RegionLoss(RegionConfig(box_weight=2.0))(RegionAnswers(logits, offsets), [sample], [truth])
    assert losses["class"].item() == pytest.approx((math.log(8 / 5) + math.log(2)) / 2)
    # dx = 1 / 10 in units of 0.1 is 1: smooth L1 of 1 is 0.5; twice that over two regions.
    assert losses["box"].item() == pytest.approx(2 * 0.5 / 2)
    offsets[0, 1, 0] = 1.0
    losses = RegionLoss(RegionConfig())(RegionAnswers(logits, offsets), [sample], [truth])
    assert losses["box"].item() == pytest.approx(0, abs=1e-6)


def test_a_silent_class_counts_as_background() -> None:
    silent = torch.tensor([[False, True]])
    sample = RegionSamples(torch.tensor([[0.0, 0, 9, 9]]), torch.zeros(0, dtype=torch.int64), silent)
    logits = torch.log(torch.tensor([[1.0, 2, 5]]))
    losses = RegionLoss(RegionConfig())(
        RegionAnswers(logits, torch.zeros(1, 2, 4)), [sample], [targets([], [])]
    )
    assert losses["class"].item() == pytest.approx(-math.log(6 / 8))
    assert losses["box"].item() == 0


def test_each_class_has_its_own_box() -> None:
    answers = region_answers(
        (torch.log(torch.tensor([[2.0, 1, 1]])), torch.tensor([[9.0] * 4 + [1, 0, 0, 0] + [0, 0, 0, 0]]))
    )
    regions = torch.tensor([[[10.0, 10, 20, 30]]])
    found = region_boxes(answers, regions, 64)
    assert found.labels.tolist() == [[0, 1]]
    assert found.scores[0].tolist() == pytest.approx([0.25, 0.25])
    assert found.boxes[0, 0].tolist() == pytest.approx([11, 10, 21, 30])  # dx is 0.1 of a width of 10
    assert found.boxes[0, 1].tolist() == pytest.approx([10, 10, 20, 30])
    assert numbered([regions[0], regions[0]]).tolist() == [[0, 10, 10, 20, 30], [1, 10, 10, 20, 30]]


def test_the_decoder_suppresses_within_a_class() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10]]])
    raw = RegionBoxes(boxes, torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([[0, 0, 1]]))
    found = RegionDecoder(torch.nn.Identity(), 64, DecodeConfig())(raw)
    assert found[0].class_ids.tolist() == [0, 1]
    assert found[0].scores.tolist() == pytest.approx([0.9, 0.7])


def test_proposals_of_all_images_are_looked_at_together() -> None:
    seen: list[torch.Tensor] = []

    def classify(regions: torch.Tensor) -> RegionAnswers:
        seen.append(regions)
        return RegionAnswers(torch.zeros(len(regions), 3), torch.zeros(len(regions), 2, 4))

    found = RegionDecoding(32)(RegionStage(torch.ones(2, 1, 4) * torch.tensor([0, 0, 8, 8]), classify))
    assert seen[0].tolist() == as_regions(torch.tensor([[[0, 0, 8, 8]]] * 2).float()).tolist()
    assert seen[0].tolist() == [[0, 0, 0, 8, 8], [1, 0, 0, 8, 8]]
    assert found.boxes.shape == (2, 2, 4)
    assert found.scores[0].tolist() == pytest.approx([1 / 3, 1 / 3])


def test_the_background_is_drawn_from_near_the_objects() -> None:
    proposals = torch.tensor([[0.0, 0, 10, 3], [50, 50, 60, 60]])
    found = RegionSampler(0.5, 8, 0.5, 0.1)(proposals, targets([[0, 0, 10, 10]], [0]))
    assert found.boxes.tolist() == [[0, 0, 10, 10], [0, 0, 10, 3]]
    far = RegionSampler(0.5, 8, 0.5, 0.1)(proposals[1:], targets([[0, 0, 10, 10]], [0]))
    assert far.boxes[1].tolist() == [50, 50, 60, 60]
