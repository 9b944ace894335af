"""Training criteria: focal loss and box losses on matched anchors."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss

from edgevision.models.anchor_matching import AdaptiveMatcher, DetectionTargets, Matcher, OverlapMatcher
from edgevision.models.anchors import AnchorConfig, anchor_grid, decode_boxes, encode_boxes
from edgevision.models.collective import even_share
from edgevision.models.retinanet import HeadMaps, flatten_maps
from edgevision.models.settings import Certainty, DetectionLossConfig


def focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Sigmoid focal loss, element by element (Lin et al. 2017, equation 5).

    ``-alpha_t (1 - p_t)^gamma log(p_t)``, with ``alpha_t = alpha`` for targets of 1 and ``1 - alpha`` for 0.
    For targets between them the factor is ``|target - p|^gamma``, which is the same at 0 and 1 (quality
    focal loss, Li et al. 2020, equation 6); it is least where p is the target.

    Args:
        logits, targets: of one shape; targets are probabilities.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    distance = (targets - torch.sigmoid(logits)).abs()
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    return alpha_t * distance**gamma * cross_entropy


def certain_share(certainty: Certainty, scores: Tensor) -> Tensor:
    """Probabilities that boxes are right, of the shape of ``scores``; people's labels, 1, are certain."""
    return torch.where(scores >= 1, 1.0, torch.sigmoid(certainty.slope * (scores - certainty.middle)))


class DetectionLoss(nn.Module):
    """Focal loss over all anchors and a box loss over the positive ones, both divided by the positives.

    Args:
        config: weights and thresholds.
        anchors: the detector's anchors.
        input_size: sides of the square input.
        classes: number of classes.
    """

    def __init__(
        self, config: DetectionLossConfig, anchors: AnchorConfig, input_size: int, classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        levels = anchor_grid(anchors, input_size, input_size)
        self.matcher: Matcher = OverlapMatcher(config.foreground_iou, config.background_iou)
        if config.matching == "adaptive":
            counts = [len(level) for level in levels]
            self.matcher = AdaptiveMatcher(counts, anchors.per_cell, config.background_iou)
        self.register_buffer("anchors", torch.from_numpy(np.concatenate(levels)), persistent=False)
        self.anchors: Tensor

    def forward(self, maps: HeadMaps, targets: list[DetectionTargets]) -> dict[str, Tensor]:
        """Losses ``class`` and ``box``, scalars whose sum is minimised.

        Args:
            maps: the network's raw predictions for N images.
            targets: N ground truths.
        """
        logits = flatten_maps(maps.logits, self.classes).float()
        deltas = flatten_maps(maps.deltas, 4).float()
        matches = [self.matcher(self.anchors, target) for target in targets]
        pairs = list(zip(matches, targets, strict=True))
        certain = [self._certainty(target)[match.objects] for match, target in pairs]
        boxes = torch.cat([target.boxes[match.objects] for match, target in pairs])
        anchors = torch.cat([self.anchors[match.positive] for match in matches])
        predicted = torch.cat([deltas[image, match.positive] for image, match in enumerate(matches)])
        sure = torch.cat(certain)
        positives = even_share(sure.sum(), least=1.0)
        taught = sure
        if self.config.quality:
            taught = sure * _overlaps(decode_boxes(predicted.detach(), anchors, torch), boxes)
        wanted = torch.zeros_like(logits)
        image = torch.cat([torch.full_like(match.positive, i) for i, match in enumerate(matches)])
        labels = torch.cat([target.labels[match.objects] for match, target in pairs])
        wanted[image, torch.cat([match.positive for match in matches]), labels] = taught
        weight = torch.stack([match.weight for match in matches])
        focal = focal_loss(logits, wanted, self.config.alpha, self.config.gamma)
        box = self._box_loss(predicted, boxes, anchors) * sure
        return {
            "class": (focal * weight).sum() / positives,
            "box": self.config.box_weight * box.sum() / positives,
        }

    def _certainty(self, target: DetectionTargets) -> Tensor:
        """Float ``[G]``: how certain it is that each object is one."""
        if self.config.certainty is None or target.scores is None:
            return torch.ones(len(target.boxes), device=target.boxes.device)
        return certain_share(self.config.certainty, target.scores)

    def _box_loss(self, deltas: Tensor, boxes: Tensor, anchors: Tensor) -> Tensor:
        """``[P]``, one for each positive anchor."""
        if self.config.box == "giou":
            loss: Tensor = generalized_box_iou_loss(decode_boxes(deltas, anchors, torch), boxes)
            return loss
        wanted = encode_boxes(boxes, anchors, torch)
        beta = self.config.smooth_l1_beta
        return F.smooth_l1_loss(deltas, wanted, beta=beta, reduction="none").sum(dim=1)


def _overlaps(first: Tensor, second: Tensor) -> Tensor:
    """IoU pair by pair, ``[P]``, of boxes ``[P, 4]``."""
    low, high = torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (first, second)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-6)
