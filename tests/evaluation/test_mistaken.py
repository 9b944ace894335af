from __future__ import annotations

import pytest

from edgevision.evaluation.mistaken import detection_confusion, mistaken, taken_for, thresholds_of
from tests.support.boxes import found, labels


def test_what_is_taken_for_what() -> None:
    truth = {
        1: labels((0, 0, 0, 20, 20), (1, 40, 0, 60, 20), (1, 80, 0, 99, 20), (0, 0, 60, 20, 80), ignore=(3,))
    }
    answers = {
        1: found(
            (0, 0.9, 0, 0, 20, 20),
            (0, 0.8, 40, 0, 60, 20),  # a dog taken for a cat
            (1, 0.7, 0, 30, 20, 50),  # nothing there
            (0, 0.6, 0, 60, 20, 80),  # on a region to ignore
            (1, 0.2, 80, 0, 99, 20),  # too weak: missed
        )
    }
    assert detection_confusion(answers, truth, 2).tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_the_score_decides_what_counts() -> None:
    truth = {1: labels((0, 0, 0, 20, 20))}
    answers = {1: found((1, 0.5, 0, 0, 20, 20))}
    assert taken_for(detection_confusion(answers, truth, 2, 0.5), ["cat", "dog"]) == {"cat": {"dog": 1}}
    assert thresholds_of({"dog": 0.6}, ["cat", "dog"]).tolist() == pytest.approx([0.35, 0.6])
    of_each = detection_confusion(answers, truth, 2, thresholds_of({"dog": 0.6}, ["cat", "dog"]))
    assert taken_for(of_each, ["cat", "dog"]) == {"cat": {"(nothing)": 1}}
    above = detection_confusion(answers, truth, 2, 0.51)
    assert taken_for(above, ["cat", "dog"]) == {"cat": {"(nothing)": 1}}


def test_pairs_of_classes_are_named_most_frequent_first() -> None:
    rows = {
        "cat": {"cat": 9, "dog": 1, "(nothing)": 4},
        "dog": {"horse": 3, "dog": 2},
        "(nothing)": {"cat": 5},
    }
    assert mistaken(rows) == [("dog", "horse", 3), ("cat", "dog", 1)]
    assert mistaken({"cat": {"cat": 9}, "(nothing)": {"cat": 5}}) == []
