"""YOLO as ultralytics' exporter writes it: raw ``[1, 4 + C, N]``, or end to end ``[1, N, 6]``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from edgevision.contract.manifest import Manifest, NmsLimits, Resize
from edgevision.errors import ExportError
from edgevision.export.importers import common
from edgevision.export.importers.core import Core
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.retinanet import add_detection_outputs, add_final_outputs

IOU_THRESHOLD = 0.7
_EXPECTED = "one of [1, 4 + C, N] (raw, N larger than 4 + C) or [1, N, 6] (end to end)"
_OBJECTNESS = (
    ". The rows look like [x, y, w, h, objectness, classes...] of YOLOv5 to v7: export those weights with "
    "ultralytics (YOLOv5u), which has no objectness"
)


def wrap(
    core: Core, name: str, classes: tuple[str, ...] | None, licence: str | None
) -> tuple[GraphBuilder, GraphBuilder, Manifest]:
    """What goes before and after the network, and the contract.

    See :func:`edgevision.export.importers.import_model` for the arguments.

    Raw outputs are centre, size and a probability for each class, in input pixels; each box is given its
    best class only. End-to-end outputs are corners, score and class, and nothing is left to suppress.
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


def _wrap_raw(
    core: Core, name: str, classes: tuple[str, ...] | None, licence: str | None
) -> tuple[GraphBuilder, GraphBuilder, Manifest]:
    _, rows, total = core.outputs[0].shape
    nms = NmsLimits("cluster", IOU_THRESHOLD, min(common.CANDIDATES, total), common.ROUNDS)
    names = common.class_names(core, classes, rows - 4)
    manifest = common.detector_manifest(core, name, names, Resize(), nms, licence)
    g = GraphBuilder("post/")
    boxes_first = g("Transpose", common.as_float(g, core, core.outputs[0].name), perm=[0, 2, 1])
    centre, size, probabilities = g.many("Split", 3, boxes_first, g.ints(2, 2, rows - 4), axis=2)
    scores, labels = common.add_best_class(g, probabilities)
    half = g("Mul", size, g.constant(0.5, np.float32))
    boxes = common.add_cut(g, g("Sub", centre, half), g("Add", centre, half), core)
    add_detection_outputs(g, boxes, scores, labels, total, manifest)
    return _before(core), g, manifest


def _wrap_end_to_end(
    core: Core, name: str, classes: tuple[str, ...] | None, licence: str | None
) -> tuple[GraphBuilder, GraphBuilder, Manifest]:
    total = core.outputs[0].shape[1]
    names = common.class_names(core, classes, None)
    kept = min(common.MAX_DETECTIONS, total)
    nms = NmsLimits("none", 1.0, kept, 0)
    manifest = common.detector_manifest(core, name, names, Resize(), nms, licence)
    g = GraphBuilder("post/")
    rows = common.as_float(g, core, core.outputs[0].name)
    low, high, score, label = g.many("Split", 4, rows, g.ints(2, 2, 1, 1), axis=2)
    boxes = common.add_cut(g, low, high, core)
    last = g.ints(2)
    scores = g("Squeeze", score, last)
    labels = g("Cast", g("Round", g("Squeeze", label, last)), to=TensorProto.INT64)
    strong = g("Greater", scores, g.constant(common.SCORE_THRESHOLD, np.float32))
    ranked = g("Where", strong, scores, g.constant(-1.0, np.float32))
    add_final_outputs(g, boxes, ranked, labels, kept)
    return _before(core), g, manifest


def _before(core: Core) -> GraphBuilder:
    before = GraphBuilder("pre/")
    common.add_input(before, core, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return before
