"""Ties of COCO's rule, by hand; the rest is in test_detection.py."""

from __future__ import annotations

import numpy as np

from edgevision.evaluation.detection_matching import GroundTruth, match_classes, match_coco
from edgevision.types import Detections

NO = np.zeros(2, bool)


def test_equal_overlaps_go_to_the_later_object() -> None:
    """As in pycocotools. The second detection overlaps the later object only, which is taken."""
    outcome = match_coco(np.array([[0.6, 0.6], [0.0, 0.7]]), NO, np.array([0.5]))
    assert outcome.hits.tolist() == [[True, False]]
    assert outcome.found.tolist() == [[False, True]]
    outcome = match_coco(np.array([[0.6, 0.6], [0.7, 0.0]]), NO, np.array([0.5]))
    assert outcome.hits.tolist() == [[True, True]]


def test_an_overlap_of_exactly_the_threshold_is_enough() -> None:
    outcome = match_coco(np.array([[0.5], [0.75]]), NO[:1], np.array([0.5, 0.75, 1.0]))
    assert outcome.hits.tolist() == [[True, False], [False, True], [False, False]]
    assert match_coco(np.array([[1.0]]), NO[:1], np.array([1.0])).hits.tolist() == [[True]]


def test_equal_scores_keep_the_order_of_images_and_of_rows() -> None:
    """Forty in two images; sorts that are not stable mix equal values from 17 on."""
    box, far = [0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 60.0, 10.0]
    found = Detections([box] + [far] * 19, [0.5] * 20, [0] * 20)
    truth = GroundTruth(np.array([box]), np.zeros(1, np.int32), NO[:1])
    (matches,) = match_classes({7: found, 3: found}, {3: truth, 7: truth}, ["a"])
    assert matches.images.tolist() == [0] * 20 + [1] * 20
    assert np.flatnonzero(matches.coco.hits[0]).tolist() == [0, 20]
    assert np.flatnonzero(matches.pascal.hits[0]).tolist() == [0, 20]
