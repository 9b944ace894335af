"""Detectors that give a box and class scores for each of many places: what they answer, and what is kept."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from edgevision.models.decode import nms_by_class
from edgevision.models.settings import DecodeConfig
from edgevision.types import Detections


class Decoder(Protocol):
    """From a network's raw predictions to what is detected."""

    def __call__(self, maps: Any, /) -> list[Detections]:
        """One :class:`~edgevision.types.Detections` an image, boxes in input pixels, best first."""
        ...


class DenseAnswers(NamedTuple):
    """What a network says of K places in an image.

    Attributes:
        boxes: float ``[N, K, 4]``, corners in input pixels.
        scores: float ``[N, K, C]``, 0 to 1.
    """

    boxes: Tensor
    scores: Tensor


def ordered(boxes: Tensor) -> Tensor:
    """Boxes whose first corner is the upper left one, whichever two were given: ``[..., 4] -> [..., 4]``."""
    first, second = boxes[..., :2], boxes[..., 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], dim=-1)


class DenseDecoder:
    """The best answers after suppression: the reference for :func:`edgevision.graph.dense.add_dense_decoder`.

    Args:
        decoding: from a network's raw predictions to :class:`DenseAnswers`.
        input_size: sides of the square input.
        config: thresholds.
    """

    def __init__(self, decoding: nn.Module, input_size: int, config: DecodeConfig) -> None:
        self.decoding, self.size, self.config = decoding.eval(), input_size, config

    @torch.inference_mode()
    def __call__(self, raw: object) -> list[Detections]:
        """One :class:`~edgevision.types.Detections` an image, boxes in input pixels, best first."""
        answers = self.decoding(raw)
        return [self._image(*pair) for pair in zip(answers.boxes, answers.scores, strict=True)]

    def _image(self, boxes: Tensor, scores: Tensor) -> Detections:
        classes = scores.shape[1]
        pairs = torch.arange(scores.numel(), device=scores.device)
        rows = torch.div(pairs, classes, rounding_mode="floor")
        return best_detections(boxes[rows], scores.flatten(), pairs % classes, self.size, self.config)


def best_detections(
    boxes: Tensor, scores: Tensor, labels: Tensor, size: int, config: DecodeConfig
) -> Detections:
    """The best of K boxes of one image, after suppression within each class.

    Args:
        boxes: float ``[K, 4]``, corners in input pixels.
        scores: float ``[K]``, 0 to 1.
        labels: int64 ``[K]``.
        size: sides of the square input, to which boxes are cut.
        config: thresholds.
    """
    best, index = scores.float().topk(min(config.candidates, len(scores)))
    index = index[best > config.score_threshold]
    best, labels = best[: len(index)], labels[index]
    boxes = boxes.float()[index].clamp(0, size)
    keep = nms_by_class(boxes, best, labels, config.iou_threshold)[: config.max_detections]
    found = (boxes[keep].cpu().numpy(), best[keep].cpu().numpy(), labels[keep].cpu().numpy())
    return Detections(found[0], found[1], found[2].astype(np.int32))
