"""``NonMaxSuppression`` inside a foreign graph: what it chose from is found, so that ours takes its place.

Exporters write suppression in many ways: with boxes of every class moved apart, with weak rows filtered out
before, y first, with centre and size. So what stands before it is not read from the graph's form. Among the
tensors before the first choosing, those are taken whose numbers are the file's own answers on the probe
images; a file whose answers are found in none keeps its suppression.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import numpy_helper

from edgevision.boxes import iou
from edgevision.errors import EdgeVisionError
from edgevision.export.importers import decoding
from edgevision.export.importers.core import PREFIX, Core
from edgevision.export.importers.ends import SUPPRESSION, lowered, nodes_within
from edgevision.export.importers.nms_answers import Answers, dense_tensors, run_probes
from edgevision.export.importers.nms_source import FORMS, BoxSource, find_source, one_table
from edgevision.export.importers.reading import MOST_KEPT, Candidates, Reading
from edgevision.graph.builder import GraphBuilder

_FEWEST = 3
"""Answers that have to be found; fewer could be chance."""
_STRONGEST = 100
"""Candidates that have to be among the answers, or overlap one that is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the file says: IoU and boxes of a class of the node, and the highest limit on scores."""

    iou: float
    score: float
    most: int


Reload = Callable[[Sequence[str]], Core]


def without_suppression(core: Core, reading: Reading, reload: Reload) -> tuple[Core, Reading]:
    """The network up to its suppression, and the reading of what stands there; or both with a note why not.

    Args:
        core: the whole network.
        reading: what it answers.
        reload: reads the file again up to the tensors of these names.
    """
    if reading.task not in ("detection", "instance-segmentation", "pose"):
        return core, reading
    limits = _limits(core.model)
    if limits is None:
        return core, reading
    found = _look(core, reading, limits)
    if not isinstance(found, str):
        try:
            part = reload([name.removeprefix(PREFIX) for name in _wanted(core, reading, found)])
        except EdgeVisionError as error:
            found = f"without it the network does not run ({error})"
        else:
            part = replace(part, assumed_size=core.assumed_size)
            return part, _reading(reading, limits, found, part)
    said = (
        f"its NonMaxSuppression stays in the graph, because {found}: it takes one image at a time, and "
        "TensorRT for RTX cannot build it; export it without NMS where speed matters"
    )
    return core, replace(reading, notes=(*reading.notes, said))


def _reading(reading: Reading, limits: Limits, found: BoxSource, part: Core) -> Reading:
    """The reading of the network without its suppression."""
    said = (
        f"its NonMaxSuppression (IoU {limits.iou:.3g}, score {limits.score:.3g}) is replaced by edgevision's "
        "NMS, with the same limits unless options say otherwise: the boxes before it "
        f"({found.form}) and their scores are its answers on the probe images"
    )
    return replace(
        reading,
        decode=_decode(reading, found),
        classes=reading.classes if found.labels else found.columns + found.shift,
        iou=limits.iou,
        several=found.several,
        most=limits.most if 0 < limits.most <= MOST_KEPT else None,
        min_score=limits.score or None,
        notes=(*(note for note in reading.notes if "NonMaxSuppression" not in note), said),
    )


def _at(core: Core, name: str) -> int:
    return next(i for i, output in enumerate(core.outputs) if output.name == name)


def _decode(reading: Reading, found: BoxSource) -> Callable[[GraphBuilder, Core], Candidates]:
    def decode(g: GraphBuilder, core: Core) -> Candidates:
        def table(name: str, first: bool) -> str:
            output = core.outputs[_at(core, name)]
            if name not in found.unbatched:
                return decoding.rows(g, output, columns_first=first)
            values = decoding.batched(g, decoding.as_float(g, output))
            return g("Transpose", values, perm=[0, 2, 1]) if first else values

        boxes = table(found.boxes, found.boxes_first)
        boxes = decoding.swapped(g, boxes) if "y first" in found.form else boxes
        boxes = decoding.corners(g, boxes) if "centre" in found.form else boxes
        if found.scale != (1.0, 1.0):
            boxes = g("Mul", boxes, g.constant(found.scale * 2, np.float32))
        total, width = found.total, found.columns
        further = {name: _shaped(g, reading, table(*at), name) for name, at in found.further.items()}
        if reading.masks is not None and reading.masks.form == "prototypes":
            g("Identity", decoding.as_float(g, core.outputs[-1]), out="prototypes")
        if found.labels:
            labels = decoding.class_ids(g, core.outputs[_at(core, found.labels)].name)
            scores = decoding.as_float(g, core.outputs[_at(core, found.scores)])
            flat = g.ints(0, total)
            return Candidates(
                boxes, g("Reshape", scores, flat), total, g("Reshape", labels, flat), 0, further
            )
        scores = table(found.scores, found.scores_first)
        if found.shift:
            scores = g("Pad", scores, g.ints(0, 0, found.shift, 0, 0, 0), g.constant(0.0, np.float32))
        elif reading.first_class:  # the background's own column
            seen = np.ones(width)
            seen[: reading.first_class] = 0
            scores = g("Mul", scores, g.constant(seen, np.float32))
        return Candidates(boxes, scores, total, classes=width + found.shift, further=further)

    return decode


def _shaped(g: GraphBuilder, reading: Reading, rows: str, name: str) -> str:
    """Key points from rows of numbers; coefficients are rows already."""
    return g("Reshape", rows, g.ints(0, 0, -1, 3)) if name == "keypoints" else rows


def _wanted(core: Core, reading: Reading, found: BoxSource) -> tuple[str, ...]:
    prototypes = reading.masks is not None and reading.masks.form == "prototypes"
    return (*found.outputs(), *([core.outputs[1].name] if prototypes else []))


def _limits(model: onnx.ModelProto) -> Limits | None:
    """What the last NonMaxSuppression says; None where there is none, or its limits are not constant."""
    graph = model.graph
    nodes = [node for node in nodes_within(graph) if node.op_type == SUPPRESSION]
    if not nodes:
        return None
    values = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    for node in nodes_within(graph):
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    # Names in a subgraph that come from outside have the prefix already.
    given = [*nodes[-1].input, "", "", ""]

    def number(slot: int, default: float) -> float | None:
        if not given[slot]:
            return default
        return float(values[given[slot]].ravel()[0]) if given[slot] in values else None

    most, overlap = number(2, 0), number(3, 0)
    if most is None or overlap is None:
        return None
    return Limits(overlap, lowered(model)[1], int(most))


def _look(core: Core, reading: Reading, limits: Limits) -> BoxSource | str:
    """The tensors that its answers were chosen from, or why they are not found."""
    names = dense_tensors(core.model)
    if not names:
        return "nothing stands before it"
    try:
        runs = run_probes(core, reading, names)
    except EdgeVisionError as error:
        return f"the graph cannot be looked into ({error})"
    if sum(len(run.boxes) for run in runs) < _FEWEST:
        return "it answers too little on the probe images to show what it chooses from"
    found = find_source(core, reading, runs)
    if found is None:
        return "its answers stand in no tensor before it"
    source, several = found
    if not _complete(core, reading, source, runs, limits):
        return "it does not choose as edgevision's NMS would, each class on its own"
    return replace(source, several=several)


def _complete(
    core: Core, reading: Reading, source: BoxSource, runs: Sequence[Answers], limits: Limits
) -> bool:
    """Whether each strong candidate is among the answers, or overlaps a stronger one of its class.

    A file that filters in another way, or suppresses across classes, leaves some out that we would answer.
    """
    high = np.array([core.width, core.height] * 2, np.float64)
    for run in runs:
        if not len(run.boxes):
            continue
        table = one_table(run, source.boxes, source.boxes_first)
        boxes = np.clip(FORMS[source.form](table) * np.tile(source.scale, 2), 0, high)
        scores = one_table(run, source.scores, source.scores_first)
        if source.labels:
            labels, best = one_table(run, source.labels, False)[:, 0].astype(np.int64), scores[:, 0]
        else:
            scores = scores if source.shift else scores.copy()
            if not source.shift:
                scores[:, : reading.first_class] = 0
            labels, best = scores.argmax(axis=1) + source.shift, scores.max(axis=1)
        answers = np.clip(run.boxes, 0, high)
        weakest = float(run.scores.min())
        strong = [n for n in np.argsort(-best, kind="stable")[:_STRONGEST] if best[n] > weakest]
        overlaps = iou(boxes[strong].astype(np.float32), answers.astype(np.float32))
        same = (labels[strong][:, None] == run.labels) & (best[strong][:, None] <= run.scores + 2e-3)
        seen = (same & (overlaps >= limits.iou - 0.02)).any(axis=1)
        extent = (boxes[strong][:, 2:] > boxes[strong][:, :2]).all(axis=1)
        if not (seen | ~extent).all():
            return False
    return True
