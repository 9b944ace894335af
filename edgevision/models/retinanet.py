"""RetinaNet (Lin et al. 2017, arXiv:1708.02002): backbone, pyramid, and two heads shared by its levels.

Model, criterion (``detection_losses.py``) and postprocessing (``decode.py``) are separate objects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from edgevision.errors import ConfigError
from edgevision.models.backbone import build_backbone
from edgevision.models.fpn import build_pyramid
from edgevision.models.settings import HeadConfig, RetinaNetConfig

PYRAMID_STRIDES = (8, 16, 32, 64, 128)
"""Input pixels a cell of P3 to P7; a detector uses the first four or all."""

HEADS = ("class_tower.predict", "box_tower.predict")
"""The layers whose answers are final: in int8 models they stay in float."""


class HeadMaps(NamedTuple):
    """Raw predictions, one tensor a level, P3 first; A anchors a cell and C classes.

    Attributes:
        logits: ``[N, A * C, H, W]``, channel ``a * C + c``.
        deltas: ``[N, A * 4, H, W]``, channel ``a * 4 + (dx, dy, dw, dh)``.
        pyramid: ``[N, channels, H, W]``: what the heads saw, for a teacher's hints.
    """

    logits: list[Tensor]
    deltas: list[Tensor]
    pyramid: Sequence[Tensor] = ()


class Tower(nn.Module):
    """Convolutions shared by all levels or of each, with a BatchNorm for each level, then the prediction.

    Levels differ in their statistics, so one shared BatchNorm fits none of them when it is evaluated.
    """

    def __init__(self, channels: int, outputs: int, levels: int, config: HeadConfig) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for _ in range(config.layers):
            groups = (channels, 1) if config.depthwise else (1,)
            kernels = (config.kernel, 1) if config.depthwise else (config.kernel,)
            for group, kernel in zip(groups, kernels, strict=True):
                self.convolutions.append(
                    _convolution(channels, kernel, group)
                    if config.shared
                    else nn.ModuleList(_convolution(channels, kernel, group) for _ in range(levels))
                )
                self.norms.append(nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(levels)))
        kernel = 1 if config.depthwise else 3
        self.predict = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2)
        nn.init.normal_(self.predict.weight, std=0.01)
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]  # built with a bias
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """``[N, channels, H, W]`` of one level to ``[N, outputs, H, W]``."""
        for convolution, norm in self.of_level(level):
            x = self.activation(norm(convolution(x)))
        return self.predict(x)  # type: ignore[no-any-return]

    def of_level(self, level: int) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """The convolutions of a level, each with its BatchNorm."""
        pairs = []
        for convolution, norms in zip(self.convolutions, self.norms, strict=True):
            own = convolution[level] if isinstance(convolution, nn.ModuleList) else convolution
            pairs.append((cast("nn.Conv2d", own), cast("nn.BatchNorm2d", norms[level])))  # type: ignore[index]
        return pairs


def _convolution(channels: int, kernel: int, groups: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


class RetinaNet(nn.Module):
    """The detector's network, up to the raw head maps.

    Args:
        config: the architecture.
        classes: number of classes, without a background.

    Raises:
        ConfigError: the anchors stand on other levels than the pyramid has.
    """

    def __init__(self, config: RetinaNetConfig, classes: int) -> None:
        super().__init__()
        if config.anchors.strides not in (PYRAMID_STRIDES[:4], PYRAMID_STRIDES):
            raise ConfigError(
                f"model.anchors.strides is {list(config.anchors.strides)}; expected "
                f"{list(PYRAMID_STRIDES[:4])} or {list(PYRAMID_STRIDES)}, the levels of the pyramid"
            )
        self.config = config
        self.classes = classes
        levels, anchors = len(config.anchors.strides), config.anchors.per_cell
        self.backbone = build_backbone(config.backbone)
        self.fpn = build_pyramid(config.pyramid, self.backbone.channels[-3:], config.channels, levels)
        self.class_tower = Tower(config.channels, anchors * classes, levels, config.head)
        self.box_tower = Tower(config.channels, anchors * 4, levels, config.head)
        prior = -math.log((1 - config.head.prior) / config.head.prior)
        nn.init.constant_(self.class_tower.predict.bias, prior)  # type: ignore[arg-type]  # built with a bias

    def forward(self, images: Tensor) -> HeadMaps:
        """``images`` float ``[N, 3, H, W]``, RGB, normalised, to raw maps; see :class:`HeadMaps`."""
        pyramid = self.fpn(self.backbone(images)[-3:])
        logits = [self.class_tower(x, level) for level, x in enumerate(pyramid)]
        deltas = [self.box_tower(x, level) for level, x in enumerate(pyramid)]
        return HeadMaps(logits, deltas, pyramid)


def flatten_maps(maps: list[Tensor], width: int) -> Tensor:
    """Head maps ``[N, A * width, H, W]`` of all levels to ``[N, M, width]``, in the order of the anchors."""
    flat = [x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, width) for x in maps]
    return torch.cat(flat, dim=1)
