import struct

import numpy as np
import pytest

from edgevision.video.codec.orientation import Orientation, exif_orientation, jpeg_orientation

ONE = 1 << 16
PICTURE = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None].repeat(3, 2)


def matrix(a: int, b: int, c: int, d: int) -> bytes:
    return struct.pack("=9i", a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(
    ("display", "expected"),
    [
        ((1, 0, 0, 1), [[1, 2, 3], [4, 5, 6]]),
        ((0, 1, -1, 0), [[4, 1], [5, 2], [6, 3]]),  # a quarter turn clockwise: the common phone
        ((0, -1, 1, 0), [[3, 6], [2, 5], [1, 4]]),  # a quarter turn the other way
        ((-1, 0, 0, -1), [[6, 5, 4], [3, 2, 1]]),
        ((-1, 0, 0, 1), [[3, 2, 1], [6, 5, 4]]),  # mirrored: front cameras
        ((1, 0, 0, -1), [[4, 5, 6], [1, 2, 3]]),
        ((0, 1, 1, 0), [[1, 4], [2, 5], [3, 6]]),
        ((0, -1, -1, 0), [[6, 3], [5, 2], [4, 1]]),
    ],
)
def test_eight_ways(display, expected):
    turned = Orientation.from_display_matrix(matrix(*display)).apply(PICTURE)
    assert turned[..., 0].tolist() == expected
    assert turned.shape[2] == 3


def test_an_odd_angle_is_left_upright():
    tilted = struct.pack("=9i", ONE // 2, ONE // 2, 0, -ONE // 2, ONE // 2, 0, 0, 0, 1 << 30)
    assert Orientation.from_display_matrix(tilted) == Orientation()


EXIF = [  # the upright image, as rows of the stored 2x3 image [[1, 2, 3], [4, 5, 6]] (TIFF 6.0, Orientation)
    (1, [[1, 2, 3], [4, 5, 6]]),
    (2, [[3, 2, 1], [6, 5, 4]]),
    (3, [[6, 5, 4], [3, 2, 1]]),
    (4, [[4, 5, 6], [1, 2, 3]]),
    (5, [[1, 4], [2, 5], [3, 6]]),
    (6, [[4, 1], [5, 2], [6, 3]]),
    (7, [[6, 3], [5, 2], [4, 1]]),
    (8, [[3, 6], [2, 5], [1, 4]]),
    (9, [[1, 2, 3], [4, 5, 6]]),
]


@pytest.mark.parametrize(("value", "upright"), EXIF)
def test_exif_orientations(value, upright):
    stored = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None].repeat(3, axis=2)
    assert Orientation.from_exif(value).apply(stored)[..., 0].tolist() == upright


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_tag_is_found_in_the_bytes_of_a_jpeg(order):
    head = b"II*\0" if order == "<" else b"MM\0*"
    tiff = head + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    segment = b"Exif\0\0" + tiff
    jpeg = b"\xff\xd8\xff\xe0\0\x04JF\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    assert jpeg_orientation(jpeg) == 6
    assert jpeg_orientation(jpeg[:24]) == 1
    assert jpeg_orientation(b"\xff\xd8\xff\xda\0\x02") == 1
    assert exif_orientation(tiff) == 6
    assert exif_orientation(b"nothing") == 1
