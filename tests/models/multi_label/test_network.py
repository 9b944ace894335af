"""A classifier of several labels by hand.

Also tests ``edgevision.models.multi_label.criterion``, ``edgevision.models.multi_label.settings``.
"""

from __future__ import annotations

import math

import pytest
import torch

from edgevision.models.multi_label.criterion import MultiLabelLoss
from edgevision.models.multi_label.network import MultiLabel, average_and_maximum
from edgevision.models.multi_label.settings import MultiLabelConfig
from edgevision.models.settings import BackboneConfig

BACKBONE = BackboneConfig("shufflenet_v2_x1_0", "random")
THREE = math.log(3)  # the logit of 3/4


@pytest.mark.parametrize(
    ("logits", "labels", "known", "weight", "expected"),
    [
        ([0.0, 0.0], [1, 0], [1, 1], 1.0, math.log(2)),
        ([THREE, THREE], [1, 0], [1, 1], 1.0, (math.log(4 / 3) + math.log(4)) / 2),
        ([THREE, THREE], [1, 0], [1, 0], 1.0, math.log(4 / 3)),  # the second teaches nothing
        ([THREE, THREE], [1, 0], [1, 1], 3.0, (3 * math.log(4 / 3) + math.log(4)) / 2),
        ([5.0, 5.0], [1, 0], [0, 0], 1.0, 0.0),
    ],
)
def test_a_hand_worked_loss(
    logits: list[float], labels: list[float], known: list[float], weight: float, expected: float
) -> None:
    criterion = MultiLabelLoss(MultiLabelConfig(BACKBONE, 64, positive_weight=weight))
    rows = (torch.tensor([values], dtype=torch.float32) for values in (logits, labels, known))
    assert criterion(*rows)["class"].item() == pytest.approx(expected, abs=1e-6)


def test_averages_and_maxima_stand_side_by_side() -> None:
    maps = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]], [[2.0, 2.0], [2.0, 2.0]]]])
    assert average_and_maximum(maps).tolist() == [[1.0, 2.0, 3.0, 2.0]]


def test_shapes() -> None:
    model = MultiLabel(MultiLabelConfig(BACKBONE, 64, channels=8), 5).eval()
    images = torch.randn(2, 3, 64, 64)
    assert model.features(images).shape == (2, 8, 2, 2)
    assert model(images).shape == (2, 5)
    assert model.classify.in_features == 16
