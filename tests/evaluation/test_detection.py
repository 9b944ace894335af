"""Average precision against hand-worked cases and pycocotools.

Also tests ``edgevision.evaluation.average_precision``.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from edgevision.errors import DataError
from edgevision.evaluation.detection import DetectionEvaluation, evaluate_detections
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.types import Detections
from tests.support.paths import SHARED

VAL = SHARED / "data" / "detection" / "instances_val.json"

Truth = dict[int, GroundTruth]
Found = dict[int, Detections]


def truth(*rows: tuple[int, list[float], bool] | tuple[int, list[float]]) -> GroundTruth:
    """Rows of class id, box and, where given, ignore."""
    boxes = np.array([row[1] for row in rows]).reshape(-1, 4)
    ids = np.array([row[0] for row in rows], np.int32)
    return GroundTruth(boxes, ids, np.array([len(row) == 3 and row[2] for row in rows], bool))


def found(*rows: tuple[int, list[float], float]) -> Detections:
    """Rows of class id, box and score."""
    boxes = np.array([row[1] for row in rows]).reshape(-1, 4)
    scores, ids = np.array([row[2] for row in rows]), np.array([row[0] for row in rows], np.int32)
    return Detections(boxes, scores, ids)


A, B, C = [0.0, 0.0, 10.0, 10.0], [100.0, 0.0, 110.0, 10.0], [200.0, 0.0, 210.0, 10.0]
NOWHERE = [500.0, 500.0, 510.0, 510.0]


def part_of(box: list[float], share: float) -> list[float]:
    """A box whose IoU with ``box`` is ``share``: the same but for its height."""
    return [box[0], box[1], box[2], box[1] + share * (box[3] - box[1])]


def evaluate(found: Found, truth: Truth, classes: int = 1, min_boxes: int = 1) -> DetectionEvaluation:
    return evaluate_detections(found, truth, [f"class {k}" for k in range(classes)], min_boxes)


def test_a_hand_worked_curve() -> None:
    """Three objects; hit, alarm, hit, alarm, and one object missed.

    rank       1      2      3      4
    precision  1/1    1/2    2/3    2/4
    recall     1/3    1/3    2/3    2/3
    """
    result = evaluate(
        {1: found((0, A, 0.9), (0, NOWHERE, 0.8)), 2: found((0, B, 0.7), (0, NOWHERE, 0.6))},
        {1: truth((0, A)), 2: truth((0, B), (0, C))},
    )
    figures = result.figures.per_class["class 0"]
    assert figures.boxes == 3
    # COCO: recall points 0.00-0.33 (34 of them) see 1, 0.34-0.66 (33) see 2/3, the other 34 see 0.
    assert figures.ap50 == pytest.approx((34 + 33 * 2 / 3) / 101, abs=1e-12)
    # VOC 2007: 0.0-0.3 (4) see 1, 0.4-0.6 (3) see 2/3. Since 2010: 1/3 * 1 + 1/3 * 2/3.
    assert figures.ap50_voc07 == pytest.approx((4 + 3 * 2 / 3) / 11, abs=1e-12)
    assert figures.ap50_voc == pytest.approx(1 / 3 + 2 / 9, abs=1e-12)
    assert figures.ar == pytest.approx(2 / 3, abs=1e-12)
    assert figures.mar == pytest.approx(2 / 3, abs=1e-12)
    curve = result.curve(0)
    np.testing.assert_allclose(curve.scores, [0.9, 0.8, 0.7, 0.6], rtol=1e-6)
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 2 / 4])
    np.testing.assert_allclose(curve.recall, [1 / 3, 1 / 3, 2 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("iou", "passed", "mar"),
    [(0.49, 0, 0.0), (0.5, 1, 0.0), (0.625, 3, 0.25), (0.75, 6, 0.5), (1.0, 10, 1.0)],
)
def test_average_precision_over_overlaps(iou: float, passed: int, mar: float) -> None:
    """One object found with an overlap of ``iou`` passes that many of the thresholds 0.50, 0.55 .. 0.95."""
    figures = evaluate({1: found((0, part_of(A, iou), 0.9))}, {1: truth((0, A))}).figures
    assert figures.ap == pytest.approx(passed / 10)
    assert figures.ar == pytest.approx(passed / 10)
    assert figures.ap50 == (1.0 if passed else 0.0)
    assert figures.mar == pytest.approx(mar)


def test_mar_is_twice_the_area_under_recall() -> None:
    """Overlaps 0.6, 0.9 and none: recall is 2/3 up to 0.6, 1/3 up to 0.9; 2 * (0.1 * 2/3 + 0.3 * 1/3)."""
    figures = evaluate(
        {1: found((0, part_of(A, 0.6), 0.9), (0, part_of(B, 0.9), 0.5))}, {1: truth((0, A), (0, B), (0, C))}
    ).figures
    assert figures.mar == pytest.approx(2 * (0.1 * 2 / 3 + 0.3 * 1 / 3))


def test_mar_pairs_one_to_one_whatever_the_score() -> None:
    loose, tight = part_of(A, 0.6), part_of(A, 0.9)
    both = evaluate({1: found((0, loose, 0.9), (0, tight, 0.1))}, {1: truth((0, A))}).figures
    assert both.mar == pytest.approx(2 * 0.4)
    twin = [0.0, 0.0, 10.0, 9.0]  # overlaps A by 0.9, and so does a detection on A
    shared = evaluate({1: found((0, A, 0.9))}, {1: truth((0, A), (0, twin))}).figures
    assert shared.mar == pytest.approx(2 * (1.0 - 0.5) / 2)


def test_a_second_detection_of_an_object_is_a_false_alarm() -> None:
    result = evaluate({1: found((0, A, 0.9), (0, A, 0.8), (0, B, 0.7))}, {1: truth((0, A), (0, B))})
    np.testing.assert_allclose(result.curve(0).precision, [1, 1 / 2, 2 / 3])


def test_coco_moves_on_to_a_free_object_and_pascal_does_not() -> None:
    """Two objects overlap by 0.9; the second detection is closer to the first object, which is taken."""
    near = part_of(A, 0.9)
    result = evaluate({1: found((0, A, 0.9), (0, A, 0.8))}, {1: truth((0, A), (0, near))}).figures
    assert result.ap50 == pytest.approx(1.0)
    assert result.ap50_voc == pytest.approx(0.5)
    assert result.ap50_voc07 == pytest.approx(6 / 11)


def test_an_ignored_region_swallows_any_number_of_detections() -> None:
    """Two detections inside a crowd count neither way; the third is wrong and the fourth right."""
    crowd = [100.0, 0.0, 200.0, 100.0]
    inside = [[110.0, 10.0, 130.0, 30.0], [150.0, 50.0, 170.0, 70.0]]
    result = evaluate(
        {1: found((0, inside[0], 0.9), (0, inside[1], 0.8), (0, NOWHERE, 0.7), (0, A, 0.6))},
        {1: truth((0, A), (0, crowd, True))},
    )
    assert result.figures.per_class["class 0"].boxes == 1
    np.testing.assert_allclose(result.curve(0).precision, [0, 1 / 2])
    assert result.figures.ap50 == pytest.approx(0.5)


def test_an_object_comes_before_an_ignored_region() -> None:
    around = [-5.0, -5.0, 15.0, 15.0]
    figures = evaluate({1: found((0, A, 0.9))}, {1: truth((0, A), (0, around, True))}).figures
    assert figures.ap50 == pytest.approx(1.0)
    assert figures.ap50_voc == pytest.approx(1.0)


def test_pascal_gives_a_detection_to_the_object_it_overlaps_most_ignored_or_not() -> None:
    """The first belongs to the ignored object, which it overlaps by 1 and the other by 0.89."""
    difficult, normal = part_of(A, 0.9), part_of(A, 0.8)
    seen = found((0, difficult, 0.9), (0, normal, 0.8), (0, normal, 0.7))
    result = evaluate({1: seen}, {1: truth((0, normal), (0, difficult, True))})
    (match,) = result.matches
    assert match.pascal.ignored.tolist() == [[True, False, False]]
    assert match.pascal.hits.tolist() == [[False, True, False]]
    assert result.figures.ap50_voc == pytest.approx(1.0)


def test_a_class_without_objects_is_named_and_left_out_of_the_means() -> None:
    figures = evaluate({1: found((0, A, 0.9), (1, B, 0.9))}, {1: truth((0, A))}, classes=2).figures
    assert figures.ap50 == 1.0
    assert figures.per_class["class 1"].boxes == 0
    assert figures.per_class["class 1"].ap50 is None


def test_ap50_mean_is_over_classes_with_enough_objects() -> None:
    three_found = {1: found((0, A, 0.9), (0, B, 0.9), (0, C, 0.9))}
    objects = {1: truth((0, A), (0, B), (0, C), (1, A))}
    figures = evaluate(three_found, objects, classes=2, min_boxes=3).figures
    assert figures.ap50 == pytest.approx(0.5)
    assert figures.ap50_mean == pytest.approx(1.0)
    assert evaluate(three_found, objects, classes=2, min_boxes=4).figures.ap50_mean is None


def test_ignored_objects_do_not_help_a_class_to_min_boxes() -> None:
    figures = evaluate({1: found((0, A, 0.9))}, {1: truth((0, A), (0, B, True))}, min_boxes=2).figures
    assert figures.ap50_mean is None


def test_only_the_best_hundred_detections_of_a_image_count() -> None:
    alarms = [(0, NOWHERE, 0.9)] * 100
    assert evaluate({1: found(*alarms[:99], (0, A, 0.5))}, {1: truth((0, A))}).figures.ap50 > 0
    assert evaluate({1: found(*alarms, (0, A, 0.5))}, {1: truth((0, A))}).figures.ap50 == 0


def test_worst_images_are_ranked_by_what_was_missed_and_made_up() -> None:
    """Errors: 1 found at 0.9: 0.01; 2 missed: 1; 3 missed, alarm of 0.8: 1.64; 4 nothing there: 0."""
    result = evaluate(
        {1: found((0, A, 0.9)), 2: found(), 3: found((0, NOWHERE, 0.8)), 4: found()},
        {1: truth((0, A)), 2: truth((0, A)), 3: truth((0, A)), 4: truth()},
    )
    worst = result.worst_images()
    assert [image for image, _ in worst] == [3, 2, 1]
    assert [error for _, error in worst] == pytest.approx([1.64, 1.0, 0.01], abs=1e-6)
    assert result.worst_images(count=1) == worst[:1]


@pytest.mark.parametrize(
    ("predictions", "objects", "message"),
    [
        ({}, {}, "the set has no images"),
        ({1: found()}, {1: truth()}, "1 images without one object"),
        ({1: found()}, {1: truth((0, A)), 2: truth()}, "no predictions for 1 of 2 images"),
        ({1: found(), 7: found()}, {1: truth((0, A))}, "predictions for image 7"),
        ({1: found((3, A, 0.5))}, {1: truth((0, A))}, "predictions have class id 3; expected 0..0"),
        ({1: found()}, {1: truth((-1, A))}, "ground truth have class id -1"),
    ],
)
def test_what_cannot_be_evaluated_is_one_clear_line(predictions: Found, objects: Truth, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        evaluate(predictions, objects)
    assert "\n" not in str(caught.value)


def test_ground_truth_is_checked() -> None:
    with pytest.raises(DataError, match="2 boxes, 1 class ids"):
        GroundTruth(np.array([A, B]), np.array([0]), np.array([False, False]))
    with pytest.raises(DataError, match="x1 <= x2"):
        GroundTruth(np.array([[10, 0, 0, 10]]), np.array([0]), np.array([False]))


# pycocotools as the judge


def coco_json(objects: Mapping[int, GroundTruth], classes: int) -> dict[str, Any]:
    annotations = []
    for image, there in objects.items():
        for (x1, y1, x2, y2), class_id, ignore in zip(
            there.boxes.tolist(), there.class_ids.tolist(), there.ignore.tolist(), strict=True
        ):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": class_id + 1,
                 "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": int(ignore)}
            )  # fmt: skip
    return {
        "images": [{"id": image} for image in objects],
        "categories": [{"id": k + 1, "name": str(k)} for k in range(classes)],
        "annotations": annotations,
    }


def judge(predictions: Mapping[int, Detections], document: dict[str, Any]) -> Any:
    """pycocotools' COCOeval after accumulate and summarize, its printing swallowed."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = [
        {"image_id": image, "category_id": class_id + 1, "score": score,
         "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for image, detections in predictions.items()
        for (x1, y1, x2, y2), score, class_id in zip(
            detections.boxes.astype(float).tolist(), detections.scores.tolist(),
            detections.class_ids.tolist(), strict=True,
        )
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        expected = COCO()
        expected.dataset = document
        expected.createIndex()
        evaluation = COCOeval(expected, expected.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def assert_equals_pycocotools(
    result: DetectionEvaluation, predictions: Found, document: dict[str, Any]
) -> None:
    evaluation = judge(predictions, document)
    assert result.figures.ap == pytest.approx(evaluation.stats[0], abs=1e-9)
    assert result.figures.ap50 == pytest.approx(evaluation.stats[1], abs=1e-9)
    assert result.figures.ar == pytest.approx(evaluation.stats[8], abs=1e-9)
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    for k, name in enumerate(result.classes):
        mine = result.figures.per_class[name]
        if mine.boxes == 0:
            assert (precision[:, :, k] == -1).all()
        else:
            assert mine.ap == pytest.approx(precision[:, :, k].mean(), abs=1e-9)
            assert mine.ap50 == pytest.approx(precision[0, :, k].mean(), abs=1e-9)


def imperfect(objects: Mapping[int, GroundTruth], classes: int, generator: np.random.Generator) -> Found:
    """Detections that are right, shifted, doubled, of a wrong class, or made up; scores repeat often."""
    predictions: Found = {}
    for image, there in objects.items():
        kept = np.repeat(np.arange(len(there.boxes)), generator.integers(0, 4, len(there.boxes)))
        sides = np.tile(there.boxes[kept, 2:] - there.boxes[kept, :2], 2)
        boxes = there.boxes[kept] + generator.normal(0, 0.12, (len(kept), 4)) * sides
        corners = generator.uniform(0, 300, (generator.integers(0, 8), 2))
        made_up = np.concatenate([corners, corners + generator.uniform(5, 150, corners.shape)], axis=1)
        boxes = np.concatenate([boxes, made_up])
        boxes = np.concatenate(
            [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1
        )
        ids = np.concatenate([there.class_ids[kept], generator.integers(0, classes, len(made_up))])
        wrong = generator.random(len(ids)) < 0.1
        ids[wrong] = generator.integers(0, classes, wrong.sum())
        scores = np.round(generator.beta(2, 2, len(ids)), 2)
        predictions[image] = Detections(boxes, scores, ids)
    return predictions


@pytest.mark.parametrize("seed", range(12))
def test_equals_pycocotools_on_generated_sets(seed: int) -> None:
    pytest.importorskip("pycocotools")
    generator = np.random.default_rng(seed)
    classes = 4
    objects: Truth = {}
    for image in generator.permutation(30).tolist():
        count = int(generator.integers(0, 12))
        # Whole numbers, few of them: overlaps tie, and some are exactly a threshold.
        corners = generator.integers(0, 20, (count, 2)) * 10.0
        boxes = np.concatenate([corners, corners + generator.integers(1, 12, (count, 2)) * 10.0], axis=1)
        ids = generator.integers(0, classes - 1, count)  # the last class is never there
        objects[image] = GroundTruth(boxes, ids, generator.random(count) < 0.15)
    predictions = imperfect(objects, classes, generator)
    exact = {
        image: Detections(np.round(d.boxes, -1), d.scores, d.class_ids) for image, d in predictions.items()
    }
    document = coco_json(objects, classes)
    for variant in (predictions, exact):
        assert_equals_pycocotools(evaluate(variant, objects, classes), variant, document)


def test_equals_pycocotools_beyond_a_hundred_detections() -> None:
    pytest.importorskip("pycocotools")
    generator = np.random.default_rng(5)
    corners = generator.uniform(0, 400, (150, 2))
    boxes = np.concatenate([corners, corners + 20], axis=1)
    objects = {1: GroundTruth(boxes, np.zeros(150, int), np.zeros(150, bool))}
    predictions = {1: Detections(boxes + 1, generator.random(150), np.zeros(150, int))}
    assert_equals_pycocotools(evaluate(predictions, objects), predictions, coco_json(objects, 1))


@pytest.mark.skipif(not VAL.exists(), reason="needs ../shared/data/detection")
def test_equals_pycocotools_on_real_ground_truth() -> None:
    pytest.importorskip("pycocotools")
    document = json.loads(VAL.read_bytes())
    classes = len(document["categories"])
    assert [category["id"] for category in document["categories"]] == list(range(1, classes + 1))
    rows: dict[int, list[tuple[int, list[float], bool]]] = {image["id"]: [] for image in document["images"]}
    for a in document["annotations"]:
        x, y, w, h = a["bbox"]
        # float32 is what the data readers and Detections hold; the judge gets the same numbers.
        x1, y1, x2, y2 = np.array([x, y, x + w, y + h], np.float32).astype(float).tolist()
        rows[a["image_id"]].append((a["category_id"] - 1, [x1, y1, x2, y2], bool(a["iscrowd"])))
    objects = {image: truth(*these) for image, these in rows.items()}
    predictions = imperfect(objects, classes, np.random.default_rng(0))
    result = evaluate(predictions, objects, classes, min_boxes=10)
    assert_equals_pycocotools(result, predictions, coco_json(objects, classes))
    assert sum(figures.boxes for figures in result.figures.per_class.values()) == 1099  # and 3 crowds
