"""What a region shows, as a small map of fixed size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from edgevision.models.static_nms import region_side

STRIDES = (8, 16, 32)
"""Of the maps that regions are looked at in, P3 to P5."""

SAMPLES = 2
"""Points along each axis of a cell."""

CANONICAL_SIDE, CANONICAL_LEVEL = 112.0, 1
"""A region of this side is looked at in P4: k0 of equation 1, for inputs of half ImageNet's usual 640."""


def region_levels(boxes: Tensor) -> Tensor:
    """Which map each region is looked at in: corners ``[R, 4]`` to int64 ``[R]``, 0 for P3.

    ``k = floor(k0 + log2(sqrt(w h) / side))`` (Lin et al. 2017, arXiv:1612.03144, equation 1), kept inside
    the maps that there are.
    """
    level = CANONICAL_LEVEL + torch.log2(region_side(boxes).clamp(min=1e-3) / CANONICAL_SIDE)
    return level.floor().clamp(0, len(STRIDES) - 1).long()


def sample_weights(low: Tensor, high: Tensor, side: int, cells: int) -> Tensor:
    """How much each cell of one axis of a map counts for each cell of a region: ``[..., side, cells]``.

    RoIAlign samples a map bilinearly at points of a regular grid, so rows and columns are weighted apart:
    a sample at x weights cell i by ``max(0, 1 - |x - i|)``. Points beyond the outermost centres count as
    those, and each cell of the region is the mean of :data:`SAMPLES` points along the axis.

    Args:
        low, high: where the region begins and ends on that axis, in cells of the map, inside it: ``[...]``.
        side: cells of the region.
        cells: of the map.

    Example:
        >>> sample_weights(torch.tensor(1.0), torch.tensor(3.0), 1, 4).tolist()
        [[0.0, 0.5, 0.5, 0.0]]
    """
    steps = (torch.arange(SAMPLES * side, device=low.device) + 0.5) / (SAMPLES * side)
    points = low[..., None] + (high - low)[..., None] * steps - 0.5
    distance = points.clamp(0, cells - 1)[..., None] - torch.arange(cells, device=low.device)
    weights = (1 - distance.abs()).clamp(min=0)
    averaged: Tensor = weights.reshape(*weights.shape[:-2], side, SAMPLES, cells).mean(dim=-2)
    return averaged


def align_by_products(one: Tensor, boxes: Tensor, side: int, stride: int) -> Tensor:
    """RoIAlign as two products of matrices, which every engine has; in TensorRT, ``RoiAlign`` is a plugin.

    Args:
        one: ``[N, C, H, W]``.
        boxes: ``[N, P, 4]``, corners in input pixels, inside the input.
        side: cells along a side of the result.
        stride: input pixels a cell of the map.

    Returns:
        ``[N * P, C, side, side]``, equal to torchvision's of :data:`SAMPLES` points a cell and ``aligned``.
    """
    images, channels, height, width = one.shape
    left, top, right, bottom = (boxes / stride).unbind(dim=-1)
    rows = sample_weights(top, bottom, side, height).flatten(1, 2)  # [N, P * side, H]
    columns = sample_weights(left, right, side, width)  # [N, P, side, W]
    regions = boxes.shape[1]
    lines = rows @ one.permute(0, 2, 1, 3).flatten(2)  # [N, P * side, C * W]
    lines = lines.reshape(images, regions, side * channels, width)
    pooled = lines @ columns.transpose(2, 3)  # [N, P, side * C, side]
    return pooled.reshape(-1, side, channels, side).transpose(1, 2)


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
        When it is exported, each image has equally many regions, in the order of the images.

        Returns:
            float32 ``[R, C, side, side]``.
        """
        maps, regions = [one.float() for one in maps], regions.float()
        levels = region_levels(regions[:, 1:])
        if torch.compiler.is_exporting():
            return self._in_every_map(maps, regions, levels)
        pooled = maps[0].new_zeros((regions.shape[0], maps[0].shape[1], self.side, self.side))
        for level, (one, stride) in enumerate(zip(maps, STRIDES, strict=True)):
            (rows,) = torch.where(levels == level)
            if len(rows):
                here = roi_align(one, regions[rows], self.side, 1 / stride, SAMPLES, aligned=True)
                pooled = pooled.index_copy(0, rows, here)
        return pooled

    def _in_every_map(self, maps: list[Tensor], regions: Tensor, levels: Tensor) -> Tensor:
        """Every region in every map, so that no size depends on the data, of which the right one is kept."""
        boxes = regions[:, 1:].reshape(maps[0].shape[0], -1, 4)
        found = [
            align_by_products(one, boxes, self.side, stride)
            for one, stride in zip(maps, STRIDES, strict=True)
        ]
        pooled = found[0]
        for level, here in enumerate(found[1:], start=1):
            pooled = torch.where((levels == level)[:, None, None, None], here, pooled)
        return pooled
