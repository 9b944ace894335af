"""The anchors of an SSD, and boxes from what is predicted for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgevision.models.ssd.settings import SsdConfig
from edgevision.types import FloatArray


def ssd_anchors(config: SsdConfig) -> tuple[FloatArray, FloatArray]:
    """Anchors of all maps, the finest first; rows, then columns, then scales, then ratios.

    An anchor is centred in its cell; its width is the cell's side times scale times ratio (Liu et al. 2016,
    section 2.2, with scales in cells instead of shares of the input).

    Returns:
        float32 ``[M, 4]``: centre and size in input pixels, and float32 ``[M]``: sides of the cells.
    """
    rows, cells = [], []
    shapes = [(scale * w, scale * h) for scale in config.scales for w, h in config.ratios]
    for grid in config.grids():
        side = config.input_size / grid
        for row in range(grid):
            for column in range(grid):
                rows += [
                    ((column + 0.5) * side, (row + 0.5) * side, width * side, height * side)
                    for width, height in shapes
                ]
        cells += [side] * grid * grid * len(shapes)
    return np.array(rows, np.float32), np.array(cells, np.float32)


def as_corners(boxes: Tensor) -> Tensor:
    """``[..., 4]`` centre and size to corners."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def decode_offsets(offsets: Tensor, anchors: Tensor, cells: Tensor) -> Tensor:
    """Boxes ``[..., M, 4]``, corners in input pixels.

    A centre moves by up to half a cell, a side becomes half to one and a half times the anchor's:

        centre = anchor + tanh(o_xy) * cell / 2,    size = anchor * (1 + tanh(o_wh) / 2)

    This is the form that SSD is taught in (fast.ai 2018, "Deep Learning part 2", lesson 9, ``actn_to_bb``);
    the paper's offsets have no limit (equation 2).

    Args:
        offsets: ``[..., M, 4]``, raw.
        anchors: ``[M, 4]``, centre and size.
        cells: ``[M]``.
    """
    moved = torch.tanh(offsets)
    centre = anchors[:, :2] + moved[..., :2] * cells[:, None] / 2
    return as_corners(torch.cat([centre, anchors[:, 2:] * (1 + moved[..., 2:] / 2)], dim=-1))
