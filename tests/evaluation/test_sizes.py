from __future__ import annotations

from edgevision.evaluation.sizes import figures_by_size
from tests.support.boxes import found, labels


def test_objects_of_another_size_count_neither_way() -> None:
    truth = {1: labels((0, 0, 0, 20, 20), (0, 100, 100, 150, 150), (0, 200, 0, 400, 200))}
    # The medium one is found, the small one is not, and a large false alarm stands beside the large one.
    answers = {
        1: found((0, 0.9, 100, 100, 150, 150), (0, 0.8, 200, 0, 400, 200), (0, 0.95, 500, 0, 700, 200))
    }
    small, medium, large = figures_by_size(answers, truth, ["cat"])
    assert (small.boxes, small.ap50) == (1, 0.0)
    assert (medium.boxes, medium.ap50) == (1, 1.0)
    assert (large.boxes, large.ap50) == (1, 0.5)
    alone = figures_by_size(answers, {1: labels((0, 0, 0, 20, 20))}, ["cat"])
    assert alone[2].ap50 is None
