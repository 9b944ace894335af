"""The network of an SSD: maps that halve, and one prediction for each anchor of each cell."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgevision.models.backbone import build_backbone
from edgevision.models.ssd.settings import SsdConfig


class SsdAnswers(NamedTuple):
    """Raw predictions for all M anchors, in the order of :func:`~edgevision.models.ssd.anchors.ssd_anchors`.

    Attributes:
        logits: ``[N, M, C]``.
        offsets: ``[N, M, 4]``.
    """

    logits: Tensor
    offsets: Tensor


class Ssd(nn.Module):
    """An SSD (Liu et al. 2016, arXiv:1512.02325, section 2.1).

    Args:
        config: the architecture.
        classes: number of classes; there is none for the background.

    Attributes:
        class_layers: what keeps fresh weights where a checkpoint has other classes.
    """

    class_layers: tuple[str, ...] = ("class_heads",)

    def __init__(self, config: SsdConfig, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.backbone = build_backbone(config.backbone)
        self._places = config.backbone_maps()
        widths = list(self.backbone.channels[self._places])
        before = self.backbone.channels[-1]
        self.shrink = nn.ModuleList()
        for _ in range(config.levels - len(widths)):
            self.shrink.append(_convolution(before, config.channels, 2))
            widths.append(config.channels)
            before = config.channels
        self.towers = nn.ModuleList(_convolution(width, config.channels, 1) for width in widths)
        self.dropout = nn.Dropout2d(config.dropout)
        outputs = [(config.per_cell * classes), config.per_cell * 4]
        self.class_heads, self.box_heads = (
            nn.ModuleList(nn.Conv2d(config.channels, count, 3, padding=1) for _ in widths)
            for count in outputs
        )
        # Boxes begin at their anchors too (RetinaNet, section 4.1): far from 0 a tanh hardly learns.
        starts = (-math.log((1 - config.prior) / config.prior), 0.0)
        for heads, start in zip((self.class_heads, self.box_heads), starts, strict=True):
            for head in heads:
                nn.init.normal_(head.weight, std=0.01)  # type: ignore[arg-type]  # a Conv2d
                nn.init.constant_(head.bias, start)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> SsdAnswers:
        """``images`` float ``[N, 3, S, S]``, normalised."""
        seen = self.backbone(images)
        maps, x = list(seen[self._places]), seen[-1]
        for step in self.shrink:
            x = step(x)
            maps.append(x)
        logits, offsets = [], []
        for tower, class_head, box_head, one in zip(
            self.towers, self.class_heads, self.box_heads, maps, strict=True
        ):
            features = self.dropout(tower(one))
            logits.append(_flat(class_head(features), self.classes))
            offsets.append(_flat(box_head(features), 4))
        return SsdAnswers(torch.cat(logits, dim=1), torch.cat(offsets, dim=1))


def _convolution(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def _flat(values: Tensor, width: int) -> Tensor:
    """``[N, A * width, H, W]`` to ``[N, H * W * A, width]``."""
    return values.permute(0, 2, 3, 1).reshape(values.shape[0], -1, width)
