"""Where boxes and scores stand before suppression: in the tensors that hold all of a network's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from edgevision.export.importers.core import Core
from edgevision.export.importers.nms_answers import Answers, Array
from edgevision.export.importers.reading import Reading


@dataclass(frozen=True, slots=True, eq=False)
class BoxSource:
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


FORMS: dict[str, Callable[[Array], Array]] = {
    "corners": lambda b: b,
    "centre and size": lambda b: np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], axis=1),
    "corners, y first": lambda b: b[:, [1, 0, 3, 2]],
    "centre and size, y first": lambda b: np.concatenate(
        [b[:, [1, 0]] - b[:, [3, 2]] / 2, b[:, [1, 0]] + b[:, [3, 2]] / 2], axis=1
    ),
}
"""Four numbers ``[M, 4]`` to corners, x first."""


def _tables(runs: Sequence[Answers], width: int | None) -> Iterator[tuple[str, bool, list[Array]]]:
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


def find_source(core: Core, reading: Reading, runs: Sequence[Answers]) -> tuple[BoxSource, bool] | None:
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
        source = BoxSource(
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
    runs: Sequence[Answers],
    boxes: Sequence[tuple[str, bool, list[Array]]],
    scores: Sequence[tuple[str, bool, list[Array]]],
    labels: Sequence[tuple[str, list[Array]]],
    tolerance: float,
) -> tuple[BoxSource, bool] | None:
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
            return BoxSource(box, score, box_first, False, form, scale, 0, total, 0, label), False
    return None


def _probable(tables: Sequence[Array]) -> bool:
    return all(float(one.min(initial=0)) >= -1e-3 and float(one.max(initial=0)) <= 1 + 1e-3 for one in tables)


def _whole(tables: Sequence[Array]) -> bool:
    return all(bool((one == np.round(one)).all()) and float(one.min(initial=0)) >= 0 for one in tables)


def _rows_of(run: Answers, values: Array, shift: int, tolerance: float) -> list[NDArray[np.int64]]:
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
    runs: Sequence[Answers],
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
        for form, corners in FORMS.items():
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
    runs: Sequence[Answers],
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
    run: Answers, rows: Sequence[NDArray[np.int64]], table: Array, limits: Array
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
    runs: Sequence[Answers], picked: Sequence[NDArray[np.int64]], total: int
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


def one_table(run: Answers, name: str, first: bool) -> Array:
    values = np.asarray(run.dense[name], np.float64)
    return values.T if first else values
