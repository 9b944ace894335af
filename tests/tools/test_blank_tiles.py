"""Squares without a box, worked by hand; and a set of them that a training could take."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.data.detection.sources import CocoSource, load_source
from edgevision.zoo import default_model
from tests.support.benchmarks import load_tool

blank_tiles: Any = load_tool("blank_tiles")


@pytest.mark.parametrize(
    ("boxes", "square"),
    [
        ([], (0, 0, 100)),
        ([[0, 0, 100, 100]], None),
        ([[0, 0, 40, 100]], (48, 0, 52)),  # 100, 85, 72, 61 and 51.85 pixels: the first that fits in 60
    ],
)
def test_the_largest_square_that_no_box_touches(
    boxes: list[list[float]], square: tuple[int, ...] | None
) -> None:
    held = np.array(boxes, np.float32).reshape(-1, 4)
    found = blank_tiles.blank_square(held, 100, 100, 40, np.random.default_rng(0))
    if square is None or not boxes:
        assert found == square
        return
    left, top, side = found
    assert side == 51
    assert left >= 40
    assert left + side <= 100
    assert 0 <= top <= 100 - side


def test_a_set_of_squares_knows_every_class_to_be_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8)
    for name in ("a.png", "b.png", "full.png"):
        cv2.imwrite(str(tmp_path / "in" / name), noise)
    images = [{"id": place, "file_name": name} for place, name in enumerate(("a.png", "b.png", "full.png"))]
    labels = {
        "images": images,
        "annotations": [
            {"image_id": 0, "category_id": 3, "bbox": [0, 0, 80, 120]},
            {"image_id": 2, "category_id": 3, "bbox": [10, 10, 180, 100], "iscrowd": 1},
        ],
        "categories": [{"id": 3, "name": "car"}],
    }
    (tmp_path / "set.json").write_text(json.dumps(labels))
    rows = [
        {"image_id": 1, "category_id": 3, "bbox": [120, 0, 80, 120], "score": 0.3},
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 200, 120], "score": 0.02},
    ]
    (tmp_path / "teacher.json").write_text(json.dumps(rows))
    out = tmp_path / "out"
    sets = [str(tmp_path / name) for name in ("set.json", "in", "teacher.json")]
    monkeypatch.setattr(sys, "argv", ["blank_tiles.py", str(out), "--set", *sets])
    assert blank_tiles.main() == 0
    assert capsys.readouterr().out.startswith(f"{out}: 2 squares; strongest ")
    classes = json.loads((out / "instances.json").read_text())["categories"]
    found = load_source(CocoSource(str(out / "instances.json"), str(out / "images")), ("car", "dog"))
    assert len(classes) == 80
    assert [len(one.boxes) for one in found.images] == [0, 0]
    for one in found.images:
        square = cv2.imread(str(one.path))
        assert square is not None
        assert square.shape[0] == square.shape[1] >= 96
    monkeypatch.setattr(sys, "argv", ["blank_tiles.py", str(out), "--least", "190", "--set", *sets])
    assert blank_tiles.main() == 1
    assert "no image has a square of 190 pixels" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["blank_tiles.py", str(out), "--model", "unet-light", "--set", *sets])
    assert blank_tiles.main() == 1
    expected = "error: unet-light is a model for segmentation; expected a detector\n"
    assert capsys.readouterr().err == expected
    assert default_model().name == "retinanet-light"
