"""Labelled data are written as a training reads them, and every image and box is accounted for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgevision.data.detection.sources import CocoSource, read_source
from edgevision.data.layouts.recognise import recognise
from edgevision.data.segmentation.dataset import SegmentationSource, load_source
from edgevision.errors import DataError
from edgevision.finetune.prepare import Prepared, prepare
from tests.data.layouts.test_masks import named
from tests.support.layouts import coco, image, put, yolo


def folder(root: Path, count: int = 20) -> Path:
    """A YOLO folder without a validation split, and one test image."""
    for i in range(1, count + 1):
        put(root / "train" / "labels" / f"p{i}.txt", yolo(image(root / "train" / "images" / f"p{i}.jpg", i)))
    put(root / "test" / "labels" / "t1.txt", yolo(image(root / "test" / "images" / "t1.jpg", 99)))
    put(
        root / "data.yaml",
        "train: train/images\nval: valid/images\ntest: test/images\nnames: [cat, dog, cow]\n",
    )
    return root


def made(root: Path, out: Path) -> Prepared:
    return prepare(recognise(root), out)


def test_labels_are_written_and_accounted_for(tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    put(
        root / "train" / "labels" / "p2.txt",
        yolo(image(root / "train" / "images" / "p2.jpg", 2)) + "0 .5 .5 x .1\n",
    )
    put(root / "train" / "images" / "p21.jpg", b"no image")
    ready = made(root, tmp_path / "out")
    assert ready.classes == ("cat", "dog")
    assert any(note.startswith("no training box of cow") for note in ready.notes)
    assert any("no validation split" in note for note in ready.notes)
    images, boxes = ready.accounts
    assert images.on_disk == 22 == images.used + sum(images.left_out.values())
    assert images.left_out == {"that cannot be opened": 1, "of the test split, which no training uses": 1}
    assert boxes.on_disk == boxes.used + sum(boxes.left_out.values()) == 20 + 10 + 1 + 2
    assert boxes.left_out == {"malformed": 1, "of the test split": 2}
    sets = {}
    for name, source in (("train", ready.train), ("val", ready.val)):
        assert isinstance(source, CocoSource)
        sets[name] = read_source(source)
    assert sum(len(one.images) for one in sets.values()) == images.used
    assert sum(len(each.names) for one in sets.values() for each in one.images) == boxes.used
    assert ready.counts is not None
    assert all(train and val for train, val in ready.counts.values())
    assert json.loads((tmp_path / "out" / "train.json").read_text())["categories"] == [
        {"id": 1, "name": "cat"},
        {"id": 2, "name": "dog"},
    ]


def test_a_split_is_drawn_by_a_seed_and_copies_of_an_image_stay_on_one_side(tmp_path: Path) -> None:
    """Ten images, three augmented copies of each, as Roboflow names them; the test split is not touched."""
    root = tmp_path / "d"
    for i in range(1, 11):
        boxes = image(root / "train" / "images" / f"p{i}_jpg.rf.a{i}.jpg", i)
        put(root / "train" / "labels" / f"p{i}_jpg.rf.a{i}.txt", yolo(boxes))
        for copy in "bc":
            for kind, suffix in (("images", "jpg"), ("labels", "txt")):
                first = root / "train" / kind / f"p{i}_jpg.rf.a{i}.{suffix}"
                shutil.copy(first, first.with_name(f"p{i}_jpg.rf.{copy}{i}.{suffix}"))
    put(root / "test" / "labels" / "t.txt", yolo(image(root / "test" / "images" / "t.jpg", 99)))
    put(root / "data.yaml", "train: train/images\ntest: test/images\nnames: [cat, dog]\n")

    def sides(seed: int) -> list[list[str]]:
        ready = prepare(recognise(root), tmp_path / f"out{seed}", seed)
        assert ready.counts is not None
        assert all(train and val for train, val in ready.counts.values())
        assert isinstance(ready.train, CocoSource)
        assert isinstance(ready.val, CocoSource)
        sets = (read_source(each) for each in (ready.train, ready.val))
        return [sorted(one.path.name for one in each.images) for each in sets]

    train, val = sides(0)
    assert len(train) + len(val) == 30
    assert {name.split("_")[0] for name in train}.isdisjoint(name.split("_")[0] for name in val)
    assert "t.jpg" not in train + val
    assert sides(0) == [train, val]
    assert any(sides(seed) != [train, val] for seed in (1, 2, 3))


def test_images_of_both_splits_validate_only(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", 6)
    for i in (1, 2):
        for kind, suffix in (("images", "jpg"), ("labels", "txt")):
            target = root / "valid" / kind / f"p{i}.{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "train" / kind / f"p{i}.{suffix}", target)
    ready = made(root, tmp_path / "out")
    assert (ready.train_images, ready.val_images) == (4, 2)
    assert ready.accounts[0].left_out["in the validation split too"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("class", r"labels cannot be right, the first: p1.txt:1: undefined class 7"),
        (
            "size",
            r"of another size than their labels say, the first: p1.jpg is 160x120, labelled 120x160",
        ),
        ("boxes", r"no box to learn from in \d training images"),
        ("one", "1 training image cannot be divided"),
    ],
)
def test_labels_that_cannot_be_right_are_refused(tmp_path: Path, change: str, message: str) -> None:
    root = tmp_path / "d"
    items = [(f"p{i}.jpg", image(root / f"p{i}.jpg", i)) for i in range(1, 2 if change == "one" else 7)]
    document = json.loads(coco(items))
    if change == "size":
        for entry in document["images"]:
            entry["width"], entry["height"] = 120, 160
    for annotation in document["annotations"]:
        annotation["iscrowd"] = int(change == "boxes")
    put(root / "a.json", json.dumps(document))
    if change == "class":
        (root / "a.json").unlink()
        for name, _ in items:
            put(root / f"{name[:-4]}.txt", "7 .5 .5 .2 .2\n0 .5 .5 .2 .2\n")
        put(root / "classes.txt", "cat\ndog\n")
    with pytest.raises(DataError, match=message):
        made(root, tmp_path / "out")


def test_label_maps_get_a_validation_split(tmp_path: Path) -> None:
    named(tmp_path / "d")
    shutil.rmtree(tmp_path / "d" / "images" / "val")
    shutil.rmtree(tmp_path / "d" / "masks" / "val")
    ready = made(tmp_path / "d", tmp_path / "out")
    assert (ready.task, ready.train_images, ready.val_images) == ("segmentation", 2, 1)
    assert isinstance(ready.train, SegmentationSource)
    assert load_source(ready.train, ready.classes).classes == ("background", "cat", "dog")
