import struct

import numpy as np
import pytest

from edgevision.video.codec.orientation import Orientation

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
