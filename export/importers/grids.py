"""The grid test: which cells of which pyramid levels the rows of a dense detector belong to.

A dense detector answers one row for each cell of each level, in a fixed order, and each box lies around its
cell. So the numbers of one noise image tell corners from centre and size, and the order of the levels, which
no shape does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgevision.export.importers.numbers import inverted_share

Array = NDArray[np.float64]

LEVELS = (
    (8, 16, 32),
    (16, 32),
    (8, 16, 32, 64),
    (4, 8, 16, 32),
    (8, 16, 32, 64, 128),
    (16, 32, 64),
    (4, 8, 16),
    (32,),
    (16,),
    (8,),
)
"""Strides of the pyramids that detectors use."""

ANCHORS = (1, 3, 9)
CORNERS_AROUND = 0.98
"""Share of boxes that hold their cell's centre from which four numbers are corners (1.00 measured)."""

CENTRE_NEAR = 1.0
"""Median distance in strides of a centre from its cell's up to which two numbers are centres."""


_INVERTED = 0.01
"""Share of inverted corners above which four numbers are none."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The cells of one order of levels.

    Attributes:
        strides: of the levels, in the order of the rows.
        anchors: rows for each cell.
        anchor_major: all cells of an anchor come before those of the next.
        centres: ``[M, 2]`` x and y in pixels, of the middle of each cell.
        stride: ``[M, 1]``.
    """

    strides: tuple[int, ...]
    anchors: int
    anchor_major: bool
    centres: Array
    stride: Array

    def __str__(self) -> str:
        several = f", {self.anchors} anchors each" if self.anchors > 1 else ""
        return f"the cells of strides {', '.join(map(str, self.strides))}{several}"


def grids(total: int, height: int, width: int) -> Iterator[Grid]:
    """Every order of levels that has ``total`` rows at an input of this size, fine levels first."""
    seen = set()
    for levels, anchors, up in itertools.product(LEVELS, ANCHORS, (math.ceil, math.floor)):
        sizes = [(up(height / stride), up(width / stride)) for stride in levels]
        if anchors * sum(rows * columns for rows, columns in sizes) != total:
            continue
        for order, major in itertools.product((levels, levels[::-1]), (True, False)):
            key = (order, anchors, major or anchors == 1, tuple(sizes))
            if key in seen:
                continue
            seen.add(key)
            yield _grid(order, anchors, major, dict(zip(levels, sizes, strict=True)))


def _grid(
    order: tuple[int, ...], anchors: int, anchor_major: bool, sizes: dict[int, tuple[int, int]]
) -> Grid:
    centres, strides = [], []
    for stride in order:
        rows, columns = sizes[stride]
        y, x = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
        cells = np.stack([x, y], axis=-1).reshape(-1, 2) * stride
        cells = np.tile(cells, (anchors, 1)) if anchor_major else np.repeat(cells, anchors, axis=0)
        centres.append(cells)
        strides.append(np.full((len(cells), 1), float(stride)))
    return Grid(order, anchors, anchor_major, np.concatenate(centres), np.concatenate(strides))


def share_around(boxes: Array, grid: Grid) -> float:
    """Share of corners ``[M, 4]`` that hold their cell's middle, or all its top left; the greater one."""
    slack = 1e-3 * grid.stride

    def share(points: Array) -> float:
        inside = (boxes[:, :2] <= points + slack) & (points <= boxes[:, 2:] + slack)
        return float(inside.all(axis=1).mean())

    return max(share(grid.centres), share(grid.centres - grid.stride / 2))


def centre_distance(centres: Array, grid: Grid) -> float:
    """Median distance of ``[M, 2]`` from the middle of their cells, in strides, over both axes."""
    return float(np.median(np.abs(centres - grid.centres) / grid.stride))


@dataclass(frozen=True, slots=True)
class BoxForm:
    """What four numbers of each row are, and the grid that showed it."""

    form: Literal["corners", "centre"]
    grid: Grid
    figure: float

    def __str__(self) -> str:
        if self.form == "corners":
            return f"{self.figure:.0%} of the boxes, read as corners, lie around {self.grid}"
        return f"the boxes, read as centre and size, lie {self.figure:.2g} strides (median) from {self.grid}"


def box_form(boxes: Array, height: int, width: int) -> BoxForm | None:
    """Corners, or centre and size, of the rows of a dense detector; None where neither fits any grid.

    Args:
        boxes: ``[M, 4]`` in pixels, for one noise image.
        height, width: of the input.
    """
    found = list(grids(len(boxes), height, width))
    if not found:
        return None
    around = max(((share_around(boxes, grid), grid) for grid in found), key=lambda pair: pair[0])
    near = min(((centre_distance(boxes[:, :2], grid), grid) for grid in found), key=lambda pair: pair[0])
    if around[0] >= CORNERS_AROUND and (near[0] > CENTRE_NEAR or _moves_with_cells(boxes[:, 2:], around[1])):
        return BoxForm("corners", around[1], around[0])
    is_centre = (
        near[0] <= CENTRE_NEAR
        and float((boxes[:, 2:] >= 0).mean()) > CORNERS_AROUND
        and _moves_with_cells(boxes[:, :2], near[1])
        # Small boxes begin near their cells too: corners then, whose ends move with the cells.
        and (inverted_share(boxes) > _INVERTED or not _moves_with_cells(boxes[:, 2:], near[1]))
    )
    return BoxForm("centre", near[1], near[0]) if is_centre else None


def _moves_with_cells(points: Array, grid: Grid) -> bool:
    """Whether points ``[M, 2]`` follow the cells, as centres and corners do; sizes do not.

    Very wide boxes, read as corners, hold their cells too. Within a level, what follows the cells varies less
    once they are taken off.
    """
    freed = fixed = 0.0
    for stride in np.unique(grid.stride):
        level = grid.stride[:, 0] == stride
        here, cells = points[level], grid.centres[level]
        freed += float((np.std(here - cells, axis=0) / stride).sum())
        fixed += float((np.std(here, axis=0) / stride).sum())
    return freed < fixed
