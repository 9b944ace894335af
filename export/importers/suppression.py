"""``NonMaxSuppression`` inside a foreign graph: what it chose from is found, so that ours takes its place.

Exporters write suppression in many ways: with boxes of every class moved apart, with weak rows filtered out
before, y first, with centre and size. So what stands before it is not read from the graph's form. Among the
tensors before the first choosing, those are taken whose numbers are the file's own answers on the probe
images; a file whose answers are found in none keeps its suppression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgevision.boxes import iou
from edgevision.errors import EdgeVisionError
from edgevision.export.importers import decoding
from edgevision.export.importers.core import PREFIX, Core, Session, probe_images
from edgevision.export.importers.ends import SUPPRESSION, WEAKEST, chooses, lowered, nodes_within
from edgevision.export.importers.reading import MOST_KEPT, Candidates, Reading
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.network import reads

Array = NDArray[np.float64]

_DEPTH = 16
"""How many nodes before the first choosing a tensor may lie."""
_LEARNS = frozenset({"Conv", "ConvTranspose", "Gemm", "QLinearConv"})
_FEWEST = 3
"""Answers that have to be found; fewer could be chance."""
_STRONGEST = 100
"""Candidates that have to be among the answers, or overlap one that is."""
_PROBES = ("noise", "dim")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the file says: IoU and boxes of a class of the node, and the highest limit on scores."""

    iou: float
    score: float
    most: int


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """The file's own answers on one probe image, and the tensors before its suppression.

    Attributes:
        boxes: ``[K, 4]`` corners in pixels of the input.
        scores, labels: ``[K]``.
        further: what stands beside the boxes, ``[K, ...]`` each.
        dense: tensors by name, without the batch.
        unbatched: those that have no batch.
    """

    boxes: Array
    scores: Array
    labels: NDArray[np.int64]
    further: Mapping[str, Array]
    dense: Mapping[str, NDArray[Any]]
    unbatched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Where boxes and scores stand before suppression.

    Attributes:
        boxes, scores: names in the prefixed graph.
        boxes_first, scores_first: columns come first: ``[4, N]``, ``[C, N]``.
        form: how four numbers are a box.
        scale: factor from them to pixels of the input, x and y.
        shift: the label of the first column of scores.
        total, columns: N and C.
        labels: the tensor of labels, where scores have none of their own; else empty.
        several: the file answers several classes of one box.
        unbatched: the tensors of one image, without an axis for the batch.
        further: tensor, and whether its columns come first, of each further output.
    """

    boxes: str
    scores: str
    boxes_first: bool
    scores_first: bool
    form: str
    scale: tuple[float, float]
    shift: int
    total: int
    columns: int
    labels: str = ""
    several: bool = False
    unbatched: frozenset[str] = frozenset()
    further: Mapping[str, tuple[str, bool]] = field(default_factory=dict)

    def outputs(self) -> tuple[str, ...]:
        """Names of the tensors, each once."""
        names = (self.boxes, self.scores, self.labels, *(name for name, _ in self.further.values()))
        return tuple(dict.fromkeys(name for name in names if name))


_FORMS: dict[str, Callable[[Array], Array]] = {
    "corners": lambda b: b,
    "centre and size": lambda b: np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], axis=1),
    "corners, y first": lambda b: b[:, [1, 0, 3, 2]],
    "centre and size, y first": lambda b: np.concatenate(
        [b[:, [1, 0]] - b[:, [3, 2]] / 2, b[:, [1, 0]] + b[:, [3, 2]] / 2], axis=1
    ),
}
"""Four numbers ``[M, 4]`` to corners, x first."""

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


def _reading(reading: Reading, limits: Limits, found: _Source, part: Core) -> Reading:
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


def _decode(reading: Reading, found: _Source) -> Callable[[GraphBuilder, Core], Candidates]:
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


def _wanted(core: Core, reading: Reading, found: _Source) -> tuple[str, ...]:
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


def _look(core: Core, reading: Reading, limits: Limits) -> _Source | str:
    """The tensors that its answers were chosen from, or why they are not found."""
    names = _dense(core.model)
    if not names:
        return "nothing stands before it"
    try:
        runs = _run(core, reading, names)
    except EdgeVisionError as error:
        return f"the graph cannot be looked into ({error})"
    if sum(len(run.boxes) for run in runs) < _FEWEST:
        return "it answers too little on the probe images to show what it chooses from"
    found = _search(core, reading, runs)
    if found is None:
        return "its answers stand in no tensor before it"
    source, several = found
    if not _complete(core, reading, source, runs, limits):
        return "it does not choose as edgevision's NMS would, each class on its own"
    return replace(source, several=several)


def _dense(model: onnx.ModelProto) -> list[str]:
    """Tensors shortly before the first choosing, the last ones first."""
    after: set[str] = set()
    image = {entry.name for entry in model.graph.input}
    makers: dict[str, onnx.NodeProto] = {}
    wanted: list[str] = []
    for node in model.graph.node:
        read = reads(node)
        if image.intersection(read):
            image.update(node.output)
        if chooses(node) or after.intersection(read):
            after.update(node.output)
            wanted += sorted(read)
        else:
            makers.update(dict.fromkeys(node.output, node))
    level = [name for name in dict.fromkeys(wanted) if name in makers and name in image]
    found: dict[str, None] = {}
    for _ in range(_DEPTH):
        found.update(dict.fromkeys(level))
        before = [
            name
            for made in level
            if makers[made].op_type not in _LEARNS
            for name in makers[made].input
            if name in makers and name in image and name not in found
        ]
        level = list(dict.fromkeys(before))
    return list(found)


def _run(core: Core, reading: Reading, names: Sequence[str]) -> list[_Answers]:
    """Answers and dense tensors on the probe images, with the file's limits lowered."""
    g = GraphBuilder("probe/")
    candidates = reading.decode(g, core)
    ends = [candidates.boxes, candidates.scores, *([candidates.labels] if candidates.labels else [])]
    ends += candidates.further.values()
    model = lowered(core.model)[0]
    model.graph.node.extend(g.nodes)
    model.graph.initializer.extend(g.constants)
    del model.graph.output[:]
    every = list(dict.fromkeys([*ends, *names]))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in every)
    session = Session(model, Path(core.origin))
    images = probe_images(core.layout, (core.batch or 1, core.height, core.width), core.dtype)
    found = []
    for probe in _PROBES:
        values = dict(zip(every, session(images[probe]), strict=True))
        boxes, scores = values[candidates.boxes][0], values[candidates.scores][0]
        if candidates.labels:
            labels = values[candidates.labels][0]
        else:
            labels, scores = scores.argmax(axis=1), scores.max(axis=1)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] > WEAKEST][:MOST_KEPT]
        further = {name: values[made][0][order] for name, made in candidates.further.items()}
        found.append(
            _Answers(
                boxes[order].astype(np.float64),
                scores[order].astype(np.float64),
                labels[order].astype(np.int64),
                {name: rows.reshape(len(order), -1).astype(np.float64) for name, rows in further.items()},
                {name: table for name in names if (table := _plain(values[name])) is not None},
                frozenset(name for name in names if values[name].ndim == 2 and len(values[name]) > 1),
            )
        )
    return found


