"""The gate's yardsticks against the project's own evaluation, on images whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.data.detection.dataset import select_classes
from edgevision.data.formats.coco import read_coco
from edgevision.engines import load_engine
from edgevision.errors import DataError
from edgevision.evaluation.yardstick import DetectionYardstick
from tests.support.manifests import COLOURS, colour_manifest
from tests.support.models import image_with_block, write_colour_model

BGR = {"blue": (255, 0, 0), "green": (0, 255, 0), "red": (0, 0, 255)}


def labelled(folder: Path, wrong: int = 0) -> Path:
    """Twelve images with a block each, of each colour in turn; the first ``wrong`` labels are off."""
    images, annotations = [], []
    for i in range(12):
        colour = COLOURS[i % 3]
        cv2.imwrite(str(folder / f"{i}.png"), image_with_block(64, 64, (8, 8, 40, 30), BGR[colour]))
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 64})
        x = 44 if i < wrong else 8
        box = [x, 8, 32 if x == 8 else 10, 22]
        annotations.append(
            {"id": i, "image_id": i, "category_id": i % 3, "bbox": box, "area": 1, "iscrowd": 0}
        )
    categories = [{"id": i, "name": name} for i, name in enumerate(COLOURS)]
    path = folder / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def yardstick(folder: Path, wrong: int = 0, min_boxes: int = 4) -> DetectionYardstick:
    data = select_classes(read_coco(labelled(folder, wrong), folder), COLOURS)
    return DetectionYardstick(data, "labels.json", min_boxes)


def test_a_detector_that_finds_all_scores_one(tmp_path: Path) -> None:
    measure = yardstick(tmp_path)
    done: list[int] = []
    with load_engine(write_colour_model(tmp_path / "m.onnx"), "onnxruntime") as engine:
        found = measure.measure(engine, done.append)
    assert (measure.figure, measure.images) == ("ap50_mean", 12)
    assert found.value == pytest.approx(1.0)
    assert done == list(range(1, 13))
    same = found.gain_over(found)
    assert same is not None
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_a_worse_detector_shows_a_negative_difference(tmp_path: Path) -> None:
    """A model that takes green for red, and red for green."""
    measure = yardstick(tmp_path)
    good, bad = tmp_path / "good.onnx", tmp_path / "bad.onnx"
    write_colour_model(good)
    write_colour_model(bad, colour_manifest(classes=("blue", "red", "green")))
    values = []
    for path in (good, bad):
        with load_engine(path, "onnxruntime") as engine:
            values.append(measure.measure(engine))
    difference = values[1].gain_over(values[0])
    assert difference is not None
    assert values[1].value == pytest.approx(1 / 3)
    assert difference.value == pytest.approx(-2 / 3)
    assert difference.high < 0


def test_where_every_class_counts_the_figure_is_ap50(tmp_path: Path) -> None:
    """A training and the int8 model at its end mean the same by the same name."""
    measure = yardstick(tmp_path, wrong=2, min_boxes=1)
    with load_engine(write_colour_model(tmp_path / "m.onnx"), "onnxruntime") as engine:
        found = measure.measure(engine)
    assert measure.figure == "ap50"
    assert found.value == found.evaluation.figures.ap50 < 1


def test_a_set_without_enough_objects_is_refused(tmp_path: Path) -> None:
    measure = yardstick(tmp_path, min_boxes=5)
    with (
        load_engine(write_colour_model(tmp_path / "m.onnx"), "onnxruntime") as engine,
        pytest.raises(DataError, match=r"no class has 5 labelled boxes.*lower `min_boxes`"),
    ):
        measure.measure(engine).required()


def test_the_sample_is_spread_and_leaves_out_what_cannot_be_read(tmp_path: Path) -> None:
    measure = yardstick(tmp_path)
    assert len(measure.sample(100)) == 12
    (tmp_path / "0.png").write_bytes(b"no image")
    taken = measure.sample(3)  # of 0, 6 and 11
    assert len(taken) == 2
    assert np.array_equal(taken[0], cv2.imread(str(tmp_path / "6.png")))
