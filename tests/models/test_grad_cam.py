"""Grad-CAM against a network whose answer is worked out by hand."""

from __future__ import annotations

import pytest
import torch

from edgevision.models.classifier.network import Classifier
from edgevision.models.classifier.settings import ClassifierConfig
from edgevision.models.grad_cam import grad_cam
from edgevision.models.multi_label.network import MultiLabel
from edgevision.models.multi_label.settings import MultiLabelConfig
from edgevision.models.settings import BackboneConfig

BACKBONE = BackboneConfig("shufflenet_v2_x1_0", "random")


class Maps(torch.nn.Module):
    """Two maps of 2x2 in place of a backbone: the first lights up at the top left, the second all over."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps = torch.zeros(len(images), 2, 2, 2)
        maps[:, 0, 0, 0] = 4.0
        maps[:, 1] = 1.0
        return [maps]


@pytest.mark.parametrize("several", [False, True])
def test_the_places_that_speak_for_a_class_are_marked(several: bool) -> None:
    model: Classifier | MultiLabel
    if several:
        model = MultiLabel(MultiLabelConfig(BACKBONE, 64), 2)
    else:
        model = Classifier(ClassifierConfig(BACKBONE, 64), 2)
    model.backbone = Maps()  # type: ignore[assignment]
    width = 4 if several else 2
    model.classify = torch.nn.Linear(width, 2)
    with torch.no_grad():
        model.classify.weight.zero_()
        model.classify.weight[0, 0] = 1.0  # the mean of the first map speaks for class 0
        model.classify.weight[1, 1] = -1.0  # that of the second speaks against class 1
    heat = grad_cam(model.eval(), torch.zeros(1, 3, 64, 64), 0)
    assert heat.shape == (1, 64, 64)
    assert heat[0, 8, 8] == 1.0
    assert heat[0, 60, 60] == 0.0
    assert 0 < heat[0, 8, 32] < 1  # interpolated
    assert (grad_cam(model, torch.zeros(1, 3, 64, 64), 1) == 0).all()
