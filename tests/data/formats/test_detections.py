"""A teacher's answers beside people's labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.data.classes import VOC_CLASSES
from edgevision.data.detection.sources import CocoSource, load_source
from edgevision.errors import DataError
from tests.data.detection.test_dataset import write_set

ROWS = [
    {"image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 0.9},  # a car: people label those
    {"image_id": 1, "category_id": 7, "bbox": [60, 5, 60, 20], "score": 0.8},
    {"image_id": 2, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.35},
    {"image_id": 2, "category_id": 7, "bbox": [9, 9, 3, 4], "score": 0.1},
]


def source(folder: Path, rows: Any = ROWS, labelled: tuple[str, ...] = ("car",)) -> CocoSource:
    entries = [
        {"id": 1, "file_name": "a.png", "width": 100, "height": 60},
        {"id": 2, "file_name": "b.png", "width": 80, "height": 80},
    ]
    annotations, images = write_set(folder, images=entries)
    answers = folder / "answers.json"
    answers.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return CocoSource(str(annotations), str(images), labelled=labelled, detections=str(answers))


def test_people_keep_their_classes_and_the_teacher_labels_the_others(tmp_path: Path) -> None:
    found = load_source(source(tmp_path), VOC_CLASSES)
    first, second = found.images
    assert [VOC_CLASSES[label] for label in first.labels] == ["car", "motorbike"]
    # The motorbike is the teacher's, not the crowd that the set has, and ends where the image does.
    np.testing.assert_array_equal(first.boxes[1], [60, 5, 100, 25])
    np.testing.assert_allclose(first.scores, [1, 0.8])
    assert first.ignore.tolist() == [False, False]
    np.testing.assert_allclose(second.scores, [0.35])  # below 0.2 it is nothing, below 0.4 to be ignored
    assert second.ignore.tolist() == [True]
    assert [name for name, known in zip(VOC_CLASSES, found.known, strict=True) if known] == [
        "car",
        "motorbike",
    ]


def test_where_people_labelled_nothing_all_is_the_teachers(tmp_path: Path) -> None:
    first, _ = load_source(source(tmp_path, labelled=()), VOC_CLASSES).images
    np.testing.assert_array_equal(first.boxes, [[0, 0, 9, 9], [60, 5, 100, 25]])


def test_answers_for_a_second_entry_of_a_file_belong_to_its_image(tmp_path: Path) -> None:
    entries = [{"id": number, "file_name": "a.png", "width": 100, "height": 60} for number in (1, 2)]
    annotations, images = write_set(tmp_path, images=entries)
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps(ROWS))
    set_of_one = CocoSource(str(annotations), str(images), labelled=("car",), detections=str(answers))
    (image,) = load_source(set_of_one, VOC_CLASSES).images
    np.testing.assert_allclose(image.scores, [1, 0.8, 0.35])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("{", "is not COCO results json"),
        ([{"image_id": 1}], "'category_id' is neither a key of COCO results json"),
        ([{**ROWS[0], "image_id": 8}], "8 is neither a key of COCO results json nor an image or category of"),
        ([{**ROWS[0], "category_id": 5}], "5 is neither a key"),
        ([{**ROWS[0], "score": float("nan")}], "score nan; expected finite numbers"),
        ("[" * 100_000, "is not COCO results json"),
    ],
)
def test_a_file_that_does_not_belong_to_the_set_is_one_line(tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_source(source(tmp_path, rows), VOC_CLASSES)


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"ignore_from is 0\.4, learn_from 0\.2; expected the second not below the first"
    ):
        CocoSource("a", "b", learn_from=0.2, ignore_from=0.4)
    with pytest.raises(ValueError, match="detections needs labelled"):
        CocoSource("a", "b", detections="c")
    (tmp_path / "set").mkdir()
    missing = CocoSource(*map(str, write_set(tmp_path / "set")), labelled=(), detections="none.json")
    with pytest.raises(DataError, match=r"file of detections not found: none\.json"):
        load_source(missing, VOC_CLASSES)
