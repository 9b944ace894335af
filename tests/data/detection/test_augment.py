"""Rotation, mosaic, switches, the cache, and images that cannot be read.

Also tests ``edgevision.data.memory``, ``edgevision.data.stream``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from edgevision.boxes import iou
from edgevision.contract.manifest import Resize
from edgevision.data.detection.augment import ColourJitter, DetectionAugment, IoUCrop
from edgevision.data.detection.dataset import DetectionSet, LabelledImage, load_coco
from edgevision.data.detection.loading import DetectionData, detection_loader
from edgevision.data.memory import ImageReader, free_memory
from edgevision.data.settings import AugmentConfig
from edgevision.data.stream import StreamSampler
from edgevision.errors import DataError

NONE = AugmentConfig(photometric=0, zoom_out=0, iou_crop=0, aspect=1, flip=0)
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]


def painted(folder: Path, known: tuple[bool, ...] = (True,) * 4, side: int = 100) -> DetectionSet:
    """Four grey images with a block of an own colour each, whose class is its number."""
    entries = []
    for number, colour in enumerate(COLOURS):
        image = np.full((side, side, 3), 60, np.uint8)
        box = np.array([0.2, 0.3, 0.8, 0.7], np.float32) * side
        x1, y1, x2, y2 = box.astype(int)
        image[y1:y2, x1:x2] = colour
        cv2.imwrite(str(folder / f"{number}.png"), image)
        labels, ignore, scores = np.array([number]), np.array([False]), np.ones(1, np.float32)
        entries.append(LabelledImage(folder / f"{number}.png", number, box[None], labels, ignore, scores))
    return DetectionSet(tuple(entries), ("b", "g", "r", "c"), np.array(known))


def data(sets: list[DetectionSet], size: int = 128, cache: int = 0, **steps: float) -> DetectionData:
    fields: dict[str, Any] = {name: getattr(NONE, name) for name in AugmentConfig.__struct_fields__}
    augment = DetectionAugment(AugmentConfig(**{**fields, **steps}), 114)
    return DetectionData(sets, size, Resize(), augment, seed=1, cache_bytes=cache)


def extent(image: np.ndarray[Any, Any], colour: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    """Corners of the pixels that have nearly the colour."""
    near = np.abs(image.astype(int) - colour).max(axis=2) < 90
    rows, columns = np.nonzero(near.any(axis=1))[0], np.nonzero(near.any(axis=0))[0]
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def test_zeros_switch_everything_off(tmp_path: Path) -> None:
    plain = DetectionData([painted(tmp_path)], 128, Resize(), None)[3, 2]
    varied = data([painted(tmp_path)])[3, 2]
    assert torch.equal(plain.image, varied.image)
    assert torch.equal(plain.boxes, varied.boxes)


def jittered(image: np.ndarray[Any, Any], draws: list[float], **limits: float) -> np.ndarray[Any, Any]:
    """One pass of the jitter whose four draws, brightness to hue, are given."""
    none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    jitter = ColourJitter(**{**none, **limits})
    tensor = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "uniform_", lambda self, *_: torch.tensor(draws))
        moved = jitter(tensor)
    assert isinstance(moved, tv_tensors.Image)
    return moved.permute(1, 2, 0).numpy()


def test_colours_by_hand() -> None:
    image = np.array([[[40, 80, 120], [0, 0, 0]]], np.uint8)  # BGR
    ones = [1.0] * 4
    np.testing.assert_allclose(jittered(image, ones), image, atol=1)
    np.testing.assert_allclose(jittered(image, ones, brightness=0.5)[0, 0], [60, 120, 180], atol=1)
    # The first pixel's luma is 0.114 * 40 + 0.587 * 80 + 0.299 * 120 = 87.4.
    grey = jittered(image, [-1.0] * 4, saturation=1.0)
    np.testing.assert_allclose(grey[0, 0], [87, 87, 87], atol=1)
    # Contrast 0.5 goes half-way to the image's mean luma, 43.7.
    halved = jittered(image, [-1.0] * 4, contrast=0.5)
    np.testing.assert_allclose(halved[0], [[42, 62, 82], [22, 22, 22]], atol=1)
    # Turning the hue keeps the luma, 77.9, and moves red towards yellow one way and magenta the other.
    red = np.array([[[60, 60, 120]]], np.uint8)
    ways = [jittered(red, [0.0, 0.0, 0.0, way], hue=0.05)[0, 0].astype(float) for way in (-1, 1)]
    for turned in ways:
        assert turned @ [0.114, 0.587, 0.299] == pytest.approx(77.9, abs=1.5)
    assert sorted(bool(b > g) for b, g, _ in ways) == [False, True]


def test_a_crop_keeps_an_object_as_far_as_it_promises() -> None:
    boxes = np.array([[10, 10, 60, 60], [150, 80, 190, 95]], np.float32)
    corners = tv_tensors.BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=(100, 200))
    image = tv_tensors.Image(torch.zeros(3, 100, 200, dtype=torch.uint8))
    torch.manual_seed(0)
    sizes = set()
    for overlap in (0.0, 0.3, 0.7):
        crop = IoUCrop(min_scale=0.3, sampler_options=[overlap])
        for _ in range(40):
            params = crop.make_params([image, corners])
            left, top, width, height = (params[key] for key in ("left", "top", "width", "height"))
            assert 0 <= left < left + width <= 200
            assert 0 <= top < top + height <= 100
            assert width >= 60
            assert height >= 30
            assert 0.5 <= width / height <= 2
            area = np.array([[left, top, left + width, top + height]], np.float32)
            kept = params["is_within_crop_area"].numpy()
            assert iou(area, boxes)[0, kept].max() >= overlap
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            inside = ((centres > area[:, :2]) & (centres < area[:, 2:])).all(axis=1)
            assert kept.tolist() == inside.tolist()
            sizes.add((width, height))
    assert len(sizes) > 60
    assert IoUCrop(sampler_options=[1.0]).make_params([image, corners]) == {}


def test_a_box_that_leaves_its_image_by_rounding_is_kept() -> None:
    boxes = np.array([[-0.4, 10, 30, 60.3]], np.float32)
    augment = DetectionAugment(msgspec.structs.replace(NONE, flip=1.0), 114)
    _, moved, columns = augment(np.zeros((60, 100, 3), np.uint8), boxes, np.array([[3, 0, 1]]))
    np.testing.assert_allclose(moved, [[70, 10, 100, 60]], atol=1e-4)
    assert columns.tolist() == [[3, 0, 1]]


def test_boxes_turn_with_the_image(tmp_path: Path) -> None:
    turned = data([painted(tmp_path)], rotate=1.0, rotate_max=10.0)
    still = data([painted(tmp_path)])[0, 1].boxes
    angles = set()
    for position in range(12):
        sample = turned[position, 1]
        np.testing.assert_allclose(sample.boxes[0], extent(sample.image.numpy(), COLOURS[1]), atol=2.5)
        angles.add(round(float((sample.boxes - still).abs().max())))
    assert len(angles) > 3


def test_a_mosaic_moves_the_boxes_of_four_images(tmp_path: Path) -> None:
    mosaic = data([painted(tmp_path)], mosaic=1.0)
    for position in range(20):
        sample = mosaic[position, position % 4]
        assert len(sample.files) == len(sample.boxes) == 4
        assert Path(sample.files[0]).stem == str(position % 4)
        labels = sample.labels.tolist()
        for box, label in zip(sample.boxes.numpy(), labels, strict=True):
            if labels.count(label) == 1:  # else two blocks have this colour
                np.testing.assert_allclose(box, extent(sample.image.numpy(), COLOURS[label]), atol=2)
        assert float(sample.boxes.min()) >= 0
        assert float(sample.boxes.max()) <= 128


def test_a_mosaic_is_the_same_for_the_same_key_and_stays_in_its_set(tmp_path: Path) -> None:
    """Sets know different classes, so an image of two sets would teach what one of them does not know."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    sets = [painted(tmp_path / "a"), painted(tmp_path / "b", known=(True, False, False, False))]
    mosaic = data(sets, mosaic=1.0)
    for position in range(8):
        sample = mosaic[position, position]
        assert {Path(file).parent.name for file in sample.files} == {"a" if position < 4 else "b"}
        assert sample.known.tolist() == ([True] * 4 if position < 4 else [True, False, False, False])
        again = mosaic[position, position]
        assert torch.equal(sample.image, again.image)
        assert sample.files == again.files


