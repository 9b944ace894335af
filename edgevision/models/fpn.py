"""Feature pyramid network, P3 to P7 (Lin et al. 2017, arXiv:1612.03144; P6 and P7 as in RetinaNet)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


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
