"""Segmentation folders: layout, class ids, label maps that are refused, augmentation, the stream."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from edgevision.config import config_faults
from edgevision.contract.manifest import Resize
from edgevision.data.segmentation.augment import SegmentationAugment, mix_classes
from edgevision.data.segmentation.check import check_segmentation, class_frequencies
from edgevision.data.segmentation.dataset import LabelledImage, load_segmentation
from edgevision.data.segmentation.label_maps import read_label_map, read_pair
from edgevision.data.segmentation.loading import SegmentationData, segmentation_loader
from edgevision.data.settings import SegmentationAugmentConfig
from edgevision.data.stream import StreamSampler
from edgevision.errors import DataError
from edgevision.types import IGNORE_ID
from tests.support.paths import SHARED
from tests.support.segmentation import BGR, CLASSES, IGNORE, write_set

CAMVID = SHARED / "data" / "camvid"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


def test_the_sets_own_classes_colours_and_names(folder: Path) -> None:
    data = load_segmentation(folder, "train")
    assert data.classes == CLASSES
    assert data.colours == tuple(bgr[::-1] for bgr in BGR)
    assert [pair.image.name for pair in data.images[:2]] == ["a_train0.png", "b_train1.png"]
    image, labels = read_pair(data, data.images[0])
    assert image.shape == (64, 96, 3)
    assert (labels[0] == IGNORE_ID).all()
    assert sorted(np.unique(labels[1:])) == [0, 1, 2]
    assert np.abs(image[labels == 1].astype(int) - BGR[1]).max() < 30


def test_wanted_classes_are_found_by_name_and_others_ignored(folder: Path) -> None:
    data = load_segmentation(folder, "train", ["sign", "Road"])
    _, labels = read_pair(data, data.images[0])
    _, own = read_pair(load_segmentation(folder, "train"), data.images[0])
    for there, here in ((0, 1), (1, IGNORE_ID), (2, 0), (IGNORE_ID, IGNORE_ID)):
        assert (labels[own == there] == here).all()
    with pytest.raises(DataError, match="has no class 'cra'; did you mean 'car'"):
        load_segmentation(folder, "train", ["road", "cra"])


def test_sequences_are_left_out_or_chosen_by_prefix(folder: Path) -> None:
    def names(**filters: list[str]) -> set[str]:
        return {one.image.stem[0] for one in load_segmentation(folder, "train", **filters).images}  # type: ignore[arg-type]

    assert names() == {"a", "b"}
    assert names(exclude=["a_"]) == {"b"}
    assert names(only=["a_"]) == {"a"}
    with pytest.raises(DataError, match=r"split 'train' is empty with exclude \['a', 'b'\]"):
        load_segmentation(folder, "train", exclude=["a", "b"])


def test_lists_may_carry_suffixes_or_be_absent_and_folders_may_be_flat(folder: Path) -> None:
    (folder / "few.txt").write_text("a_train0.png\n\nb_train1\na_train0\n")
    for kind in ("images", "labels"):
        for path in list((folder / kind / "train").iterdir()):
            path.rename(folder / kind / path.name)
        (folder / kind / "train").rmdir()
    data = load_segmentation(folder, "few")
    assert [one.labels.name for one in data.images] == ["a_train0.png", "b_train1.png"]
    assert check_segmentation(data).problems == ()
    (folder / "val.txt").unlink()
    assert len(load_segmentation(folder, "val").images) == 4
    with pytest.raises(
        DataError, match=r"has no split 'trian': neither trian\.txt nor images/trian; did you mean"
    ):
        load_segmentation(folder, "trian")


def save_grey(path: Path, ids: np.ndarray) -> None:
    cv2.imwrite(str(path), ids)


def save_palette(path: Path, ids: np.ndarray) -> None:
    image = PillowImage.fromarray(ids.astype(np.uint8))
    image.putpalette([value for i in range(256) for value in (255 - i, 0, i)])
    image.save(path)


def test_a_palette_png_holds_ids_whatever_its_colours(tmp_path: Path) -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    save_palette(tmp_path / "palette.png", ids)
    save_grey(tmp_path / "grey.png", ids)
    assert (read_label_map(tmp_path / "palette.png") == ids).all()
    assert (read_label_map(tmp_path / "grey.png") == ids).all()
    PillowImage.fromarray(ids % 4).convert("P").save(tmp_path / "two.png", bits=2)
    assert (tmp_path / "two.png").read_bytes()[24] == 2
    assert (read_label_map(tmp_path / "two.png") == ids % 4).all()


def ruin(kind: str, label: Path) -> None:
    ids = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    if kind == "unknown":
        ids[5, :7] = 77
        save_grey(label, ids)
    elif kind == "missing":
        label.unlink()
    elif kind == "size":
        save_grey(label, ids[:-3])
    elif kind == "sixteen":
        cv2.imwrite(str(label), ids.astype(np.uint16))
    elif kind == "colour":
        cv2.imwrite(str(label), cv2.cvtColor(ids, cv2.COLOR_GRAY2BGR))
    elif kind == "alpha":
        cv2.imwrite(str(label), cv2.cvtColor(ids, cv2.COLOR_GRAY2BGRA))
    elif kind == "cut":
        label.write_bytes(label.read_bytes()[:-40])
    elif kind == "text":
        label.write_text("road road car")
    elif kind == "one bit":
        PillowImage.fromarray(ids == 1).save(label)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("unknown", r"unknown ids \(77\) in 7 pixels; define them in classes.json"),
        ("missing", "label map not found"),
        ("size", "is 96x61, its image 96x64; expected the same size"),
        ("sixteen", "is grey of 16 bits; expected 8-bit grey or palette"),
        ("colour", "is RGB of 8 bits; expected 8-bit grey or palette"),
        ("alpha", "is RGB with alpha of 8 bits"),
        ("one bit", "is grey of 1 bits"),
        ("cut", "is cut off"),
        ("text", "is not a PNG"),
    ],
)
def test_a_bad_label_map_is_one_clear_line_and_costs_its_own_image_only(
    folder: Path, kind: str, message: str
) -> None:
    data = load_segmentation(folder, "train")
    bad = data.images[3]
    ruin(kind, bad.labels)
    with pytest.raises(DataError, match=message) as found:
        read_pair(data, bad)
    assert str(bad.labels) in str(found.value)
    assert "\n" not in str(found.value)
    check = check_segmentation(data)
    assert check.problems == (str(found.value),)
    assert bad not in check.usable.images
    assert len(check.usable.images) == 7


def test_images_of_other_kinds_are_read_and_broken_ones_named(folder: Path) -> None:
    data = load_segmentation(folder, "train")
    image = cv2.imread(str(data.images[0].image))
    cv2.imwrite(str(data.images[0].image), cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(data.images[1].image), image.astype(np.uint16) * 257)
    cv2.imwrite(str(data.images[2].image), cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))
    data.images[3].image.write_bytes(cv2.imencode(".jpg", image)[1].tobytes()[:400])
    data.images[4].image.unlink()
    check = check_segmentation(data)
    assert [Path(str(one.image)).stem for one in data.images[3:5]] == ["b_train3", "a_train4"]
    assert len(check.problems) == 2
    assert "b_train3.png" in check.problems[0]
    assert "not found" in check.problems[1]
    sixteen, _ = read_pair(data, data.images[1])
    np.testing.assert_array_equal(sixteen, image)


def test_a_set_of_which_nothing_can_be_used_is_an_error(folder: Path) -> None:
    data = load_segmentation(folder, "val")
    for image in data.images:
        image.labels.unlink()
    with pytest.raises(DataError, match="none of 4 images can be used: label map not found"):
        check_segmentation(data)
    (folder / "val.txt").write_text("\n")
    with pytest.raises(DataError, match="split 'val' is empty"):
        load_segmentation(folder, "val")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "class file not found"),
        ("{", "is not a class file"),
        ('{"classes": [{"id": 0}]}', "is not a class file"),
        ('{"classes": []}', "no class; expected ids"),
        ('{"classes": [{"id": 256, "name": "a"}]}', "class id 256; expected ids from 0 to 255"),
        ('{"classes": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}', "class id 1; expected"),
    ],
)
def test_a_bad_class_file_is_one_clear_line(folder: Path, content: str | None, message: str) -> None:
    (folder / "classes.json").unlink()
    if content is not None:
        (folder / "classes.json").write_text(content)
    with pytest.raises(DataError, match=message):
        load_segmentation(folder, "train")


def test_counts_and_frequencies_by_hand(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", train=2)
    first, second = (
        np.array(rows, np.uint8) for rows in ([[0, 0], [0, 1], [IGNORE, 0]], [[0, 0], [0, 0], [0, 0]])
    )
    data = load_segmentation(folder, "train")
    for image, ids in zip(data.images, (first, second), strict=True):
        save_grey(image.labels, ids)
        cv2.imwrite(str(image.image), np.zeros((3, 2, 3), np.uint8))
    check = check_segmentation(data)
    assert check.pixels.tolist() == [10, 1, 0]
    assert check.absent == ("sign",)
    assert class_frequencies([check]) == pytest.approx([10 / 11, 1 / 5, 0])
    assert class_frequencies([check, check]) == pytest.approx([10 / 11, 1 / 5, 0])


def steps(**changes: float) -> SegmentationAugment:
    plain = {"photometric": 0.0, "rotate": 0.0, "scale_min": 1.0, "scale_max": 1.0, "flip": 0.0}
    return SegmentationAugment(SegmentationAugmentConfig(**{**plain, **changes}), 96, 64, 114, IGNORE_ID)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": 1.0},
        {"rotate": 1.0, "rotate_degrees": 15.0},
        {"scale_min": 0.5, "scale_max": 0.8},
        {"scale_min": 1.5, "scale_max": 2.0},
        {"scale_min": 1.2, "scale_max": 1.2, "crop_width": 64, "crop_height": 32},
    ],
    ids=str,
)
def test_labels_move_with_the_image(folder: Path, changes: dict[str, float]) -> None:
    """Colour and label say the same of a pixel, before and after."""
    data = load_segmentation(folder, "train")
    image, labels = read_pair(data, data.images[0])
    image = np.array(BGR, np.uint8)[np.where(labels == IGNORE_ID, 0, labels)]
    torch.manual_seed(3)
    moved, ids = steps(**changes)(image, labels)
    assert moved.shape[:2] == ids.shape == (changes.get("crop_height", 64), changes.get("crop_width", 96))
    assert set(np.unique(ids)) <= {0, 1, 2, IGNORE_ID}
    counted = ids != IGNORE_ID
    assert counted.mean() > 0.2
    wanted = np.array(BGR, int)[np.where(counted, ids, 0)]
    right = np.abs(moved.astype(int) - wanted).max(axis=2) < 40
    assert right[counted].mean() > 0.93  # edges are blended in the image
    outside = (moved == 114).all(axis=2)
    assert (ids[outside] == IGNORE_ID).all()
    if changes.get("scale_max", 1.0) < 1 or "rotate" in changes:
        assert outside.any()
    assert not np.array_equal(ids, labels)


def test_without_steps_nothing_changes(folder: Path) -> None:
    data = load_segmentation(folder, "train")
    image, labels = read_pair(data, data.images[0])
    moved, ids = steps()(image, labels)
    np.testing.assert_array_equal(moved, image)
    np.testing.assert_array_equal(ids, labels)


def test_colours_change_without_labels(folder: Path) -> None:
    data = load_segmentation(folder, "train")
    image, labels = read_pair(data, data.images[0])
    torch.manual_seed(0)
    moved, ids = steps(photometric=1.0)(image, labels)
    assert np.abs(moved.astype(int) - image).mean() > 1
    np.testing.assert_array_equal(ids, labels)


def test_a_position_always_gives_the_same_sample_and_batches_stack(folder: Path) -> None:
    data = load_segmentation(folder, "train")
    augment = steps(flip=0.5, photometric=0.5, scale_max=1.5)
    stream = SegmentationData([data], 96, 64, Resize(), augment, seed=4)
    one, again, other = stream[(7, 2)], stream[(7, 2)], stream[(8, 2)]
    assert torch.equal(one.images, again.images)
    assert torch.equal(one.labels, again.labels)
    assert not torch.equal(one.images, other.images)
    batch = next(iter(segmentation_loader(stream, StreamSampler([1.0] * 8, 0), 4, 0)))
    assert (batch.images.shape, batch.labels.shape) == ((4, 64, 96, 3), (4, 64, 96))
    assert len(batch.files) == 4


def test_half_of_the_classes_of_another_image_cover_what_is_there() -> None:
    first = np.full((4, 6, 3), 10, np.uint8), np.zeros((4, 6), np.uint8)
    labels = np.array([1, 1, 2, 2, 3, IGNORE_ID], np.uint8).repeat(4).reshape(6, 4).T.copy()
    second = np.full((4, 6, 3), 200, np.uint8), labels
    chosen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        image, mixed = mix_classes(first, second, IGNORE_ID)
        pasted = mixed != 0
        np.testing.assert_array_equal(mixed[pasted], labels[pasted])
        np.testing.assert_array_equal(image[..., 0], np.where(pasted, 200, 10))
        assert not pasted[:, 5].any()
        classes = frozenset(np.unique(mixed[pasted]).tolist())
        assert len(classes) == 2
        for one in classes:
            assert pasted[labels == one].all()
        chosen.add(classes)
    assert len(chosen) > 1
    assert (first[1] == 0).all()
    nothing = second[0], np.full((4, 6), IGNORE_ID, np.uint8)
    np.testing.assert_array_equal(mix_classes(first, nothing, IGNORE_ID)[1], first[1])


def test_images_are_mixed_with_those_of_their_own_set(folder: Path, tmp_path: Path) -> None:
    data = load_segmentation(folder, "train")
    grey = load_segmentation(write_set(tmp_path / "grey"), "train")
    for pair in grey.images:
        cv2.imwrite(str(pair.image), np.full((64, 96, 3), 114, np.uint8))
    count = len(grey.images)
    for sets, greys, others in (([grey, data], 0, count), ([data, grey], len(data.images), 0)):
        never, half, always = (
            SegmentationData(sets, 96, 64, Resize(), steps(mix=mix)) for mix in (0.0, 0.5, 1.0)
        )
        differ = []
        for position in range(16):
            assert (always[(position, greys)].images == 114).all()
            plain = never[(position, others)].images
            assert not torch.equal(plain, always[(position, others)].images)
            differ.append(not torch.equal(plain, half[(position, others)].images))
        assert 0 < sum(differ) < 16
        assert torch.equal(always[(3, others)].images, always[(3, others)].images)


def test_without_another_image_or_labels_nothing_is_mixed(folder: Path) -> None:
    data = load_segmentation(folder, "train")
    one = replace(data, images=data.images[:1])
    bare = replace(data, images=tuple(LabelledImage(pair.image, None) for pair in data.images))
    for sets in ([one], [bare]):
        plain, mixed = (SegmentationData(sets, 96, 64, Resize(), steps(mix=mix)) for mix in (0.0, 1.0))
        assert torch.equal(plain[(2, 0)].images, mixed[(2, 0)].images)


def test_what_was_read_once_is_kept_with_its_labels(folder: Path) -> None:
    data = load_segmentation(folder, "train")
    plain = SegmentationData([data], 96, 64, Resize(), steps(flip=0.5), seed=4)
    one_size = 96 * 64 * 4
    kept = SegmentationData([data], 96, 64, Resize(), steps(flip=0.5), seed=4, cache_bytes=2 * one_size + 9)
    assert (kept.kept.places, kept.kept.bytes) == (2, 2 * one_size)
    wanted = [plain[(7, index)] for index in range(3)]
    for index in range(3):
        kept[(1, index)]
    for image in data.images[:2]:
        image.image.unlink()
        image.labels.unlink()
    for index in range(3):
        sample = kept[(7, index)]
        assert torch.equal(sample.images, wanted[index].images)
        assert torch.equal(sample.labels, wanted[index].labels)
    data.images[2].labels.unlink()
    with pytest.raises(DataError, match="label map not found"):
        kept[(7, 2)]


def test_without_augmentation_the_image_is_letterboxed_as_the_runtime_does_it(folder: Path) -> None:
    data = load_segmentation(folder, "train")
    sample = SegmentationData([data], 96, 96, Resize(), None)[(0, 0)]
    image, labels = read_pair(data, data.images[0])
    np.testing.assert_array_equal(sample.images[16:80].numpy(), image)
    np.testing.assert_array_equal(sample.labels[16:80].numpy(), labels)
    assert (sample.images[:16] == 114).all()
    assert (sample.labels[80:] == IGNORE_ID).all()


def test_impossible_augmentations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scale_min is 2\.0, scale_max 1\.0; expected the second not below"):
        SegmentationAugmentConfig(scale_min=2.0, scale_max=1.0)
    assert config_faults({"crop_width": 50}, SegmentationAugmentConfig) == [
        "`crop_width` is 50; expected a multiple of 32 from 0 to 16384"
    ]


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not beside the repository (../shared/data/camvid)")
def test_camvid_is_read_as_it_lies_there() -> None:
    data = load_segmentation(CAMVID, "train")
    assert (len(data.images), len(data.classes), data.classes[8]) == (367, 11, "car")
    assert len(load_segmentation(CAMVID, "train", exclude=["0001TP"]).images) == 367 - 62
    assert len(load_segmentation(CAMVID, "train", only=["0016E5"]).images) == 204
    one = load_segmentation(CAMVID, "val", ["road", "car"], only=["0016E5_0796"])
    check = check_segmentation(one)
    assert check.problems == ()
    ids = json.loads((CAMVID / "classes.json").read_text())["classes"]
    road = next(entry["id"] for entry in ids if entry["name"] == "road")
    raw = [cv2.imread(str(image.labels), cv2.IMREAD_UNCHANGED) for image in one.images]
    assert check.pixels[0] == sum(int((ids == road).sum()) for ids in raw)


def test_stretching_changes_the_shape_of_an_image_and_of_its_labels_alike() -> None:
    image, labels = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    image[16:48, 16:48], labels[16:48, 16:48] = 255, 1
    quiet = SegmentationAugmentConfig(0, rotate=0, scale_min=1, scale_max=1, flip=0)
    shapes = []
    for stretch in (1.0, 2.0):
        config = msgspec.structs.replace(quiet, stretch=stretch)
        augment = SegmentationAugment(config, 96, 96, 0, IGNORE_ID)
        torch.manual_seed(0)
        for _ in range(20):
            varied, moved = augment(image, labels)
            rows, columns = np.any(moved == 1, axis=1).sum(), np.any(moved == 1, axis=0).sum()
            assert abs(int((varied[..., 0] > 127).sum()) - rows * columns) <= 2 * (rows + columns)
            shapes.append((stretch, columns / rows))
    assert {shape for stretch, shape in shapes if stretch == 1} == {1.0}
    wide = [shape for stretch, shape in shapes if stretch == 2]
    assert min(wide) < 0.75
    assert max(wide) > 1.35
    assert all(0.45 < shape < 2.2 for shape in wide)
