"""The loss of an SSD: matched anchors learn class and box, all others that they show nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.anchor_matching import DetectionTargets, OverlapMatcher
from edgevision.models.collective import even_share
from edgevision.models.detection_losses import focal_loss
from edgevision.models.ssd.anchors import as_corners, decode_offsets, ssd_anchors
from edgevision.models.ssd.network import SsdAnswers
from edgevision.models.ssd.settings import SsdConfig


class SsdLoss(nn.Module):
    """Class loss over all anchors and L1 on the corners of matched ones, both divided by the matched.

    A distance is a share of the anchor's cell (the paper's is one of the anchor, equation 2), so that a small
    object is placed as carefully as a large one.

    Matching is the paper's (section 2.2): the anchor that covers an object best, and all that cover it by
    more than the threshold, by Jaccard overlap.

    Args:
        config: the architecture and its loss.
        classes: number of classes C.
    """

    def __init__(self, config: SsdConfig, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.matcher = OverlapMatcher(config.loss.overlap, config.loss.overlap)
        anchors, cells = (torch.from_numpy(one) for one in ssd_anchors(config))
        self.register_buffer("anchors", anchors, persistent=False)
        self.register_buffer("cells", cells, persistent=False)
        self.anchors: Tensor
        self.cells: Tensor

    def forward(self, answers: SsdAnswers, targets: list[DetectionTargets]) -> dict[str, Tensor]:
        """Losses ``class`` and ``box``, scalars whose sum is minimised.

        Args:
            answers: raw predictions for N images.
            targets: N ground truths.
        """
        logits = answers.logits.float()
        boxes = decode_offsets(answers.offsets.float(), self.anchors, self.cells)
        corners = as_corners(self.anchors)
        matches = [self.matcher(corners, target) for target in targets]
        pairs = list(zip(matches, targets, strict=True))
        matched = sum(len(match.positive) for match in matches)
        positives = even_share(torch.tensor(float(matched), device=logits.device), least=1.0)
        wanted = torch.zeros_like(logits)
        distance = logits.new_zeros(())
        for image, (match, target) in enumerate(pairs):
            wanted[image, match.positive, target.labels[match.objects]] = 1
            difference = boxes[image, match.positive] - target.boxes[match.objects]
            distance = distance + (difference.abs().mean(dim=1) / self.cells[match.positive]).sum()
        weight = torch.stack([match.weight for match in matches])
        loss = self.config.loss
        if loss.form == "focal":
            each = focal_loss(logits, wanted, loss.alpha, loss.gamma)
        else:
            each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return {"class": (each * weight).sum() / positives, "box": loss.box_weight * distance / positives}
