"""Anchor boxes and the box coder of RetinaNet (Lin et al. 2017, arXiv:1708.02002), for training and decoding.

Plain arrays, so that the torch model and the ONNX graph take the very same numbers.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from edgevision.bounds import Positive, Positives
from edgevision.types import FloatArray

MAX_LOG_SIZE = math.log(1000.0 / 16.0)
"""Predicted log sizes are cut here before ``exp``, as Detectron does, so that no box overflows."""


Stride = Annotated[int, Meta(ge=1, le=1024)]


class AnchorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which anchors stand at each cell of each pyramid level.

    Attributes:
        strides: input pixels a cell, one for each level, P3 first.
        base_size: side of the smallest anchor, in cells; the paper's is 4.
        scales: anchor sizes within an octave, as factors of the base.
        ratios: height over width.
    """

    strides: Annotated[tuple[Stride, ...], Meta(min_length=1)] = (8, 16, 32, 64, 128)
    base_size: Positive = 4.0
    scales: Positives = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    ratios: Positives = (0.5, 1.0, 2.0)

    @property
    def per_cell(self) -> int:
        return len(self.scales) * len(self.ratios)

    def grids(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Rows and columns of every level for an input of ``height`` x ``width`` pixels.

        They are rounded up, as convolutions of stride 2 with padding 1 do.
        """
        return tuple((math.ceil(height / stride), math.ceil(width / stride)) for stride in self.strides)


def anchor_grid(config: AnchorConfig, height: int, width: int) -> list[FloatArray]:
    """Anchors of every level for an input of ``height`` x ``width`` pixels.

    Returns:
        For each level, float32 ``[H * W * A, 4]``: ``(x1, y1, x2, y2)`` in input pixels, rows first,
        then columns, then the anchors of a cell (ratios within scales).
    """
    levels = []
    for stride, (rows, columns) in zip(config.strides, config.grids(height, width), strict=True):
        y, x = np.meshgrid(
            (np.arange(rows) + 0.5) * stride, (np.arange(columns) + 0.5) * stride, indexing="ij"
        )
        centres = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
        levels.append((centres + _cell(config, stride)).reshape(-1, 4).astype(np.float32))
    return levels


def _cell(config: AnchorConfig, stride: int) -> FloatArray:
    """Anchors around the origin: ``[A, 4]``. All ratios of one scale have the same area."""
    boxes = []
    for scale in config.scales:
        side = config.base_size * stride * scale
        for ratio in config.ratios:
            width, height = side / math.sqrt(ratio), side * math.sqrt(ratio)
            boxes.append([-width / 2, -height / 2, width / 2, height / 2])
    return np.array(boxes, np.float32)


def encode_boxes(boxes: Any, anchors: Any, xp: Any = np) -> Any:
    """Offsets ``(dx, dy, dw, dh)`` of boxes from anchors (Girshick et al. 2014, R-CNN, appendix C).

    Args:
        boxes, anchors: ``[..., 4]`` corners of positive size.
        xp: the array module, ``numpy`` or ``torch``.
    """
    centre, size = _centre_size(boxes)
    anchor_centre, anchor_size = _centre_size(anchors)
    return xp.concatenate([(centre - anchor_centre) / anchor_size, xp.log(size / anchor_size)], axis=-1)


def decode_boxes(deltas: Any, anchors: Any, xp: Any = np) -> Any:
    """The inverse of :func:`encode_boxes`; log sizes above ``MAX_LOG_SIZE`` are cut. ``[..., 4]`` corners."""
    anchor_centre, anchor_size = _centre_size(anchors)
    centre = deltas[..., :2] * anchor_size + anchor_centre
    half = xp.exp(xp.clip(deltas[..., 2:], None, MAX_LOG_SIZE)) * anchor_size / 2
    return xp.concatenate([centre - half, centre + half], axis=-1)


def _centre_size(boxes: Any) -> tuple[Any, Any]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + size / 2, size
