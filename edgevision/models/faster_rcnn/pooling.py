"""What a region shows, as a small map of fixed size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from edgevision.models.static_nms import region_side

STRIDES = (8, 16, 32)
"""Of the maps that regions are looked at in, P3 to P5."""

CANONICAL_SIDE, CANONICAL_LEVEL = 112.0, 1
"""A region of this side is looked at in P4: k0 of equation 1, for inputs of half ImageNet's usual 640."""


def region_levels(boxes: Tensor) -> Tensor:
    """Which map each region is looked at in: corners ``[R, 4]`` to int64 ``[R]``, 0 for P3.

    ``k = floor(k0 + log2(sqrt(w h) / side))`` (Lin et al. 2017, arXiv:1612.03144, equation 1), kept inside
    the maps that there are.
    """
    level = CANONICAL_LEVEL + torch.log2(region_side(boxes).clamp(min=1e-3) / CANONICAL_SIDE)
    return level.floor().clamp(0, len(STRIDES) - 1).long()


class PyramidPool(nn.Module):
    """RoIAlign (He et al. 2017, arXiv:1703.06870, section 3) in the map that fits each region.

    Args:
        side: cells along a side of the result; each is the mean of 2 x 2 bilinear samples.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, maps: list[Tensor], regions: Tensor) -> Tensor:
        """P3 to P5, each ``[N, C, H, W]``, and regions ``[R, 5]``, the image's number and corners.

        Pooled in float32 whatever the maps are: bfloat16 knows corners beyond 256 to 2 pixels only.

        Returns:
            float32 ``[R, C, side, side]``.
        """
        maps, regions = [one.float() for one in maps], regions.float()
        levels = region_levels(regions[:, 1:])
        pooled = maps[0].new_zeros((regions.shape[0], maps[0].shape[1], self.side, self.side))
        for level, (one, stride) in enumerate(zip(maps, STRIDES, strict=True)):
            if torch.compiler.is_exporting():  # every region in every map: sizes must not depend on the data
                here = roi_align(one, regions, self.side, 1 / stride, 2, aligned=True)
                pooled = torch.where((levels == level)[:, None, None, None], here, pooled)
                continue
            (rows,) = torch.where(levels == level)
            if len(rows):
                here = roi_align(one, regions[rows], self.side, 1 / stride, 2, aligned=True)
                pooled = pooled.index_copy(0, rows, here)
        return pooled
