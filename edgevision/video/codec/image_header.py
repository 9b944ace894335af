"""What the first bytes of an image say before it is decoded: its size, and whether it moves."""

from __future__ import annotations

import struct
from pathlib import Path

_PNG = b"\x89PNG\r\n\x1a\n"
_HEIF_BRANDS = frozenset(
    {
        b"mif1",
        b"mif2",
        b"msf1",
        b"miaf",
        b"heic",
        b"heix",
        b"heim",
        b"heis",
        b"hevc",
        b"hevx",
        b"avif",
        b"avis",
    }
)
_SUBFILE = 254  # NewSubfileType; bit 0: of another image, at a lower resolution
_MOST_COPIES = 32
_NO_SIZE = frozenset({0xC4, 0xC8, 0xCC})  # JPEG: tables among the frame headers (ITU-T T.81, table B.1)


def is_heif(data: bytes) -> bool:
    """Whether the content is a HEIF container, such as HEIC or AVIF, whatever its name (an MP4 is none)."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), len(data), 1024)
    return any(data[place : place + 4] in _HEIF_BRANDS for place in (8, *range(16, end - 3, 4)))


def has_pages(path: Path) -> bool:
    """Whether a TIFF holds more images than its first (TIFF 6.0, section 2); smaller copies do not count."""
    with path.open("rb") as stream:
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(stream.read(4))
        if order is None:
            return False
        try:
            (place,) = struct.unpack(f"{order}I", stream.read(4))
            for number in range(_MOST_COPIES):
                stream.seek(place)
                (count,) = struct.unpack(f"{order}H", stream.read(2))
                entries = [struct.unpack(f"{order}HHII", stream.read(12)) for _ in range(count)]
                is_copy = any(tag == _SUBFILE and value & 1 for tag, _, _, value in entries)
                if number and not is_copy:
                    return True
                (place,) = struct.unpack(f"{order}I", stream.read(4))
                if not place:
                    return False
        except struct.error:  # the decoder says what is wrong with it
            return False
    return False


def is_animated(data: bytes) -> bool:
    """Whether a PNG or WebP declares several images; for anything else False.

    Args:
        data: the file, or its first 64 KiB.
    """
    if data[:8] == _PNG:
        place = 8
        while place + 12 <= len(data):
            length, kind = struct.unpack_from(">I4s", data, place)
            if kind == b"acTL" and place + 12 <= len(data):
                return int.from_bytes(data[place + 8 : place + 12], "big") > 1
            if kind == b"IDAT":
                return False
            place += 12 + length
    return (
        data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and bool(data[20] & 2) if len(data) > 20 else False
    )


def image_size(data: bytes) -> tuple[int, int] | None:
    """Declared width and height in pixels of JPEG, PNG, GIF, BMP, WebP and TIFF; None where not found.

    Args:
        data: the file; of a TIFF the directory may lie at its end.
    """
    try:
        if data[:8] == _PNG:
            return struct.unpack_from(">II", data, 16)
        if data[:3] == b"GIF":
            return struct.unpack_from("<HH", data, 6)
        if data[:2] == b"BM":
            width, height = struct.unpack_from("<ii", data, 18)
            return width, abs(height)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        if data[:2] == b"\xff\xd8":
            return _jpeg_size(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data)
    except struct.error:
        pass
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    width, height = tiff_value(data, 256), tiff_value(data, 257)  # ImageWidth, ImageLength
    return None if width is None or height is None else (width, height)


def tiff_value(data: bytes, tag: int) -> int | None:
    """The first number of a tag in the first directory of a TIFF structure; None where there is none.

    Args:
        data: the structure: a TIFF file, or the EXIF block of another.
        tag: of the type SHORT or LONG (TIFF 6.0, section 2).
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return None
    try:
        (offset,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, offset)
        for place in range(offset + 2, offset + 2 + 12 * count, 12):
            found, kind = struct.unpack_from(f"{order}HH", data, place)
            if found == tag:
                return int(struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, place + 8)[0])
    except struct.error:
        pass
    return None
