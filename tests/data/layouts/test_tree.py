from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.data.layouts.tree import Tree, role_of
from tests.support.layouts import put


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("train2017", "train"),
        ("trainval", "train"),
        ("valid", "val"),
        ("val_2", "val"),
        ("dev", "val"),
        ("Test", "test"),
        ("trained", ""),
        ("value", ""),
        ("cam1", ""),
    ],
)
def test_names_of_splits(name: str, role: str) -> None:
    assert role_of(name) == role


def test_an_image_is_found_by_the_end_of_its_path(tmp_path: Path) -> None:
    for name in ("a/p1.jpg", "b/p1.jpg", "b/Q.JPG", "train/x.jpg", "val/x.jpg"):
        put(tmp_path / name, b"")
    tree = Tree(tmp_path)
    assert tree.find_image("C:\\work\\b\\p1.jpg") == tmp_path / "b" / "p1.jpg"
    assert tree.find_image("/data/q.jpg") == tmp_path / "b" / "Q.JPG"
    assert tree.find_image("p1.jpg") is None
    assert tree.find_image("p1.jpg", near=tmp_path / "a" / "labels.json") == tmp_path / "a" / "p1.jpg"
    assert tree.find_image("x.jpg", role="val") == tmp_path / "val" / "x.jpg"
    assert tree.find_image("gone.jpg") is None
