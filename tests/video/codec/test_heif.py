"""Tiles of a HEIF image are found in its boxes and joined."""

import struct

import av
import cv2
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.video.codec import heif
from edgevision.video.codec.heif import Grid, alpha_item, read_grid, read_heif
from edgevision.video.codec.orientation import Orientation
from tests.support.paths import SHARED

TILES = SHARED / "cases" / "heic-tiles" / "grid.heic"


def box(name, *parts):
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), name) + content


def full(name, version, *parts, flags=0):
    return box(name, struct.pack(">I", version << 24 | flags), *parts)


def grid_file(rows, columns, size, properties=()):
    """The boxes of a file whose primary item 9 is a grid of the items from 1 on (ISO/IEC 23008-12)."""
    count = rows * columns
    payload = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *size)
    entries = [full(b"infe", 2, struct.pack(">HH4s", i, 0, b"hvc1"), b"\0") for i in range(1, count + 1)]
    entries.append(full(b"infe", 2, struct.pack(">HH4s", 9, 0, b"grid"), b"\0"))
    meta = full(
        b"meta",
        0,
        full(b"pitm", 0, struct.pack(">H", 9)),
        full(b"iinf", 0, struct.pack(">H", len(entries)), *entries),
        full(b"iref", 0, box(b"dimg", struct.pack(f">HH{count}H", 9, count, *range(1, count + 1)))),
        full(b"iloc", 1, struct.pack(">BBHHHHHII", 0x44, 0, 1, 9, 1, 0, 1, 0, len(payload))),
        box(
            b"iprp",
            box(b"ipco", *properties),
            full(
                b"ipma",
                0,
                struct.pack(">IHB", 1, 9, len(properties)),
                bytes(range(1, len(properties) + 1)),
            ),
        ),
        box(b"idat", payload),
    )
    return box(b"ftyp", b"heic", bytes(4)) + meta


def test_the_grid_is_read():
    assert read_grid(grid_file(2, 3, (1280, 960))) == Grid(3, (1, 2, 3, 4, 5, 6), (1280, 960), Orientation())


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ([box(b"irot", b"\1")], Orientation(True, False, True)),
        ([box(b"irot", b"\2")], Orientation(False, True, True)),
        ([box(b"imir", b"\1")], Orientation(False, True, False)),
        ([box(b"irot", b"\3"), box(b"imir", b"\0")], Orientation(True, True, True)),
    ],
)
def test_rotation_and_reflection(properties, expected):
    assert read_grid(grid_file(1, 2, (100, 50), properties)).orientation == expected


def test_what_is_no_grid():
    assert read_grid(b"") is None
    assert read_grid(grid_file(1, 2, (100, 50)).replace(b"grid", b"hvc1")) is None
    whole = grid_file(2, 2, (100, 50))
    assert all(read_grid(whole[:length]) is None for length in range(0, len(whole) - 8, 7))


@pytest.mark.skipif(not TILES.is_file(), reason="../shared/cases is not here")
def test_tiles_are_joined(monkeypatch):
    image = read_heif(TILES)
    assert image.shape == (960, 1280, 3)
    corners = [image[30, 30], image[30, -30], image[-30, 30], image[-30, -30]]
    expected = [(0, 0, 220), (0, 220, 0), (220, 0, 0), (235, 235, 235)]
    assert np.abs(np.array(corners, int) - expected).max() < 8
    monkeypatch.setattr(heif, "MAX_PIXELS", 1_000_000)
    with pytest.raises(SourceError, match="is 1280x960; expected at most 1 million pixels: scale it down"):
        read_heif(TILES)


def test_what_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "photo.heic"
    path.write_bytes(grid_file(1, 2, (100, 50)))
    with pytest.raises(SourceError, match=r"photo\.heic is not an image that FFmpeg can read") as caught:
        read_heif(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(av.error.FFmpegError), av.open(path):
        pass


def test_half_transparent_pixels_of_an_avif_are_half_white(tmp_path):
    image = np.zeros((64, 48, 4), np.uint8)
    image[:32, :, 3], image[32:, :, 3] = 128, 255
    coded, content = cv2.imencode(".avif", image)
    assert coded
    path = tmp_path / "glass.avif"
    path.write_bytes(content.tobytes())
    assert alpha_item(path.read_bytes()) == 2
    found = read_heif(path).astype(int)
    assert np.abs(found[4:28] - 127).max() <= 3
    assert found[36:60].max() <= 3
    opaque = cv2.imencode(".avif", image[..., :3])[1].tobytes()
    assert alpha_item(opaque) is None
    assert alpha_item(b"") is None
