"""EfficientDet of the ``effdet`` package without decoding: five maps of logits and five of deltas.

Anchors of a cell are three octaves (``4 * stride * 2^(i/3)``) of three ratios (1, 1), (1.4, 0.7), (0.7,
1.4), the
octave first; deltas are ``ty tx th tw`` (Tan et al. 2020, arXiv:1911.09070, and the package's own decoder).
RetinaNet
of the ONNX zoo has maps of the same shapes and other anchors, which no number tells: so the user says the
kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import UsageError
from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core, Tensor
from edgevision.export.importers.numbers import are_probabilities
from edgevision.export.importers.reading import Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("effdet-maps",)
STRIDES = (8, 16, 32, 64, 128)
_ANCHORS = 9
_RATIOS = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))


def maps(core: Core) -> tuple[list[tuple[int, int]], int] | None:
    """Sizes of the five levels and the number of classes, where the outputs are five maps of each kind."""
    shapes = [output.shape for output in core.outputs]
    if len(shapes) != 10 or any(len(shape) != 4 for shape in shapes):
        return None
    scores, deltas = shapes[:5], shapes[5:]
    sizes = [(-(-core.height // stride), -(-core.width // stride)) for stride in STRIDES]
    channels = {shape[1] for shape in scores}
    fits = [shape[2:] for shape in scores] == sizes and [shape[2:] for shape in deltas] == sizes
    if not fits or len(channels) != 1 or {shape[1] for shape in deltas} != {4 * _ANCHORS}:
        return None
    classes, rest = divmod(channels.pop(), _ANCHORS)
    return (sizes, classes) if not rest and classes else None


def joined(g: GraphBuilder, outputs: Sequence[Tensor], width: int) -> str:
    """Maps ``[N, A * width, h, w]`` to rows ``[N, M, width]``, level by level, a cell's anchors together."""
    parts = [
        g("Reshape", g("Transpose", decoding.as_float(g, one), perm=[0, 2, 3, 1]), g.ints(0, -1, width))
        for one in outputs
    ]
    return g("Concat", *parts, axis=1)


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None.

    Raises:
        UsageError: it is of this form, and nobody says whose anchors it has.
    """
    found = maps(core)
    if found is None or all(are_probabilities(core.answers(i)) for i in range(5)):
        return None
    sizes, classes = found
    if choices.kind is None:
        raise UsageError(
            f"{core.origin} holds five maps of class logits and five of box deltas, nine anchors a cell: "
            "EfficientDet of effdet, or RetinaNet with other anchors, which no number tells apart; pass "
            "`kind` effdet-maps if it is the first, else export it with its decoding"
        )
    anchors = _anchors(sizes)
    total = len(anchors)

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        offsets = joined(g, core.outputs[5:], 4)
        shift = g("Gather", offsets, g.ints(1, 0), axis=2)
        growth = g("Exp", g("Min", g("Gather", offsets, g.ints(3, 2), axis=2), g.constant(10.0, np.float32)))
        middle, size = (g.constant(part[None], np.float32) for part in (anchors[:, :2], anchors[:, 2:]))
        centre = g("Add", g("Mul", shift, size), middle)
        boxes = decoding.corners(g, g("Concat", centre, g("Mul", growth, size), axis=2))
        scores = g("Sigmoid", joined(g, core.outputs[:5], classes))
        return Candidates(boxes, scores, total, classes=classes)

    return Reading(
        "effdet-maps",
        "EfficientDet of effdet, not decoded",
        "its ten maps are those of strides 8 to 128 with nine anchors; `kind` says whose",
        None,
        decode,
        classes=classes,
        iou=0.5,
        notes=("effdet takes RGB at the top left: ImageNet's mean, its lite models mean and std 127.5",),
    )


def _anchors(sizes: list[tuple[int, int]]) -> NDArray[np.float64]:
    """``[M, 4]``: centre, width and height in pixels, level by level, a cell's anchors together."""
    found = []
    for (rows, columns), stride in zip(sizes, STRIDES, strict=True):
        for row in range(rows):
            for column in range(columns):
                for octave in range(3):
                    base = 4 * stride * 2 ** (octave / 3)
                    for wide, high in _RATIOS:
                        centre = ((column + 0.5) * stride, (row + 0.5) * stride)
                        found.append((*centre, base * wide, base * high))
    return np.array(found, np.float64)
