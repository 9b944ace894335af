"""YOLOv4 of the ONNX model zoo: ``[N, H, W, 3]`` in, a map ``[N, h, w, 3, 5 + C]`` for each level out.

``xy = (1.2 sigmoid - 0.1 + cell) stride`` with 1.1 and 1.05 at the coarser levels, ``wh = exp * anchor``;
objectness and classes are probabilities already (the zoo's own page). The anchors are not in the file: those
of the zoo's 80 classes are known, others are asked for.
"""

from __future__ import annotations

import numpy as np

from edgevision.contract.manifest import Resize
from edgevision.errors import UsageError
from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.families.raw_heads import anchor_table
from edgevision.export.importers.numbers import are_probabilities
from edgevision.export.importers.reading import Candidates, Choices, Pixels, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("zoo-yolov4",)
IOU = 0.213
SCALES = {8: 1.2, 16: 1.1, 32: 1.05}
_ZOO_CLASSES = 80


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None.

    Raises:
        UsageError: it is of this form with other classes than the zoo's, and nobody says the anchors.
    """
    shapes = [output.shape for output in core.outputs]
    if core.layout != "NHWC" or len(shapes) != 3 or any(len(one) != 5 or one[3] != 3 for one in shapes):
        return None
    widths = {shape[4] for shape in shapes}
    strides = [core.height // shape[1] for shape in shapes]
    fits = all(
        (shape[1] * stride, shape[2] * stride) == (core.height, core.width)
        for shape, stride in zip(shapes, strides, strict=True)
    )
    if len(widths) != 1 or not fits or sorted(strides) != sorted(SCALES):
        return None
    width = widths.pop()
    if width < 6:
        return None
    answers = [core.answers(i) for i in range(3)]
    if not all(are_probabilities(one[..., 4:]) for one in answers) or all(
        are_probabilities(one[..., :4]) for one in answers
    ):
        return None
    classes = width - 5
    if choices.anchors is None and classes != _ZOO_CLASSES:
        raise UsageError(
            f"{core.origin} holds three maps in the form of the ONNX model zoo's YOLOv4, whose anchors are "
            "not in the file: pass `anchors` with yolov7 for YOLOv4's own, which YOLOv7 took over, or the 18 "
            "numbers of its training (width, height, from fine to coarse)"
        )
    table = anchor_table(choices.anchors or "yolov7")
    total = sum(3 * shape[1] * shape[2] for shape in shapes)

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        parts = []
        for output, stride in zip(core.outputs, strides, strict=True):
            values, axis = decoding.as_float(g, output), g.ints(4)
            rows, columns = output.shape[1:3]
            scale = SCALES[stride]
            y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
            cell = np.stack([x, y], axis=-1)[None, :, :, None] - (scale - 1) / 2
            anchor = table[int(np.log2(stride)) - 3][None, None, None]
            shift = g("Sigmoid", g("Slice", values, g.ints(0), g.ints(2), axis))
            shift = g("Add", g("Mul", shift, g.constant(scale, np.float32)), g.constant(cell, np.float32))
            # exp(10) anchors are more than any input; above that float16 networks reach infinity.
            growth = g("Min", g("Slice", values, g.ints(2), g.ints(4), axis), g.constant(10.0, np.float32))
            size = g("Mul", g("Exp", growth), g.constant(anchor, np.float32))
            centre = g("Mul", shift, g.constant(stride, np.float32))
            rest = g("Slice", values, g.ints(4), g.ints(width), axis)
            parts.append(g("Reshape", g("Concat", centre, size, rest, axis=4), g.ints(0, -1, width)))
        every = g("Concat", *parts, axis=1)
        boxes = decoding.corners(g, decoding.columns(g, every, 0, 4))
        scores = g("Mul", decoding.columns(g, every, 5, width), decoding.columns(g, every, 4, 5))
        return Candidates(boxes, scores, total, classes=classes)

    return Reading(
        "zoo-yolov4",
        "YOLOv4 of the ONNX model zoo",
        "its three maps [1, h, w, 3, 5 + C] are of strides 8, 16, 32, all but the first four numbers in 0..1",
        Pixels(Resize("letterbox", 128)),
        decode,
        "as the zoo's page says",
        classes=classes,
        iou=IOU,
        notes=() if choices.anchors else ("its anchors are those of YOLOv4; `anchors` changes them",),
    )
