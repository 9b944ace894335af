"""RetinaNet of the ONNX model zoo (NVIDIA's retinanet-examples): five maps of class scores, five of deltas.

Class scores are probabilities, where EfficientDet of effdet has logits. Anchors are three octaves
(``4 * stride * 2^(i/3)``) of the ratios height : width 1, 2 and 1/2, the octave first; coordinates count
whole pixels, so a box of one pixel has equal corners: ``wh = exp(d) * (anchor + 1)`` (the project's own
decoder).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgevision.contract.manifest import Resize
from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.families import effdet_maps
from edgevision.export.importers.numbers import are_probabilities
from edgevision.export.importers.reading import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Candidates,
    Choices,
    Pixels,
    Reading,
)
from edgevision.graph.builder import GraphBuilder

KINDS = ("zoo-retinanet",)
_RATIOS = (1.0, 2.0, 0.5)


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None."""
    found = effdet_maps.maps(core)
    if found is None or not all(are_probabilities(core.answers(i)) for i in range(5)):
        return None
    sizes, classes = found
    anchors = _anchors(sizes)
    total = len(anchors)

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        offsets = effdet_maps.joined(g, core.outputs[5:], 4)
        one = g.constant(1.0, np.float32)
        middle, size = (g.constant(part[None], np.float32) for part in (anchors[:, :2], anchors[:, 2:]))
        shift, growth = g.many("Split", 2, offsets, g.ints(2, 2), axis=2)
        extent = g("Mul", g("Exp", g("Min", growth, g.constant(10.0, np.float32))), size)
        centre = g("Add", g("Mul", shift, size), middle)
        corners = decoding.corners(g, g("Concat", centre, extent, axis=2))
        low, high = g.many("Split", 2, corners, g.ints(2, 2), axis=2)
        boxes = g("Concat", low, g("Sub", high, one), axis=2)
        return Candidates(boxes, effdet_maps.joined(g, core.outputs[:5], classes), total, classes=classes)

    return Reading(
        "zoo-retinanet",
        "RetinaNet of the ONNX model zoo, not decoded",
        "its ten maps are those of strides 8 to 128 with nine anchors, its class scores all in 0..1",
        Pixels(Resize("letterbox", 124, place="top-left"), False, IMAGENET_MEAN, IMAGENET_STD),
        decode,
        "as the zoo's page says",
        classes=classes,
        iou=0.5,
    )


def _anchors(sizes: list[tuple[int, int]]) -> NDArray[np.float64]:
    """``[M, 4]``: centre, width and height in pixels, level by level, a cell's anchors together."""
    found = []
    for (rows, columns), stride in zip(sizes, effdet_maps.STRIDES, strict=True):
        bases = [4 * stride * 2 ** (octave / 3) for octave in range(3)]
        extents = [(base / ratio**0.5 + 1, base * ratio**0.5 + 1) for base in bases for ratio in _RATIOS]
        for row in range(rows):
            for column in range(columns):
                centre = ((column + 0.5) * stride + 0.5, (row + 0.5) * stride + 0.5)
                found += [(*centre, *extent) for extent in extents]
    return np.array(found, np.float64)
