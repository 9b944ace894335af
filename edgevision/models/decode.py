"""Raw head maps to detections in torch, with torchvision's NMS: the reference for the exported graph."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from edgevision.models.anchors import anchor_grid, decode_boxes
from edgevision.models.retinanet import HeadMaps, flatten_maps
from edgevision.models.settings import DecodeConfig, RetinaNetConfig
from edgevision.types import Detections


class DetectionDecoder:
    """Decodes for one architecture and input size.

    Args:
        model: the detector's configuration.
        classes: number of classes.
        config: thresholds.
    """

    def __init__(self, model: RetinaNetConfig, classes: int, config: DecodeConfig) -> None:
        self.config = config
        self.classes = classes
        self.size = model.input_size
        self.anchors = [torch.from_numpy(a) for a in anchor_grid(model.anchors, self.size, self.size)]

    @torch.inference_mode()
    def __call__(self, maps: HeadMaps) -> list[Detections]:
        """One :class:`Detections` an image, boxes in input pixels, best first."""
        images = maps.logits[0].shape[0]
        return [self._image(maps, image) for image in range(images)]

    def _image(self, maps: HeadMaps, image: int) -> Detections:
        scores, labels, boxes = [], [], []
        for level, anchors in enumerate(self.anchors):
            cells = maps.logits[level][0, 0].numel()
            per_cell = len(anchors) // cells
            logits = maps.logits[level][image].float().reshape(per_cell, -1)
            deltas = flatten_maps([maps.deltas[level][image : image + 1]], 4)[0].float()
            best, which = logits.max(dim=0)
            kept, index = best.topk(min(self.config.level_candidates, len(best)))
            anchor = index % cells * per_cell + which[index]
            scores.append(kept.sigmoid())
            labels.append(index // cells)
            boxes.append(decode_boxes(deltas[anchor], anchors.to(deltas.device)[anchor], torch))
        return self._suppress(torch.cat(boxes), torch.cat(scores), torch.cat(labels))

    def _suppress(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Detections:
        boxes = boxes.clamp(0, self.size)
        scores, order = scores.topk(min(self.config.candidates, len(scores)))
        order = order[scores > self.config.score_threshold]
        scores, boxes, labels = scores[: len(order)], boxes[order], labels[order]
        keep = nms_by_class(boxes, scores, labels, self.config.iou_threshold)[: self.config.max_detections]
        found = (boxes[keep].cpu().numpy(), scores[keep].cpu().numpy(), labels[keep].cpu().numpy())
        return Detections(found[0], found[1], found[2].astype(np.int32))


def nms_by_class(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Places of the boxes that survive among those of their own class, best first; int64 ``[k]``.

    torchvision's ``batched_nms`` moves the classes of few boxes apart instead, which in FP32 loses the parts
    of pixels that decide an overlap.

    Args:
        boxes: float ``[K, 4]`` corners, sorted by score.
        scores: float ``[K]``, falling.
        labels: integer ``[K]``.
        iou_threshold: overlap above which the worse of two boxes goes.
    """
    keep = torch.zeros_like(labels, dtype=torch.bool)
    for label in set(labels.tolist()):
        (own,) = torch.where(labels == label)
        keep[own[nms(boxes[own], scores[own], iou_threshold)]] = True
    return torch.where(keep)[0]
