"""Two dense tensors, boxes ``[1, N, 4]`` and scores ``[1, N, C]``: YOLO-NAS, PP-YOLOE, PicoDet.

Names lie (libreyolo calls YOLO-NAS's boxes ``pred_logits``), so the numbers say which is which: scores are
all
in 0..1. The order of the levels tells the families apart: 8 to 32 is YOLO-NAS, 32 to 8 PP-YOLOE.
"""

from __future__ import annotations

from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.families import libreyolo
from edgevision.export.importers.grids import box_form
from edgevision.export.importers.numbers import are_probabilities, inverted_share
from edgevision.export.importers.reading import IMAGENET_STRETCH, RGB_UNIT, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("yolonas", "ppyoloe", "picodet-boxes")


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None; ``choices.kind`` is set where the user says so."""
    if len(core.outputs) != 2 or core.end is not None or notes.task(core) != "detect":
        return None
    shapes = [output.shape for output in core.outputs]
    if any(len(shape) != 3 for shape in shapes):
        return None
    for boxes_at, scores_at in ((0, 1), (1, 0)):
        found = _read(core, choices, boxes_at, scores_at)
        if found is not None:
            return found
    return None


def _read(core: Core, choices: Choices, boxes_at: int, scores_at: int) -> Reading | None:
    boxes, scores = core.outputs[boxes_at].shape, core.outputs[scores_at].shape
    total = boxes[1]
    if boxes[2] != 4 or total not in scores[1:] or are_probabilities(core.answers(boxes_at)):
        return None
    if not are_probabilities(core.answers(scores_at)) or inverted_share(core.answers(boxes_at)) > 0.01:
        return None
    columns_first = scores[2] == total and scores[1] != total
    classes = scores[1] if columns_first else scores[2]
    form = box_form(core.noise(boxes_at), core.height, core.width)
    if form is None or form.form != "corners" or form.grid.anchors != 1:
        return None
    strides = form.grid.strides
    kind = "ppyoloe" if strides[0] > strides[-1] else "picodet-boxes" if strides[-1] == 64 else "yolonas"
    told = notes.family(core)
    if choices.kind not in (None, kind) or told not in (None, kind):
        return None
    known = {"yolonas": RGB_UNIT, "picodet-boxes": IMAGENET_STRETCH, "ppyoloe": None}[kind]

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        found = decoding.rows(g, core.outputs[scores_at], columns_first=columns_first)
        return Candidates(decoding.as_float(g, core.outputs[boxes_at]), found, total, classes=classes)

    title = {"yolonas": "YOLO-NAS", "ppyoloe": "PP-YOLOE", "picodet-boxes": "PicoDet"}[kind]
    return Reading(
        kind,
        f"{title} in two tensors of corners and class scores",
        str(form),
        libreyolo.pixels(core) if told else known,
        decode,
        libreyolo.TOLD_BY if told else "as the family's own exporter has it",
        classes=classes,
        iou=0.6 if kind == "picodet-boxes" else 0.7,
        notes=("PP-YOLOE takes ImageNet's mean, PP-YOLOE+ 0..1; both stretch RGB",)
        if kind == "ppyoloe" and not told
        else (),
    )
