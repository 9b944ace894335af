from __future__ import annotations

import numpy as np
import pytest

from edgevision.errors import UsageError
from edgevision.evaluation.bootstrap import (
    ap50_mean_interval,
    compare_ap50_mean,
    compare_miou,
    miou_interval,
    weighted_ap50,
)
from edgevision.evaluation.detection import DetectionEvaluation, evaluate_detections
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.types import Detections

CLASSES = ["person", "car", "dog"]


def make_set(images: int, seed: int = 0) -> dict[int, GroundTruth]:
    generator = np.random.default_rng(seed)
    objects = {}
    for image in range(images):
        count = int(generator.integers(1, 6))
        corners = generator.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corners, corners + generator.uniform(20, 80, (count, 2))], axis=1)
        ids = generator.integers(0, len(CLASSES), count)
        objects[image] = GroundTruth(boxes, ids, generator.random(count) < 0.1)
    return objects


def detect(objects: dict[int, GroundTruth], found_share: float, seed: int = 1) -> dict[int, Detections]:
    """Finds about that share of the objects, and two things in each image that are not there."""
    generator = np.random.default_rng(seed)
    predictions = {}
    for image, there in objects.items():
        kept = generator.random(len(there.boxes)) < found_share
        alarms = np.tile([400.0, 400, 450, 450], (2, 1))
        boxes = np.concatenate([there.boxes[kept], alarms])
        ids = np.concatenate([there.class_ids[kept], generator.integers(0, len(CLASSES), 2)])
        predictions[image] = Detections(boxes, generator.random(len(boxes)), ids)
    return predictions


def evaluate(predictions: dict[int, Detections], objects: dict[int, GroundTruth]) -> DetectionEvaluation:
    return evaluate_detections(predictions, objects, CLASSES, min_boxes=10)


def test_a_weight_is_the_same_as_drawing_the_image_again() -> None:
    objects = make_set(20)
    predictions = detect(objects, 0.7)
    result = evaluate(predictions, objects)
    generator = np.random.default_rng(3)
    for drawn in (generator.integers(0, 20, 20) for _ in range(5)):
        again = evaluate(
            {position: predictions[image] for position, image in enumerate(drawn)},
            {position: objects[image] for position, image in enumerate(drawn)},
        )
        weights = np.bincount(drawn, minlength=20)[None]
        for k, name in enumerate(CLASSES):
            expected = again.figures.per_class[name].ap50
            assert weighted_ap50(result.matches[k], weights)[0] == pytest.approx(expected, abs=1e-12)


def test_a_class_that_a_resample_lacks_has_no_figure() -> None:
    objects = {
        0: GroundTruth(np.array([[0, 0, 9, 9]]), np.array([0]), np.array([False])),
        1: GroundTruth(np.array([[0, 0, 9, 9]]), np.array([1]), np.array([False])),
    }
    predictions = {i: Detections(there.boxes, np.ones(1), there.class_ids) for i, there in objects.items()}
    matches = evaluate(predictions, objects).matches[0]
    values = weighted_ap50(matches, np.array([[2, 0], [0, 2], [1, 1]]))
    np.testing.assert_array_equal(values, [1.0, np.nan, 1.0])


def test_a_model_does_not_differ_from_itself() -> None:
    objects = make_set(30)
    result = evaluate(detect(objects, 0.6), objects)
    interval = compare_ap50_mean(result, result, resamples=100)
    assert interval is not None
    assert (interval.value, interval.low, interval.high) == (0, 0, 0)
    assert not interval.excludes_zero


def test_a_clear_difference_excludes_zero_in_both_directions() -> None:
    objects = make_set(60)
    good, bad = evaluate(detect(objects, 0.9), objects), evaluate(detect(objects, 0.4), objects)
    up, down = compare_ap50_mean(bad, good, resamples=300), compare_ap50_mean(good, bad, resamples=300)
    assert up is not None
    assert down is not None
    assert good.figures.ap50_mean is not None
    assert bad.figures.ap50_mean is not None
    assert up.value == pytest.approx(good.figures.ap50_mean - bad.figures.ap50_mean)
    assert 0 < up.low < up.value < up.high
    assert up.excludes_zero
    assert (down.low, down.high) == (pytest.approx(-up.high), pytest.approx(-up.low))


