"""A classifier of one label by hand.

Also tests ``edgevision.models.classifier.criterion``, ``edgevision.models.classifier.settings``.
"""

from __future__ import annotations

import math

import pytest
import torch

from edgevision.models.classifier.criterion import ClassifierLoss
from edgevision.models.classifier.network import Classifier, channel_mixer
from edgevision.models.classifier.settings import ClassifierConfig
from edgevision.models.settings import BackboneConfig

BACKBONE = BackboneConfig("shufflenet_v2_x1_0", "random")


@pytest.mark.parametrize(
    ("logits", "label", "smoothing", "expected"),
    [
        ([0.0, 0.0], 0, 0.0, math.log(2)),
        ([0.0, 0.0, 0.0, 0.0], 2, 0.0, math.log(4)),
        ([math.log(3), 0.0], 0, 0.0, math.log(4 / 3)),  # probabilities 3/4 and 1/4
        ([math.log(3), 0.0], 1, 0.0, math.log(4)),
        # A fifth of the label is spread over both classes: 0.9 of the first term, 0.1 of the second.
        ([math.log(3), 0.0], 0, 0.2, 0.9 * math.log(4 / 3) + 0.1 * math.log(4)),
    ],
)
def test_a_hand_worked_loss(logits: list[float], label: int, smoothing: float, expected: float) -> None:
    criterion = ClassifierLoss(ClassifierConfig(BACKBONE, 64, smoothing=smoothing))
    wanted = torch.zeros(1, len(logits))
    wanted[0, label] = 1
    found = criterion(torch.tensor([logits]), wanted, torch.ones_like(wanted))
    assert found["class"].item() == pytest.approx(expected, abs=1e-6)


def test_the_loss_is_the_mean_over_images() -> None:
    criterion = ClassifierLoss(ClassifierConfig(BACKBONE, 64))
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    found = criterion(logits, labels, labels)["class"].item()
    assert found == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)


def test_shapes_and_that_places_are_averaged() -> None:
    model = Classifier(ClassifierConfig(BACKBONE, 64, channels=8), 5).eval()
    images = torch.randn(2, 3, 64, 64)
    assert model.features(images).shape == (2, 8, 2, 2)
    assert model(images).shape == (2, 5)
    maps = torch.zeros(1, 8, 2, 2)
    maps[0, 3] = torch.tensor([[4.0, 0.0], [0.0, 0.0]])  # mean 1
    expected = model.classify.weight[:, 3] + model.classify.bias
    assert torch.allclose(model.scores(maps)[0], expected)
    assert isinstance(channel_mixer(4, 0), torch.nn.Identity)
