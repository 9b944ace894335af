"""YOLOv5 and v7 without their decoding: one tensor ``[1, 3, h, w, 5 + C]`` of logits for each level.

``xy = (2 sigmoid - 0.5 + cell) stride`` and ``wh = (2 sigmoid)^2 anchor`` (both projects' own papers and
demos). The anchors are not in the file, and trained ones differ, so the user names them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import UsageError
from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.numbers import are_probabilities
from edgevision.export.importers.reading import RGB_UNIT, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("yolo-heads",)
IOU = 0.45

ANCHORS = {
    "yolov5": (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326),
    "yolov7": (12, 16, 19, 36, 40, 28, 36, 75, 76, 55, 72, 146, 142, 110, 192, 243, 459, 401),
    "yolov7-tiny": (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326),
}
"""Width and height of the three anchors of strides 8, 16 and 32, in pixels, as the projects ship them."""


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None.

    Raises:
        UsageError: it is of this form, and nobody says the anchors.
    """
    shapes = [output.shape for output in core.outputs]
    if len(shapes) != 3 or any(len(shape) != 5 or shape[1] != 3 for shape in shapes):
        return None
    if len({shape[4] for shape in shapes}) != 1 or shapes[0][4] < 6:
        return None
    strides = [core.height // shape[2] for shape in shapes]
    sizes_fit = all(
        (shape[2] * stride, shape[3] * stride) == (core.height, core.width)
        for shape, stride in zip(shapes, strides, strict=True)
    )
    if not sizes_fit or sorted(strides) != [8, 16, 32]:
        return None
    if all(are_probabilities(core.answers(i)) for i in range(3)):
        return None  # a sigmoid is in the graph already, which neither project exports
    width = shapes[0][4]
    total = sum(3 * shape[2] * shape[3] for shape in shapes)
    if choices.anchors is None:
        raise UsageError(
            f"{core.origin} holds the raw heads of YOLOv5 or YOLOv7 (three outputs [1, 3, h, w, {width}] of "
            f"logits), whose anchors are not in the file: pass `anchors` with {', '.join(ANCHORS)} or the 18 "
            "numbers of its training (width, height, from fine to coarse)"
        )
    table = anchor_table(choices.anchors)

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        parts = []
        for output, stride in zip(core.outputs, strides, strict=True):
            values = g("Sigmoid", decoding.as_float(g, output))
            rows, columns = output.shape[2:4]
            y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
            cell = np.stack([x, y], axis=-1)[None, None] - 0.5
            anchor = table[int(np.log2(stride)) - 3][None, :, None, None, :]
            axis = g.ints(4)
            shift = g("Mul", g("Slice", values, g.ints(0), g.ints(2), axis), g.constant(2.0, np.float32))
            centre = g("Mul", g("Add", shift, g.constant(cell, np.float32)), g.constant(stride, np.float32))
            scale = g("Mul", g("Slice", values, g.ints(2), g.ints(4), axis), g.constant(2.0, np.float32))
            size = g("Mul", g("Mul", scale, scale), g.constant(anchor, np.float32))
            rest = g("Slice", values, g.ints(4), g.ints(width), axis)
            level = g("Concat", centre, size, rest, axis=4)
            parts.append(g("Reshape", level, g.ints(0, -1, width)))
        rows_ = g("Concat", *parts, axis=1)
        boxes = decoding.corners(g, decoding.columns(g, rows_, 0, 4))
        scores = g("Mul", decoding.columns(g, rows_, 5, width), decoding.columns(g, rows_, 4, 5))
        return Candidates(boxes, scores, total, classes=width - 5)

    return Reading(
        "yolo-heads",
        "YOLOv5 or YOLOv7 without decoding",
        "it has three outputs of logits [1, 3, h, w, 5 + C] of strides 8, 16 and 32; `anchors` says the rest",
        RGB_UNIT,
        decode,
        "as both export",
        classes=width - 5,
        iou=IOU,
    )


def anchor_table(text: str) -> NDArray[np.float64]:
    """``[3, 3, 2]``: level, anchor, width and height in pixels.

    Raises:
        UsageError: neither a known name nor 18 positive numbers.
    """
    try:
        numbers = ANCHORS.get(text) or tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 18 or not all(np.isfinite(number) and number > 0 for number in numbers):
        raise UsageError(
            f"`anchors` '{text}': expected {', '.join(ANCHORS)}, or 18 positive numbers separated by commas: "
            "width and height of three anchors for strides 8, 16 and 32"
        )
    return np.array(numbers, np.float64).reshape(3, 3, 2)
