"""The size of an image and whether it moves are read from its first bytes."""

import struct

import cv2
import numpy as np
import pytest

from edgevision.video.codec.image_header import image_size, is_animated, is_heif


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif", ".gif"])
def test_sizes_of_real_files(suffix):
    data = cv2.imencode(suffix, np.zeros((20, 40, 3), np.uint8))[1].tobytes()
    assert image_size(data) == (40, 20)
    assert image_size(data[:8]) is None


def test_sizes_by_hand():
    lossy = b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", 0x4000 | 300, 200)
    assert image_size(lossy) == (300, 200)
    extended = b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x2b\x01\x00\xc7\x00\x00"
    assert image_size(extended) == (300, 200)
    assert image_size(b"BM" + bytes(16) + struct.pack("<ii", 40, -20)) == (40, 20)  # from the top row down
    big_endian = (
        b"MM\0*" + struct.pack(">IH", 8, 2) + struct.pack(">HHIHHHHII", 256, 3, 1, 300, 0, 257, 4, 1, 200)
    )
    assert image_size(big_endian) == (300, 200)
    assert image_size(b"P6 40 20 255 ") is None


def test_what_moves():
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 13, b"IHDR") + bytes(17)
    moving = png + struct.pack(">I4sII", 8, b"acTL", 6, 0) + bytes(4)
    still = png + struct.pack(">I4sII", 8, b"acTL", 1, 0) + bytes(4)
    data = struct.pack(">I4s", 4, b"IDAT") + bytes(8)
    assert is_animated(moving + data)
    assert not is_animated(still + data)
    assert not is_animated(png + data + moving[33:])  # after the image it does not count
    assert is_animated(b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\2" + bytes(9))
    assert not is_animated(b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\x10" + bytes(9))
    assert not is_animated(b"")


def test_heif_is_told_by_its_content():
    assert is_heif(b"\0\0\0\x18ftypheic")
    assert not is_heif(b"\xff\xd8\xff\xe0")
