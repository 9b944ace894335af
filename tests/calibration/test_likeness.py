"""Sets of images of one kind stay within the limit, those of another do not; distances worked by hand."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from edgevision.calibration.likeness import UNLIKE, image_shift, shift_warnings
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize
from edgevision.types import Image
from tests.support.paths import SHARED

FILL = 114
DATA = SHARED / "data"


def scenes(first: int, count: int, width: int = 96, height: int = 64) -> list[Image]:
    """Coloured blocks of varying light and sharpness, as photographs vary."""
    images = []
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        blocks = rng.integers(0, 256, (4, 6, 3)) * rng.uniform(0.5, 1)
        sharp = np.kron(blocks.astype(np.uint8), np.ones((height // 4, width // 6, 1), np.uint8))
        images.append(np.asarray(cv2.GaussianBlur(sharp, (0, 0), rng.uniform(0.8, 1.4))))
    return images


def night(image: Image) -> Image:
    return image // 6


def fog(image: Image) -> Image:
    return (image * 0.25 + 150).astype(np.uint8)


def blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 4))


def grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


def noise(image: Image) -> Image:
    return np.random.default_rng(int(image.sum())).integers(0, 256, image.shape, np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_other_images_of_the_same_kind_are_alike(seed: int) -> None:
    assert image_shift(scenes(1000 * seed, 40), scenes(1000 * seed + 500, 16), FILL).distance < 1


@pytest.mark.parametrize(
    ("change", "measure"),
    [
        (night, "the brightest parts"),
        (fog, "the darkest parts"),
        (blurred, "sharpness"),
        (grey, "colourfulness"),
        (noise, "sharpness"),
    ],
)
def test_images_of_another_kind_are_not_and_the_message_says_where(
    change: Callable[[Image], Image], measure: str
) -> None:
    frames = [change(image) for image in scenes(0, 40)]
    found = image_shift(frames, scenes(500, 40), FILL)
    assert (found.measure, found.distance > UNLIKE) == (measure, True)
    (line,) = shift_warnings(frames, scenes(500, 40), FILL, "val.json")
    assert "look unlike val.json" in line
    assert measure in line
    assert "\n" not in line
    assert shift_warnings(scenes(0, 40), scenes(500, 40), FILL, "val.json") == []


def test_a_distance_worked_by_hand() -> None:
    """Plain grey of 100 and 120 against 150 and 190: means 110 and 170, deviations 10 and 20."""
    ours = [np.full((8, 8, 3), value, np.uint8) for value in (100, 120)]
    theirs = [np.full((8, 8, 3), value, np.uint8) for value in (150, 190)]
    found = image_shift(ours, theirs, FILL)
    assert found.measure == "blue light"
    assert found.distance == pytest.approx((170 - 110) / (20 + 2))


def test_one_drive_is_not_unlike_the_many_it_could_be_one_of() -> None:
    many = scenes(0, 60)
    dimmest = sorted(many, key=lambda image: float(image.mean()))[:12]
    assert image_shift(many, dimmest, FILL).distance < UNLIKE


def test_padding_does_not_count() -> None:
    wide, square = Letterbox.fit(96, 64, 96, 96, Resize()), scenes(0, 10)
    padded = [wide.image(image) for image in square]
    assert image_shift(padded, square, FILL).distance == 0
    empty = [np.full((8, 8, 3), FILL, np.uint8)] * 2
    assert np.isfinite(image_shift(empty, square, FILL).distance)


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets of ../shared are not here")
@pytest.mark.parametrize(
    ("frames", "reference", "alike"),
    [
        ("detection/images/train_pseudo", "detection/images/val", True),
        ("detection/images/vehicles_train", "detection/images/val", True),
        ("camvid/images/train", "camvid/images/val", True),
        ("night", "detection/images/val", False),
        ("noise", "detection/images/val", False),
        ("night", "camvid/images/val", False),
    ],
)
def test_the_limit_on_real_data(frames: str, reference: str, alike: bool) -> None:
    def images(folder: str) -> list[Image]:
        files = sorted((DATA / folder).iterdir())
        chosen = [files[int(i)] for i in np.linspace(0, len(files) - 1, 48)]
        loaded = [cv2.imread(str(file)) for file in chosen]
        return [Letterbox.fit(p.shape[1], p.shape[0], 320, 320, Resize()).image(p) for p in loaded]

    changes = {"night": night, "noise": noise}
    base = reference if frames in changes else frames
    ours = [changes[frames](one) if frames in changes else one for one in images(base)]
    assert (image_shift(ours, images(reference), FILL).distance <= UNLIKE) == alike
