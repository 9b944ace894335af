"""Weighted boxes fusion, against numbers worked out by hand and against the paper's formulas, plainly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.boxes import iou
from edgevision.labelling.fusion import View, fuse
from edgevision.types import Detections

NAMES = ("car", "dog")
ALL = np.array([True, True])


def view(*rows: tuple[list[float], float, int], knows: np.ndarray = ALL) -> View:
    found = Detections([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], NAMES)
    return View(found, knows)


def test_two_views_that_agree_and_what_one_alone_has() -> None:
    first = view(([0, 0, 10, 10], 0.9, 0), ([50, 0, 60, 10], 0.5, 0))
    second = view(([0, 0, 10, 13], 0.3, 0), ([0, 0, 10, 10], 0.8, 1))
    fused = fuse([first, second])
    # Both: (0.9 + 0.3) / 2; alone: half of the score. The lower side: (0.9 * 10 + 0.3 * 13) / 1.2.
    np.testing.assert_allclose(fused.scores, [0.6, 0.4, 0.25], rtol=1e-6)
    assert [one.name for one in fused] == ["car", "dog", "car"]
    np.testing.assert_allclose(fused.boxes, [[0, 0, 10, 10.75], [0, 0, 10, 10], [50, 0, 60, 10]], rtol=1e-6)


def test_a_class_that_one_view_does_not_know_is_not_doubted_for_it() -> None:
    first = view(([0, 0, 10, 10], 0.9, 0), ([30, 0, 40, 10], 0.8, 1))
    second = view(([0, 0, 10, 10], 0.5, 0), knows=np.array([True, False]))
    fused = fuse([first, second])
    np.testing.assert_allclose(fused.scores, [0.8, 0.7], rtol=1e-6)
    assert fused.class_ids.tolist() == [1, 0]


def test_boxes_join_the_fused_box_not_the_first_one() -> None:
    """The third overlaps the first by 7/13 = 0.54; the first two, fused, are at 1 to 11: 8/12 = 0.67."""
    views = [view(([x, 0, x + 10, 10], score, 0)) for x, score in ((0, 0.8), (2, 0.8), (3, 0.4))]
    fused = fuse(views, iou_threshold=0.6)
    assert len(fused) == 1
    assert fused.scores[0] == pytest.approx(2.0 / 3)
    assert fused.boxes[0].tolist() == pytest.approx([1.4, 0, 11.4, 10])  # (0 + 1.6 + 1.2) / 2


def test_more_boxes_than_views_count_as_all_views() -> None:
    views = [view(([0, 0, 10, 10], 0.8, 0), ([0, 0, 10, 9.5], 0.4, 0)), view(([0, 0, 10, 10], 0.6, 0))]
    assert fuse(views).scores.tolist() == pytest.approx([0.6])


def test_nothing_seen_is_nothing() -> None:
    empty = View(Detections.empty(NAMES), ALL)
    assert len(fuse([empty, empty])) == 0
    assert fuse([empty, view(([0, 0, 1, 1], 0.5, 1))]).scores.tolist() == [0.25]


def plainly(views: list[View], threshold: float) -> list[tuple[int, float, list[float]]]:
    """The paper's steps with lists of boxes and loops."""
    rows = [
        (float(s), int(c), b)
        for one in views
        for b, s, c in zip(one.found.boxes, one.found.scores, one.found.class_ids, strict=True)
    ]
    clusters: list[tuple[int, list[tuple[float, np.ndarray]]]] = []
    for score, class_id, box in sorted(rows, key=lambda row: -row[0]):
        best, place = threshold, None
        for i, (kind, members) in enumerate(clusters):
            weights = np.array([s for s, _ in members])
            middle = (weights[:, None] * np.array([b for _, b in members])).sum(0) / weights.sum()
            overlap = float(iou(box[None], middle[None].astype(np.float32))[0, 0])
            if kind == class_id and overlap > best:
                best, place = overlap, i
        if place is None:
            clusters.append((class_id, [(score, box)]))
        else:
            clusters[place][1].append((score, box))
    found = []
    for class_id, members in clusters:
        weights = np.array([s for s, _ in members])
        middle = (weights[:, None] * np.array([b for _, b in members])).sum(0) / weights.sum()
        score = weights.mean() * min(len(members), len(views)) / len(views)
        found.append((class_id, score, middle.tolist()))
    return sorted(found, key=lambda row: -row[1])


boxes = st.tuples(
    st.integers(0, 20), st.integers(0, 20), st.integers(4, 20), st.integers(4, 20), st.integers(0, 1)
)


@given(st.lists(st.lists(boxes, max_size=6), min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_it_is_what_the_papers_steps_give(content: list[list[tuple[int, ...]]], random) -> None:
    total = sum(map(len, content))
    scores = iter(random.sample([(i + 1) / 101 for i in range(100)], total))  # no two are equal
    views = [view(*(([x, y, x + w, y + h], next(scores), c) for x, y, w, h, c in rows)) for rows in content]
    fused, wanted = fuse(views), plainly(views, 0.6)
    assert len(fused) == len(wanted)
    np.testing.assert_allclose(fused.scores, [row[1] for row in wanted], rtol=1e-5)
    for class_id in (0, 1):
        own = sorted(one.box for one in fused if one.class_id == class_id)
        np.testing.assert_allclose(own, sorted(tuple(r[2]) for r in wanted if r[0] == class_id), atol=1e-3)
