"""The network of a localiser: what all places together say, then two heads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgevision.models.backbone import build_backbone
from edgevision.models.classifier.network import channel_mixer
from edgevision.models.largest_object.settings import LargestObjectConfig


class LargestObjectAnswers(NamedTuple):
    """What is said of N images.

    Attributes:
        logits: ``[N, C]``.
        corners: ``[N, 4]``, left, top, right and bottom as shares of the input, 0 to 1.
    """

    logits: Tensor
    corners: Tensor


class LargestObject(nn.Module):
    """A localiser on any backbone: classification and regression on shared features.

    The heads of "Classification + Localization" (Sermanet et al. 2014, arXiv:1312.6229, section 4), with one
    box for all classes. Places are kept apart up to the shared layer, for an average says nothing of where.

    Args:
        config: the architecture.
        classes: number of classes.

    Attributes:
        class_layers: what keeps fresh weights where a checkpoint has other classes.
    """

    class_layers: tuple[str, ...] = ("predict_class",)

    def __init__(self, config: LargestObjectConfig, classes: int) -> None:
        super().__init__()
        self.backbone = build_backbone(config.backbone)
        self.neck = channel_mixer(self.backbone.channels[-1], config.channels)
        places = (config.input_size // self.backbone.strides[-1]) ** 2
        self.shared = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(config.channels * places, config.hidden, bias=False),
            nn.BatchNorm1d(config.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
        )
        self.predict_class = nn.Linear(config.hidden, classes)
        self.predict_box = nn.Linear(config.hidden, 4)

    def forward(self, images: Tensor) -> LargestObjectAnswers:
        """``images`` float ``[N, 3, S, S]``, normalised."""
        features = self.shared(self.neck(self.backbone(images)[-1]).flatten(1))
        return LargestObjectAnswers(self.predict_class(features), torch.sigmoid(self.predict_box(features)))
