"""The loss of a classifier of several labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.multi_label.settings import MultiLabelConfig


class MultiLabelLoss(nn.Module):
    """Binary cross-entropy of each class, from logits; mean over all that is known.

    ``-(w y log p + (1 - y) log(1 - p))`` with ``p = sigmoid(logit)`` and the weight w of what holds.

    Args:
        config: the architecture, which holds the weight.
    """

    def __init__(self, config: MultiLabelConfig) -> None:
        super().__init__()
        self.positive_weight = config.positive_weight

    def forward(self, logits: Tensor, labels: Tensor, known: Tensor) -> dict[str, Tensor]:
        """The loss ``class``.

        Args:
            logits: ``[N, C]``.
            labels: float ``[N, C]``, 1 for a class that holds.
            known: float ``[N, C]``, 0 for a class that teaches nothing in this image.
        """
        weight = torch.tensor(self.positive_weight, device=logits.device)
        each = F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none", pos_weight=weight)
        return {"class": (each * known).sum() / known.sum().clamp(min=1)}
