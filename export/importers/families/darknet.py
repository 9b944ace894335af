"""Darknet's YOLOv4 and v3 as pytorch-YOLOv4 exports them: ``boxes [1, N, 1, 4]`` and ``confs [1, N, C]``."""

from __future__ import annotations

from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.numbers import are_probabilities, boxes_are_shares, inverted_share
from edgevision.export.importers.reading import RGB_UNIT_STRETCH, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("yolov4",)
IOU = 0.6


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None: corners as shares of the input, the product inside."""
    shapes = [output.shape for output in core.outputs]
    if len(shapes) != 2 or len(shapes[0]) != 4 or len(shapes[1]) != 3:
        return None
    total, classes = shapes[1][1:]
    boxes = core.answers(0)
    if (
        shapes[0][1:] != (total, 1, 4)
        or not are_probabilities(core.answers(1))
        or inverted_share(boxes) > 0.01
    ):
        return None
    peak = float(abs(boxes).max(initial=0))
    if not boxes_are_shares(boxes / max(1.0, peak / 1.4), (core.height, core.width)) or peak > 8:
        return None

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        squeezed = g("Squeeze", decoding.as_float(g, core.outputs[0]), g.ints(2))
        corners = decoding.from_shares(g, core, squeezed)
        return Candidates(corners, decoding.as_float(g, core.outputs[1]), total, classes=classes)

    return Reading(
        "yolov4",
        "YOLOv4 of pytorch-YOLOv4, boxes and confs",
        f"its boxes [1, N, 1, 4] are corners, never inverted, as shares of the input (up to {peak:.2g})",
        RGB_UNIT_STRETCH,
        decode,
        classes=classes,
        iou=IOU,
    )
