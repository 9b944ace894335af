"""The network of a YOLO v1: one prediction for each cell of the backbone's last map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgevision.models.backbone import build_backbone
from edgevision.models.yolo_v1.settings import YoloV1Config


class YoloAnswers(NamedTuple):
    """Predictions between 0 and 1 for S * S cells, rows first, and B boxes a cell.

    Attributes:
        boxes: ``[N, S * S, B, 4]``: place of the centre in the cell, and the square roots of width and height
            as shares of the input.
        confidence: ``[N, S * S, B]``: that there is an object times the overlap with it.
        classes: ``[N, S * S, C]``: probability of each class, if there is an object.
    """

    boxes: Tensor
    confidence: Tensor
    classes: Tensor


class YoloV1(nn.Module):
    """A YOLO v1 (section 2.1) on any backbone.

    Args:
        config: the architecture.
        classes: number of classes.

    Attributes:
        class_layers: what keeps fresh weights where a checkpoint has other classes.
    """

    class_layers: tuple[str, ...] = ("predict",)

    def __init__(self, config: YoloV1Config, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.backbone = build_backbone(config.backbone)
        width = config.channels
        layers: list[nn.Module] = []
        for before in (self.backbone.channels[-1], width):
            layers += [
                nn.Conv2d(before, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.1, inplace=True),
            ]
        self.body = nn.Sequential(*layers, nn.Dropout2d(config.dropout))
        self.predict = nn.Conv2d(width, config.boxes * 5 + classes, 1)

    def forward(self, images: Tensor) -> YoloAnswers:
        """``images`` float ``[N, 3, S * 32, S * 32]``, normalised."""
        raw = self.predict(self.body(self.backbone(images)[-1]))
        flat = torch.sigmoid(raw.permute(0, 2, 3, 1).reshape(raw.shape[0], -1, raw.shape[1]))
        count = self.config.boxes
        boxes = flat[..., : 4 * count].reshape(raw.shape[0], -1, count, 4)
        return YoloAnswers(boxes, flat[..., 4 * count : 5 * count], flat[..., 5 * count :])