def _plain(values: NDArray[Any]) -> NDArray[Any] | None:
    """``[1, A, B]`` without its batch, ``[1, N]`` as ``[N, 1]``, or ``[A, B]``; None for others, and bool."""
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or (values.ndim == 3 and len(values) != 1):
        return None
    if values.ndim == 3:
        table: NDArray[Any] = values[0]
        return table
    return values.reshape(-1, 1) if len(values) == 1 else values


def _tables(runs: Sequence[_Answers], width: int | None) -> Iterator[tuple[str, bool, list[Array]]]:
    """Tensors ``[N, width]``, or columns first, of every run, of any width where that is None."""
    # Those with a batch first: only they can take several images.
    for name in sorted(runs[0].dense, key=lambda one: one in runs[0].unbatched):
        values = [run.dense.get(name) for run in runs]
        if any(value is None or value.shape != values[0].shape for value in values):  # type: ignore[union-attr]
            continue
        tables = [np.asarray(value, np.float64) for value in values]
        rows, columns = tables[0].shape
        if width in (None, columns) and rows > 1:
            yield name, False, tables
        if width in (None, rows) and columns > 1:
            yield name, True, [table.T for table in tables]


def _search(core: Core, reading: Reading, runs: Sequence[_Answers]) -> tuple[_Source, bool] | None:
    """The tensors that hold all answers, and whether one row answers several classes."""
    tolerance = 2e-3 if core.precision != "fp32" or core.dtype == np.float16 else 2e-5
    boxes = list(_tables(runs, 4))
    heights = {len(tables[0]) for _, _, tables in boxes}
    scores = [
        (name, first, tables)
        for name, first, tables in _tables(runs, None)
        if len(tables[0]) in heights and _probable(tables)
    ]
    labels = [(name, tables) for name, first, tables in _tables(runs, 1) if not first and _whole(tables)]
    for (score, score_first, values), shift in product(
        sorted(scores, key=lambda one: -one[2][0].shape[1]), (0, 1)
    ):
        if int(max(run.labels.max(initial=0) for run in runs)) - shift >= values[0].shape[1]:
            continue
        rows = [_rows_of(run, value, shift, tolerance) for run, value in zip(runs, values, strict=True)]
        found = _with_boxes(core, runs, rows, boxes, len(values[0]))
        if found is None:
            continue
        box, box_first, form, scale, picked = found
        further = _further(runs, picked, len(values[0]))
        if further is None:
            continue
        several = any(len(np.unique(one)) < len(one) for one in picked)
        total, columns = values[0].shape
        source = _Source(
            box,
            score,
            box_first,
            score_first,
            form,
            scale,
            shift,
            total,
            columns,
            unbatched=runs[0].unbatched,
            further=further,
        )
        return source, several
    return _best_only(core, runs, boxes, scores, labels, tolerance)


