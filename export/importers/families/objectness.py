"""Rows ``[1, N, 5 + C]``: box, objectness, class scores; YOLOv5 and v7, YOLOv6, YOLOX and FCOS.

The fifth column and the grid tell them apart: always 1 is YOLOv6, a whole number that never falls is FCOS's
level, box columns near 0 are YOLOX as it exports by default, three rows a cell is YOLOv5 or v7, one is YOLOX.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.families import libreyolo
from edgevision.export.importers.families.corner_rows import short_side_size
from edgevision.export.importers.grids import BoxForm, Grid, box_form, grids
from edgevision.export.importers.numbers import are_probabilities, are_whole, boxes_are_shares, inverted_share
from edgevision.export.importers.reading import (
    BGR_RAW_TOP_LEFT,
    RGB_UNIT,
    Candidates,
    Choices,
    Decode,
    Reading,
)
from edgevision.graph.builder import GraphBuilder

KINDS = ("yolov5", "yolov6", "yolox", "fcos")
IOU = 0.45
_SMALL = 12.0
"""Box columns below this in magnitude are offsets and logarithms, not pixels."""


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None; ``choices.kind`` is set where the user says so."""
    kind = choices.kind
    if len(core.outputs) != 1 or len(core.outputs[0].shape) != 3 or notes.task(core) != "detect":
        return None
    rows = _Rows(core, kind)
    if rows.width < 6 or (rows.count is not None and rows.width != 5 + rows.count):
        return None
    if not are_probabilities(rows.every[..., 5:]):
        return None
    found = _fcos(rows) or _yolov6(rows) or _yolox(rows) or _yolov5(rows)
    return found if found is not None and kind in (None, found.kind) else None


@dataclass(frozen=True)
class _Rows:
    core: Core
    kind: str | None

    @property
    def total(self) -> int:
        return self.core.outputs[0].shape[1]

    @property
    def width(self) -> int:
        return self.core.outputs[0].shape[2]

    @property
    def count(self) -> int | None:
        return notes.name_count(self.core)

    @cached_property
    def every(self) -> NDArray[np.float64]:
        return self.core.answers(0)

    @cached_property
    def shares(self) -> bool:
        return boxes_are_shares(self.every[..., :4], (self.core.height, self.core.width))

    @cached_property
    def form(self) -> BoxForm | None:
        boxes = self.core.noise(0)[:, :4]
        if self.shares:
            boxes = boxes * np.array([self.core.width, self.core.height] * 2)
        return box_form(boxes, self.core.height, self.core.width)

    @property
    def centred(self) -> BoxForm | None:
        return self.form if self.form is not None and self.form.form == "centre" else None

    @property
    def fifth(self) -> NDArray[np.float64]:
        return self.every[..., 4]


def _fcos(rows: _Rows) -> Reading | None:
    level = rows.fifth
    whole = (level == np.round(level)).all() and (np.diff(level, axis=-1) >= 0).all()
    if not whole or len(np.unique(level)) < 2 or inverted_share(rows.every[..., :4]) > 0.01:
        return None
    core, width, total = rows.core, rows.width, rows.total

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0])
        scores = decoding.columns(g, table, 5, width)
        return Candidates(decoding.columns(g, table, 0, 4), scores, total, classes=width - 5)

    return Reading(
        "fcos",
        "FCOS in rows of corners, level and class scores",
        f"the fifth column holds the level, {int(level.min())} to {int(level.max())}, and never falls",
        libreyolo.pixels(core, ("fcos",)) or libreyolo.PIXELS["fcos"],
        decode,
        libreyolo.TOLD_BY if notes.family(core) else "as libreyolo exports it",
        classes=width - 5,
        iou=0.6,
        size=short_side_size(core.metadata.get("imgsz_h", "800")),
        pad=32,
    )


