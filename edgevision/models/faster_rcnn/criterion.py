"""The loss of a Faster R-CNN: four terms, two of each stage, learnt at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.anchor_matching import DetectionTargets, OverlapMatcher
from edgevision.models.anchors import encode_boxes
from edgevision.models.collective import even_share
from edgevision.models.faster_rcnn.network import TwoStageAnswers
from edgevision.models.faster_rcnn.proposals import Proposals
from edgevision.models.faster_rcnn.settings import FasterRcnnConfig, ProposalConfig
from edgevision.models.regions import RegionLoss, RegionSampler, RegionSamples, draw, numbered


class ProposalLoss(nn.Module):
    """The loss of the region proposal network (Ren et al. 2015, equation 1).

    An anchor whose image may hold objects that are not labelled teaches no background. Both terms are divided
    by the sampled anchors, so lambda is 1; the smooth L1 loss turns linear at 1/9, as in the released code.

    Args:
        config: thresholds and samples.
        input_size: sides of the square input.
    """

    def __init__(self, config: ProposalConfig, input_size: int) -> None:
        super().__init__()
        self.config = config
        self.matcher = OverlapMatcher(config.foreground_iou, config.background_iou)
        self.register_buffer("anchors", Proposals(config, input_size).anchors, persistent=False)
        self.anchors: Tensor

    def forward(
        self, objectness: Tensor, offsets: Tensor, targets: list[DetectionTargets]
    ) -> dict[str, Tensor]:
        """Losses ``objectness`` and ``proposal_box``, scalars.

        Args:
            objectness: ``[N, M]``, logits.
            offsets: ``[N, M, 4]``.
            targets: N ground truths.
        """
        config, device = self.config, objectness.device
        logits, wanted, distance, samples = [], [], objectness.new_zeros(()), 0
        for image, target in enumerate(targets):
            found = self.matcher(self.anchors, target)
            empty = (found.weight > 0).all(dim=1)
            empty[found.positive] = False
            chosen = draw(len(found.positive), round(config.samples * config.positive_share), device)
            positive, objects = found.positive[chosen], found.objects[chosen]
            others = empty.nonzero().flatten()
            others = others[draw(len(others), config.samples - len(positive), device)]
            rows = torch.cat([positive, others])
            logits.append(objectness[image, rows].float())
            wanted.append((torch.arange(len(rows), device=device) < len(positive)).float())
            moves = encode_boxes(target.boxes[objects], self.anchors[positive], torch)
            moved = offsets[image, positive].float()
            distance = distance + F.smooth_l1_loss(moved, moves, beta=1 / 9, reduction="sum")
            samples += len(rows)
        total = even_share(torch.tensor(float(samples), device=device), least=1.0)
        seen = F.binary_cross_entropy_with_logits(torch.cat(logits), torch.cat(wanted), reduction="sum")
        return {"objectness": seen / total, "proposal_box": distance / total}


class FasterRcnnLoss(nn.Module):
    """Both stages at once: "approximate joint training" (Ren et al. 2015, section 3.2).

    Args:
        config: the architecture, with what each stage learns from.
    """

    def __init__(self, config: FasterRcnnConfig) -> None:
        super().__init__()
        self.proposals = ProposalLoss(config.proposals, config.input_size)
        regions = config.regions
        self.sampler = RegionSampler(regions.overlap, regions.samples, regions.positive_share)
        self.regions = RegionLoss(regions)

    def forward(self, answers: TwoStageAnswers, targets: list[DetectionTargets]) -> dict[str, Tensor]:
        """Losses ``objectness``, ``proposal_box``, ``class`` and ``box``, scalars whose sum is minimised.

        Args:
            answers: the first stage's answers for N images.
            targets: N ground truths.
        """
        return self.sampled(answers, targets)[1]

    def sampled(
        self, answers: TwoStageAnswers, targets: list[DetectionTargets]
    ) -> tuple[list[RegionSamples], dict[str, Tensor]]:
        """The regions that the second stage learnt from, and the losses."""
        losses = self.proposals(answers.objectness, answers.offsets, targets)
        pairs = zip(answers.proposals, targets, strict=True)
        samples = [self.sampler(proposals, target) for proposals, target in pairs]
        seen = answers.classify(numbered([sample.boxes for sample in samples]))
        return samples, {**losses, **self.regions(seen, samples, targets)}