def _best_only(
    core: Core,
    runs: Sequence[_Answers],
    boxes: Sequence[tuple[str, bool, list[Array]]],
    scores: Sequence[tuple[str, bool, list[Array]]],
    labels: Sequence[tuple[str, list[Array]]],
    tolerance: float,
) -> tuple[_Source, bool] | None:
    """Rows of one score and one label each."""
    for (score, first, values), (label, numbers) in product(scores, labels):
        if values[0].shape[1] != 1 or len(numbers[0]) != len(values[0]) or first:
            continue
        rows = [
            [
                np.flatnonzero((np.abs(value[:, 0] - s) <= tolerance) & (number[:, 0] == k))
                for s, k in zip(run.scores, run.labels, strict=True)
            ]
            for run, value, number in zip(runs, values, numbers, strict=True)
        ]
        found = _with_boxes(core, runs, rows, boxes, len(values[0]))
        if found is not None and not any(run.further for run in runs):
            box, box_first, form, scale, _ = found
            total = len(values[0])
            return _Source(box, score, box_first, False, form, scale, 0, total, 0, label), False
    return None


def _probable(tables: Sequence[Array]) -> bool:
    return all(float(one.min(initial=0)) >= -1e-3 and float(one.max(initial=0)) <= 1 + 1e-3 for one in tables)


def _whole(tables: Sequence[Array]) -> bool:
    return all(bool((one == np.round(one)).all()) and float(one.min(initial=0)) >= 0 for one in tables)


def _rows_of(run: _Answers, values: Array, shift: int, tolerance: float) -> list[NDArray[np.int64]]:
    """For each answer the rows of ``values [N, C]`` with its score in its label's column."""
    columns = run.labels - shift
    found = []
    for score, column in zip(run.scores, columns, strict=True):
        if not 0 <= column < values.shape[1]:
            return [np.empty(0, np.int64)] * len(run.scores)
        found.append(np.flatnonzero(np.abs(values[:, column] - score) <= tolerance))
        if not len(found[-1]):
            return [np.empty(0, np.int64)] * len(run.scores)
    return found


_Picked = tuple[str, bool, str, tuple[float, float], list[NDArray[np.int64]]]


