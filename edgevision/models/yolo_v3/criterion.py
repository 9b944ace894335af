"""The loss of YOLO v3: the best anchor of each object learns it, and all others that they are empty."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou

from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.yolo_v3.decoding import YoloMaps, YoloV3Decoding
from edgevision.models.yolo_v3.settings import YoloV3Config


class YoloV3Loss(nn.Module):
    """Logistic regression and squared errors, summed over predictions and divided by the images.

    The anchor whose shape fits an object best, of all maps, learns it in the cell that holds its centre;
    other predictions learn that there is no object, but for those that overlap one by more than
    ``ignore_thresh`` (Redmon and Farhadi 2018, section 2.1). The place in the cell is learnt by
    cross-entropy, the size by squared errors of its logarithm, both weighted by ``2 - w h`` so that small
    objects count more (darknet, ``yolo_layer.c``); classes are independent (section 2.2). Of two objects of
    one anchor and cell the larger is learnt. Regions to ignore silence the predictions whose cells they hold.

    Args:
        config: the architecture and the weights of the terms.
    """

    def __init__(self, config: YoloV3Config) -> None:
        super().__init__()
        self.config = config
        plan = config.plan()
        self.decoding = YoloV3Decoding(plan)
        heads, strides = plan.heads, plan.head_strides
        self.anchors = tuple(anchor for head in heads for anchor in head.anchors)
        self.places = []
        """Of each anchor: the first prediction of its map, its number there, anchors of a cell, stride."""
        first = 0
        for head, stride in zip(heads, strides, strict=True):
            count = len(head.anchors)
            self.places += [(first, number, count, stride) for number in range(count)]
            first += (plan.width // stride) * (plan.height // stride) * count
        ignore = [
            torch.full(((plan.width // stride) * (plan.height // stride) * len(head.anchors),), head.ignore)
            for head, stride in zip(heads, strides, strict=True)
        ]
        self.register_buffer("ignore", torch.cat(ignore), persistent=False)
        self.ignore: Tensor

    def forward(self, maps: list[Tensor], targets: list[DetectionTargets]) -> dict[str, Tensor]:
        """Losses ``centre``, ``size``, ``object``, ``empty`` and ``class``, whose sum is minimised.

        Args:
            maps: raw predictions for N images, of :class:`~edgevision.models.yolo_v3.network.YoloV3`.
            targets: N ground truths.
        """
        raw = YoloMaps(*(one.float() for one in self.decoding.flatten(maps)))
        parts = [self._image(raw, image, target) for image, target in enumerate(targets)]
        names = ("centre", "size", "object", "empty", "class")
        terms = [torch.stack(column).mean() for column in zip(*parts, strict=True)]
        return dict(zip(names, terms, strict=True))

    def _image(self, raw: YoloMaps, image: int, target: DetectionTargets) -> tuple[Tensor, ...]:
        """The five terms of one image."""
        config, decoding, size = self.config, self.decoding, self.config.input_size
        boxes, objects, classes = raw.boxes[image], raw.objects[image], raw.classes[image]
        chosen, learnt = self._assign(target)
        wanted = target.boxes[learnt]
        centre, extent = (wanted[:, :2] + wanted[:, 2:]) / 2, wanted[:, 2:] - wanted[:, :2]
        scale = decoding.scales[chosen]
        inside = centre / decoding.strides[chosen] - decoding.cells[chosen]
        place = ((inside + (scale - 1) / 2) / scale).clamp(0, 1)
        shape = (extent / decoding.sizes[chosen]).clamp(min=1e-4).log()
        small = 2 - extent.prod(dim=1, keepdim=True) / size**2
        own = boxes[chosen]
        label = torch.zeros_like(classes[chosen])
        label[torch.arange(len(chosen), device=label.device), target.labels[learnt]] = 1
        known = target.known.to(label.dtype)
        empty = self._empty(boxes, target, chosen)
        return (
            config.coordinate_weight * (small * _cross_entropy(own[:, :2], place)).sum(),
            config.coordinate_weight * (small * (own[:, 2:] - shape) ** 2).sum() / 2,
            config.object_weight * F.softplus(-objects[chosen]).sum(),
            config.empty_weight * (empty * F.softplus(objects)).sum(),
            config.class_weight * (_cross_entropy(classes[chosen], label) * known).sum(),
        )

    def _assign(self, target: DetectionTargets) -> tuple[Tensor, Tensor]:
        """int64 ``[P]``: predictions that learn an object, and which object each of them learns."""
        device = target.boxes.device
        objects = (~target.ignore).nonzero().flatten()
        extent = target.boxes[objects][:, 2:] - target.boxes[objects][:, :2]
        order = extent.prod(dim=1).argsort()  # the largest is written last
        objects, extent = objects[order], extent[order]
        best = best_anchors(extent, torch.tensor(self.anchors, device=device)).tolist()
        chosen: dict[int, int] = {}
        size = self.config.input_size
        for number, anchor in zip(objects.tolist(), best, strict=True):
            first, within, count, stride = self.places[anchor]
            cells = size // stride
            x, y = ((target.boxes[number, :2] + target.boxes[number, 2:]) / 2 / stride).tolist()
            column, row = (min(max(int(value), 0), cells - 1) for value in (x, y))
            chosen[first + (row * cells + column) * count + within] = number
        keys = torch.tensor(list(chosen), dtype=torch.int64, device=device)
        return keys, torch.tensor(list(chosen.values()), dtype=torch.int64, device=device)

    @torch.no_grad()
    def _empty(self, boxes: Tensor, target: DetectionTargets, chosen: Tensor) -> Tensor:
        """float ``[M]``: 1 where a prediction learns that there is no object."""
        weight = torch.ones(len(boxes), device=boxes.device)
        objects, regions = target.boxes[~target.ignore], target.boxes[target.ignore]
        if len(objects):
            overlap = box_iou(self.decoding.corners(boxes), objects).max(dim=1).values
            weight[overlap > self.ignore] = 0
        middle = ((self.decoding.cells + 0.5) * self.decoding.strides)[:, None]
        held = ((middle > regions[None, :, :2]) & (middle < regions[None, :, 2:])).all(dim=-1).any(dim=1)
        weight[held] = 0
        weight[chosen] = 0
        return weight


def best_anchors(extent: Tensor, anchors: Tensor) -> Tensor:
    """int64 ``[G]``: the anchor ``[A, 2]`` that overlaps each shape ``[G, 2]`` most, on one centre.

    Example:
        >>> best_anchors(torch.tensor([[30.0, 31.0]]), torch.tensor([[10.0, 10.0], [32.0, 32.0]])).tolist()
        [1]
    """
    shared = torch.minimum(extent[:, None], anchors[None]).prod(dim=-1)
    union = extent.prod(dim=1)[:, None] + anchors.prod(dim=1)[None] - shared
    return (shared / union.clamp(min=1e-9)).argmax(dim=1)


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
