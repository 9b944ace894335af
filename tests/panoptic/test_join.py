"""Objects joined with a class map, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.errors import UsageError
from edgevision.masks import InstanceMasks
from edgevision.panoptic.join import PanopticMap, Segment, join_panoptic
from edgevision.types import Detections, SegmentationMap

NAMES = ("person", "car")


def objects(*rows: tuple[float, int, tuple[int, int, int, int]]) -> Detections:
    """Score, class and rectangle of each, in an image of 4 rows and 10 columns."""
    boxes = [row[2] for row in rows]
    crops = tuple(np.ones((y2 - y1, x2 - x1), np.bool_) for x1, y1, x2, y2 in boxes)
    masks = InstanceMasks(crops, np.array([box[:2] for box in boxes]).reshape(-1, 2), (4, 10))
    scores, labels = [row[0] for row in rows], [row[1] for row in rows]
    return Detections(np.array(boxes).reshape(-1, 4), scores, labels, NAMES, masks=masks)


def ground() -> SegmentationMap:
    """Road on the left, sky on the right, and a column of persons between them."""
    classes = np.zeros((4, 10), np.uint8)
    classes[:, 6:] = 1
    classes[:, 5] = 2
    return SegmentationMap(classes, ("road", "sky", "person"))


def test_the_best_object_has_the_pixels_and_stuff_the_rest() -> None:
    found = join_panoptic(objects((0.7, 0, (2, 0, 6, 4)), (0.9, 1, (0, 0, 3, 4))), ground(), least_area=1)
    assert found.ids[0].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    named = [(one.name, one.is_thing, one.area) for one in found.segments]
    assert named == [("car", True, 12), ("person", True, 12), ("sky", False, 16)]
    assert found.segments[0].score == pytest.approx(0.9)


def test_what_is_mostly_hidden_faint_or_small_is_left_out() -> None:
    hidden = objects((0.9, 1, (0, 0, 4, 4)), (0.8, 0, (1, 0, 5, 4)), (0.4, 0, (6, 0, 10, 4)))
    found = join_panoptic(hidden, ground(), least_area=17)
    # Of the second only a quarter is free, the third is below 0.5; road has 4 pixels left and sky 16.
    assert [one.name for one in found.segments] == ["car"]
    assert np.count_nonzero(found.ids) == 16
    kept = join_panoptic(hidden, ground(), overlap=0.2, least_area=17)
    assert [one.area for one in kept.segments] == [16, 4]


def test_things_that_were_not_found_stay_open() -> None:
    found = join_panoptic(objects(), ground(), least_area=1)
    assert [one.name for one in found.segments] == ["road", "sky"]
    assert (found.ids[:, 5] == 0).all()
    assert [one.name for one in join_panoptic(objects(), ground(), things=["sky"]).segments] == []


def test_what_cannot_be_joined_is_refused() -> None:
    with pytest.raises(ValueError, match="without masks"):
        join_panoptic(Detections.empty(), ground())
    with pytest.raises(ValueError, match="of an image of"):
        join_panoptic(objects(), SegmentationMap(np.zeros((3, 3), np.uint8), ("road",)))
    with pytest.raises(ValueError, match="by their names"):
        join_panoptic(objects(), SegmentationMap(np.zeros((4, 10), np.uint8)))
    with pytest.raises(ValueError, match="int32"):
        PanopticMap(np.zeros((2, 2), np.uint8), ())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="are stated"):
        PanopticMap(np.ones((2, 2), np.int32), (Segment(1, "car", True, 3),))


def test_what_means_the_same_is_no_stuff() -> None:
    classes = np.zeros((4, 10), np.uint8)
    classes[:, 6:] = 1
    found = join_panoptic(objects(), SegmentationMap(classes, ("road", "Pedestrian")), least_area=1)
    assert [one.name for one in found.segments] == ["road"]
    assert (found.ids[:, 6:] == 0).all()


@pytest.mark.parametrize("share", [float("nan"), -0.1, 1.1])
def test_shares_are_shares(share: float) -> None:
    with pytest.raises(UsageError, match="`overlap`"):
        join_panoptic(objects(), ground(), overlap=share)
    with pytest.raises(UsageError, match="`min_score`"):
        join_panoptic(objects(), ground(), min_score=share)
