"""A validation split: seeded, with every class on both sides, and nothing near-equal on both."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.data.layouts.recognise import recognise
from edgevision.data.splitting import divide, group_images, near_pairs, with_validation
from edgevision.errors import DataError
from tests.support.layouts import image, put, yolo


def test_groups_stay_whole_and_every_class_is_on_both_sides() -> None:
    classes = [Counter({"cat": 1}) for _ in range(18)] + [Counter({"dog": 1}), Counter({"dog": 2})]
    groups = [number // 3 for number in range(18)] + [6, 7]
    divided = divide(classes, groups, 0.2, seed=0)
    assert sorted(divided.train + divided.val) == list(range(20))
    assert {groups[one] for one in divided.train}.isdisjoint({groups[one] for one in divided.val})
    for side in (divided.train, divided.val):
        assert set(sum((classes[one] for one in side), Counter())) == {"cat", "dog"}
    assert 3 <= len(divided.val) <= 7
    assert divide(classes, groups, 0.2, seed=0) == divided
    assert divide(classes, groups, 0.2, seed=1) != divided


def test_one_scene_gives_its_last_images() -> None:
    divided = divide([Counter()] * 10, [0] * 10, 0.2, seed=0)
    assert divided.val == (8, 9)
    with pytest.raises(DataError, match="1 training image cannot be divided"):
        divide([Counter()], [0], 0.2, seed=0)


def test_hashes_that_differ_in_three_bits_are_pairs() -> None:
    codes = np.array([0, 0b111, 1 << 63 | 0b1111 << 20, 2**64 - 1], np.uint64)
    assert near_pairs(codes, range(4)) == [(0, 1)]


def test_copies_and_augmented_files_are_one_group(tmp_path: Path) -> None:
    names = ["a_jpg.rf.111aaa.jpg", "b.jpg", "a_jpg.rf.222bbb.jpg", "c.jpg"]
    for number, name in enumerate(names[:2] + names[2:3], start=1):
        pixels = cv2.resize(np.random.default_rng(number).integers(0, 255, (6, 8, 3), np.uint8), (160, 120))
        cv2.imwrite(str(tmp_path / name), pixels)
        if name == "b.jpg":
            cv2.imwrite(str(tmp_path / "c.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])
    first, other, augmented, copy = group_images([tmp_path / name for name in names])
    assert first == augmented != other == copy


def test_a_set_without_validation_gets_one_and_says_so(tmp_path: Path) -> None:
    for i in range(1, 11):
        put(
            tmp_path / "labels" / "train" / f"p{i}.txt",
            yolo(image(tmp_path / "images" / "train" / f"p{i}.jpg", i)),
        )
        put(
            tmp_path / "labels" / "test" / f"t{i}.txt",
            yolo(image(tmp_path / "images" / "test" / f"t{i}.jpg", i + 20)),
        )
    put(tmp_path / "data.yaml", "path: .\ntrain: images/train\nval:\ntest: images/test\nnames: [cat, dog]\n")
    found = recognise(tmp_path)
    assert found.missing_val == "data.yaml names none"
    divided = with_validation(found)
    sizes = {one.role: len(one.raw.images) for one in divided.splits}
    assert sizes == {"train": 10 - sizes["val"], "val": sizes["val"], "test": 10}
    assert all(one.path.parent.name == "train" for one in divided.splits[1].raw.images)
    assert "no validation split (data.yaml names none)" in divided.notes[-1]
    assert with_validation(divided) is divided
