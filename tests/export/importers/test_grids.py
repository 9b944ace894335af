"""The grid test, on cells that are listed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.export.importers.grids import box_form, centre_distance, grids, share_around
from tests.support import foreign


@pytest.mark.parametrize(
    ("total", "size", "strides", "anchors"),
    [
        (84, (64, 64), (8, 16, 32), 1),
        (252, (64, 64), (8, 16, 32), 3),
        (8400, (640, 640), (8, 16, 32), 1),
        (8500, (640, 640), (8, 16, 32, 64), 1),
        (125, (160, 160), (16, 32), 1),
        (3598, (416, 416), (8, 16, 32, 64), 1),  # 52 * 52 + 26 * 26 + 13 * 13 + 7 * 7: rounded up
    ],
)
def test_the_levels_that_have_so_many_cells(total, size, strides, anchors):
    found = next(grids(total, *size))
    assert (found.strides, found.anchors) == (strides, anchors)
    assert found.centres.shape == (total, 2)
    assert found.centres[:2].tolist() == [[strides[0] / 2] * 2, [strides[0] * 1.5, strides[0] / 2]]


def test_a_number_of_rows_that_no_pyramid_has_has_no_grid():
    assert list(grids(83, 64, 64)) == []
    assert box_form(np.zeros((83, 4)), 64, 64) is None


def test_corners_and_centres_are_told_apart():
    cells = foreign.cells()
    corners = box_form(foreign.around(cells), 64, 64)
    centres = box_form(foreign.centred(cells), 64, 64)
    assert corners is not None
    assert centres is not None
    assert (corners.form, corners.figure) == ("corners", 1.0)
    assert (centres.form, centres.figure) == ("centre", 0.0)


def test_the_order_of_the_levels_is_seen():
    turned = box_form(foreign.around(foreign.cells((32, 16, 8))), 64, 64)
    assert turned is not None
    assert turned.grid.strides == (32, 16, 8)


def test_wide_boxes_are_not_taken_for_corners():
    """Read as corners they hold their cells too; but the last two numbers do not move with the cells."""
    cells = foreign.cells()
    boxes = np.concatenate([cells[:, :2], np.full((len(cells), 2), 200.0)], axis=1)
    grid = next(grids(84, 64, 64))
    assert share_around(boxes, grid) == 1.0
    form = box_form(boxes, 64, 64)
    assert form is not None
    assert form.form == "centre"


def test_boxes_without_extent_are_corners():
    cells = foreign.cells()
    form = box_form(np.concatenate([cells[:, :2], cells[:, :2]], axis=1), 64, 64)
    assert form is not None
    assert form.form == "corners"


def test_small_boxes_that_miss_their_cells_are_not_taken_for_centres():
    """Corners of anchors smaller than a stride begin near their cells, and half of them hold the middle."""
    cells = foreign.cells((16, 32))
    shift = np.where(np.arange(len(cells)) % 2, 0.3, 0.0)[:, None] * cells[:, 2:]
    low = cells[:, :2] + shift
    boxes = np.concatenate([low, low + 4], axis=1)
    assert box_form(boxes, 64, 64) is None


def test_numbers_that_follow_no_cell_have_no_form():
    rng = np.random.default_rng(0)
    assert box_form(rng.uniform(0, 64, (84, 4)), 64, 64) is None
    grid = next(grids(84, 64, 64))
    assert centre_distance(np.full((84, 2), 32.0), grid) > 1
