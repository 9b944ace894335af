"""Which detections become labels, and how two views become one: tables worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.engines.fake import FakeEngine, bright_area, fake_manifest
from edgevision.errors import UsageError
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.labelling.rule import LabelRule, missing_labels, new_labels
from edgevision.labelling.views import (
    TILE_SCALE,
    check_scales,
    inside_margin,
    look,
    mirrored,
    tile_corners,
)
from edgevision.model import Model
from edgevision.tiling import inside_tile, merge_views, without_repeats
from edgevision.types import Detections


def found(*rows: tuple[list[float], float, int]) -> Detections:
    return Detections([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


def test_scores_decide_between_box_region_and_nothing():
    seen = found(
        ([0, 0, 9, 9], 0.42, 0), ([1, 1, 9, 9], 0.4199, 1), ([2, 2, 9, 9], 0.25, 0), ([3, 3, 9, 9], 0.2, 0)
    )
    labels = new_labels(seen, LabelRule(0.42, 0.25))
    assert [(one.box, one.class_id, one.score, one.ignore) for one in labels] == [
        ((0, 0, 9, 9), 0, 0.42, False),
        ((1, 1, 9, 9), 1, 0.4199, True),
        ((2, 2, 9, 9), 0, 0.25, True),
    ]


def test_a_score_is_held_against_the_threshold_as_people_write_it():
    """0.42 as float32 is a little less than 0.42 as float64."""
    (one,) = new_labels(found(([0, 0, 1, 1], np.float32(0.42), 0)), LabelRule(0.42, 0.25))
    assert not one.ignore


@pytest.mark.parametrize(
    ("positive", "ignore"), [(0.2, 0.3), (1.1, 0.3), (0.5, 0.0), (0.5, -1), (float("nan"), 0.2)]
)
def test_impossible_thresholds_are_refused(positive, ignore):
    with pytest.raises(UsageError, match="ignore <= positive"):
        LabelRule(positive, ignore)


def truth(*rows: tuple[list[float], int, bool]) -> GroundTruth:
    return GroundTruth(
        np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows])
    )


@pytest.mark.parametrize(
    ("existing", "added"),
    [
        (truth(([0, 0, 10, 10], 0, False)), 0),  # the same box
        (truth(([0, 0, 10, 20], 0, False)), 0),  # IoU 0.5
        (truth(([0, 0, 10, 20.1], 0, False)), 1),  # IoU just below 0.5
        (truth(([0, 0, 10, 10], 1, False)), 1),  # the same box of another class
        (truth(([0, 0, 10, 10], -1, False)), 1),  # the same box of a class that the teacher does not know
        (truth(([0, 0, 100, 100], 0, False)), 1),  # inside a large object: IoU 0.01
        (truth(([0, 0, 100, 100], 0, True)), 0),  # inside a region that is ignored already
        (GroundTruth(np.zeros((0, 4)), np.zeros(0), np.zeros(0)), 1),
    ],
)
def test_only_what_no_label_covers_is_added_and_only_to_be_ignored(existing, added):
    labels = missing_labels(found(([0, 0, 10, 10], 0.9, 0)), existing, LabelRule())
    assert [(one.score, one.ignore) for one in labels] == [(0.9, True)] * added


def test_what_the_teacher_hardly_believes_is_not_added():
    nothing = GroundTruth(np.zeros((0, 4)), np.zeros(0), np.zeros(0))
    seen = found(([0, 0, 10, 10], 0.3, 0), ([20, 0, 30, 10], 0.2, 0))
    assert [one.box[0] for one in missing_labels(seen, nothing, LabelRule(0.42, 0.25))] == [0]
    assert missing_labels(Detections.empty(), nothing, LabelRule()) == []


def test_two_views_agree_or_do_not():
    first = found(([0, 0, 10, 10], 0.9, 0), ([50, 0, 60, 10], 0.5, 0))
    second = found(([0, 0, 10, 13], 0.3, 0), ([0, 0, 10, 10], 0.8, 1), ([80, 0, 90, 10], 0.6, 0))
    merged = merge_views(first, second, 0.7)
    np.testing.assert_allclose(merged.scores, [0.6, 0.56, 0.42, 0.35], rtol=1e-6)
    assert merged.class_ids.tolist() == [0, 1, 0, 0]
    # The lower side lies at 10 with weight 0.9 and at 13 with weight 0.3.
    np.testing.assert_allclose(merged.boxes[0], [0, 0, 10, 10.75], rtol=1e-6)
    np.testing.assert_allclose(merged.boxes[1:, 0], [0, 80, 50])


def test_a_box_is_taken_once():
    """Two boxes of the first view overlap one of the second: the better one gets it."""
    first = found(([0, 0, 10, 10], 0.9, 0), ([1, 0, 11, 10], 0.8, 0))
    merged = merge_views(first, found(([0.5, 0, 10.5, 10], 0.7, 0)), 0.7)
    np.testing.assert_allclose(merged.scores, [0.8, 0.56], rtol=1e-6)


detections = st.lists(
    st.tuples(
        st.integers(0, 80), st.integers(0, 80), st.integers(1, 40), st.integers(1, 40),
        st.floats(0.0625, 1, width=32), st.integers(0, 2),
    ),
    max_size=12,
).map(lambda rows: found(*(([x, y, x + w, y + h], score, c) for x, y, w, h, score, c in rows)) if rows else Detections.empty())  # fmt: skip  # noqa: E501


@settings(max_examples=60, deadline=None)
@given(detections, detections)
def test_merging_keeps_every_object_and_invents_none(first, second):
    merged = merge_views(first, second, 0.7)
    assert max(len(first), len(second)) <= len(merged) <= len(first) + len(second)
    assert (np.diff(merged.scores) <= 0).all()
    for class_id in range(3):
        counts = [(one.class_ids == class_id).sum() for one in (first, second, merged)]
        assert max(counts[:2]) <= counts[2] <= sum(counts[:2])


@settings(max_examples=30, deadline=None)
@given(detections)
def test_a_mirror_image_of_a_mirror_image_is_the_image(seen):
    twice = mirrored(mirrored(seen, 130), 130)
    np.testing.assert_allclose(twice.boxes, seen.boxes)
    if len(seen):
        assert mirrored(seen, 130).boxes[0, 0] == 130 - seen.boxes[0, 2]


def test_with_flip_the_mirror_image_is_looked_at():
    """The engine finds what is bright, wherever it is, so both views agree and the box stays."""
    image = np.zeros((100, 200, 3), np.uint8)
    image[10:60, 20:80] = 255
    engine = FakeEngine()
    once = look(Model(engine, 0.0), image, flip=False)
    assert engine.calls == 1
    both = look(Model(engine, 0.0), image, flip=True)
    assert engine.calls == 3
    np.testing.assert_allclose(both.boxes, once.boxes, atol=2)
    np.testing.assert_allclose(both.scores, once.scores, atol=0.02)


def test_tiles_cover_the_image_and_overlap():
    assert list(tile_corners(100, 50)) == [
        (0, 0, 60, 30),
        (40, 0, 100, 30),
        (0, 20, 60, 50),
        (40, 20, 100, 50),
    ]
    assert len(list(tile_corners(1, 1))) == 4


@pytest.mark.parametrize(
    ("scale", "rows"), [(1.01, 2), (1.25, 2), (TILE_SCALE, 2), (1.7, 3), (2, 3), (7 / 3, 3), (3, 4), (4, 6)]
)
def test_tiles_overlap_by_a_third_at_every_scale(scale: float, rows: int) -> None:
    tiles = list(tile_corners(1200, 600, scale))
    assert len(tiles) == rows * rows
    starts = sorted({left for left, _, _, _ in tiles})
    assert len(starts) == rows
    assert (starts[0], max(right for _, _, right, _ in tiles)) == (0, 1200)
    assert {right - left for left, _, right, _ in tiles} == {round(1200 / scale)}
    assert np.diff(starts).max() <= 2 / 3 * 1200 / scale + 1


def test_what_lies_in_a_margin_alone_is_left_out() -> None:
    seen = found(([5, 5, 30, 30], 0.9, 0), ([0, 0, 10, 9], 0.8, 1), ([80, 40, 120, 70], 0.7, 0))
    inner = inside_margin(seen, 20, 10, 80, 40)
    np.testing.assert_allclose(inner.boxes, [[0, 0, 10, 20], [60, 30, 80, 40]])
    assert inner.scores.tolist() == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize("scale", [0.2, 4.1, -1, float("nan")])
def test_scales_that_cannot_be_looked_at_are_refused(scale: float) -> None:
    with pytest.raises(UsageError, match=r"`scales` .* is not possible; expected 0\.25 to 4"):
        check_scales([1.5, scale])


def test_other_scales_are_looked_at_too() -> None:
    """The engine finds what is bright, at any size: 1 + 9 looks at 2, 1 at 0.5; the box stays where it is."""
    image = np.zeros((200, 200, 3), np.uint8)
    image[80:120, 80:120] = 255
    engine = FakeEngine()
    once = look(Model(engine, 0.0), image, flip=False)
    twice = look(Model(engine, 0.0), image, flip=False, scales=(0.5, 1, 2))
    assert engine.calls == 1 + 1 + 1 + 9
    np.testing.assert_allclose(twice.boxes[0], once.boxes[0], atol=4)
    assert twice.scores[0] == pytest.approx(float(once.scores[0]), abs=0.05)


def test_what_a_tile_cuts_is_left_to_the_others():
    """The tile at the top right: its left and lower borders lie inside the image, the others do not."""
    seen = found(
        ([10, 0, 60, 20], 0.9, 0),  # touches borders of the image only: whole
        ([0, 5, 20, 20], 0.8, 0),  # reaches over the left border: cut
        ([10, 5, 20, 29.9], 0.7, 0),  # reaches over the lower border: cut
        ([2, 5, 20, 29], 0.6, 1),  # close to both
    )
    whole = inside_tile(seen, (40, 0, 100, 30), 100, 50)
    np.testing.assert_allclose(whole.boxes, [[50, 0, 100, 20], [42, 5, 60, 29]])
    assert whole.class_ids.tolist() == [0, 1]


def test_an_object_in_the_overlap_of_tiles_counts_once():
    seen = found(
        ([0, 0, 10, 10], 0.5, 0), ([0, 0, 10, 9], 0.8, 0), ([0, 0, 10, 10], 0.4, 1), ([0, 6, 10, 16], 0.3, 0)
    )
    assert without_repeats(seen).scores.tolist() == pytest.approx([0.8, 0.4, 0.3])
    assert len(without_repeats(Detections.empty())) == 0


def test_with_tiles_the_parts_are_looked_at():
    """What lies whole in a tile is seen twice; what every tile cuts is seen once and believed less."""
    for corner, doubt in ((10, 1.0), (70, 0.85)):
        image = np.zeros((200, 200, 3), np.uint8)
        image[corner : corner + 60, corner : corner + 60] = 255
        engine = FakeEngine()
        once = look(Model(engine, 0.0), image, flip=False)
        assert engine.calls == 1
        tiled = look(Model(engine, 0.0), image, flip=False, scales=(TILE_SCALE,))
        assert engine.calls == 6
        np.testing.assert_allclose(tiled.boxes[0], once.boxes[0], atol=2)
        assert tiled.scores[0] == pytest.approx(doubt * once.scores[0], abs=0.03)


def test_a_segmenter_is_no_teacher():
    manifest = fake_manifest(task="segmentation", classes=("dark", "bright"))
    with pytest.raises(UsageError, match="detection model"):
        look(Model(FakeEngine(bright_area, manifest)), np.zeros((64, 64, 3), np.uint8), flip=False)
