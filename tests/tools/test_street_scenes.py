"""The tool that draws streets: labels fit what is drawn; what a teacher does not recognise is left out."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.data.segmentation.dataset import load_segmentation
from edgevision.data.segmentation.label_maps import read_pair
from edgevision.types import IGNORE_ID, SegmentationMap
from tests.support.paths import ROOT

CLASSES = ("background", "road", "curb", "mark")


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("street_scenes")


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Photographs of noise, one road that is grey all over, and a red car."""
    rng = np.random.default_rng(2)
    for folder in ("photographs", "roads/images/train", "roads/labels/train", "cars"):
        (tmp_path / folder).mkdir(parents=True)
    for i in range(3):
        noise = rng.integers(0, 256, (240, 240, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "photographs" / f"{i}.jpg"), noise)
    grey = np.full((120, 160, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "roads/images/train/0.png"), grey)
    cv2.imwrite(str(tmp_path / "roads/labels/train/0.png"), np.full((120, 160), 7, np.uint8))
    classes = [{"id": 7 if name == "road" else i, "name": name} for i, name in enumerate(CLASSES)]
    (tmp_path / "roads/classes.json").write_text(json.dumps({"classes": classes}))
    cv2.imwrite(str(tmp_path / "cars/car.png"), np.full((100, 160, 3), (0, 0, 250), np.uint8))
    document = {
        "images": [{"id": 1, "file_name": "car.png"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [10, 10, 120, 60]}],
        "categories": [{"id": 3, "name": "car"}],
    }
    (tmp_path / "cars.json").write_text(json.dumps(document))
    return [
        "--photographs", str(tmp_path / "photographs"),
        "--roads", str(tmp_path / "roads"), "--split", "train",
        "--objects", str(tmp_path / "cars.json"), str(tmp_path / "cars"), "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def run(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["street_scenes.py", *arguments])
    tool.main()


def test_scenes_are_a_labelled_set_that_a_seed_repeats(
    tool: ModuleType, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tool, monkeypatch, *arguments, "--count", "6", "--seed", "4")
    data = load_segmentation(tmp_path / "out", "streets", CLASSES)
    assert len(data.images) == 6
    pairs = [read_pair(data, pair) for pair in data.images]
    assert {labels.shape for _, labels in pairs} == {(tool.HEIGHT, tool.WIDTH)}
    found = np.unique(np.stack([labels for _, labels in pairs]))
    assert {tool.BACKGROUND, tool.ROAD, tool.CURB} <= set(found.tolist()) <= {0, 1, 2, 3, IGNORE_ID}
    before = {path.name: path.read_bytes() for path in (tmp_path / "out/images/streets").iterdir()}
    run(tool, monkeypatch, *arguments, "--count", "6", "--seed", "4", "--as", "again")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out/images/again").iterdir()}


def test_the_same_scenes_are_labelled_with_the_classes_of_streets(
    tool: ModuleType, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("road", "street"):
        out = ["--out", str(tmp_path / name), "--classes", name]
        run(tool, monkeypatch, *arguments, *out, "--count", "6", "--seed", "4")
    roads = load_segmentation(tmp_path / "road", "streets", CLASSES)
    streets = load_segmentation(tmp_path / "street", "streets", tool.STREET)
    sky, road, pavement, car = (tool.STREET.index(one) for one in ("sky", "road", "pavement", "car"))
    seen = set()
    for first, second in zip(roads.images, streets.images, strict=True):
        assert first.image.read_bytes() == second.image.read_bytes()
        own, other = read_pair(roads, first)[1], read_pair(streets, second)[1]
        np.testing.assert_array_equal(other == road, (own == tool.ROAD) | (own == tool.MARK))
        assert (other[own == tool.CURB] == pavement).all()
        assert not (other[-1] == sky).any()
        seen |= set(np.unique(other).tolist())
        beside = other[own == tool.BACKGROUND]
        assert (beside == IGNORE_ID).any()  # verges and fronts are nothing that a street shows
    assert {sky, road, pavement, car} <= seen <= {sky, road, pavement, car, 2, IGNORE_ID}  # 2 is a pole
    with pytest.raises(SystemExit, match="; expected sky 0, building 1"):
        run(
            tool, monkeypatch, *arguments, "--out", str(tmp_path / "road"), "--classes", "street", "--as", "b"
        )


def test_each_kind_of_pixel_has_its_class(tool: ModuleType) -> None:
    kinds = np.array([[*range(9), IGNORE_ID]], np.uint8)
    assert (tool.BACKGROUND, tool.ROAD, tool.CURB, tool.MARK) == (0, 1, 2, 3)
    assert (tool.SKY, tool.POLE, tool.PAVEMENT, tool.CAR, tool.PERSON) == (4, 5, 6, 7, 8)
    assert tool.named(kinds, "road")[0].tolist() == [0, 1, 2, 3, 0, 0, 0, 0, 0, IGNORE_ID]
    street = [tool.STREET[one] if one != IGNORE_ID else None for one in tool.named(kinds, "street")[0]]
    assert street == [None, "road", "pavement", "road", "sky", "pole", "pavement", "car", "pedestrian", None]


def test_a_person_is_a_pedestrian_where_there_is_no_bicycle(tool: ModuleType, tmp_path: Path) -> None:
    for name in ("walks", "rides"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((200, 200, 3), 90, np.uint8))
    document = {
        "images": [{"id": 1, "file_name": "walks.png"}, {"id": 2, "file_name": "rides.png"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 120]},
            {"image_id": 1, "category_id": 2, "bbox": [80, 90, 60, 60]},
            {"image_id": 2, "category_id": 1, "bbox": [90, 10, 50, 120]},
            {"image_id": 2, "category_id": 2, "bbox": [80, 90, 60, 60]},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    found = [one.kind for one in tool.cut_out(tmp_path / "a.json", tmp_path)]
    assert found == [tool.PERSON, tool.BACKGROUND, tool.BACKGROUND, tool.BACKGROUND]


def test_an_outline_is_cut_out_without_what_is_around_it(tool: ModuleType, tmp_path: Path) -> None:
    """By polygons and by run lengths; a crowd is none, and a category may be written in capitals."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((200, 200, 3), 90, np.uint8))
    inner = np.zeros((200, 200), np.uint8)
    inner[20:100, 30:90] = 1
    runs = np.diff(np.flatnonzero(np.diff(inner.T.ravel(), prepend=0, append=0)), prepend=0).tolist()
    runs.append(inner.size - sum(runs))
    shape = {"image_id": 1, "category_id": 3, "bbox": [10, 10, 100, 120]}
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [
            {**shape, "segmentation": [[30, 20, 90, 20, 90, 100, 30, 100]]},
            {**shape, "segmentation": {"size": [200, 200], "counts": runs}},
            {**shape, "segmentation": []},
            {**shape, "bbox": [10, 10, 100, 110], "iscrowd": 1},
        ],
        "categories": [{"id": 3, "name": "Car"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    polygon, mask, box = tool.cut_out(tmp_path / "a.json", tmp_path)
    expected = inner[10:130, 10:110] * 255
    np.testing.assert_array_equal(mask.mask, expected)
    np.testing.assert_array_equal(polygon.mask, expected)
    assert {int(one) for one in np.unique(box.mask)} == {0, 255}
    assert 0.85 < box.mask.mean() / 255 < 1
    assert {one.kind for one in (polygon, mask, box)} == {tool.CAR}


def test_a_kerb_lies_between_the_road_and_what_is_beside_it(tool: ModuleType, arguments: list[str]) -> None:
    roads = load_segmentation(arguments[3], "train", CLASSES)
    photographs = sorted(Path(arguments[1]).iterdir())
    kerbs = 0
    for seed in range(12):
        textures = tool.Textures(np.random.default_rng(seed), photographs, roads.images, 7)
        scene = tool.Scene(textures, [])
        above = scene.z >= 1e4
        assert above.any()
        assert (tool.named(scene.labels, "road")[above] == tool.BACKGROUND).all()
        inside = (scene.x > -scene._left) & (scene.x < scene._right) & ~above
        assert not (scene.labels[inside] == tool.CURB).any()
        kerbs += int((scene.labels == tool.CURB).sum() > 200)
    assert kerbs >= 6


class Teacher:
    """Takes the lower three quarters for a road, in every ``nth`` image; knows no road with 0."""

    names = CLASSES

    def __init__(self, tool: ModuleType, nth: int) -> None:
        self.tool, self.nth = tool, nth
        self.asked: list[np.ndarray] = []

    def __call__(self, image: np.ndarray) -> SegmentationMap:
        self.asked.append(image)
        truth = np.zeros(image.shape[:2], np.uint8)
        if self.nth and len(self.asked) % self.nth:
            truth[self.tool.HEIGHT // 4 :] = self.tool.ROAD  # roughly so
        return SegmentationMap(truth, CLASSES, ((0, 0, 0),) * 4)


def test_only_what_the_teacher_agrees_with_is_kept(
    tool: ModuleType, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    teacher = Teacher(tool, 2)
    asked = teacher.asked
    monkeypatch.setattr(tool, "load", lambda path, conf: teacher)
    monkeypatch.setattr(tool, "AGREEMENT", 0.2)
    run(tool, monkeypatch, *arguments, "--count", "3", "--teacher", "any.onnx")
    assert len(asked) >= 5
    assert f"3 of {len(asked)} scenes kept" in capsys.readouterr().out
    assert len(list((tmp_path / "out/images/streets").iterdir())) == 3


def test_agreement_is_the_overlap_of_the_road_with_its_marks(tool: ModuleType) -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[50:], labels[60:65] = tool.ROAD, tool.MARK
    found = np.where(labels > 0, tool.ROAD, 0)
    assert tool.agreement(labels, found) == 1
    found[75:] = 0
    assert tool.agreement(labels, found) == pytest.approx(0.5)
    labels[75:] = IGNORE_ID
    assert tool.agreement(labels, found) == 1
    assert tool.agreement(labels, np.zeros_like(found)) == 0
    assert tool.agreement(np.zeros_like(labels), np.zeros_like(found)) == 0


def test_what_cannot_be_used_is_one_line(
    tool: ModuleType, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    others = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "car"}]}
    (tmp_path / "others.json").write_text(json.dumps(others))
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/classes.json").write_text((tmp_path / "roads/classes.json").read_text())
    for change, words in (
        (["--objects", str(tmp_path / "others.json"), str(tmp_path)], "others.json has no person, bicycle"),
        (["--objects", str(tmp_path / "list.json"), str(tmp_path)], "is not COCO instances json"),
        (["--out", str(tmp_path / "set")], "; expected background 0"),
        (["--out", str(tmp_path / "cars.json")], "cannot create folder"),
        (["--photographs", str(tmp_path / "empty")], "has no image"),
        (["--photographs", str(tmp_path / "nowhere")], "nowhere"),
        (["--split", "test"], "has no split 'test'"),
        (["--objects", str(tmp_path / "none.json"), str(tmp_path)], "annotation file not found"),
    ):
        with pytest.raises(SystemExit, match=words):
            run(tool, monkeypatch, *arguments, *change, "--count", "1")


def test_a_side_street_opens_the_kerb(tool: ModuleType, arguments: list[str]) -> None:
    """With one on either side of each street there is road farther aside than any kerb."""
    roads = load_segmentation(arguments[3], "train", CLASSES)
    photographs = sorted(Path(arguments[1]).iterdir())
    aside = []
    for chance in (0.0, 1.0):
        wide = 0
        for seed in range(6):
            textures = tool.Textures(np.random.default_rng(seed), photographs, roads.images, 7)
            scene = tool.Scene(textures, [], chance)
            beyond = (scene.x < -scene._left - 0.1) | (scene.x > scene._right + 0.1)
            wide += int((scene.labels[beyond & (scene.z < 60)] == tool.ROAD).sum())
        aside.append(wide)
    assert aside[0] == 0 < aside[1]


def test_scenes_are_never_replaced_and_other_seeds_add_to_them(
    tool: ModuleType, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tool, monkeypatch, *arguments, "--count", "1")
    with pytest.raises(SystemExit, match=r"output exists: .*0-00000\.jpg; choose another --seed or --as"):
        run(tool, monkeypatch, *arguments, "--count", "1")
    run(tool, monkeypatch, *arguments, "--count", "1", "--seed", "1")
    assert len(load_segmentation(tmp_path / "out", "streets", CLASSES).images) == 2


def test_a_teacher_that_never_agrees_ends_the_drawing(
    tool: ModuleType, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Teacher(tool, 0)
    monkeypatch.setattr(tool, "load", lambda path, conf: teacher)
    monkeypatch.setattr(tool, "PATIENCE", 2)
    with pytest.raises(SystemExit, match="agreed with none of the last 2 scenes, with 0 before them"):
        run(tool, monkeypatch, *arguments, "--teacher", "any.onnx")
    assert len(teacher.asked) == 2
    teacher.names = ("road", "curb", "mark", "background")
    with pytest.raises(SystemExit, match=r"has the classes road, .*; expected background, road"):
        run(tool, monkeypatch, *arguments, "--teacher", "any.onnx")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--count", "0", "'0' is not a whole number of 1 or more"),
        ("--count", "-3", "'-3' is not a whole number of 1 or more"),
        ("--seed", "-1", "'-1' is not a whole number of 0 or more"),
        ("--side-streets", "2", "'2' is not a number from 0 to 1"),
        ("--side-streets", "x", "'x' is not a number from 0 to 1"),
        ("--as", "../streets", "'../streets' is no name of a folder"),
    ],
)
def test_settings_that_cannot_be_are_named(
    tool: ModuleType, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any,
    option: str, value: str, words: str,
) -> None:  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        run(tool, monkeypatch, *arguments, f"{option}={value}")
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_an_interrupt_says_where_the_scenes_are(
    tool: ModuleType, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def interrupt(path: str, conf: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tool, "load", interrupt)
    with pytest.raises(SystemExit) as ended:
        run(tool, monkeypatch, *arguments, "--teacher", "any.onnx")
    assert ended.value.code == 130
    assert f"interrupted; the scenes that were drawn are in {tmp_path / 'out'}" in capsys.readouterr().err
