"""The hash: deaf to what a codec does, awake to what a person or a quantiser would call another image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgevision.data.perceptual import NEAR_IDENTICAL, bit_distances, perceptual_hash
from edgevision.types import Image


def photographs() -> list[Image]:
    data = pytest.importorskip("skimage.data", reason="the photographs come with scikit-image")
    photos = [data.astronaut(), data.chelsea(), data.rocket(), data.coffee(), data.cat()[:, ::-1]]
    return [np.ascontiguousarray(photo[:, :, ::-1]) for photo in photos]


def apart(first: Image, second: Image) -> int:
    return int(bit_distances(perceptual_hash(first), np.array([perceptual_hash(second)], np.uint64))[0])


def recompressed(image: Image) -> Image:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1))


def noisy(image: Image) -> Image:
    return np.clip(image + np.random.default_rng(1).normal(0, 10, image.shape), 0, 255).astype(np.uint8)


def halved(image: Image) -> Image:
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("change", [recompressed, noisy, halved], ids=lambda change: change.__name__)
def test_a_copy_is_near_identical(change) -> None:
    for photo in photographs():
        assert apart(photo, change(photo)) <= NEAR_IDENTICAL


def test_other_images_are_far_apart() -> None:
    photos = photographs()[:4]
    for i, first in enumerate(photos):
        for second in photos[:i]:
            assert apart(first, second) > 3 * NEAR_IDENTICAL


def test_the_same_place_by_night_is_another_frame() -> None:
    for photo in photographs():
        assert apart(photo, photo // 4) > NEAR_IDENTICAL


def test_black_frames_are_one_frame_whatever_their_noise() -> None:
    rng = np.random.default_rng(0)
    black = [np.clip(rng.normal(20, 6, (240, 320, 3)), 0, 255).astype(np.uint8) for _ in range(20)]
    assert max(apart(black[0], other) for other in black) == 0


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4000, 3), (3000, 2, 3)], ids=str)
def test_any_size_has_a_hash(shape: tuple[int, int, int]) -> None:
    code = perceptual_hash(np.full(shape, 200, np.uint8))
    # Nothing but brightness: 200 is above 8, 24, ..., 184, and no further; twelve of the sixteen last bits.
    assert code == 0b1111_1111_1111_0000


@pytest.mark.parametrize(
    ("code", "codes", "wanted"),
    [
        (0, [0, 1, 3, 2**64 - 1], [0, 1, 2, 64]),
        (2**63, [0, 2**63 + 1], [1, 1]),
        (0xF0F0, [0x0F0F], [16]),
        (7, [], []),
    ],
)
def test_distances_count_the_bits_that_differ(code: int, codes: list[int], wanted: list[int]) -> None:
    found: NDArray[np.uint8] = bit_distances(code, np.array(codes, np.uint64))
    assert found.tolist() == wanted
