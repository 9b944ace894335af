"""The loss of a localiser: cross-entropy and the distance of one box, weighted so that neither drowns the
other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.largest_object.network import LargestObjectAnswers
from edgevision.models.largest_object.settings import LargestObjectConfig

REFERENCE_SIDE = 224.0
"""Distances are in pixels of an input of this side, whatever the model's own is."""


def largest_object(target: DetectionTargets) -> int | None:
    """The row of the object with the largest area; None where there is none but regions to ignore."""
    sides = target.boxes[:, 2:] - target.boxes[:, :2]
    areas = sides.prod(dim=1).masked_fill(target.ignore, 0)
    return int(areas.argmax()) if len(areas) and float(areas.max()) > 0 else None


class LargestObjectLoss(nn.Module):
    """Cross-entropy of the class, and L1 on the four corners; means over the images that show an object.

    Args:
        config: the architecture and the weight of the class.
    """

    def __init__(self, config: LargestObjectConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, answers: LargestObjectAnswers, targets: list[DetectionTargets]) -> dict[str, Tensor]:
        """Losses ``class`` and ``box``, scalars whose sum is minimised; 0 where no image shows an object.

        Args:
            answers: of N images.
            targets: N ground truths, in input pixels.
        """
        rows = [largest_object(target) for target in targets]
        shown = [(image, row) for image, row in enumerate(rows) if row is not None]
        if not shown:
            nothing = (answers.logits.sum() + answers.corners.sum()) * 0
            return {"class": nothing, "box": nothing}
        images = [image for image, _ in shown]
        labels = torch.stack([targets[image].labels[row] for image, row in shown])
        boxes = torch.stack([targets[image].boxes[row] for image, row in shown]) / self.config.input_size
        entropy = F.cross_entropy(answers.logits[images].float(), labels)
        distance = F.l1_loss(answers.corners[images].float(), boxes)
        return {"class": self.config.class_weight * entropy, "box": REFERENCE_SIDE * distance}
