"""The loss of a Fast R-CNN: class and box at once, on regions drawn from those of selective search."""

from __future__ import annotations

from torch import Tensor, nn

from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.fast_rcnn.settings import FastRcnnConfig
from edgevision.models.regions import RegionLoss, RegionSampler, RegionStage, numbered


class FastRcnnLoss(nn.Module):
    """The multi-task loss (Girshick 2015, section 2.3).

    Args:
        config: the architecture, with what regions learn from.
    """

    def __init__(self, config: FastRcnnConfig) -> None:
        super().__init__()
        regions = config.regions
        self.sampler = RegionSampler(
            regions.overlap, regions.samples, regions.positive_share, config.least_overlap
        )
        self.regions = RegionLoss(regions)

    def forward(self, answers: RegionStage, targets: list[DetectionTargets]) -> dict[str, Tensor]:
        """Losses ``class`` and ``box``, scalars whose sum is minimised.

        Args:
            answers: the regions of N images, and what looks at them.
            targets: N ground truths.
        """
        pairs = zip(answers.proposals, targets, strict=True)
        samples = [self.sampler(proposals, target) for proposals, target in pairs]
        seen = answers.classify(numbered([sample.boxes for sample in samples]))
        losses: dict[str, Tensor] = self.regions(seen, samples, targets)
        return losses
