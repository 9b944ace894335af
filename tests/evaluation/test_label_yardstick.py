"""Every task beside detection through ``evaluate``, on images whose answers are known.

Also tests ``edgevision.data.classification.dataset``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.data.classification.dataset import choose_classes, read_class_folders, read_image_labels
from edgevision.engines import load_engine
from edgevision.errors import DataError, UsageError
from edgevision.evaluation.job import Evaluation, evaluate
from edgevision.evaluation.labelled import LabelledData
from edgevision.evaluation.report import ClassificationReport, DetectionReport, read_report, write_report
from tests.evaluation.test_job import Opened
from tests.evaluation.test_yardstick import BGR
from tests.support.manifests import COLOURS
from tests.support.models import image_with_block
from tests.support.task_models import ANGLE, write_task_model

BLOCK = (8, 8, 40, 32)


def opened(path: Path) -> Opened:
    return Opened(path.name, path.stem, load_engine(path, "onnxruntime"))


def run(data: LabelledData, *paths: Path, min_boxes: int = 10) -> Evaluation:
    return evaluate([opened(path) for path in paths], data, min_boxes=min_boxes)


def coco(folder: Path, fields: dict[str, Any], labels: list[list[int]] | None = None) -> LabelledData:
    """Six images with a block each; ``fields`` go to every annotation."""
    images, annotations = [], []
    for i in range(6):
        colour = COLOURS[i % 3]
        cv2.imwrite(str(folder / f"{i}.png"), image_with_block(64, 64, BLOCK, BGR[colour]))
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 64})
        for label in [i % 3] if labels is None else labels[i]:
            annotations.append({"id": len(annotations), "image_id": i, "category_id": label, "iscrowd": 0,
                                "bbox": [8, 8, 32, 24], "area": 768, **fields})  # fmt: skip
    names = ["top_left", "top_right", "middle"]
    categories = [{"id": i, "name": name, "keypoints": names} for i, name in enumerate(COLOURS)]
    path = folder / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return LabelledData(data=path, images=folder)


RECTANGLE = [8, 8, 40, 8, 40, 32, 8, 32]


def corners() -> list[float]:
    box = cv2.boxPoints(((24, 20), (32, 24), np.degrees(ANGLE)))
    return [float(value) for value in box.reshape(-1)]


@pytest.mark.parametrize(
    ("task", "fields", "least"),
    [
        ("instance-segmentation", {"segmentation": [RECTANGLE]}, 0.9),
        ("pose", {"keypoints": [8, 8, 2, 40, 8, 2, 24, 20, 2]}, 1.0),
        ("obb", {"segmentation": [corners()]}, 0.99),
    ],
)
def test_a_right_answer_scores_one(tmp_path: Path, task: str, fields: dict[str, Any], least: float) -> None:
    found = run(coco(tmp_path, fields), write_task_model(tmp_path / "m.onnx", task), min_boxes=2)
    report = found.report("by hand")
    assert isinstance(report, DetectionReport)
    assert (report.task, report.ap50, report.ap50_mean) == (task, 1.0, 1.0)
    assert report.ap >= least
    assert found.yardstick.figure == "ap50_mean"
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report


@pytest.mark.parametrize(
    ("task", "fields"),
    [
        ("instance-segmentation", {"segmentation": [[8, 8, 40, 8, 40, 14]]}),
        ("pose", {"keypoints": [40, 32, 2, 8, 32, 2, 60, 60, 2]}),
        ("obb", {"segmentation": [RECTANGLE]}),
    ],
)
def test_a_right_box_alone_is_not_enough(tmp_path: Path, task: str, fields: dict[str, Any]) -> None:
    report = run(coco(tmp_path, fields), write_task_model(tmp_path / "m.onnx", task), min_boxes=2).report()
    assert isinstance(report, DetectionReport)
    assert report.ap <= 0.5
    if task != "obb":  # whose upright box is larger
        assert report.box_ap50 == 1.0


def test_two_models_of_poses_are_compared_and_plotted(tmp_path: Path) -> None:
    data = coco(tmp_path, {"keypoints": [8, 8, 2, 40, 8, 2, 24, 20, 2]})
    model = write_task_model(tmp_path / "m.onnx", "pose")
    found = run(data, model, model, min_boxes=2)
    assert found.interval is not None
    assert found.interval.value == 0
    found.plot(tmp_path / "plots")
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {f"{kind}_{one}.png" for kind in ("precision_recall", "recall_over_iou") for one in "ab"}


def by_class(folder: Path) -> LabelledData:
    for i in range(6):
        colour = COLOURS[i % 3]
        inner = folder / "by_class" / colour
        inner.mkdir(parents=True, exist_ok=True)
        shown = "red" if i == 3 else colour  # a blue one is labelled wrong
        cv2.imwrite(str(inner / f"{i}.png"), image_with_block(64, 64, BLOCK, BGR[shown]))
    return LabelledData(data=folder / "by_class")


def test_one_label_from_folders(tmp_path: Path) -> None:
    found = run(by_class(tmp_path), write_task_model(tmp_path / "m.onnx", "classification"))
    report = found.report()
    assert isinstance(report, ClassificationReport)
    assert (report.figure, report.top5, report.images) == ("top1", 1.0, 6)
    assert report.top1 == pytest.approx(5 / 6)
    assert report.per_class["blue"].top1 == 0.5
    assert report.ci is not None
    assert report.ci.value == pytest.approx(5 / 6)
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report
    found.plot(tmp_path / "plots")
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["confusion.png"]
    with pytest.raises(UsageError, match="needs a detection model"):
        found.save_worst(tmp_path / "worst")


def test_several_labels_from_coco(tmp_path: Path) -> None:
    labels = [[i % 3] if i else [0, 1] for i in range(6)]
    data = coco(tmp_path, {}, labels)
    model = write_task_model(tmp_path / "m.onnx", "classification", multi_label=True)
    report = run(data, model, model).report()
    assert isinstance(report, ClassificationReport)
    # Green holds in images 0, 1 and 4; it is seen in 1 and 4, and all others are equal: 3 of 6.
    green = (1 + 1 + 3 / 6) / 3
    assert report.per_class["green"].ap == pytest.approx(green)
    assert report.map == pytest.approx((1 + green + 1) / 3)
    assert report.ci is not None
    assert report.ci.value == 0
    # Blue holds in images 2 and 5 and is seen there alone, red in 0 and 3.
    assert list(report.points) == list(COLOURS)
    best = report.points["blue"].best
    assert best is not None
    assert (best.precision, best.recall, best.f1) == (1, 1, 1)
    assert report.points["blue"].at is None


def test_precision_and_recall_at_a_score(tmp_path: Path) -> None:
    data = coco(tmp_path, {}, [[i % 3] if i else [0, 1] for i in range(6)])
    model = opened(write_task_model(tmp_path / "m.onnx", "classification", multi_label=True))
    report = evaluate([model], data, at=0.5).report()
    assert isinstance(report, ClassificationReport)
    green = report.points["green"].at
    assert green is not None
    assert (green.precision, green.recall) == pytest.approx((1, 2 / 3))
    one = opened(write_task_model(tmp_path / "one.onnx", "classification"))
    with pytest.raises(UsageError, match="`at` is a score threshold"):  # before the data are looked at
        evaluate([one], LabelledData(data=tmp_path / "nowhere"), at=0.5)


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    boxes = coco(tmp_path, {})
    label = write_task_model(tmp_path / "label.onnx", "classification")
    pose = write_task_model(tmp_path / "pose.onnx", "pose")
    masks = write_task_model(tmp_path / "masks.onnx", "instance-segmentation")
    with pytest.raises(UsageError, match="expected two for the same task"):
        run(boxes, pose, masks)
    with pytest.raises(DataError, match="no segmentation"):
        run(boxes, masks)
    with pytest.raises(UsageError, match=r"pose\.onnx is a model for pose; expected a COCO json"):
        run(by_class(tmp_path), pose)
    with pytest.raises(UsageError, match="a folder that has a folder of images for each class"):
        run(LabelledData(data=tmp_path, split="val"), label)
    with pytest.raises(DataError, match=r"0\.png has several labels"):
        run(coco(tmp_path, {}, [[0, 1]] + [[0]] * 5), label)


def test_class_folders(tmp_path: Path) -> None:
    data = read_class_folders(by_class(tmp_path).data)
    assert data.classes == ("blue", "green", "red")
    assert [path.name for path in data.paths] == ["0.png", "3.png", "1.png", "4.png", "2.png", "5.png"]
    chosen = choose_classes(data, ("red", "blue"), multi_label=False)
    assert chosen.labels.tolist() == [[False, True]] * 2 + [[True, False]] * 2
    assert len(choose_classes(data, ("red",), multi_label=True).paths) == 6
    with pytest.raises(DataError, match="no image is labelled"):
        choose_classes(data, ("cat",), multi_label=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="a folder of images for each class"):
        read_class_folders(tmp_path / "empty")
    with pytest.raises(DataError, match="cannot read"):
        read_class_folders(tmp_path / "absent")


def test_labels_of_images_from_coco(tmp_path: Path) -> None:
    data = coco(tmp_path, {}, [[0, 1], [], [2], [2], [0], [1]])
    assert data.images is not None
    found = read_image_labels(data.data, data.images)
    assert found.labels.sum(axis=1).tolist() == [2, 0, 1, 1, 1, 1]
