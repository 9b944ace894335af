"""What is written in each format is read back as the same images and boxes.

Also tests ``edgevision.data.changes``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevision.data.changes import class_table, divide_data, merge_data
from edgevision.data.layouts.recognise import FoundData, recognise
from edgevision.data.writers import FORMATS, write_data
from edgevision.errors import OutputExistsError, UsageError
from tests.support.layouts import coco, image, put, yolo


def boxes(found: FoundData) -> dict[str, list[list[float]]]:
    return {
        split.role: sorted(
            [found.classes.index(name), *np.round(box, 1).tolist()]
            for one in split.raw.images
            for name, box in zip(one.names, one.boxes, strict=True)
        )
        for split in found.splits
    }


def folder(root: Path, seeds: range = range(1, 11), names: str = "[cat, dog]", split: str = "train") -> Path:
    for i in seeds:
        put(root / "labels" / split / f"p{i}.txt", yolo(image(root / "images" / split / f"p{i}.jpg", i)))
    put(root / "data.yaml", f"names: {names}\n")
    return root


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_back(tmp_path: Path, form: str) -> None:
    folder(tmp_path / "d", split="val")
    image(tmp_path / "d" / "images" / "train" / "sub" / "p1.jpg", 11)
    put(tmp_path / "d" / "labels" / "train" / "sub" / "p1.txt", yolo(image(tmp_path / "x.jpg", 11)))
    folder(tmp_path / "d")
    found = recognise(tmp_path / "d")
    written = write_data(found, tmp_path / "out", form)
    assert (written.images, written.left_out) == (21, {})
    again = recognise(tmp_path / "out")
    for split, rows in boxes(found).items():
        np.testing.assert_allclose(boxes(again)[split], rows, atol=0.11)
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(OutputExistsError, match="output exists"):
        write_data(found, tmp_path / "out", form)


def test_crowds_are_counted_where_a_format_has_none(tmp_path: Path) -> None:
    items = [(f"p{i}.jpg", image(tmp_path / "d" / f"p{i}.jpg", i)) for i in (1, 2)]
    put(tmp_path / "d" / "a.json", coco(items).replace('"iscrowd": 0', '"iscrowd": 1', 1))
    found = recognise(tmp_path / "d")
    assert write_data(found, tmp_path / "y", "yolo").left_out == {"marked as crowd": 1}
    assert write_data(found, tmp_path / "v", "voc").left_out == {}
    assert sum(one.ignore.sum() for one in recognise(tmp_path / "v").splits[0].raw.images) == 1


def test_splits_are_drawn_once_and_again_on_demand(tmp_path: Path) -> None:
    found = recognise(folder(tmp_path / "d"))
    divided = divide_data(found, 0.2, 0.2, 0, again=False)
    sizes = {one.role: len(one.raw.images) for one in divided.splits}
    assert sum(sizes.values()) == 10
    assert min(sizes.values()) >= 1
    paths = [image.path for one in divided.splits for image in one.raw.images]
    assert len(set(paths)) == 10
    with pytest.raises(UsageError, match="has a split 'test'"):
        divide_data(divided, 0, 0.2, 0, again=False)
    assert sum(len(one.raw.images) for one in divide_data(divided, 0.3, 0, 1, again=True).splits) == 10
    with pytest.raises(UsageError, match="expected shares"):
        divide_data(found, 0.5, 0.5, 0, again=False)


def test_sets_become_one_by_a_table_of_classes(tmp_path: Path) -> None:
    first = recognise(folder(tmp_path / "a"))
    second = recognise(folder(tmp_path / "b", range(11, 15), "[katze, wolf]"))
    renamed = {"katze": "cat", "wolf": ""}
    merged = merge_data([first, second], renamed, tmp_path / "both")
    assert merged.classes == ("cat", "dog")
    assert len(merged.splits[0].raw.images) == 14
    assert any("b does not label dog" in note for note in merged.notes)
    rows = {row[0]: row[1:] for row in class_table([first, second], renamed)}
    assert rows["katze"] == ("cat", "0", "4")
    assert rows["wolf"][0] == "left out"
    with pytest.raises(UsageError, match="no set has the class 'catt'; did you mean 'cat'"):
        merge_data([first, second], {"catt": "x"}, tmp_path)
    assert write_data(merged, tmp_path / "both", "yolo").boxes == 10 + 5 + 4