def test_mosaics_end_where_the_run_says_so(tmp_path: Path) -> None:
    augment = DetectionAugment(msgspec.structs.replace(NONE, mosaic=1.0), 114)
    stream = DetectionData([painted(tmp_path)], 128, Resize(), augment, mosaic_until=10)
    assert [len(stream[position, 0].files) for position in (0, 9, 10, 11)] == [4, 4, 1, 1]


def test_an_unreadable_image_is_replaced_and_reported(tmp_path: Path) -> None:
    sets = [painted(tmp_path)]
    (tmp_path / "1.png").write_bytes(b"broken")
    sample = data(sets)[0, 1]
    assert [Path(file).name for file in sample.files] == ["2.png"]
    assert sample.labels.tolist() == [2]
    (line,) = sample.unreadable
    assert line.endswith("1.png")
    batch = next(iter(detection_loader(data(sets), StreamSampler([1.0] * 4, seed=0), 4, 0)))
    assert len(batch.unreadable) == 1
    assert len(batch.files) == 4
    for file in tmp_path.glob("*.png"):
        file.unlink()
    with pytest.raises(DataError, match="4 images in a row cannot be used; the first: image not found"):
        data(sets)[0, 1]


def test_a_cached_image_is_the_image(tmp_path: Path) -> None:
    sets = [painted(tmp_path)]
    plain, cached = data(sets), data(sets, cache=10**6)
    assert cached.reader.cached == 4
    assert cached.reader.cached_bytes == 4 * 100 * 100 * 3
    first = cached[5, 3]
    (tmp_path / "3.png").unlink()
    for sample in (cached[5, 3], plain[5, 0]):
        assert not sample.unreadable
    assert torch.equal(cached[5, 3].image, first.image)


