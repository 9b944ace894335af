"""Labelled data as a user names them, and the classes that they share with models."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.errors import DataError, UsageError
from edgevision.evaluation.labelled import LabelledData, common_classes, wanted_classes

MODELS = {"a.onnx": ("person", "car", "Dog"), "b.onnx": ("automobile", "dog")}
DATA = Path("labels.json")


def coco(folder: Path, images: int = 2, missing: int = 0) -> LabelledData:
    for i in range(missing, images):
        cv2.imwrite(str(folder / f"{i}.png"), np.zeros((8, 8, 3), np.uint8))
    document = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 8} for i in range(images)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 4, 4]}] * bool(images),
        "categories": [{"id": 1, "name": "car"}],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(document))
    return LabelledData(data=path, images=folder)


def test_the_kind_of_data_must_be_clear() -> None:
    with pytest.raises(UsageError, match=r"expected `images`, a folder, .* or `split`"):
        LabelledData(data=DATA, images=Path("photos"), split="val")
    neither = LabelledData(data=DATA)  # a folder of images for each class
    neither.check_task("m", "classification")
    for task in ("detection", "segmentation", "pose"):
        with pytest.raises(UsageError, match="expected a"):
            neither.check_task("m", task)


def test_a_model_of_the_other_task_is_refused() -> None:
    boxes, maps = LabelledData(data=DATA, images=Path()), LabelledData(data=Path("camvid"), split="val")
    boxes.check_task("m", "detection")
    maps.check_task("m", "segmentation")
    with pytest.raises(UsageError, match="m is a segmentation model; expected a folder as `data`"):
        boxes.check_task("m", "segmentation")
    with pytest.raises(UsageError, match="m is a detection model; expected a COCO json as `data`"):
        maps.check_task("m", "detection")
    assert (boxes.name, maps.name) == ("labels.json", "camvid/val")


def test_common_classes_are_spelt_as_in_the_first_model() -> None:
    notes: list[str] = []
    assert common_classes(MODELS, ["car", "dog", "cat"], DATA, notes.append) == ("car", "Dog")
    assert notes == ["not evaluated, missing in the data or in a model: person"]
    with pytest.raises(DataError, match=r"labels\.json: none of its 1 classes is one of a\.onnx"):
        common_classes(MODELS, ["person"], DATA)


def test_wanted_classes_are_in_every_model_and_in_the_data() -> None:
    assert wanted_classes("car,dog", MODELS, ["Car", "dog"], DATA) == ("car", "dog")
    with pytest.raises(UsageError, match=r"b\.onnx has no class 'person'"):
        wanted_classes("person", MODELS, ["person"], DATA)
    with pytest.raises(DataError, match=r"labels\.json has no class 'dog'; it has: person"):
        wanted_classes("dog", MODELS, ["person"], DATA)


def test_a_set_without_its_images_is_refused(tmp_path: Path) -> None:
    yardstick = coco(tmp_path).open(tuple)
    assert (yardstick.task, yardstick.images) == ("detection", 2)
    assert [path.name for path in yardstick.files] == ["labels.json", "0.png", "1.png"]
    (tmp_path / "0.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images of .*json are missing, the first: .*0\.png"):
        coco(tmp_path, missing=1).open(tuple)
    with pytest.raises(DataError, match="the set is empty"):
        coco(tmp_path, images=0).open(tuple)
