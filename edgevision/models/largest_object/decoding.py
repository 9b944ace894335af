"""From a localiser's two answers to one detection."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgevision.models.dense import DenseAnswers, ordered
from edgevision.models.largest_object.network import LargestObjectAnswers
from edgevision.models.largest_object.settings import LargestObjectConfig


class LargestObjectDecoding(nn.Module):
    """Decodes for one architecture; traced into the exported graph.

    Args:
        config: the architecture.
    """

    def __init__(self, config: LargestObjectConfig) -> None:
        super().__init__()
        self.input_size = config.input_size

    def forward(self, answers: LargestObjectAnswers) -> DenseAnswers:
        """One place: its box ``[N, 1, 4]``, and ``[N, 1, C]``, 0 for all but the best class."""
        shares: Tensor = torch.softmax(answers.logits, dim=1)
        scores = torch.where(shares >= shares.amax(dim=1, keepdim=True), shares, 0.0)
        return DenseAnswers((ordered(answers.corners) * self.input_size)[:, None], scores[:, None])