def test_pairing_narrows_the_interval() -> None:
    """Two models that share most of their errors: their difference is surer than either figure."""
    objects = make_set(80)
    base = detect(objects, 0.6)
    slightly_worse = {image: d[: len(d) - 1] if image % 10 == 0 else d for image, d in base.items()}
    first, second = evaluate(base, objects), evaluate(slightly_worse, objects)
    alone, paired = ap50_mean_interval(first, resamples=300), compare_ap50_mean(first, second, resamples=300)
    assert alone is not None
    assert paired is not None
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """40 sets from one distribution, whose true figures come from a very large set."""
    large = make_set(3000, seed=1000)
    first = evaluate(detect(large, 0.6, seed=2000), large).figures.ap50_mean
    second = evaluate(detect(large, 0.7, seed=3000), large).figures.ap50_mean
    assert first is not None
    assert second is not None
    alone = paired = 0
    for seed in range(40):
        objects = make_set(60, seed)
        a = evaluate(detect(objects, 0.6, seed + 2001), objects)
        b = evaluate(detect(objects, 0.7, seed + 3001), objects)
        figure = ap50_mean_interval(a, resamples=200)
        difference = compare_ap50_mean(a, b, resamples=200)
        assert figure is not None
        assert difference is not None
        alone += figure.low <= first <= figure.high
        paired += difference.low <= second - first <= difference.high
    assert alone >= 32
    assert paired >= 35


def test_the_same_seed_gives_the_same_interval() -> None:
    objects = make_set(20)
    result = evaluate(detect(objects, 0.6), objects)
    assert ap50_mean_interval(result, resamples=50) == ap50_mean_interval(result, resamples=50)
    assert ap50_mean_interval(result, resamples=50) != ap50_mean_interval(result, resamples=50, seed=1)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = make_set(20)
    result = evaluate(detect(objects, 0.6), objects)
    whole = ap50_mean_interval(result, resamples=50)
    monkeypatch.setattr("edgevision.evaluation.bootstrap._CELLS", 100)
    assert ap50_mean_interval(result, resamples=50) == whole


def test_no_class_with_enough_objects_means_no_interval() -> None:
    objects = make_set(3)
    result = evaluate_detections(detect(objects, 0.6), objects, CLASSES, min_boxes=1000)
    assert ap50_mean_interval(result) is None
    assert compare_ap50_mean(result, result) is None


def test_only_like_is_compared_with_like() -> None:
    objects, others = make_set(20), make_set(20, seed=9)
    first, second = (
        evaluate(detect(objects, 0.6), objects),
        evaluate(detect(others, 0.6), others),
    )
    with pytest.raises(UsageError, match="same images, labels, classes"):
        compare_ap50_mean(first, second)


def test_the_interval_of_a_mean_iou_comes_from_resampled_images():
    """Images of two classes: half of them all right (IoU 1), half of them with one pixel in four wrong."""
    right = np.array([[2, 0], [0, 2]])
    wrong = np.array([[2, 0], [1, 1]])
    matrices = np.stack([right, wrong] * 20)
    found = miou_interval(matrices)
    # 80 and 60 pixels right; 20 of the second class are called the first.
    assert found.value == pytest.approx((80 / 100 + 60 / 80) / 2)
    # By the central limit theorem the share of wrong images lies between 0.345 and 0.655.
    at = [(2 / (2 + s) + (2 - s) / 2) / 2 for s in (0.655, 0.345)]
    assert (found.low, found.high) == pytest.approx(at, abs=0.02)
    better = compare_miou(matrices, np.stack([right] * 40))
    assert better.value == pytest.approx(1 - found.value)
    assert better.excludes_zero
    assert not compare_miou(matrices, matrices).excludes_zero


def test_segmenters_of_other_images_are_not_compared():
    matrices = np.stack([np.array([[2, 0], [1, 1]])] * 3)
    for other in (matrices[:2], matrices[:, ::-1] + 1):
        with pytest.raises(UsageError, match="same images"):
            compare_miou(matrices, other)
