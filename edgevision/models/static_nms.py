"""Suppression in torch whose sizes do not depend on the data, so that a network with it can be traced."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_area


def static_nms(boxes: Tensor, labels: Tensor, valid: Tensor, iou_threshold: float, rounds: int) -> Tensor:
    """Which boxes survive: the torch form of :func:`edgevision.graph.nms.add_cluster_nms`.

    Args:
        boxes: float ``[N, K, 4]`` corners, sorted by score, best first.
        labels: int64 ``[N, K]``: boxes suppress those of their own class only.
        valid: bool ``[N, K]``: the others neither stay nor suppress.
        iou_threshold: a box is suppressed by a better one above this overlap.
        rounds: longest chain of suppressors that is resolved exactly.

    Returns:
        bool ``[N, K]``.
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (high - low).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    size = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    union = size[:, :, None] + size[:, None, :] - shared
    count = boxes.shape[1]
    rank = torch.arange(count, device=boxes.device)
    later = rank[:, None] < rank[None, :]
    over = (shared > iou_threshold * union) & later & (labels[:, :, None] == labels[:, None, :])
    weight, possible = over.to(boxes.dtype), valid.to(boxes.dtype)
    keep = possible
    for _ in range(rounds):
        hit = (weight * keep[:, :, None]).amax(dim=1)
        keep = possible * (hit < 0.5).to(boxes.dtype)
    return keep > 0.5


def gather_rows(table: Tensor, index: Tensor) -> Tensor:
    """``table[n, index[n, k]]``: ``[N, M, D]`` and int64 ``[N, K]`` to ``[N, K, D]``."""
    return table.gather(1, index[..., None].expand(-1, -1, table.shape[-1]))


def region_side(boxes: Tensor) -> Tensor:
    """Square root of the areas of corners ``[R, 4]``: ``[R]``."""
    side: Tensor = box_area(boxes).clamp(min=0).sqrt()
    return side
