"""Networks that end in TensorRT's ``EfficientNMS_TRT``, of YOLOv6, v7 and others; ours takes its place."""

from __future__ import annotations

from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.grids import box_form
from edgevision.export.importers.numbers import are_probabilities
from edgevision.export.importers.reading import MOST_KEPT, RGB_UNIT, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("efficientnms",)


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file whose suppression was cut off, or None. The node says what the boxes are."""
    end = core.end
    if end is None or len(core.outputs) != 2:
        return None
    total, classes = core.outputs[1].shape[1:]
    if core.outputs[0].shape[1:] != (total, 4) or (not end.logits and not are_probabilities(core.answers(1))):
        return None
    wanted = "centre" if end.centre else "corners"
    boxes = core.noise(0)
    form = box_form(boxes, core.height, core.width)
    turned = box_form(boxes[:, [1, 0, 3, 2]], core.height, core.width)
    y_first = (form is None or form.form != wanted) and turned is not None and turned.form == wanted
    if form is not None and form.form != wanted and not y_first:
        return None
    kept = [i for i in range(classes) if i != end.background]

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        found = decoding.as_float(g, core.outputs[0])
        found = decoding.swapped(g, found) if y_first else found
        found = decoding.corners(g, found) if end.centre else found
        scores = decoding.as_float(g, core.outputs[1])
        scores = g("Sigmoid", scores) if end.logits else scores
        scores = scores if len(kept) == classes else g("Gather", scores, g.ints(*kept), axis=2)
        return Candidates(found, scores, total, classes=len(kept))

    shown = turned if y_first else form
    # YOLOv6 and v7 take the same; others that end so would have to be known by their boxes.
    dense = shown is not None and shown.grid.anchors in (1, 3) and end.centre
    return Reading(
        "efficientnms",
        f"a network with {end.operator} at its end",
        f"the node says {wanted}{', y first' if y_first else ''}; {shown or 'no grid fits its rows'}",
        RGB_UNIT if dense else None,
        decode,
        "as YOLOv6 and YOLOv7 export",
        classes=len(kept),
        iou=end.iou,
        min_score=end.score,
        most=end.most if end.most <= MOST_KEPT else None,
        notes=(f"{end.operator} (IoU {end.iou:.3g}, score {end.score:.3g}) is replaced by edgevision's NMS",),
    )
