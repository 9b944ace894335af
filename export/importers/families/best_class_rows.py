"""Rows ``[1, N, 6]`` of corners, score and best class before NMS: the DeepStream form, and EfficientDet.

Sorted by score and more than a thousand is EfficientDet's choice before its NMS; unsorted is what the
DeepStream-Yolo exporters write of any detector, so the notes or the user say how the image is prepared.
"""

from __future__ import annotations

import numpy as np

from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.families import libreyolo
from edgevision.export.importers.grids import box_form
from edgevision.export.importers.numbers import are_probabilities, are_whole, falls, inverted_share
from edgevision.export.importers.reading import Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("deepstream", "efficientdet")
_MANY = 1000
_NEED_NONE = ("yolo9_e2e", "detr", "rtdetr", "rtdetrv2", "rtdetrv4", "dfine", "deim", "deimv2", "rfdetr")
"""Families of libreyolo whose rows need no suppression."""


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None; ``choices.kind`` is set where the user says so."""
    shape = core.outputs[0].shape
    if len(core.outputs) != 1 or len(shape) != 3 or shape[2] != 6 or notes.task(core) != "detect":
        return None
    every = core.answers(0)
    boxes, scores, classes = every[..., :4], every[..., 4], every[..., 5]
    if not are_probabilities(scores) or not are_whole(classes) or inverted_share(boxes) > 0.01:
        return None
    if float(np.abs(boxes).max(initial=0)) <= 1.1:
        return None  # shares of the input, which neither writes
    kind = "efficientdet" if falls(scores) and shape[1] > _MANY else "deepstream"
    if kind == "deepstream" and falls(scores):
        return None  # final rows
    told = notes.family(core)
    form = box_form(core.noise(0)[:, :4], core.height, core.width)
    if choices.kind not in (None, kind) or (form is not None and form.form != "corners"):
        return None
    if kind == "deepstream" and form is None and shape[1] > _MANY:
        return None
    if kind == "efficientdet" and told not in (None, "efficientdet"):
        return None
    total = shape[1]
    queries = form is None and kind == "deepstream"

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0])
        labels = decoding.class_ids(g, decoding.column(g, table, 5))
        return Candidates(decoding.columns(g, table, 0, 4), decoding.column(g, table, 4), total, labels)

    order = "sorted by score" if kind == "efficientdet" else "not sorted by score"
    return Reading(
        kind,
        "EfficientDet before its NMS" if kind == "efficientdet" else "a detector in DeepStream's form",
        f"its {total} rows are {order}, their classes are whole numbers; {form or 'no grid fits them'}",
        libreyolo.pixels(core) or (libreyolo.PIXELS["efficientdet"] if kind == "efficientdet" else None),
        decode,
        libreyolo.TOLD_BY if told else "as libreyolo exports it",
        iou=None
        if told in _NEED_NONE
        else 0.5
        if kind == "efficientdet" or told
        else 0.7
        if queries
        else 0.45,
        highest=int(classes.max(initial=-1)),
    )
