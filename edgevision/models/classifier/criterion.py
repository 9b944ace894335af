"""The loss of a classifier of one label."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.classifier.settings import ClassifierConfig


class ClassifierLoss(nn.Module):
    """Cross-entropy with the label, ``-log softmax(logits)[label]``, mean over the images.

    Args:
        config: the architecture, which holds the smoothing.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.smoothing = config.smoothing

    def forward(self, logits: Tensor, labels: Tensor, known: Tensor) -> dict[str, Tensor]:
        """The loss ``class``.

        Args:
            logits: ``[N, C]``.
            labels: float ``[N, C]``, one 1 in each row.
            known: not used: the one label is always known.
        """
        return {"class": F.cross_entropy(logits.float(), labels, label_smoothing=self.smoothing)}
