"""YOLOv3 and its tiny form of the ONNX model zoo: ``boxes [1, N, 4]``, ``scores [1, C, N]`` and NMS' indices.

Boxes are ``y1 x1 y2 x2`` in pixels of ``image_shape``; the letterbox is undone inside (the zoo's own page).
"""

from __future__ import annotations

import numpy as np

from edgevision.contract.manifest import Resize
from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.numbers import are_probabilities
from edgevision.export.importers.reading import Candidates, Choices, Pixels, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("zoo-yolov3",)


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None.

    Doubling the second number of ``image_shape``, the width, must widen the second and fourth number of a
    box:
    so y comes first.
    """
    if "image_shape" not in core.folded or len(core.outputs) not in (2, 3):
        return None
    shapes = [output.shape for output in core.outputs[:2]]
    if [len(shape) for shape in shapes] != [3, 3] or shapes[0][2] != 4 or shapes[1][2] != shapes[0][1]:
        return None
    if not are_probabilities(core.answers(1)):
        return None
    known = core.folded["image_shape"]
    wider = core.with_folded("image_shape", known * np.array([[1, 2]], known.dtype))
    before, after = core.noise(0), np.asarray(wider[0], np.float64)[0]
    widths = [float(np.median(values[:, 3] - values[:, 1])) for values in (before, after)]
    heights = [float(np.median(values[:, 2] - values[:, 0])) for values in (before, after)]
    grown, kept = widths[1] / max(widths[0], 1e-6), heights[1] / max(heights[0], 1e-6)
    if not (grown > 1.2 and grown > kept * 0.99):
        return None
    total, classes = shapes[0][1], shapes[1][1]

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        boxes = decoding.swapped(g, decoding.as_float(g, core.outputs[0]))
        scores = decoding.rows(g, core.outputs[1], columns_first=True)
        return Candidates(boxes, scores, total, classes=classes)

    return Reading(
        "zoo-yolov3",
        "YOLOv3 of the ONNX model zoo",
        f"its boxes follow image_shape: twice the width makes them {grown:.2g} times as wide, y first",
        Pixels(Resize("letterbox", 128)),
        decode,
        "as the zoo's page says",
        classes=classes,
        iou=0.5,
        notes=("its NonMaxSuppression is left out for edgevision's NMS",),
    )
