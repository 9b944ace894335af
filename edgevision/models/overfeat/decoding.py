"""From what all windows say to merged boxes and class scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgevision.models.dense import DenseAnswers, ordered
from edgevision.models.overfeat.network import OverFeatAnswers, windows
from edgevision.models.overfeat.settings import OverFeatConfig


def overlaps(boxes: Tensor) -> Tensor:
    """IoU of all pairs in each image: ``[N, M, 4]`` to ``[N, M, M]``."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
    return shared / (area[:, :, None] + area[:, None] - shared).clamp(min=1e-6)


def merged(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Each box as the mean of all boxes of its class that it overlaps, weighted by their scores.

    Section 4.3 merges pairs of boxes into their mean until none are alike. Here every box is merged once with
    all that suppression would take for the same object, which has no order and fits into a graph; suppression
    keeps one of them afterwards.

    Args:
        boxes: ``[N, M, 4]``.
        scores: ``[N, M, C]``; a box is of its best class.
        overlap: IoU from which on two boxes are of one object.

    Returns:
        ``[N, M, 4]``.
    """
    best, labels = scores.max(dim=2)
    alike = (overlaps(boxes) >= overlap) & (labels[:, :, None] == labels[:, None])
    weight = alike.to(boxes.dtype) * best[:, None]
    # A box that overlaps nothing, not even itself, has no area: it stays where it is.
    total = weight.sum(dim=2, keepdim=True)
    return torch.where(total > 0, weight @ boxes / total.clamp(min=1e-6), boxes)


class OverFeatDecoding(nn.Module):
    """Decodes for one architecture; traced into the exported graph.

    Args:
        config: the architecture.
        classes: number of classes C.
    """

    def __init__(self, config: OverFeatConfig, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.register_buffer("windows", torch.from_numpy(windows(config)), persistent=False)
        self.windows: Tensor

    def forward(self, answers: OverFeatAnswers) -> DenseAnswers:
        """Boxes ``[N, M, 4]``, corners in input pixels, and scores ``[N, M, C]``."""
        side = (self.windows[:, 2] - self.windows[:, 0])[:, None]
        boxes = ordered(self.windows + answers.offsets * side)
        scores = torch.softmax(answers.logits, dim=2)[..., : self.classes]
        return DenseAnswers(merged(boxes, scores, self.config.merge), scores)
