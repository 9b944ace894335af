"""Max-pooling that remembers where each maximum was, and unpooling that puts it back there.

Equal to torch's ``max_pool2d`` and ``max_unpool2d`` of 2x2, in answers and gradients, of equal values too,
but of plain operators: comparisons, choices and a rearrangement, which every engine has. ONNX's ``MaxUnpool``
and the second output of its ``MaxPool`` are missing in TensorRT and OpenVINO.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Pooled(NamedTuple):
    """The maxima of 2x2 windows, and their places.

    Attributes:
        values: ``[N, C, H / 2, W / 2]``.
        corners: of the same shape and type: which pixel of the window it was: 0, 1 of the upper row, 2, 3 of
            the lower; of equal pixels the first.
    """

    values: Tensor
    corners: Tensor


def max_pool(x: Tensor) -> Pooled:
    """Pools ``[N, C, H, W]``, of even H and W, by 2x2."""
    values = x[:, :, ::2, ::2]
    corners = torch.zeros_like(values)
    for corner in (1, 2, 3):
        other = x[:, :, corner // 2 :: 2, corner % 2 :: 2]
        larger = other > values
        values = torch.where(larger, other, values)
        corners = torch.where(larger, float(corner), corners)
    return Pooled(values, corners)


def max_unpool(values: Tensor, corners: Tensor) -> Tensor:
    """Each value in its corner of a 2x2 window, 0 elsewhere.

    Args:
        values, corners: ``[N, C, H, W]``.

    Returns:
        ``[N, C, 2 * H, 2 * W]``.
    """
    placed = torch.stack([torch.where(corners == corner, values, 0.0) for corner in range(4)], dim=2)
    return F.pixel_shuffle(placed.flatten(1, 2), 2)
