"""The network of a sliding window: a classifier whose every layer is a convolution without padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.shufflenetv2 import InvertedResidual, channel_shuffle

from edgevision.models.backbone import build_backbone
from edgevision.models.overfeat.settings import STRIDE, OverFeatConfig


class OverFeatAnswers(NamedTuple):
    """What is said of all M windows, in the order of :func:`windows`.

    Attributes:
        logits: ``[N, M, C + 1]``; the last column is for a window that shows nothing.
        offsets: ``[N, M, 4]``: of the object's corners from the window's, in window sides.
    """

    logits: Tensor
    offsets: Tensor


def windows(config: OverFeatConfig) -> NDArray[np.float32]:
    """Where each window lies: float32 ``[M, 4]``, corners in input pixels; scale by scale, rows first."""
    found = []
    for side, grid in zip(config.sides(), config.grids(), strict=True):
        first = np.arange(grid) * STRIDE
        left, top = np.meshgrid(first, first)
        corners = np.stack([left, top, left + config.window, top + config.window], axis=-1)
        found.append(corners.reshape(-1, 4) * (config.input_size / side))
    return np.concatenate(found).astype(np.float32)


class _Unit(nn.Module):
    """A unit of ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164, figure 3) without padding."""

    def __init__(self, unit: InvertedResidual) -> None:
        super().__init__()
        self.first, self.second, self.keeps = unit.branch1, unit.branch2, unit.stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, h, w]`` to two rows and columns less, or half as many."""
        if self.keeps:
            kept, changed = x.chunk(2, dim=1)
            # The 3x3 convolution of the other branch loses a cell at each edge.
            joined = torch.cat([kept[:, :, 1:-1, 1:-1], self.second(changed)], dim=1)
        else:
            joined = torch.cat([self.first(x), self.second(x)], dim=1)
        return cast("Tensor", channel_shuffle(joined, 2))


def without_padding(layers: Sequence[nn.Module]) -> nn.Sequential:
    """ShuffleNetV2's layers in order, with the same weights and no padding anywhere."""
    found = []
    for layer in layers:
        for module in layer.modules():
            if isinstance(module, nn.Conv2d | nn.MaxPool2d):
                module.padding = (0, 0) if isinstance(module, nn.Conv2d) else 0
        found.append(_Unit(layer) if isinstance(layer, InvertedResidual) else layer)
    return nn.Sequential(*found)


class OverFeat(nn.Module):
    """Classes and boxes of all windows at all scales in one pass (sections 3.3 and 4.1).

    Args:
        config: the architecture.
        classes: number of classes.

    Attributes:
        class_layers: what keeps fresh weights where a checkpoint has other classes.
    """

    class_layers: tuple[str, ...] = ("predict_class",)

    def __init__(self, config: OverFeatConfig, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        built = build_backbone(config.backbone)
        first, pool, second, third = (built.stages[i] for i in range(4))
        units = [*cast("nn.Sequential", second), *cast("nn.Sequential", third)[: config.units]]
        self.backbone = without_padding([first, pool, *units])
        # What would be fully connected in a classifier of windows (section 3.3, figure 5).
        self.connect = nn.Sequential(
            nn.Conv2d(built.channels[3], config.hidden, config.cells, bias=False),
            nn.BatchNorm2d(config.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout2d(config.dropout),
        )
        self.predict_class = nn.Conv2d(config.hidden, classes + 1, 1)
        self.predict_box = nn.Conv2d(config.hidden, 4, 1)
        nn.init.normal_(self.predict_box.weight, std=0.01)
        nn.init.zeros_(cast("Tensor", self.predict_box.bias))

    def slide(self, images: Tensor) -> OverFeatAnswers:
        """All windows of images of one size, of one window's size or more.

        Args:
            images: float ``[N, 3, H, W]``, normalised.

        Returns:
            Answers for ``M = h * w`` windows, rows first.
        """
        features = self.connect(self.backbone(images))
        return OverFeatAnswers(_flat(self.predict_class(features)), _flat(self.predict_box(features)))

    def forward(self, images: Tensor) -> OverFeatAnswers:
        """``images`` float ``[N, 3, S, S]``, normalised."""
        size = self.config.input_size
        found = []
        for side in self.config.sides():
            scaled = images
            if side != size:
                scaled = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
            found.append(self.slide(scaled))
        return OverFeatAnswers(*(torch.cat(column, dim=1) for column in zip(*found, strict=True)))


def _flat(values: Tensor) -> Tensor:
    """``[N, K, h, w]`` to ``[N, h * w, K]``."""
    return values.flatten(2).transpose(1, 2)