def test_the_cache_keeps_to_its_limit(tmp_path: Path) -> None:
    painted(tmp_path)
    paths = sorted(tmp_path.glob("*.png"))
    reader = ImageReader(paths, 1000, limit_bytes=2 * 30_000 + 29_999)
    assert (reader.cached, reader.cached_bytes) == (2, 60_000)
    for index in range(4):
        np.testing.assert_array_equal(reader.read(index).image, cv2.imread(str(paths[index])))
        with pytest.raises(ValueError, match="read-only"):
            reader.read(0).image[0, 0] = 1
    assert 10**8 < free_memory() < 10**14


@pytest.mark.parametrize("cache", [0, 10**7])
def test_large_images_are_read_small_and_boxes_follow(tmp_path: Path, cache: int) -> None:
    sets = [painted(tmp_path, side=500)]
    one = data(sets, size=100, cache=cache)
    for _ in range(2):  # decoded, then from memory
        image = one.reader.read(0)
        assert image.image.shape == (200, 200, 3)
        assert (image.scale_x, image.scale_y) == (0.4, 0.4)
        np.testing.assert_allclose(one[0, 0].boxes, [[20, 30, 80, 70]], atol=1e-4)


def test_workers_share_what_one_of_them_decoded(tmp_path: Path) -> None:
    one = data([painted(tmp_path)], cache=10**6)
    loader = detection_loader(one, StreamSampler([1.0] * 4, seed=0), 4, 1)
    next(iter(loader))
    for file in tmp_path.glob("*.png"):
        file.unlink()
    assert [one[0, number].unreadable for number in range(4)] == [()] * 4


def test_a_teachers_scores_stay_with_their_boxes(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 1, "file_name": "0.png"}],
        "categories": [{"id": 1, "name": "b"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 30], "score": 0.4321},
            {"image_id": 1, "category_id": 1, "bbox": [60, 60, 30, 30]},
        ],
    }
    (tmp_path / "labels.json").write_text(json.dumps(document))
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((128, 128, 3), np.uint8))
    loaded = load_coco(tmp_path / "labels.json", tmp_path, ["b"])
    sample = data([loaded], flip=1.0)[(0, 0)]
    found = dict(zip(sample.boxes[:, 0].round().int().tolist(), sample.scores.tolist(), strict=True))
    assert found == {128 - 40: pytest.approx(0.4321), 128 - 90: 1.0}


def test_a_blank_image_has_no_boxes_and_shows_nothing(tmp_path: Path) -> None:
    augment = DetectionAugment(msgspec.structs.replace(NONE, blank=1.0), 114)
    stream = DetectionData([painted(tmp_path)], 128, Resize(), augment)
    samples = [stream[position, position % 4] for position in range(40)]
    assert all(len(sample.boxes) == 0 and sample.image.shape == (128, 128, 3) for sample in samples)
    blurred = [cv2.blur(sample.image.numpy(), (15, 15)).astype(int) for sample in samples]
    # No edge: two neighbouring pixels of what is left without its noise are nearly equal.
    assert all(np.abs(np.diff(image, axis=axis)).max() <= 12 for image in blurred for axis in (0, 1))
    assert any(image.max() == 0 for image in blurred)  # black
    assert len({image.tobytes() for image in blurred}) > 30
    again = stream[7, 3]
    assert again.image.equal(samples[7].image)


def test_few_images_are_blank_where_few_are_asked_for(tmp_path: Path) -> None:
    augment = DetectionAugment(msgspec.structs.replace(NONE, blank=0.25), 114)
    stream = DetectionData([painted(tmp_path)], 128, Resize(), augment)
    blank = sum(len(stream[position, position % 4].boxes) == 0 for position in range(80))
    assert 8 <= blank <= 35
