"""An R-CNN: crops with context, margins as scores, and that it has no criterion.

Also tests ``edgevision.models.rcnn.settings``.
"""

from __future__ import annotations

import math

import pytest
import torch

from edgevision.errors import ConfigError
from edgevision.models.detectors import build_criterion
from edgevision.models.fast_rcnn.settings import SearchConfig
from edgevision.models.rcnn.network import FEATURE_LENGTH, Rcnn, RcnnDecoding, warped
from edgevision.models.rcnn.settings import RcnnConfig
from edgevision.models.regions import RegionAnswers, RegionStage
from edgevision.models.settings import BackboneConfig, DetectionLossConfig

CONFIG = RcnnConfig(BackboneConfig("resnet18", "random"), 64, SearchConfig(count=6), crop=32, context=4)


def test_a_crop_has_its_context_and_the_mean_colour_beyond_the_image() -> None:
    images = torch.ones(1, 3, 64, 64) * 2
    images[:, :, 16:40, 16:40] = 5
    inside = warped(images, torch.tensor([[0.0, 16, 16, 40, 40]]), CONFIG)
    assert inside.shape == (1, 3, 32, 32)
    # The region of 24 pixels fills the 24 inner pixels of the crop, with 4 pixels around it.
    assert inside[0, 0, 16, 6:26].unique().tolist() == [5]
    assert inside[0, 0, 16, 0].item() == 2
    corner = warped(images, torch.tensor([[0.0, 0, 0, 24, 24]]), CONFIG)
    assert corner[0, 0, 0, 0].item() == 0


def test_features_have_one_length() -> None:
    model = Rcnn(CONFIG, 2).eval()
    with torch.no_grad():
        found = model.features(
            torch.randn(1, 3, 64, 64), torch.tensor([[0.0, 0, 0, 20, 30], [0, 8, 8, 60, 60]])
        )
    assert found.norm(dim=1).tolist() == pytest.approx([FEATURE_LENGTH] * 2, rel=1e-4)


def test_margins_are_scores_and_offsets_move_boxes() -> None:
    regions = torch.tensor([[[10.0, 10, 20, 30]]])
    seen = RegionAnswers(torch.tensor([[0.0, math.log(3)]]), torch.tensor([[[0.0] * 4, [0.5, 0, 0, 0]]]))
    found = RcnnDecoding(64)(RegionStage(regions, lambda _: seen))
    assert found.scores[0].tolist() == pytest.approx([0.5, 0.75])
    assert found.boxes[0].tolist() == [[10, 10, 20, 30], [15, 10, 25, 30]]
    assert found.labels.tolist() == [[0, 1]]


def test_it_is_fitted_and_not_trained_in_steps() -> None:
    with pytest.raises(ConfigError, match="is fitted"):
        build_criterion(CONFIG, DetectionLossConfig(), 2)
    with pytest.raises(ValueError, match="context is 16"):
        RcnnConfig(BackboneConfig("resnet18", "random"), 64, crop=32, context=16)
