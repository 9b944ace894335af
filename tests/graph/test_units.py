import numpy as np
import pytest

from edgevision.graph.units import units_apart

RANDOM = np.random.default_rng(3)


def rows(cells, classes=3):
    """Boxes in pixels and scores: ``[1, 4 + classes, cells]``."""
    boxes, scores = RANDOM.uniform(0, 640, (1, 4, cells)), RANDOM.uniform(0, 1, (1, classes, cells))
    return np.concatenate([boxes, scores], axis=1).astype(np.float32)


@pytest.mark.parametrize("cells", [3, 7, 400])
def test_boxes_and_scores_are_told_apart_on_either_side(cells):
    merged = rows(cells)
    for values, axis in ((merged, 1), (merged.transpose(0, 2, 1), 2)):
        found = units_apart(values)
        assert [(place, list(one)) for place, one in found] == [(axis, [0, 1, 2, 3]), (axis, [4, 5, 6])]


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.normal(0, 4, (1, 84, 40)),  # logits
        RANDOM.uniform(0, 1, (1, 84, 40)),  # shares of the image and scores have one unit
        RANDOM.uniform(0, 640, (1, 4, 40)),  # boxes alone
        RANDOM.uniform(0, 640, (1, 40)),
        RANDOM.normal(0, 4, (1, 255, 8, 8)),
        np.full((1, 6, 5), np.nan),
    ],
)
def test_what_has_one_unit_stays_whole(values):
    ((axis, places),) = units_apart(values)
    assert (axis, len(places)) == (0, 1)
