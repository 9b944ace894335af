"""The network of a classifier of several labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgevision.models.backbone import build_backbone
from edgevision.models.classifier.network import channel_mixer
from edgevision.models.multi_label.settings import MultiLabelConfig


class MultiLabel(nn.Module):
    """A classifier of several labels on any backbone.

    The maximum finds a small object wherever it is; the average tells what the scene is like.

    Args:
        config: the architecture.
        classes: number of classes.

    Attributes:
        class_layers: what keeps fresh weights where a checkpoint has other classes.
    """

    class_layers: tuple[str, ...] = ("classify",)

    def __init__(self, config: MultiLabelConfig, classes: int) -> None:
        super().__init__()
        self.backbone = build_backbone(config.backbone)
        width = config.channels or self.backbone.channels[-1]
        self.neck = channel_mixer(self.backbone.channels[-1], config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(2 * width, classes)

    def features(self, images: Tensor) -> Tensor:
        """``images`` float ``[N, 3, S, S]``, normalised, to the map before the pooling, ``[N, D, h, w]``."""
        return self.neck(self.backbone(images)[-1])  # type: ignore[no-any-return]

    def scores(self, features: Tensor) -> Tensor:
        """``[N, D, h, w]`` to logits ``[N, C]``."""
        return self.classify(self.dropout(average_and_maximum(features)))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """``images`` float ``[N, 3, S, S]``, normalised, to logits ``[N, C]``."""
        return self.scores(self.features(images))


def average_and_maximum(features: Tensor) -> Tensor:
    """Averages and maxima over all places, side by side: ``[N, D, h, w] -> [N, 2 D]``."""
    return torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
