"""From an SSD's raw predictions to a box and class scores for each anchor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgevision.models.dense import DenseAnswers
from edgevision.models.ssd.anchors import decode_offsets, ssd_anchors
from edgevision.models.ssd.network import SsdAnswers
from edgevision.models.ssd.settings import SsdConfig


class SsdDecoding(nn.Module):
    """Decodes for one architecture; traced into the exported graph.

    Args:
        config: the architecture.
        classes: number of classes.
    """

    def __init__(self, config: SsdConfig, classes: int) -> None:
        super().__init__()
        anchors, cells = (torch.from_numpy(one) for one in ssd_anchors(config))
        self.register_buffer("anchors", anchors, persistent=False)
        self.register_buffer("cells", cells, persistent=False)
        self.anchors: Tensor
        self.cells: Tensor

    def forward(self, answers: SsdAnswers) -> DenseAnswers:
        """Boxes ``[N, M, 4]``, corners in input pixels, and scores ``[N, M, C]``."""
        boxes = decode_offsets(answers.offsets, self.anchors, self.cells)
        return DenseAnswers(boxes, torch.sigmoid(answers.logits))
