from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.errors import DataError
from edgevision.evaluation.segmentation import confusion_matrix, segmentation_figures, worst_matrices

LABELS = np.array([[0, 0, 0, 0, 0], [1, 1, 1, 9, 9]], np.uint8)
PREDICTED = np.array([[0, 0, 0, 1, 2], [1, 1, 0, 2, 0]], np.uint8)


def test_a_hand_worked_table() -> None:
    """Nine is ignored; class 2 is never labelled but predicted once, which class 0 pays for.

    labelled \\ predicted   0  1  2
    0                       3  1  1
    1                       1  2  0
    2                       0  0  0
    """
    matrix = confusion_matrix(LABELS, PREDICTED, 3, ignore_id=9)
    np.testing.assert_array_equal(matrix, [[3, 1, 1], [1, 2, 0], [0, 0, 0]])
    figures = segmentation_figures(matrix, ["sky", "road", "car"])
    sky, road, car = figures.per_class.values()
    assert (sky.pixels, sky.iou, sky.dice) == (5, pytest.approx(3 / 6), pytest.approx(6 / 9))
    assert (road.pixels, road.iou, road.dice) == (3, pytest.approx(2 / 4), pytest.approx(4 / 6))
    assert (car.pixels, car.iou, car.dice) == (0, None, None)
    assert figures.miou == pytest.approx(0.5)
    assert figures.dice == pytest.approx(2 / 3)
    assert figures.pixel_accuracy == pytest.approx(5 / 8)


def test_without_an_ignore_id_every_pixel_counts() -> None:
    labels = np.where(LABELS == 9, 2, LABELS)
    assert confusion_matrix(labels, PREDICTED, 3).sum() == 10


def test_a_perfect_prediction() -> None:
    figures = segmentation_figures(confusion_matrix(LABELS, LABELS % 9, 2, ignore_id=9), ["sky", "road"])
    assert (figures.miou, figures.dice, figures.pixel_accuracy) == (1, 1, 1)


def test_the_worst_images_come_first_and_right_ones_not_at_all() -> None:
    right, half, empty, worst = np.diag([4, 0]), np.array([[2, 2], [0, 0]]), np.zeros((2, 2)), np.eye(2)[::-1]
    matrices = np.stack([right, half, empty, worst]).astype(np.int64)
    assert worst_matrices(matrices, 9) == [(3, 1.0), (1, 0.5)]
    assert worst_matrices(matrices, 1) == [(3, 1.0)]


def test_an_entirely_wrong_prediction() -> None:
    labels = np.array([[0, 1]], np.uint8)
    figures = segmentation_figures(confusion_matrix(labels, 1 - labels, 2), ["sky", "road"])
    assert (figures.miou, figures.dice, figures.pixel_accuracy) == (0, 0, 0)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_figures_come_from_sums_and_agree_with_counting_by_hand(seed: int) -> None:
    generator = np.random.default_rng(seed)
    classes = int(generator.integers(2, 6))
    images = [
        (generator.integers(0, classes + 1, size), generator.integers(0, classes, size))
        for size in ((7, 5), (4, 9), (1, 1))
    ]
    total = sum(confusion_matrix(t, p, classes, ignore_id=classes) for t, p in images)
    flat = np.concatenate([t.ravel() for t, _ in images])
    guess = np.concatenate([p.ravel() for _, p in images])
    figures = segmentation_figures(np.asarray(total), [str(k) for k in range(classes)])
    counted = flat != classes
    ious = []
    for k in range(classes):
        truth, said = (flat == k) & counted, (guess == k) & counted
        if truth.any():
            ious.append((truth & said).sum() / (truth | said).sum())
            assert figures.per_class[str(k)].iou == pytest.approx(ious[-1])
            assert figures.per_class[str(k)].dice == pytest.approx(2 * ious[-1] / (1 + ious[-1]))
    assert figures.miou == pytest.approx(np.mean(ious))
    assert figures.pixel_accuracy == pytest.approx((flat == guess)[counted].mean())


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), r"labels are \[2, 3\] pixels"),
        (np.full((2, 2), 7, np.uint8), np.zeros((2, 2), np.uint8), r"label id 7 in 4 pixels; .* 0..2 \(or 9"),
        (np.zeros((1, 2), np.uint8), np.array([[0, 3]], np.uint8), "predicted id 3 in 1 pixels; .* 0..2$"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_one_clear_line(
    labels: np.ndarray, predicted: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        confusion_matrix(labels, predicted, 3, ignore_id=9)


def test_a_set_without_labelled_pixels_is_refused() -> None:
    labels = np.full((2, 2), 9, np.uint8)
    with pytest.raises(DataError, match="no labelled pixel"):
        segmentation_figures(confusion_matrix(labels, labels * 0, 2, ignore_id=9), ["sky", "road"])
    with pytest.raises(DataError, match="does not fit 3 classes"):
        segmentation_figures(np.ones((2, 2), np.int64), ["sky", "road", "car"])
