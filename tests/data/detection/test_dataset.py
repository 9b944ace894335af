"""Reading COCO's json, class names, augmentation, and the stream of samples."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edgevision.contract.class_names import canonical
from edgevision.contract.manifest import Resize
from edgevision.data.classes import VOC_CLASSES, map_classes
from edgevision.data.detection.augment import DetectionAugment
from edgevision.data.detection.dataset import DetectionSet, load_coco
from edgevision.data.detection.loading import DetectionData, detection_loader
from edgevision.data.settings import AugmentConfig
from edgevision.data.stream import StreamSampler
from edgevision.errors import DataError

NONE = AugmentConfig(photometric=0, zoom_out=0, iou_crop=0, aspect=1, flip=0)


def write_set(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """Two images: a green rectangle that is a car on the first, nothing wanted on the second."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    image = np.zeros((60, 100, 3), np.uint8)
    image[20:40, 10:50] = (0, 255, 0)
    cv2.imwrite(str(images / "a.png"), image)
    cv2.imwrite(str(images / "b.png"), np.full((80, 80, 3), 200, np.uint8))
    document: dict[str, Any] = {
        "categories": [{"id": 3, "name": "Car"}, {"id": 7, "name": "motorcycle"}, {"id": 9, "name": "zebra"}],
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [
            {"image_id": 1, "category_id": 3, "bbox": [10, 20, 40, 20]},
            {"image_id": 1, "category_id": 7, "bbox": [60, 5, 20, 20], "iscrowd": 1},
            {"image_id": 1, "category_id": 9, "bbox": [0, 0, 5, 5]},
            {"image_id": 1, "category_id": 3, "bbox": [1, 1, 0, 9]},
        ],
    }
    annotations = folder / "instances.json"
    annotations.write_text(json.dumps({**document, **changes}))
    return annotations, images


@pytest.fixture
def cars(tmp_path: Path) -> DetectionSet:
    return load_coco(*write_set(tmp_path), VOC_CLASSES)


def test_names_are_mapped_whatever_their_spelling() -> None:
    assert canonical("Potted_Plant") == "pottedplant"
    assert canonical("TV-Monitor") == "tvmonitor"
    assert map_classes(["airplane", "zebra", "COUCH"], VOC_CLASSES) == {"airplane": 0, "COUCH": 17}


