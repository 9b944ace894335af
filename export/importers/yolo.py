"""YOLO as ultralytics' exporter writes it: raw ``[1, 4 + C, N]``, or end to end ``[1, N, 6]``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from edgevision.contract.manifest import NmsLimits, Resize
from edgevision.errors import ExportError
from edgevision.export.importers import common
from edgevision.export.importers.core import Core
from edgevision.export.importers.numbers import check_final_scores
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.retinanet import add_detection_outputs, add_final_outputs

IOU_THRESHOLD = 0.7
_EXPECTED = "one of [1, 4 + C, N] (raw, N larger than 4 + C) or [1, N, 6] (end to end)"
_INVERTED = 0.2
"""Share of inverted boxes from which four numbers are no corners; a trained network has next to none."""

_OBJECTNESS = (
    ". The rows look like [x, y, w, h, objectness, classes...] of YOLOv5 to v7: export those weights with "
    "ultralytics (YOLOv5u), which has no objectness"
)


def wrap(core: Core, name: str, classes: tuple[str, ...] | None, licence: str | None) -> common.Wrapping:
    """What goes before and after the network, and the contract.

    See :func:`edgevision.export.importers.import_model` for the arguments.

    Raw outputs are centre, size and a probability for each class, in input pixels; each box is given its
    best class only. End-to-end outputs are corners, score and class, and nothing is left to suppress.
    Boxes that are shares of the input are scaled, and logits go through a sigmoid; notes say so.
    """
    task = core.metadata.get("task", "detect")
    if task != "detect":
        raise ExportError(f"{core.origin} is a YOLO of the task '{task}'; expected one that detects boxes")
    shape = core.outputs[0].shape if len(core.outputs) == 1 else ()
    if len(shape) == 3 and 6 <= shape[2] < shape[1]:
        if shape[2] == 6 and _are_class_ids(core.answers[0][..., 5]):
            return _wrap_end_to_end(core, name, classes, licence)
        raise core.refuse("YOLO", _EXPECTED, _OBJECTNESS)
    if len(shape) == 3 and 5 <= shape[1] < shape[2]:
        return _wrap_raw(core, name, classes, licence)
    raise core.refuse("YOLO", _EXPECTED)


def _are_class_ids(values: NDArray[Any]) -> bool:
    """Whether numbers can be classes: YOLOv5 with one class has the shape of end-to-end outputs."""
    return bool((values == np.round(values)).all())


def _wrap_raw(core: Core, name: str, classes: tuple[str, ...] | None, licence: str | None) -> common.Wrapping:
    _, rows, total = core.outputs[0].shape
    nms = NmsLimits("cluster", IOU_THRESHOLD, min(common.CANDIDATES, total), common.ROUNDS)
    names = common.class_names(core, classes, rows - 4)
    manifest = common.detector_manifest(core, name, names, Resize(), nms, licence)
    g = GraphBuilder("post/")
    rows_last = g("Transpose", common.as_float(g, core.outputs[0]), perm=[0, 2, 1])
    centred, every = g.many("Split", 2, rows_last, g.ints(4, rows - 4), axis=2)
    answers = core.answers[0]
    centred, scaled = common.as_pixels(g, core, centred, answers[:, :4])
    every, squashed = common.as_probabilities(g, core, every, answers[:, 4:])
    centre, size = g.many("Split", 2, centred, g.ints(2, 2), axis=2)
    scores, labels = common.add_best_class(g, every)
    half = g("Mul", size, g.constant(0.5, np.float32))
    boxes = common.add_cut(g, g("Sub", centre, half), g("Add", centre, half), core)
    add_detection_outputs(g, boxes, scores, labels, total, manifest)
    return common.Wrapping(_before(core), g, manifest, scaled + squashed)


def _wrap_end_to_end(
    core: Core, name: str, classes: tuple[str, ...] | None, licence: str | None
) -> common.Wrapping:
    total = core.outputs[0].shape[1]
    names = common.class_names(core, classes, None)
    _check_final_rows(core, names)
    kept = min(common.MAX_DETECTIONS, total)
    nms = NmsLimits("none", 1.0, kept, 0)
    manifest = common.detector_manifest(core, name, names, Resize(), nms, licence)
    g = GraphBuilder("post/")
    rows = common.as_float(g, core.outputs[0])
    corners, score, label = g.many("Split", 3, rows, g.ints(4, 1, 1), axis=2)
    corners, notes = common.as_pixels(g, core, corners, core.answers[0][..., :4])
    low, high = g.many("Split", 2, corners, g.ints(2, 2), axis=2)
    boxes = common.add_cut(g, low, high, core)
    last = g.ints(2)
    scores = g("Squeeze", score, last)
    labels = g("Cast", g("Round", g("Squeeze", label, last)), to=TensorProto.INT64)
    strong = g("Greater", scores, g.constant(common.SCORE_THRESHOLD, np.float32))
    ranked = g("Where", strong, scores, g.constant(-1.0, np.float32))
    add_final_outputs(g, boxes, ranked, labels, kept)
    return common.Wrapping(_before(core), g, manifest, notes)


def _check_final_rows(core: Core, names: tuple[str, ...]) -> None:
    """Refuses end-to-end rows that are not corners, a probability and a known class.

    Raises:
        ExportError: they are something else on the probe images.
    """
    rows = core.answers[0].reshape(-1, 6)
    check_final_scores(rows[:, 4], core.origin)
    highest = int(rows[:, 5].max(initial=0))
    if highest >= len(names):
        raise ExportError(
            f"{core.origin} answers class {highest} on a probe image, but there are {len(names)} class names "
            "(0 is the first); pass `classes` with all of them"
        )
    boxes = rows[np.abs(rows[:, :4]).sum(axis=1) > 0, :4]
    inverted = float(((boxes[:, 2:] < boxes[:, :2]).any(axis=1)).mean()) if len(boxes) else 0.0
    if inverted > _INVERTED:
        raise ExportError(
            f"{core.origin} is no end-to-end YOLO: {inverted:.0%} of its boxes have the second corner before "
            "the first; expected x1, y1, x2, y2 (RT-DETR's centre, width and height are not taken)"
        )


def _before(core: Core) -> GraphBuilder:
    before = GraphBuilder("pre/")
    common.add_input(before, core, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return before
