"""Feature pyramids over C3, C4 and C5: from coarse to fine, or there and back.

``FeaturePyramid`` is the feature pyramid network, P3 to P7 (Lin et al. 2017, arXiv:1612.03144; P6 and P7 as
in RetinaNet). ``PathAggregation`` (Liu et al. 2018, arXiv:1803.01534) goes on from P3 to the coarse maps
again; its convolutions are depthwise ones of 5x5, which cost a processor less than dense ones of 3x3.
``PlainAggregation`` leads the same way with dense ones of 3x3 and sums, which a GPU computes in INT8 without
a step between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.settings import PyramidName


class FeaturePyramid(nn.Module):
    """Turns C3, C4 and C5 into four or five maps of equal channels at strides 8 to 64 or 128.

    Args:
        in_channels: channels of C3, C4 and C5.
        channels: channels of every output.
        levels: number of maps, 4 or 5.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, levels: int = 5) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(size, channels, 1) for size in in_channels)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)
        self.p6 = nn.Conv2d(in_channels[-1], channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if levels == 5 else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # every convolution here has a bias

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """``[C3, C4, C5]`` to ``[P3, P4, P5, P6]`` and perhaps ``P7``, each ``[N, channels, H, W]``.

        The input's sides are multiples of 32, so that each map is exactly twice the size of the next one
        up to P5.
        """
        maps = [lateral(feature) for lateral, feature in zip(self.lateral, features, strict=True)]
        for level in range(len(maps) - 1, 0, -1):
            maps[level - 1] = maps[level - 1] + F.interpolate(maps[level], scale_factor=2.0, mode="nearest")
        pyramid = [smooth(x) for smooth, x in zip(self.smooth, maps, strict=True)]
        p6 = self.p6(features[-1])
        coarse = [p6] if self.p7 is None else [p6, self.p7(F.relu(p6))]
        return [*pyramid, *coarse]


class _Aggregation(nn.Module):
    """From the coarse maps to the fine ones and back to the coarse ones (Liu et al. 2018, section 3.1).

    Args:
        in_channels: channels of C3, C4 and C5.
        lateral: makes what takes a map of so many channels.
        merge: makes what joins two maps.
        step: makes what halves a map.
        coarse: makes what halves the coarsest map.
        levels: number of maps, 4 or 5.

    Attributes:
        beside: halves the coarsest map as it was before, to be added to P6; None for nothing.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        lateral: Callable[[int], nn.Module],
        merge: Callable[[], nn.Module],
        step: Callable[[], nn.Module],
        coarse: Callable[[], nn.Module],
        levels: int,
    ) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(lateral(size) for size in in_channels)
        self.down_merge = nn.ModuleList(merge() for _ in in_channels[1:])
        self.steps = nn.ModuleList(step() for _ in in_channels[1:])
        self.up_merge = nn.ModuleList(merge() for _ in in_channels[1:])
        self.coarse = nn.ModuleList(coarse() for _ in range(levels - len(in_channels)))
        self.beside: nn.Module | None = None

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """``[C3, C4, C5]`` to ``[P3, P4, P5, P6]`` and perhaps ``P7``, each ``[N, channels, H, W]``.

        The input's sides are multiples of 32.
        """
        maps = [lateral(feature) for lateral, feature in zip(self.lateral, features, strict=True)]
        coarsest = maps[-1]
        for level in range(len(maps) - 1, 0, -1):
            larger = F.interpolate(maps[level], scale_factor=2.0, mode="nearest")
            maps[level - 1] = self.down_merge[level - 1](larger, maps[level - 1])
        for level in range(1, len(maps)):
            smaller = self.steps[level - 1](maps[level - 1])
            maps[level] = self.up_merge[level - 1](smaller, maps[level])
        for position, step in enumerate(self.coarse):
            beyond = step(maps[-1])
            if position == 0 and self.beside is not None:
                beyond = beyond + self.beside(coarsest)
            maps.append(beyond)
        return maps


class PathAggregation(_Aggregation):
    """Turns C3, C4 and C5 into four or five maps of equal channels, each informed by finer and coarser ones.

    Args:
        in_channels: channels of C3, C4 and C5.
        channels: channels of every output.
        levels: number of maps, 4 or 5.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, levels: int = 4) -> None:
        super().__init__(
            in_channels,
            lateral=lambda size: _pointwise(size, channels),
            merge=lambda: _Merge(channels),
            step=lambda: _step(channels),
            coarse=lambda: _step(channels),
            levels=levels,
        )
        self.beside = _step(channels)


class PlainAggregation(_Aggregation):
    """As :class:`PathAggregation`, but maps are added and not concatenated.

    Their sum is a part of the convolution before it.

    Args:
        in_channels, channels, levels: see :class:`PathAggregation`.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, levels: int = 4) -> None:
        super().__init__(
            in_channels,
            lateral=lambda size: _pointwise(size, channels, linear=True),
            merge=lambda: _PlainMerge(channels),
            step=lambda: _plain(channels, 2),
            coarse=lambda: nn.Sequential(
                _plain(channels, 2), nn.ReLU6(inplace=True), _pointwise(channels, channels, linear=True)
            ),
            levels=levels,
        )


Pyramid = FeaturePyramid | PathAggregation | PlainAggregation
"""One of any kind."""


def build_pyramid(kind: PyramidName, in_channels: Sequence[int], channels: int, levels: int) -> Pyramid:
    """The pyramid of that kind.

    Args:
        kind: see :class:`~edgevision.models.settings.RetinaNetConfig`.
        in_channels: channels of C3, C4 and C5.
        channels: channels of every output.
        levels: number of maps, 4 or 5.
    """
    if kind == "fpn":
        return FeaturePyramid(in_channels, channels, levels)
    made = PathAggregation if kind == "pan" else PlainAggregation
    return made(in_channels, channels, levels)


class _Merge(nn.Module):
    """Two maps ``[N, channels, H, W]`` to one; its output is linear, so that it may be negative."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = _pointwise(2 * channels, channels)
        self.around = nn.Sequential(_depthwise(channels), nn.ReLU(inplace=True))
        self.project = _pointwise(channels, channels, linear=True)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.project(self.around(self.mix(torch.cat([one, other], dim=1))))  # type: ignore[no-any-return]


class _PlainMerge(nn.Sequential):
    """The sum of two maps through ReLU6, 3x3, ReLU6 and 1x1; linear at its end, as :class:`_Merge` is."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.ReLU6(),
            _plain(channels),
            nn.ReLU6(inplace=True),
            _pointwise(channels, channels, linear=True),
        )

    def forward(self, one: Tensor, other: Tensor) -> Tensor:  # type: ignore[override]  # two maps, not one
        x = one + other
        for layer in self:
            x = layer(x)
        return x


def _depthwise(channels: int, stride: int = 1) -> nn.Sequential:
    """5x5, each channel for itself."""
    convolution = nn.Conv2d(channels, channels, 5, stride, padding=2, groups=channels, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels))


def _pointwise(inputs: int, outputs: int, linear: bool = False) -> nn.Sequential:
    """1x1, with a ReLU behind unless ``linear``."""
    layers = [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers) if linear else nn.Sequential(*layers, nn.ReLU(inplace=True))


def _plain(channels: int, stride: int = 1) -> nn.Sequential:
    """3x3, dense and linear."""
    convolution = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels))


def _step(channels: int) -> nn.Sequential:
    """``[N, channels, H, W]`` to half the sides, rounded up."""
    return nn.Sequential(_depthwise(channels, 2), nn.ReLU(inplace=True), _pointwise(channels, channels))
