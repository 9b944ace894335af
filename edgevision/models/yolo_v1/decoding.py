"""From what the cells of a YOLO v1 say to boxes and class scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgevision.models.dense import DenseAnswers
from edgevision.models.yolo_v1.network import YoloAnswers
from edgevision.models.yolo_v1.settings import YoloV1Config


def cell_boxes(boxes: Tensor, grid: int) -> Tensor:
    """Corners as shares of the input: ``[N, S * S, B, 4]``.

    A centre is said in its cell, width and height in the input (section 2), as square roots (section 2.2).

    Args:
        boxes: ``[N, S * S, B, 4]``, as :class:`~edgevision.models.yolo_v1.network.YoloAnswers` has them.
        grid: S.
    """
    cell = torch.arange(grid * grid, device=boxes.device)
    first = torch.stack([cell % grid, torch.div(cell, grid, rounding_mode="floor")], dim=1)
    centre = (boxes[..., :2] + first[:, None]) / grid
    half = boxes[..., 2:] ** 2 / 2
    return torch.cat([centre - half, centre + half], dim=-1)


class YoloDecoding(nn.Module):
    """Decodes for one architecture; traced into the exported graph.

    Args:
        config: the architecture.
        classes: number of classes C.
    """

    def __init__(self, config: YoloV1Config, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes

    def forward(self, answers: YoloAnswers) -> DenseAnswers:
        """Boxes ``[N, S * S * B, 4]`` in input pixels, and scores: class times confidence (equation 1)."""
        images = answers.boxes.shape[0]
        boxes = cell_boxes(answers.boxes, self.config.grid) * self.config.input_size
        scores = answers.confidence[..., None] * answers.classes[:, :, None]
        return DenseAnswers(boxes.reshape(images, -1, 4), scores.reshape(images, -1, self.classes))