def test_coco_boxes_become_corners_and_crowds_regions_to_ignore(cars: DetectionSet) -> None:
    first, second = cars.images
    np.testing.assert_array_equal(first.boxes, [[10, 20, 50, 40], [60, 5, 80, 25]])
    assert [VOC_CLASSES[label] for label in first.labels] == ["car", "motorbike"]
    assert first.ignore.tolist() == [False, True]
    assert second.boxes.shape == (0, 4)
    assert [name for name, known in zip(VOC_CLASSES, cars.known, strict=True) if known] == [
        "car",
        "motorbike",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("not json", "not COCO instances json"),
        ("{}", "not COCO instances json"),
        (
            '{"categories": [{"id": 1, "name": "zebra"}], "images": [], "annotations": []}',
            "none of its 1 cat",
        ),
    ],
)
def test_a_file_that_is_no_coco_set_is_one_line(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(DataError, match=expected):
        load_coco(file, tmp_path, VOC_CLASSES)
    with pytest.raises(DataError, match="not found"):
        load_coco(tmp_path / "none.json", tmp_path, VOC_CLASSES)
    with pytest.raises(DataError, match="image folder not found"):
        load_coco(write_set(tmp_path)[0], tmp_path / "none", VOC_CLASSES)


def green_box(image: np.ndarray[Any, Any]) -> list[int]:
    """Where the green rectangle is: corners of the pixels that are mostly green."""
    green = (image[..., 1] > 150) & (image[..., 0] < 100) & (image[..., 2] < 100)
    rows, columns = np.nonzero(green.any(axis=1))[0], np.nonzero(green.any(axis=0))[0]
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_boxes_move_with_the_image(cars: DetectionSet) -> None:
    """Every geometric step at once: the box must still lie around the painted rectangle."""
    config = AugmentConfig(photometric=0, zoom_out=0.5, iou_crop=0.5, crop_min=0.6, aspect=1.5, flip=0.5)
    data = DetectionData([cars], 128, Resize(), DetectionAugment(config, 114), seed=5)
    seen = 0
    for position in range(60):
        sample = data[position, 0]
        wanted = sample.boxes[(sample.labels == 6) & ~sample.ignore]
        if len(wanted) == 1:
            found = green_box(sample.image.numpy())
            np.testing.assert_allclose(wanted[0].numpy(), found, atol=2.5)
            seen += 1
    assert seen > 40


def test_without_augmentation_the_sample_is_the_runtimes_letterbox(cars: DetectionSet) -> None:
    sample = DetectionData([cars], 200, Resize(), None)[0, 0]
    assert sample.image.shape == (200, 200, 3)
    # 100 x 60 doubles to 200 x 120 and is centred, 40 pixels down.
    np.testing.assert_allclose(sample.boxes, [[20, 80, 100, 120], [120, 50, 160, 90]])
    assert sample.image[39, 0].tolist() == [114, 114, 114]
    assert green_box(sample.image.numpy()) == [20, 80, 100, 120]


def test_labels_go_with_the_boxes_that_a_crop_removes(cars: DetectionSet) -> None:
    config = AugmentConfig(photometric=0, zoom_out=0, iou_crop=1, crop_min=0.3, aspect=1, flip=0)
    data = DetectionData([cars], 64, Resize(), DetectionAugment(config, 114))
    counts = set()
    for position in range(40):
        sample = data[position, 0]
        assert len(sample.boxes) == len(sample.labels) == len(sample.ignore)
        for label, ignore in zip(sample.labels.tolist(), sample.ignore.tolist(), strict=True):
            assert (label == 13) == ignore
        counts.add(len(sample.boxes))
    assert len(counts) > 1


def test_a_key_always_gives_the_same_sample_and_leaves_other_randomness_alone(cars: DetectionSet) -> None:
    data = DetectionData([cars], 64, Resize(), DetectionAugment(AugmentConfig(), 114), seed=3)
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    first = data[17, 0]
    assert torch.equal(torch.rand(1), before)
    again, other = data[17, 0], data[18, 0]
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.image, other.image)


def test_the_stream_visits_everything_once_an_epoch_and_can_start_anywhere() -> None:
    whole = list(islice(StreamSampler([1.0] * 7, seed=1), 21))
    for epoch in range(3):
        assert sorted(index for _, index in whole[epoch * 7 : epoch * 7 + 7]) == list(range(7))
    assert [i for _, i in whole[:7]] != [i for _, i in whole[7:14]]
    assert list(islice(StreamSampler([1.0] * 7, seed=1, start=10), 11)) == whole[10:]
    halves = [list(islice(StreamSampler([1.0] * 7, seed=1, stride=2, offset=k), 10)) for k in (0, 1)]
    assert sorted(halves[0] + halves[1]) == sorted(whole[:20])


def test_weights_change_how_often_images_come() -> None:
    stream = islice(StreamSampler([1.0, 3.0], seed=0), 4000)
    share = sum(index for _, index in stream) / 4000
    assert share == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_however_many_processes_read(cars: DetectionSet, workers: int) -> None:
    data = DetectionData([cars], 64, Resize(), DetectionAugment(AugmentConfig(), 114), seed=3)
    loader = detection_loader(data, StreamSampler([1.0, 1.0], seed=2), 3, workers)
    batch = next(iter(loader))
    keys = list(islice(StreamSampler([1.0, 1.0], seed=2), 3))
    assert torch.equal(batch.images, torch.stack([data[key].image for key in keys]))
    assert batch.images.dtype == torch.uint8


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    one = load_coco(*write_set(tmp_path, images=[{"id": 1, "file_name": "gone.png"}]), VOC_CLASSES)
    with pytest.raises(DataError, match=r"image not found: .*gone\.png"):
        DetectionData([one], 64, Resize(), None)[0, 0]
