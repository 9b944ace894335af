"""Labelled images and crops on their way into batches, from files.

Also tests ``edgevision.data.classification.augment``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgevision.contract.manifest import Resize
from edgevision.data.classification.augment import ClassificationAugment
from edgevision.data.classification.dataset import ClassificationSet, read_box_crops, read_image_labels
from edgevision.data.classification.loading import ClassificationData, collate
from edgevision.data.classification.sources import (
    CropSource,
    FolderSource,
    ImageLabelSource,
    load_source,
    read_raw,
)
from edgevision.data.settings import ClassificationAugmentConfig
from edgevision.errors import DataError

STILL = ClassificationAugmentConfig(photometric=0, shift=0, flip=0)
RED, BLUE = (0, 0, 255), (255, 0, 0)


def coco(folder: Path, boxes: Sequence[tuple[str, list[float], int]]) -> tuple[Path, Path]:
    """One image of 40x30 with a red left half and a blue right half, and what is annotated in it."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, :20], image[:, 20:] = RED, BLUE
    cv2.imwrite(str(folder / "a.png"), image)
    names = ["car", "dog"]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [
            {"image_id": 1, "category_id": names.index(name), "bbox": box, "iscrowd": crowd}
            for name, box, crowd in boxes
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(document))
    return path, folder


def data(found: ClassificationSet, config: ClassificationAugmentConfig = STILL) -> ClassificationData:
    return ClassificationData([found], 32, Resize("stretch"), ClassificationAugment(config))


def test_each_box_is_cut_out_with_its_label(tmp_path: Path) -> None:
    labels, images = coco(
        tmp_path,
        [
            ("car", [0, 0, 20, 30], 0),
            ("dog", [20.4, 3, 10, 10], 0),
            ("dog", [0, 0, 9, 9], 1),
            ("car", [5, 5, 1, 9], 0),
        ],
    )
    found = read_box_crops(labels, images)
    assert found.labels.tolist() == [
        [True, False],
        [False, True],
    ]  # the region to ignore and the sliver are out
    samples = [data(found)[position, position] for position in range(2)]
    assert samples[0].image.shape == (32, 32, 3)
    assert (samples[0].image == torch.tensor(RED)).all()
    assert (samples[1].image == torch.tensor(BLUE)).all()
    batch = collate(samples)
    assert batch.labels.tolist() == [[1, 0], [0, 1]]
    assert batch.known.tolist() == [[1, 1], [1, 1]]
    assert [Path(file).name for file in batch.files] == ["a.png", "a.png"]
    assert found.cut(1, cv2.imread(str(tmp_path / "a.png"))).shape == (10, 11, 3)
    with pytest.raises(DataError, match="no box has sides of 100 pixels or more"):
        read_box_crops(labels, images, least_side=100)


def test_a_class_that_only_regions_to_ignore_have_is_not_known(tmp_path: Path) -> None:
    labels, images = coco(tmp_path, [("car", [0, 0, 20, 30], 0), ("dog", [20, 3, 10, 10], 1)])
    found = read_image_labels(labels, images)
    assert found.known is not None
    assert found.known.tolist() == [[True, False]]
    chosen = load_source(ImageLabelSource(str(labels), str(images)), ("dog", "cat", "car"), multi_label=True)
    sample = data(chosen)[0, 0]
    assert sample.labels.tolist() == [1, 0, 1]
    assert sample.known.tolist() == [0, 0, 1]  # nobody looked for cats


def test_a_box_outside_its_image_is_named(tmp_path: Path) -> None:
    labels, images = coco(tmp_path, [("car", [50, 0, 20, 30], 0)])
    found = load_source(CropSource(str(labels), str(images)), ("car",), multi_label=False)
    with pytest.raises(DataError, match="a box lies outside the image, which is 40x30"):
        found.cut(0, np.zeros((30, 40, 3), np.uint8))


def test_an_image_that_cannot_be_read_is_replaced_and_named(tmp_path: Path) -> None:
    for name in ("car", "dog"):
        (tmp_path / name).mkdir()
    (tmp_path / "car" / "broken.png").write_bytes(b"not an image")
    cv2.imwrite(str(tmp_path / "dog" / "a.png"), np.full((9, 9, 3), 200, np.uint8))
    source = FolderSource(str(tmp_path))
    sample = data(load_source(source, ("car", "dog"), multi_label=False))[0, 0]
    assert sample.labels.tolist() == [0, 1]
    assert "broken.png" in sample.unreadable[0]
    raw = read_raw(source)
    assert [image.names for image in raw.images] == [("car",), ("dog",)]
    assert raw.images[1].boxes.tolist() == [[0, 0, 9, 9]]
    (tmp_path / "dog" / "a.png").write_bytes(b"nor is this")
    with pytest.raises(DataError, match="2 images in a row cannot be used"):
        _ = data(load_source(source, ("car", "dog"), multi_label=False))[0, 0]


def test_what_is_seen_moves_by_the_share_that_is_allowed() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    augment = ClassificationAugment(ClassificationAugmentConfig(photometric=0, shift=0.2, flip=0))
    torch.manual_seed(0)
    shapes = [augment.part(image, np.array([30, 30, 70, 50], np.float32)).shape for _ in range(60)]
    heights, widths = ([shape[axis] for shape in shapes] for axis in (0, 1))
    assert 11 < min(heights) < 15 < 25 < max(heights) < 30
    assert 23 < min(widths) < 32 < 48 < max(widths) < 58
    # Beyond the edge there is nothing to see; one pixel is the least.
    assert augment.part(image, np.array([99.2, 99.2, 99.4, 99.4], np.float32)).size >= 3
    mirrored = ClassificationAugment(ClassificationAugmentConfig(photometric=0, shift=0, flip=1))
    image[:, :50] = 255
    assert mirrored.part(image, np.array([0, 0, 100, 100], np.float32))[0, 0, 0] == 0


def test_a_key_always_gives_the_same_sample(tmp_path: Path) -> None:
    labels, images = coco(tmp_path, [("car", [0, 0, 30, 30], 0)])
    varied = data(read_box_crops(labels, images), ClassificationAugmentConfig(photometric=1, shift=0.3))
    assert torch.equal(varied[7, 0].image, varied[7, 0].image)
    assert not torch.equal(varied[7, 0].image, varied[8, 0].image)
