"""From the maps of a YOLO v3 to a box and class scores for each anchor of each cell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgevision.models.dense import DenseAnswers
from edgevision.models.yolo_v3.cfg import Plan


class YoloMaps(NamedTuple):
    """Raw predictions of all maps, maps first, then cells by rows, then anchors: M in all.

    Attributes:
        boxes: ``[N, M, 4]``: logits of the place of the centre, logarithms of the anchor's shares.
        objects: ``[N, M]``: logits that there is an object.
        classes: ``[N, M, C]``: logits of each class.
    """

    boxes: Tensor
    objects: Tensor
    classes: Tensor


class YoloV3Decoding(nn.Module):
    """Decodes for one network; traced into the exported graph.

    ``b_x = sigma(t_x) + c_x``, ``b_w = p_w e^(t_w)`` (Redmon and Farhadi 2018, section 2.1), with YOLO v4's
    scale of the centre: ``scale * sigma(t_x) - (scale - 1) / 2``.

    Args:
        plan: the network's layers and input.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        cells, sizes, strides, scales = _grid(plan)
        for name, values in (("cells", cells), ("sizes", sizes), ("strides", strides), ("scales", scales)):
            self.register_buffer(name, values, persistent=False)
        self.cells: Tensor
        """float ``[M, 2]``: column and row."""
        self.sizes: Tensor
        """float ``[M, 2]``: of the anchor, in pixels."""
        self.strides: Tensor
        """float ``[M, 1]``: pixels a cell."""
        self.scales: Tensor
        """float ``[M, 1]``."""

    def forward(self, maps: list[Tensor]) -> DenseAnswers:
        """Boxes ``[N, M, 4]``, corners in input pixels, and scores ``[N, M, C]``: object times class."""
        raw = self.flatten(maps)
        scores = torch.sigmoid(raw.objects)[..., None] * torch.sigmoid(raw.classes)
        return DenseAnswers(self.corners(raw.boxes), scores)

    def flatten(self, maps: list[Tensor]) -> YoloMaps:
        """One ``[N, A * (5 + C), h, w]`` a layer that predicts, side by side."""
        flat = []
        for one, head in zip(maps, self.plan.heads, strict=True):
            width = 5 + head.classes
            images, _, rows, columns = one.shape
            parts = one.reshape(images, len(head.anchors), width, rows, columns).permute(0, 3, 4, 1, 2)
            flat.append(parts.flatten(1, 3))
        values = torch.cat(flat, dim=1)
        return YoloMaps(values[..., :4], values[..., 4], values[..., 5:])

    def corners(self, boxes: Tensor) -> Tensor:
        """:attr:`YoloMaps.boxes` as corners in input pixels, ``[N, M, 4]``."""
        place = torch.sigmoid(boxes[..., :2]) * self.scales - (self.scales - 1) / 2
        centre = (place + self.cells) * self.strides
        half = torch.exp(boxes[..., 2:]) * self.sizes / 2
        return torch.cat([centre - half, centre + half], dim=-1)


def _grid(plan: Plan) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cell, anchor, stride and scale of each of the M predictions."""
    cells, sizes, strides, scales = [], [], [], []
    for head, stride in zip(plan.heads, plan.head_strides, strict=True):
        rows, columns, count = plan.height // stride, plan.width // stride, len(head.anchors)
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        places = torch.stack([column, row], dim=-1).reshape(-1, 1, 2).expand(-1, count, 2).reshape(-1, 2)
        cells.append(places.float())
        sizes.append(torch.tensor(head.anchors).repeat(rows * columns, 1))
        strides.append(torch.full((len(places), 1), float(stride)))
        scales.append(torch.full((len(places), 1), head.scale))
    return torch.cat(cells), torch.cat(sizes), torch.cat(strides), torch.cat(scales)
