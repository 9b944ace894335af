"""Masks, key points and rotated boxes: against pycocotools on real labels, and by hand."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.data.detection.dataset import DetectionSet, select_classes
from edgevision.data.formats.coco import read_coco
from edgevision.data.formats.raw import Shape
from edgevision.errors import DataError
from edgevision.evaluation.comparisons import (
    MaskComparison,
    MaskRuns,
    PoseComparison,
    RotatedComparison,
    rotated_truth,
)
from edgevision.evaluation.detection import DetectionEvaluation, evaluate_detections
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.evaluation.predict import ground_truth, pose_truth
from edgevision.masks import InstanceMasks
from edgevision.types import Detections
from tests.support.paths import SHARED

FOLDER = SHARED / "data" / "detection"
NAMES = tuple(f"point {i}" for i in range(17))
needs_labels = pytest.mark.skipif(
    not (FOLDER / "masks_val.json").is_file(), reason="the labelled masks are not on this machine"
)
mask_tools = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")


def labels(split: str) -> tuple[DetectionSet, dict[str, Any]]:
    """A real set, read by us and as json; its images are not needed."""
    document = json.loads((FOLDER / f"masks_{split}.json").read_bytes())
    raw = read_coco(FOLDER / f"masks_{split}.json", FOLDER / "images", shapes=True)
    assert not raw.problems
    return select_classes(raw, raw.classes), document


def judged(kind: str, document: dict[str, Any], results: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        there = COCO()
        there.dataset = document
        there.createIndex()
        evaluation = COCOeval(there, there.loadRes(results), kind)
        if kind == "keypoints":
            evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def assert_equal(result: DetectionEvaluation, evaluation: Any, largest: int) -> None:
    assert result.figures.ap == pytest.approx(evaluation.stats[0], abs=1e-9)
    assert result.figures.ap50 == pytest.approx(evaluation.stats[1], abs=1e-9)
    precision = evaluation.eval["precision"][:, :, :, 0, largest]
    known = [one.ap for one in result.figures.per_class.values() if one.boxes]
    each = np.moveaxis(precision, 2, 0)
    expected = [one.mean() for one in each if (one > -1).all()]
    assert known == pytest.approx(expected, abs=1e-9)


def shifted_masks(
    data: DetectionSet, document: dict[str, Any], seed: int
) -> tuple[dict[int, Detections], dict[int, MaskRuns], list[dict[str, Any]]]:
    """Each object found up to three times, its mask moved, cut or of a wrong class; scores repeat."""
    rng = np.random.default_rng(seed)
    sizes = {one["id"]: (one["height"], one["width"]) for one in document["images"]}
    ids = {one["name"]: one["id"] for one in document["categories"]}
    found, runs, results = {}, {}, []
    for image in data.images:
        size = sizes[image.image_id]
        crops, classes = [], []
        for shape, label in zip(image.shapes, image.labels.tolist(), strict=True):
            if shape.segmentation is None:  # a crowd
                continue
            whole = mask_tools.decode(mask_tools.merge(mask_tools.frPyObjects(shape.segmentation, *size)))
            for _ in range(int(rng.integers(0, 4))):
                moved = np.roll(whole, rng.integers(-6, 7, 2), axis=(0, 1)).astype(bool)
                if rng.random() < 0.3:
                    moved[: size[0] // 2] = False
                crops.append(moved)
                classes.append(label if rng.random() < 0.9 else int(rng.integers(0, len(data.classes))))
        scores = np.round(rng.beta(2, 2, len(crops)), 2).astype(np.float32)
        masks = InstanceMasks(tuple(crops), np.zeros((len(crops), 2)), size)
        counts = tuple(masks.rle(i) for i in range(len(crops)))
        found[image.image_id] = Detections(np.tile([0, 0, 5, 5], (len(crops), 1)), scores, classes)
        runs[image.image_id] = MaskRuns(size, counts)
        for text, score, label in zip(counts, scores.tolist(), classes, strict=True):
            segmentation = {"size": list(size), "counts": text.encode()}
            results.append({"image_id": image.image_id, "category_id": ids[data.classes[label]],
                            "score": score, "segmentation": segmentation})  # fmt: skip
    return found, runs, results


@needs_labels
@pytest.mark.parametrize(("split", "seed"), [("val", 0), ("val", 1), ("train", 2)])
def test_mask_ap_equals_pycocotools(split: str, seed: int) -> None:
    data, document = labels(split)
    found, runs, results = shifted_masks(data, document, seed)
    shapes = {one.image_id: one.shapes for one in data.images}
    comparison = MaskComparison(runs, ground_truth(data), shapes)
    mine = evaluate_detections(found, ground_truth(data), data.classes, 1, comparison)
    for annotation in document["annotations"]:
        if not annotation["segmentation"]:  # pycocotools needs a region
            x, y, width, height = annotation["bbox"]
            right, bottom = x + width, y + height
            annotation["segmentation"] = [[x, y, x, bottom, right, bottom, right, y]]
    evaluation = judged("segm", document, results)
    assert 0.1 < mine.figures.ap < 0.9
    assert mine.figures.ar == pytest.approx(evaluation.stats[8], abs=1e-9)
    assert_equal(mine, evaluation, 2)


@needs_labels
@pytest.mark.parametrize(("split", "seed"), [("val", 0), ("val", 1), ("train", 2)])
def test_key_point_ap_equals_pycocotools(split: str, seed: int) -> None:
    _, document = labels(split)
    rng = np.random.default_rng(seed)
    people = select_classes(
        read_coco(FOLDER / f"masks_{split}.json", FOLDER / "images", shapes=True), ["person"]
    )
    found, results = {}, []
    for image in people.images:
        points = []
        for shape, box in zip(image.shapes, image.boxes, strict=True):
            for _ in range(int(rng.integers(0, 4))):
                if shape.keypoints is None or not shape.keypoints[:, 2].any():
                    guess = box[:2] + rng.random((17, 2)) * (box[2:] - box[:2]) * rng.choice([1, 3])
                else:
                    size = np.sqrt(shape.area or 1) * rng.choice([0.01, 0.05, 0.2])
                    guess = shape.keypoints[:, :2] + rng.normal(0, size, (17, 2))
                points.append(np.column_stack([guess, rng.random(17)]))
        places = np.array(points, np.float32).reshape(-1, 17, 3)
        scores = np.round(rng.beta(2, 2, len(places)), 2).astype(np.float32)
        boxes = np.tile([0, 0, 5, 5], (len(places), 1))
        found[image.image_id] = Detections(boxes, scores, np.zeros(len(places)), keypoints=places)
        for one, score in zip(places.astype(float), scores.tolist(), strict=True):
            results.append({"image_id": image.image_id, "category_id": 1, "score": score,
                            "keypoints": one.reshape(-1).tolist()})  # fmt: skip
    for annotation in document["annotations"]:
        annotation.setdefault("keypoints", [0] * 51)
        annotation["num_keypoints"] = sum(v > 0 for v in annotation["keypoints"][2::3])
    truth = pose_truth(people, found)
    shapes = {one.image_id: one.shapes for one in people.images}
    comparison = PoseComparison(found, truth, shapes, NAMES)
    mine = evaluate_detections(found, truth, people.classes, 1, comparison)
    evaluation = judged("keypoints", document, results)
    assert 0.05 < mine.figures.ap < 0.95
    assert mine.figures.ar == pytest.approx(evaluation.stats[5], abs=1e-9)
    assert_equal(mine, evaluation, 0)


def objects(*boxes: list[float], ignore: list[bool] | None = None) -> dict[int, GroundTruth]:
    count = len(boxes)
    return {1: GroundTruth(np.array(boxes), np.zeros(count, int), np.array(ignore or [False] * count))}


def poses(*points: list[list[float]]) -> dict[int, Detections]:
    keypoints = np.array([[[*point, 1.0] for point in one] for one in points])
    count = len(points)
    return {1: Detections(np.tile([0, 0, 9, 9], (count, 1)), [0.5] * count, [0] * count, keypoints=keypoints)}


ALL = np.arange(1)


def test_similarity_of_key_points_by_hand() -> None:
    """Two points with sigmas of 1 / 2, so variances of 1; an object of 8 square pixels.

    The first is 4 pixels off: exp(-16 / 1 / 8 / 2) = exp(-1); the second is right: 1. Their mean is 0.684.
    """
    truth = objects([0, 0, 4, 2])
    shape = Shape(keypoints=np.array([[0, 0, 2], [4, 2, 1]], float), area=8)
    found = poses([[4, 0], [4, 2]])
    comparison = PoseComparison(found, truth, {1: [shape]}, ("a", "b"))
    likeness = comparison.likeness(1, ALL, ALL, np.array([False]))
    assert likeness[0, 0] == pytest.approx((np.exp(-1) + 1) / 2, abs=1e-9)
    unseen = Shape(keypoints=np.array([[0, 0, 0], [4, 2, 1]], float), area=8)
    assert PoseComparison(found, truth, {1: [unseen]}, ("a", "b")).likeness(1, ALL, ALL, np.array([False]))[
        0, 0
    ] == pytest.approx(1)


def test_key_points_are_put_into_the_model_s_order() -> None:
    truth = objects([0, 0, 4, 2])
    shape = Shape(keypoints=np.array([[4, 2, 2], [0, 0, 2]], float), area=8)
    found = poses([[0, 0], [4, 2]])
    by_name = PoseComparison(found, truth, {1: [shape]}, ("a", "b"), ("b", "a"))
    assert by_name.likeness(1, ALL, ALL, np.array([False]))[0, 0] == pytest.approx(1)
    by_place = PoseComparison(found, truth, {1: [shape]}, ("a", "b"), ("c", "d"))
    assert by_place.likeness(1, ALL, ALL, np.array([False]))[0, 0] < 0.4


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Shape(keypoints=np.zeros((3, 3)), area=1), "3 labelled key points; expected 2"),
        (Shape(keypoints=np.zeros((2, 3))), "no area"),
    ],
)
def test_labels_that_do_not_fit_a_pose_are_refused(shape: Shape, message: str) -> None:
    with pytest.raises(DataError, match=message):
        PoseComparison(poses([[0, 0], [1, 1]]), objects([0, 0, 4, 2]), {1: [shape]}, ("a", "b"))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Shape(), "no segmentation"),
        (Shape({"size": [4, 5], "counts": [20]}), "of an image of 5x4 pixels; the image has 8x6"),
    ],
)
def test_labels_that_do_not_fit_a_mask_are_refused(shape: Shape, message: str) -> None:
    with pytest.raises(DataError, match=message):
        MaskComparison({1: MaskRuns((6, 8), ())}, objects([0, 0, 4, 2]), {1: [shape]})


def turned(*rows: tuple[list[float], float]) -> dict[int, Detections]:
    count = len(rows)
    boxes = np.tile([0, 0, 9, 9], (count, 1))
    scores = [score for _, score in rows]
    return {1: Detections(boxes, scores, [0] * count, rotated_boxes=[box for box, _ in rows])}


def test_rotated_average_precision_by_hand() -> None:
    """Two objects, three detections.

    rank  detection                                IoU     at 0.5
    1     the first object, half as long           0.5     hit
    2     the second turned by a quarter (a cross) 1 / 3   false
    3     the second as it is                      1       hit
    """
    first, second = [10, 10, 8, 4, 0.3], [40, 40, 8, 4, -0.2]
    half = [10 - 2 * np.cos(0.3), 10 - 2 * np.sin(0.3), 4, 4, 0.3]
    cross = [40, 40, 8, 4, -0.2 + np.pi / 2]
    found = turned((half, 0.9), (cross, 0.8), (second, 0.7))
    there = {1: np.array([first, second], np.float32)}
    comparison = RotatedComparison(found, there)
    both = np.arange(2)
    likeness = comparison.likeness(1, np.arange(3), both, np.zeros(2, bool))
    assert likeness == pytest.approx(np.array([[0.5, 0], [0, 1 / 3], [0, 1]]), abs=1e-5)
    # Half an object is at the threshold itself, which the last bits decide: take a little more.
    found = turned(([*half[:2], 4.01, 4, 0.3], 0.9), (cross, 0.8), (second, 0.7))
    comparison = RotatedComparison(found, there)
    truth = objects([0, 0, 9, 9], [30, 30, 50, 50])
    figures = evaluate_detections(found, truth, ["ship"], 1, comparison).figures
    assert figures.ap50_voc == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # At 0.55 and above only the third is a hit: recall 1/2 with precision 1/3.
    sampled = (51 * 1 / 3) / 101
    assert figures.ap == pytest.approx((figures.ap50 + 9 * sampled) / 10, abs=1e-9)


def test_a_rotated_crowd_takes_what_lies_in_it() -> None:
    found = turned(([10, 10, 4, 2, 0.5], 0.9), ([30, 10, 4, 4, 0], 0.8))
    comparison = RotatedComparison(found, {1: np.array([[10, 10, 40, 40, 0]], np.float32)})
    likeness = comparison.likeness(1, np.arange(2), ALL, np.array([True]))
    assert likeness[:, 0] == pytest.approx([1, 0.5], abs=1e-5)


def test_rotated_labels_are_the_four_corners() -> None:
    corners = [14.0, 8, 16, 12, 8, 16, 6, 12]  # not a rectangle of whole angles
    boxes = np.array([[0, 0, 10, 4], [6, 8, 16, 16]], np.float32)
    rows = rotated_truth(boxes, [Shape(), Shape([corners])])
    assert rows[0].tolist() == [5, 2, 10, 4, 0]
    assert rows[1, :2] == pytest.approx([11, 12])
    assert sorted(rows[1, 2:4].tolist()) == pytest.approx([20**0.5, 80**0.5], abs=1e-4)
    with pytest.raises(DataError, match="run lengths"):
        rotated_truth(boxes[:1], [Shape({"size": [4, 4], "counts": [16]})])


def test_an_object_that_counts_neither_way_is_used_up_where_it_is_one() -> None:
    box = [0.0, 0.0, 10.0, 10.0]
    found = {1: Detections([box, box], [0.9, 0.8], [0, 0])}
    region = {1: GroundTruth(np.array([box, [50, 50, 60, 60]]), np.zeros(2), np.array([True, False]))}
    single = {1: GroundTruth(region[1].boxes, np.zeros(2), region[1].ignore, np.array([True, False]))}
    both = [evaluate_detections(found, there, ["person"], 1) for there in (region, single)]
    outcomes = [one.matches[0].coco for one in both]
    assert outcomes[0].ignored[0].tolist() == [True, True]
    assert outcomes[1].ignored[0].tolist() == [True, False]


def test_segmentations_and_key_points_that_are_malformed_are_named(tmp_path: Path) -> None:
    base = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]}
    annotations = [
        {"id": 1, **base, "segmentation": [[1, 2, 3, 4]]},
        {"id": 2, **base, "keypoints": [1, 2]},
        {"id": 3, **base, "segmentation": {"size": [4, 4]}},
        {"id": 4, **base, "segmentation": [], "keypoints": []},
    ]
    path = tmp_path / "labels.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png"}],
                "annotations": annotations,
                "categories": [{"id": 1, "name": "person", "keypoints": ["nose"]}],
            }
        )
    )
    raw = read_coco(path, tmp_path, shapes=True)
    assert [one.kind for one in raw.problems] == ["malformed"] * 3
    assert "annotation 1: a polygon of its segmentation has fewer than three points" in raw.problems[0].text
    assert raw.images[0].shapes[0].segmentation is None
    assert raw.keypoints == ("nose",)
    assert not read_coco(path, tmp_path).problems  # who trains boxes does not read them
