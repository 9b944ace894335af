"""YOLOv3 as it was exported in 2020: ``classes [N, C]`` and ``boxes [N, 4]`` without a batch.

Boxes are centre and size as shares of the input; the grid shows it.
"""

from __future__ import annotations

import numpy as np

from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.grids import box_form
from edgevision.export.importers.numbers import are_probabilities, boxes_are_shares
from edgevision.export.importers.reading import RGB_UNIT, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("yolov3-2020",)
IOU = 0.5


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None."""
    shapes = [np.asarray(answer).shape for answer in core.probes["noise"]]
    if len(shapes) != 2 or [len(shape) for shape in shapes] != [2, 2] or shapes[0][0] != shapes[1][0]:
        return None
    if any(output.varies or output.dtype.kind != "f" for output in core.outputs):
        return None
    for boxes_at, scores_at in ((1, 0), (0, 1)):
        boxes = np.asarray(core.probes["noise"][boxes_at], np.float64)
        if boxes.shape[1] != 4 or not are_probabilities(core.answers(scores_at)):
            continue
        if not boxes_are_shares(core.answers(boxes_at), (core.height, core.width)):
            continue
        form = box_form(boxes * np.array([core.width, core.height] * 2), core.height, core.width)
        if form is not None and form.form == "centre":
            return _reading(core, boxes_at, scores_at, str(form))
    return None


def _reading(core: Core, boxes_at: int, scores_at: int, why: str) -> Reading:
    total, classes = np.asarray(core.probes["noise"][scores_at]).shape

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        boxes, scores = (
            decoding.batched(g, decoding.as_float(g, core.outputs[at])) for at in (boxes_at, scores_at)
        )
        boxes = decoding.from_shares(g, core, decoding.corners(g, boxes))
        return Candidates(boxes, scores, total, classes=classes)

    return Reading(
        "yolov3-2020",
        "YOLOv3 in its form of 2020, classes and boxes without a batch",
        f"{why}, as shares of the input",
        RGB_UNIT,
        decode,
        "as the exporter of 2020 had it",
        classes=classes,
        iou=IOU,
    )
