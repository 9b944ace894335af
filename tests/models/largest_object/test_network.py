"""A localiser of the largest object by hand.

Also tests ``edgevision.models.largest_object.criterion``, ``edgevision.models.largest_object.decoding``,
``edgevision.models.largest_object.settings``.
"""

from __future__ import annotations

import math

import pytest
import torch

from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.largest_object.criterion import LargestObjectLoss, largest_object
from edgevision.models.largest_object.decoding import LargestObjectDecoding
from edgevision.models.largest_object.network import LargestObject, LargestObjectAnswers
from edgevision.models.largest_object.settings import LargestObjectConfig
from edgevision.models.settings import BackboneConfig

CONFIG = LargestObjectConfig(
    BackboneConfig("shufflenet_v2_x1_0", "random"), 64, channels=4, hidden=8, class_weight=20.0
)


def target(boxes: list[list[float]], labels: list[int], ignore: list[bool] | None = None) -> DetectionTargets:
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    flags = torch.tensor(ignore or [False] * len(boxes), dtype=torch.bool)
    return DetectionTargets(
        corners, torch.tensor(labels, dtype=torch.int64), flags, torch.ones(4, dtype=torch.bool)
    )


@pytest.mark.parametrize(
    ("boxes", "ignore", "expected"),
    [
        ([[0, 0, 10, 10], [0, 0, 40, 5]], [False, False], 1),
        ([[0, 0, 10, 10], [0, 0, 40, 5]], [False, True], 0),
        ([[0, 0, 10, 10]], [True], None),
        ([], [], None),
    ],
)
def test_the_largest_object_that_counts(
    boxes: list[list[float]], ignore: list[bool], expected: int | None
) -> None:
    assert largest_object(target(boxes, list(range(len(boxes))), ignore)) == expected


def test_a_hand_worked_loss() -> None:
    """Four equal logits are ln 4. Corners at 0.25, 0.25, 0.75, 0.75 of 64 pixels against 16, 16, 32, 64: two
    are right, one is 16 pixels off and one 16, which are 56 each at 224, a mean of 28."""
    answers = LargestObjectAnswers(torch.zeros(1, 4), torch.tensor([[0.25, 0.25, 0.75, 0.75]]))
    losses = LargestObjectLoss(CONFIG)(answers, [target([[16, 16, 32, 64], [0, 0, 4, 4]], [2, 0])])
    assert losses["class"].item() == pytest.approx(20 * math.log(4))
    assert losses["box"].item() == pytest.approx(28)


def test_images_without_an_object_teach_nothing() -> None:
    logits = torch.tensor([[math.log(3), 0.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]], requires_grad=True)
    answers = LargestObjectAnswers(logits, torch.full((2, 4), 0.5))
    losses = LargestObjectLoss(CONFIG)(answers, [target([[32, 32, 32.5, 33]], [0]), target([], [])])
    assert losses["class"].item() == pytest.approx(20 * math.log(2))  # 3 of 6
    none = LargestObjectLoss(CONFIG)(answers, [target([], []), target([[0, 0, 9, 9]], [1], [True])])
    assert none["class"].item() == none["box"].item() == 0
    none["class"].backward()
    assert logits.grad is not None
    assert not logits.grad.any()


def test_one_detection_with_its_corners_in_order() -> None:
    answers = LargestObjectAnswers(
        torch.tensor([[0.0, math.log(3), 0.0, 0.0]]), torch.tensor([[0.5, 0.75, 0.25, 1.0]])
    )
    decoded = LargestObjectDecoding(CONFIG)(answers)
    assert decoded.boxes.tolist() == [[[16, 48, 32, 64]]]
    assert decoded.scores[0, 0].tolist() == pytest.approx([0, 0.5, 0, 0])


def test_shapes() -> None:
    model = LargestObject(CONFIG, 4).eval()
    answers = model(torch.zeros(2, 3, 64, 64))
    assert answers.logits.shape == (2, 4)
    assert answers.corners.shape == (2, 4)
    assert ((answers.corners > 0) & (answers.corners < 1)).all()