def _with_boxes(
    core: Core,
    runs: Sequence[_Answers],
    rows: Sequence[Sequence[NDArray[np.int64]]],
    boxes: Sequence[tuple[str, bool, list[Array]]],
    total: int,
) -> _Picked | None:
    """Tensor, order, form and scale of the boxes of these rows; None where none fits, or two forms do."""
    if any(not len(one) for run in rows for one in run):
        return None
    limits = np.array([core.width, core.height], np.float64)
    for name, first, tables in boxes:
        if len(tables[0]) != total:
            continue
        fitting: list[_Picked] = []
        for form, corners in _FORMS.items():
            whole = [corners(table) for table in tables]
            scale = _scale(runs, rows, whole, limits)
            picked = [
                _same_boxes(run, found, table * np.tile(scale, 2), limits)
                for run, found, table in zip(runs, rows, whole, strict=True)
            ]
            if all(one is not None for one in picked):
                fitting.append((name, first, form, scale, [one for one in picked if one is not None]))
        if len(fitting) == 1:
            return fitting[0]
    return None


def _scale(
    runs: Sequence[_Answers],
    rows: Sequence[Sequence[NDArray[np.int64]]],
    tables: Sequence[Array],
    limits: Array,
) -> tuple[float, float]:
    """Factors from the table's numbers to pixels, x and y: 1, the input's size, or the median of ratios."""
    ratios: tuple[list[float], list[float]] = ([], [])
    for run, found, table in zip(runs, rows, tables, strict=True):
        for box, candidates in zip(run.boxes, found, strict=True):
            if len(candidates) != 1:
                continue
            for column in range(4):
                own, axis = float(table[candidates[0], column]), column % 2
                if abs(own) > 1e-4 and 0.5 < box[column] < limits[axis] - 0.5:
                    ratios[axis].append(box[column] / own)
    found_scale = []
    for axis, values in enumerate(ratios):
        middle = float(np.median(values)) if values else 1.0
        known = [value for value in (1.0, float(limits[axis])) if abs(middle - value) < 2e-3 * value]
        found_scale.append(known[0] if known else middle)
    return found_scale[0], found_scale[1]


def _same_boxes(
    run: _Answers, rows: Sequence[NDArray[np.int64]], table: Array, limits: Array
) -> NDArray[np.int64] | None:
    """For each answer the row whose box it is, both cut to the input; None where one has none."""
    high = np.tile(limits, 2)
    cut = np.clip(table, 0, high)
    picked = []
    for box, candidates in zip(run.boxes, rows, strict=True):
        far = np.abs(cut[candidates] - np.clip(box, 0, high)).max(axis=1)
        best = int(far.argmin())
        if far[best] > 0.02 + 1e-3 * float(np.abs(box).max()):
            return None
        picked.append(candidates[best])
    return np.array(picked, np.int64)


def _further(
    runs: Sequence[_Answers], picked: Sequence[NDArray[np.int64]], total: int
) -> dict[str, tuple[str, bool]] | None:
    """The tensors that hold what stands beside the boxes; None where one is not found."""
    found = {}
    for name, rows in runs[0].further.items():
        for tensor, first, tables in _tables(runs, rows.shape[1]):
            if len(tables[0]) == total and all(
                np.allclose(table[at], run.further[name], rtol=1e-3, atol=1e-3)
                for table, at, run in zip(tables, picked, runs, strict=True)
            ):
                found[name] = (tensor, first)
                break
        else:
            return None
    return found


def _complete(
    core: Core, reading: Reading, source: _Source, runs: Sequence[_Answers], limits: Limits
) -> bool:
    """Whether each strong candidate is among the answers, or overlaps a stronger one of its class.

    A file that filters in another way, or suppresses across classes, leaves some out that we would answer.
    """
    high = np.array([core.width, core.height] * 2, np.float64)
    for run in runs:
        if not len(run.boxes):
            continue
        table = _table(run, source.boxes, source.boxes_first)
        boxes = np.clip(_FORMS[source.form](table) * np.tile(source.scale, 2), 0, high)
        scores = _table(run, source.scores, source.scores_first)
        if source.labels:
            labels, best = _table(run, source.labels, False)[:, 0].astype(np.int64), scores[:, 0]
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


def _table(run: _Answers, name: str, first: bool) -> Array:
    values = np.asarray(run.dense[name], np.float64)
    return values.T if first else values
