"""Tiles of a HEIF image are found in its boxes and joined."""

import struct

import av
import cv2
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.video.codec import heif
from edgevision.video.codec.heif import Alpha, Grid, read_alpha, read_grid, read_heif
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
    assert read_alpha(path.read_bytes()) == Alpha(2, is_premultiplied=False)
    found = read_heif(path).astype(int)
    assert np.abs(found[4:28] - 127).max() <= 3
    assert found[36:60].max() <= 3
    opaque = cv2.imencode(".avif", image[..., :3])[1].tobytes()
    assert read_alpha(opaque) is None
    assert read_alpha(b"") is None


ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"


def coded(image):
    """The AV1 data of an image and its configuration (``av1C``), as OpenCV writes them into an AVIF."""
    content = cv2.imencode(".avif", image)[1].tobytes()
    place = content.index(b"av1C") - 4
    (length,) = struct.unpack_from(">I", content, place)
    data = content.index(b"mdat") + 4
    return content[data:], content[place : place + length]


def avif(tiles, alpha_tiles, size, columns, alpha_size, premultiplied):
    """An AVIF of one or more tiles, with an alpha of one or more tiles, joined with ``grid``."""
    rows, items, properties, place = [], [], [], 0
    groups = [(tiles, size, 1), (alpha_tiles, alpha_size, 11)]
    of = {}
    for group, whole, first in groups:
        numbers = list(range(first, first + len(group)))
        of[first] = numbers
        for number, tile in zip(numbers, group, strict=True):
            content, configuration = coded(tile)
            items.append((number, b"av01", content, 0))
            properties.append((number, [configuration, ispe(tile.shape[1], tile.shape[0])]))
        if len(group) > 1:
            layout = struct.pack(">BBBBHH", 0, 0, len(group) // columns - 1, columns - 1, *whole)
            items.append((first + 8, b"grid", layout, 1))
            properties.append((first + 8, [ispe(*whole)]))
    primary, alpha = (first + 8 if len(of[first]) > 1 else first for first in (1, 11))
    dict(properties)[alpha].append(full(b"auxC", 0, ALPHA))
    references = [reference(b"dimg", first + 8, to) for first, to in of.items() if len(to) > 1]
    references.append(reference(b"auxl", alpha, [primary]))
    if premultiplied:
        references.append(reference(b"prem", primary, [alpha]))
    listed, associations, count = b"", b"", 0
    for number, own in properties:
        listed += b"".join(own)
        places = range(count + 1, count + 1 + len(own))
        associations += struct.pack(">HB", number, len(own)) + bytes(places)
        count += len(own)
    entries = [full(b"infe", 2, struct.pack(">HH4s", number, 0, kind), b"\0") for number, kind, *_ in items]
    idat = b"".join(content for *_, content, _ in items)
    for number, _, content, _ in items:
        rows.append(struct.pack(">HHHHII", number, 1, 0, 1, place, len(content)))
        place += len(content)
    meta = full(
        b"meta",
        0,
        full(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
        full(b"pitm", 0, struct.pack(">H", primary)),
        full(b"iinf", 0, struct.pack(">H", len(entries)), *entries),
        full(b"iref", 0, *references),
        full(b"iloc", 1, struct.pack(">BBH", 0x44, 0, len(rows)), *rows),
        box(
            b"iprp", box(b"ipco", listed), full(b"ipma", 0, struct.pack(">I", len(properties)), associations)
        ),
        box(b"idat", idat),
    )
    return box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf") + meta


def ispe(width, height):
    return full(b"ispe", 0, struct.pack(">II", width, height))


def reference(kind, item, to):
    return box(kind, struct.pack(f">HH{len(to)}H", item, len(to), *to))


@pytest.mark.parametrize("premultiplied", [False, True])
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("shrunk", [1, 2])
def test_alpha_of_tiles_of_another_size_and_premultiplied(tmp_path, premultiplied, tiled, shrunk):
    """The left half shows half of the gray, the right half all of it."""
    colour = np.full((128, 128, 3), 100, np.uint8)
    alpha = np.full((128 // shrunk, 128 // shrunk, 3), 255, np.uint8)
    alpha[:, : alpha.shape[1] // 2] = 128
    if premultiplied:
        colour[:, :64] = 50

    def parts(image):
        middle = image.shape[0] // 2
        halves = [(slice(0, middle)), slice(middle, None)]
        return [image[row, column] for row in halves for column in halves] if tiled else [image]

    path = tmp_path / "glass.avif"
    size = (128, 128), (128 // shrunk, 128 // shrunk)
    path.write_bytes(avif(parts(colour), parts(alpha), size[0], 2, size[1], premultiplied))
    assert read_alpha(path.read_bytes()) == Alpha(19 if tiled else 11, premultiplied)
    found = read_heif(path).astype(int)
    assert found.shape == (128, 128, 3)
    assert np.abs(found[8:-8, 8:56] - 177).max() <= 4
    assert np.abs(found[8:-8, 72:-8] - 100).max() <= 4