def _product(rows: _Rows, *, with_objectness: bool = True) -> Decode:
    width, total, shares = rows.width, rows.total, rows.shares
    classes = rows.every[..., 5:]
    lone = width == 6 and float(np.ptp(classes)) < 1e-3 and abs(float(classes.mean()) - 0.5) < 1e-2

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0])
        boxes = decoding.corners(g, decoding.columns(g, table, 0, 4))
        boxes = decoding.from_shares(g, core, boxes) if shares else boxes
        objectness = decoding.columns(g, table, 4, 5)
        scores = decoding.columns(g, table, 5, width)
        if lone:  # YOLOv7 with one class never trained that column: it stays at .5
            scores = objectness
        elif with_objectness:
            scores = g("Mul", scores, objectness)
        return Candidates(boxes, scores, total, classes=width - 5)

    return decode


def _yolov6(rows: _Rows) -> Reading | None:
    if not (rows.fifth == 1).all() or rows.centred is None or rows.centred.grid.anchors != 1:
        return None
    if notes.maker(rows.core) is not None:
        return None
    return Reading(
        "yolov6",
        "YOLOv6",
        f"its fifth column is 1 in every row, and {rows.centred}",
        RGB_UNIT,
        _product(rows, with_objectness=False),
        classes=rows.width - 5,
        iou=IOU,
    )


def _yolox(rows: _Rows) -> Reading | None:
    core = rows.core
    if not are_probabilities(rows.fifth) or (rows.fifth == 1).all():
        return None
    if notes.maker(core) not in (None, "libreyolo") or notes.family(core) not in (None, "yolox"):
        return None
    cells = [grid for grid in grids(rows.total, core.height, core.width) if grid.anchors == 1]
    if not cells or (rows.width == 6 and are_whole(rows.every[..., 5])):
        return None
    decoded = rows.centred is not None and rows.centred.grid.anchors == 1
    if not decoded and (rows.form is not None or float(np.abs(rows.every[..., :4]).max()) > _SMALL):
        return None
    # YOLOX's pyramid goes from fine to coarse.
    grid = min(cells, key=lambda one: one.strides)
    if decoded:
        title, why = "YOLOX, decoded", f"{rows.centred}, one row a cell"
    else:
        peak = float(np.abs(rows.every[..., :4]).max())
        title = "YOLOX as it exports by default, not decoded"
        why = (
            f"its box columns stay below {peak:.2g} at an input of {core.width}x{core.height}, one row a cell"
        )
    return Reading(
        "yolox",
        title,
        why,
        BGR_RAW_TOP_LEFT,
        _product(rows) if decoded else _decode_yolox(rows, grid),
        libreyolo.TOLD_BY if notes.family(core) else "as YOLOX exports since version 0.2",
        classes=rows.width - 5,
        iou=IOU,
        notes=()
        if notes.family(core)
        else (
            "weights of YOLOX before 0.2 take RGB with ImageNet's mean: `colours` rgb and `scale` imagenet",
        ),
    )


def _decode_yolox(rows: _Rows, grid: Grid) -> Decode:
    """``(xy + cell) * stride`` and ``exp(wh) * stride`` (YOLOX, Ge et al. 2021, arXiv:2107.08430)."""
    width, total = rows.width, rows.total

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0])
        stride = g.constant(grid.stride[None], np.float32)
        cell = g.constant(grid.centres[None] / grid.stride[None] - 0.5, np.float32)
        centre = g("Mul", g("Add", decoding.columns(g, table, 0, 2), cell), stride)
        # exp(10) strides are more than any input; above that float16 networks reach infinity.
        growth = g("Exp", g("Min", decoding.columns(g, table, 2, 4), g.constant(10.0, np.float32)))
        boxes = decoding.corners(g, g("Concat", centre, g("Mul", growth, stride), axis=2))
        scores = g("Mul", decoding.columns(g, table, 5, width), decoding.columns(g, table, 4, 5))
        return Candidates(boxes, scores, total, classes=width - 5)

    return decode


def _yolov5(rows: _Rows) -> Reading | None:
    core = rows.core
    if rows.centred is None or rows.centred.grid.anchors != 3 or not are_probabilities(rows.fifth):
        return None
    if notes.maker(core) == "libreyolo" or math.isclose(float(rows.fifth.min()), 1):
        return None
    return Reading(
        "yolov5",
        "YOLOv5 or YOLOv7, decoded",
        f"{rows.centred}, and its fifth column is an objectness in 0..1",
        RGB_UNIT,
        _product(rows),
        "as both export",
        classes=rows.width - 5,
        iou=IOU,
    )
