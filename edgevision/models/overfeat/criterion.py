"""The loss of a sliding window: windows learn what they show, and where it is in them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.anchor_matching import DetectionTargets, OverlapMatcher
from edgevision.models.overfeat.network import OverFeatAnswers, windows
from edgevision.models.overfeat.settings import OverFeatConfig


class OverFeatLoss(nn.Module):
    """Cross-entropy with a class for nothing, and L1 on the corners of windows that learn an object.

    Of the windows that show nothing only the most offending learn (section 5): those of the highest loss,
    ``negatives`` for each that learns an object, or that many where the image has none.

    Args:
        config: the architecture and its loss.
        classes: number of classes C.
    """

    def __init__(self, config: OverFeatConfig, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.matcher = OverlapMatcher(config.overlap, config.overlap)
        self.register_buffer("windows", torch.from_numpy(windows(config)), persistent=False)
        self.windows: Tensor

    def forward(self, answers: OverFeatAnswers, targets: list[DetectionTargets]) -> dict[str, Tensor]:
        """Losses ``class``, the mean over the windows that learn one, and ``box``, over those with an object.

        Args:
            answers: of N images.
            targets: N ground truths, in input pixels.
        """
        entropies: list[Tensor] = []
        distances: list[Tensor] = []
        for image, target in enumerate(targets):
            match = self.matcher(self.windows, target)
            logits = answers.logits[image].float()
            wanted = torch.full((len(logits),), self.classes, dtype=torch.int64, device=logits.device)
            wanted[match.positive] = target.labels[match.objects]
            each = F.cross_entropy(logits, wanted, reduction="none")
            # A window in a region to ignore, or in an image where classes are unknown, may show something.
            empty = match.weight.min(dim=1).values > 0
            empty[match.positive] = False
            worst = torch.where(empty, each.detach(), -1.0)
            count = min(self.config.negatives * max(len(match.positive), 1), int(empty.sum()))
            entropies += [each[match.positive], each[worst.topk(count).indices]]
            own = self.windows[match.positive]
            side = (own[:, 2] - own[:, 0])[:, None]
            offsets = (target.boxes[match.objects] - own) / side
            distances.append((answers.offsets[image, match.positive].float() - offsets).abs().mean(dim=1))
        return {
            "class": _mean(torch.cat(entropies)),
            "box": self.config.box_weight * _mean(torch.cat(distances)),
        }


def _mean(values: Tensor) -> Tensor:
    """The mean, 0 of none."""
    return values.sum() / max(len(values), 1)
