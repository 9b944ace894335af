"""The five terms of YOLO v1's loss (Redmon et al. 2016, equation 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.yolo_v1.decoding import cell_boxes
from edgevision.models.yolo_v1.network import YoloAnswers
from edgevision.models.yolo_v1.settings import YoloV1Config


class YoloV1Loss(nn.Module):
    """Squared errors, summed over cells and divided by the images.

    The cell that holds an object's centre is to predict it. Of its boxes, the one that overlaps the object
    most is responsible (section 2.2): it learns place, size and, as its confidence, that overlap; all other
    boxes learn a confidence of 0. Of two objects in one cell the larger is learnt: a cell has one class.
    Regions to ignore silence the cells whose centres they hold.

    Args:
        config: the architecture and the weights of the terms.
        classes: number of classes C.
    """

    def __init__(self, config: YoloV1Config, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes

    def forward(self, answers: YoloAnswers, targets: list[DetectionTargets]) -> dict[str, Tensor]:
        """Losses ``centre``, ``size``, ``object``, ``empty`` and ``class``, whose sum is equation 3.

        Args:
            answers: predictions for N images.
            targets: N ground truths.
        """
        parts = [self._image(answers, image, target) for image, target in enumerate(targets)]
        names = ("centre", "size", "object", "empty", "class")
        terms = [torch.stack(column).mean() for column in zip(*parts, strict=True)]
        return dict(zip(names, terms, strict=True))

    def _image(self, answers: YoloAnswers, image: int, target: DetectionTargets) -> tuple[Tensor, ...]:
        """The five terms of one image."""
        config, grid, size = self.config, self.config.grid, self.config.input_size
        boxes, confidence = answers.boxes[image].float(), answers.confidence[image].float()
        cells, objects = self._cells(target)
        truth = target.boxes[objects] / size
        found = cell_boxes(boxes[None], grid)[0, cells]  # [P, B, 4]
        with torch.no_grad():
            overlaps = (
                torch.stack(
                    [box_iou(one, wanted[None])[:, 0] for one, wanted in zip(found, truth, strict=True)]
                )
                if len(cells)
                else found.new_zeros((0, config.boxes))
            )
            overlap, responsible = overlaps.max(dim=1) if len(cells) else (found.new_zeros(0), cells)
        own = boxes[cells, responsible]  # [P, 4]
        centre = (truth[:, :2] + truth[:, 2:]) / 2 * grid
        place = centre - torch.stack([cells % grid, torch.div(cells, grid, rounding_mode="floor")], dim=1)
        root = (truth[:, 2:] - truth[:, :2]).clamp(min=0).sqrt()
        empty = torch.ones_like(confidence)
        empty[self._silent(target)] = 0
        empty[cells, responsible] = 0
        wanted_class = torch.zeros(len(cells), self.classes, device=boxes.device)
        wanted_class[torch.arange(len(cells)), target.labels[objects]] = 1
        known = target.known.to(wanted_class.dtype)
        return (
            config.coordinate_weight * ((own[:, :2] - place) ** 2).sum(),
            config.coordinate_weight * ((own[:, 2:] - root) ** 2).sum(),
            ((confidence[cells, responsible] - overlap) ** 2).sum(),
            config.empty_weight * (empty * confidence**2).sum(),
            ((answers.classes[image, cells].float() - wanted_class) ** 2 * known).sum(),
        )

    def _cells(self, target: DetectionTargets) -> tuple[Tensor, Tensor]:
        """int64 ``[P]``: cells that learn an object, and which object each of them learns."""
        objects = (~target.ignore).nonzero().flatten()
        boxes = target.boxes[objects]
        area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
        objects = objects[area.argsort()]  # the largest is written last
        chosen = dict(zip(self._cell_of(target.boxes[objects]).tolist(), objects.tolist(), strict=True))
        device = target.boxes.device
        cells = torch.tensor(list(chosen), dtype=torch.int64, device=device)
        return cells, torch.tensor(list(chosen.values()), dtype=torch.int64, device=device)

    def _cell_of(self, boxes: Tensor) -> Tensor:
        """int64 ``[G]``: the cell that holds each box's centre."""
        grid = self.config.grid
        place = ((boxes[:, :2] + boxes[:, 2:]) / 2 / self.config.input_size * grid).long().clamp(0, grid - 1)
        return place[:, 1] * grid + place[:, 0]

    def _silent(self, target: DetectionTargets) -> Tensor:
        """bool ``[S * S]``: cells whose centre lies in a region to ignore."""
        grid = self.config.grid
        cell = torch.arange(grid * grid, device=target.boxes.device)
        middle = torch.stack([cell % grid, torch.div(cell, grid, rounding_mode="floor")], dim=1) + 0.5
        middle = middle[:, None] * (self.config.input_size / grid)
        regions = target.boxes[target.ignore][None]
        return ((middle > regions[..., :2]) & (middle < regions[..., 2:])).all(dim=-1).any(dim=1)
