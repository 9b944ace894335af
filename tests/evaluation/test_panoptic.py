"""Panoptic quality by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.evaluation.panoptic import VOID, panoptic_quality
from edgevision.panoptic import PanopticMap, Segment


def panoptic(ids: list[int], names: dict[int, str], things: tuple[str, ...] = ("car",)) -> PanopticMap:
    row = np.array([ids], np.int32)
    segments = tuple(
        Segment(number, name, name in things, int((row == number).sum())) for number, name in names.items()
    )
    return PanopticMap(row, segments)


def test_quality_is_overlap_times_recognition() -> None:
    truth = panoptic([1, 1, 1, 1, 2, 2, 2, 3, 3, 3], {1: "car", 2: "car", 3: "road"})
    found = panoptic([1, 1, 1, 3, 3, 3, 2, 3, 3, 3], {1: "car", 2: "car", 3: "road"})
    # car 1: IoU 3/4, matched; car 2: 1/3, missed, and its answer is false; road: 3 of 6, not above a half.
    figures = panoptic_quality([(found, truth)])
    assert figures.per_class["car"].sq == pytest.approx(0.75)
    assert figures.per_class["car"].rq == pytest.approx(1 / (1 + 0.5 + 0.5))
    assert figures.per_class["car"].pq == pytest.approx(0.375)
    assert figures.per_class["road"].pq == 0
    assert figures.all is not None
    assert figures.all.pq == pytest.approx(0.1875)
    assert figures.things is not None
    assert (figures.things.pq, figures.things.segments) == (pytest.approx(0.375), 2)
    assert panoptic_quality([(truth, truth)]).per_class["road"].pq == 1


def test_open_pixels_count_neither_way() -> None:
    truth = panoptic([1, 1, 2, 2, 2, 0], {1: "car", 2: VOID})
    found = panoptic([1, 1, 1, 2, 2, 2], {1: "car", 2: "car"})
    # The first has 2 of 2 pixels that are said, the second lies in the open.
    figures = panoptic_quality([(found, truth)]).per_class
    assert figures.keys() == {"car"}
    assert figures["car"].pq == 1


def test_crowds_of_the_same_class_excuse_what_lies_in_them() -> None:
    ids = np.array([[1, 1, 1, 1, 2, 2]], np.int32)
    crowd = Segment(1, "car", True, 4, is_crowd=True)
    truth = PanopticMap(ids, (crowd, Segment(2, "road", False, 2)))
    found = panoptic([1, 1, 2, 3, 3, 3], {1: "car", 2: "bus", 3: "road"})
    figures = panoptic_quality([(found, truth)]).per_class
    # The car lies in the crowd; the bus does too, and is no car; road: 2 of 3.
    assert figures.keys() == {"bus", "road"}
    assert figures["bus"].rq == 0
    assert figures["road"].sq == pytest.approx(2 / 3)


def test_a_class_that_only_the_answer_has_costs() -> None:
    truth, found = panoptic([1, 1], {1: "road"}), panoptic([1, 1], {1: "car"})
    quality = panoptic_quality([(found, truth)])
    assert {name: one.pq for name, one in quality.per_class.items()} == {"car": 0, "road": 0}
    assert quality.stuff is not None
    assert quality.stuff.segments == 1
    with pytest.raises(ValueError, match="the truth of"):
        panoptic_quality([(found, panoptic([1], {1: "road"}))])
    assert panoptic_quality([]).all is None
