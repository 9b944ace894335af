"""Top-1, top-5 and mean average precision by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.errors import DataError
from edgevision.evaluation.bootstrap import label_interval, map_interval
from edgevision.evaluation.classification import (
    average_precisions,
    one_label_figures,
    ranks_of,
    several_label_figures,
)


def test_ranks_and_ties() -> None:
    probabilities = np.array([[0.1, 0.6, 0.3], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.2, 0.3, 0.5]])
    assert ranks_of(probabilities, np.array([1, 0, 1, 0])).tolist() == [0, 0, 1, 2]


def test_top_1_and_top_5_by_hand() -> None:
    """Class a: ranks 0, 4 and 5; class b: rank 0; class c has no image."""
    figures = one_label_figures(np.array([0, 4, 5, 0]), np.array([0, 0, 0, 1]), ("a", "b", "c"))
    assert (figures.images, figures.top1, figures.top5, figures.map) == (4, 0.5, 0.75, None)
    assert figures.per_class["a"].top1 == pytest.approx(1 / 3)
    assert figures.per_class["a"].top5 == pytest.approx(2 / 3)
    assert figures.per_class["b"].top1 == 1
    assert figures.per_class["c"].images == 0
    assert figures.per_class["c"].top1 is None


def test_average_precision_by_hand() -> None:
    """Scores fall; hits at ranks 1, 3 and 4: (1/1 + 2/3 + 3/4) / 3."""
    scores = np.array([[0.9], [0.8], [0.7], [0.6], [0.5]])
    labels = np.array([[1], [0], [1], [1], [0]], bool)
    once = np.ones((1, 5), np.int64)
    assert average_precisions(scores, labels, once)[0, 0] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    # Of equal scores none comes first: all five together have the precision 3 / 5.
    assert average_precisions(np.full((5, 1), 0.5), labels, once)[0, 0] == pytest.approx(3 / 5)
    # An image that counts twice is an image twice.
    twice = average_precisions(scores, labels, np.array([[1, 2, 1, 1, 1]]))[0, 0]
    doubled = average_precisions(
        scores[[0, 1, 1, 2, 3, 4]], labels[[0, 1, 1, 2, 3, 4]], np.ones((1, 6), np.int64)
    )
    assert twice == pytest.approx(doubled[0, 0])


def test_map_leaves_out_classes_without_an_image() -> None:
    scores = np.array([[0.9, 0.2, 0.5], [0.1, 0.8, 0.5]])
    labels = np.array([[1, 1, 0], [0, 0, 0]], bool)
    figures = several_label_figures(scores, labels, ("a", "b", "c"))
    assert figures.map == pytest.approx((1 + 1 / 2) / 2)
    assert figures.per_class["b"].ap == pytest.approx(0.5)
    assert figures.per_class["c"].ap is None
    with pytest.raises(DataError, match="no image is labelled"):
        several_label_figures(scores, np.zeros((2, 3), bool), ("a", "b", "c"))


def test_intervals_hold_the_figure_and_a_gain() -> None:
    rng = np.random.default_rng(0)
    good, bad = rng.random(200) < 0.8, rng.random(200) < 0.5
    found = label_interval(good)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(good.mean())
    assert label_interval(good, bad).excludes_zero
    same = label_interval(good, good)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    labels = rng.random((200, 2)) < 0.4
    sharp = labels + rng.normal(0, 0.3, (200, 2))
    noise = rng.random((200, 2))
    gain = map_interval(sharp, labels, noise, resamples=100)
    assert gain.excludes_zero
    assert map_interval(sharp, labels, resamples=100).value == pytest.approx(
        several_label_figures(sharp, labels, ("a", "b")).map
    )
