"""Label maps in the layouts of other tools become the layout that a segmenter's training reads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.data.layouts.masks import write_segmentation
from edgevision.data.layouts.recognise import mask_splits, recognise
from edgevision.data.segmentation.dataset import load_segmentation
from edgevision.data.segmentation.label_maps import read_pair
from edgevision.errors import DataError
from tests.support.layouts import HEIGHT, WIDTH, image, put


def mask(path: Path, seed: int, values: tuple[int | tuple[int, int, int], ...]) -> None:
    """A label map of the image of a seed: what its background, cat and dog are drawn in."""
    shape = (HEIGHT, WIDTH) if isinstance(values[0], int) else (HEIGHT, WIDTH, 3)
    pixels = np.zeros(shape, np.uint8) + np.array(values[0], np.uint8)
    for c, x, y, w, h in image(path.parent / "unused.jpg", seed):
        pixels[y : y + h, x : x + w] = values[c + 1]
    (path.parent / "unused.jpg").unlink()
    put(path, cv2.imencode(".png", pixels)[1].tobytes())


def roboflow(d: Path) -> None:
    for split, seeds in (("train", (1, 2, 3)), ("valid", (5,))):
        put(d / split / "_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
        for i in seeds:
            image(d / split / f"p{i}.jpg", i)
            mask(d / split / f"p{i}_mask.png", i, (0, 1, 2))


def cvat(d: Path) -> None:
    put(
        d / "labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\ndog:51,221,255::\n",
    )
    for i in (1, 2, 3, 5):
        image(d / "JPEGImages" / f"p{i}.jpg", i)
        mask(d / "SegmentationClass" / f"p{i}.png", i, ((0, 0, 0), (83, 50, 250), (255, 221, 51)))


def named(d: Path) -> None:
    put(d / "classes.txt", "background\ncat\ndog\n")
    for split, seeds in (("train", (1, 2, 3)), ("val", (5,))):
        for i in seeds:
            image(d / "images" / split / f"p{i}.jpg", i)
            mask(d / "masks" / split / f"p{i}.png", i, (0, 1, 2))


@pytest.mark.parametrize("make", [roboflow, cvat, named])
def test_label_maps_of_others_are_read(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "d")
    found = recognise(tmp_path / "d")
    assert found.masks is not None
    assert found.classes == ("background", "cat", "dog")
    splits = mask_splits(found.masks.pairs)
    assert {role: len(pairs) for role, pairs in splits.items()} in ({"train": 3, "val": 1}, {"train": 4})
    assert (found.images_on_disk, found.left_out) == (4, ())
    write_segmentation(found.masks, splits, tmp_path / "out")
    data = load_segmentation(tmp_path / "out", "train")
    assert data.classes == found.classes
    pixels, labels = read_pair(data, data.images[0])
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    (_, x, y, _, _), (_, u, v, _, _) = image(tmp_path / "again.jpg", 1)
    assert (labels[0, 0], labels[y + 2, x + 2], labels[v + 2, u + 2]) == (0, 1, 2)


def test_lists_of_vocs_masks_are_obeyed(tmp_path: Path) -> None:
    for i in (1, 2, 3, 5):
        image(tmp_path / "JPEGImages" / f"p{i}.jpg", i)
        mask(tmp_path / "SegmentationClass" / f"p{i}.png", i, (0, 8, 12))
    for name, listed in (("train", "p1\np2\n"), ("val", "p3\n"), ("trainval", "p1\np2\np3\n")):
        put(tmp_path / "ImageSets" / "Segmentation" / f"{name}.txt", listed)
    found = recognise(tmp_path)
    assert found.masks is not None
    splits = mask_splits(found.masks.pairs)
    assert {role: [one.image.stem for one in pairs] for role, pairs in splits.items()} == {
        "train": ["p1", "p2"],
        "val": ["p3"],
    }
    (left,) = found.left_out
    assert str(left) == "1 in no list of ImageSets/Segmentation: JPEGImages/p5.jpg"
    assert found.notes == ()
    assert not found.missing_val


def test_two_values_need_no_names_and_more_do(tmp_path: Path) -> None:
    image(tmp_path / "images" / "p2.jpg", 2)
    mask(tmp_path / "masks" / "p2.png", 2, (0, 255, 0))
    assert recognise(tmp_path).classes == ("background", "object")
    image(tmp_path / "images" / "p1.jpg", 1)
    mask(tmp_path / "masks" / "p1.png", 1, (0, 1, 2))
    with pytest.raises(DataError, match=r"the values 0, 1, 2, 255, and no file names them; put classes.txt"):
        recognise(tmp_path)
