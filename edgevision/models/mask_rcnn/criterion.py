"""The loss of a Mask R-CNN: that of a Faster R-CNN, and one for the masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.collective import even_share
from edgevision.models.faster_rcnn.criterion import FasterRcnnLoss
from edgevision.models.faster_rcnn.network import TwoStageAnswers
from edgevision.models.mask_rcnn.settings import MaskRcnnConfig
from edgevision.models.regions import RegionSamples, numbered


def masks_in_regions(masks: Tensor, regions: Tensor, objects: Tensor, side: int) -> Tensor:
    """The part of each object's mask that its region shows, as shares of cells.

    "The mask target is the intersection between an RoI and its associated ground-truth mask" (He et al. 2017,
    section 3.1).

    Args:
        masks: ``[G, S, S]``, 0 or 1, over the input.
        regions: float ``[P, 4]``, corners in input pixels.
        objects: int64 ``[P]``: whose mask each region learns.
        side: cells along a side of the result.

    Returns:
        float ``[P, side, side]``, 0 to 1.
    """
    numbers = objects[:, None].to(regions.dtype)
    cells: Tensor = roi_align(
        masks[:, None].to(regions.dtype), torch.cat([numbers, regions], dim=1), side, 1.0, aligned=True
    )
    return cells[:, 0]


class MaskLoss(nn.Module):
    """Binary cross-entropy of each region's mask of its own class (He et al. 2017, section 3).

    Objects without a mask teach none.
    """

    def forward(
        self, logits: Tensor, samples: Sequence[RegionSamples], targets: Sequence[DetectionTargets]
    ) -> Tensor:
        """A scalar, averaged over the cells of all masks that are learnt.

        Args:
            logits: ``[P, C, m, m]``, of the regions that show an object, image after image.
            samples: of N images; the P regions are the first of each.
            targets: their ground truths.
        """
        side = logits.shape[-1]
        wanted, labels, known = [], [], []
        for sample, target in zip(samples, targets, strict=True):
            objects = sample.objects
            if target.masks is None or not len(objects):
                wanted.append(logits.new_zeros((len(objects), side, side)))
                known.append(torch.zeros(len(objects), dtype=torch.bool, device=logits.device))
            else:
                shown = masks_in_regions(target.masks, sample.boxes[: len(objects)].float(), objects, side)
                wanted.append(shown)
                known.append(target.masks.flatten(1).any(dim=1)[objects])
            labels.append(target.labels[objects])
        rows = torch.arange(len(logits), device=logits.device)
        own = logits[rows, torch.cat(labels)].float()
        each = F.binary_cross_entropy_with_logits(own, torch.cat(wanted).float(), reduction="none")
        learnt = torch.cat(known).float()
        total = even_share(learnt.sum(), least=1.0)
        return (each.mean(dim=(1, 2)) * learnt).sum() / total


class MaskRcnnLoss(nn.Module):
    """Both stages and the masks at once: ``L = L_cls + L_box + L_mask`` (He et al. 2017, section 3).

    Args:
        config: the architecture, with what each stage learns from.
    """

    def __init__(self, config: MaskRcnnConfig) -> None:
        super().__init__()
        self.boxes = FasterRcnnLoss(config)
        self.masks = MaskLoss()
        self.weight = config.masks.weight

    def forward(self, answers: TwoStageAnswers, targets: list[DetectionTargets]) -> dict[str, Tensor]:
        """The four losses of a Faster R-CNN, and ``mask``.

        Args:
            answers: the first stage's answers for N images, with the way to the masks.
            targets: N ground truths.

        Raises:
            ValueError: the network has no masks.
        """
        if answers.segment is None:
            raise ValueError("expected the answers of a network with masks")
        samples, losses = self.boxes.sampled(answers, targets)
        shown = [sample.boxes[: len(sample.objects)] for sample in samples]
        logits = answers.segment(numbered(shown))
        return {**losses, "mask": self.weight * self.masks(logits, samples, targets)}
