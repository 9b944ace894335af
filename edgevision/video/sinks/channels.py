"""The order of the channels of a QuickTime or MP4 file, read from the file itself.

An order that is not FFmpeg's own must not reach PyAV 18: each object that names such a layout frees it, which
ends the process (PyAV-Org/PyAV#148). So it is looked up here before sound is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

# Layout tags of Apple's CoreAudioBaseTypes.h which FFmpeg 8 knows (libavformat/mov_chan.c) but cannot name as
# one of its own layouts. All others it takes as its own, or as so many channels without an order.
_FOREIGN_TAGS = frozenset(
    {107, 109, 110, 111, 114, 116, 134, 135, 141, 142, 143, 144, 182}
    | set(range(118, 131)) - {121}
    | set(range(138, 141))
    | set(range(148, 180))
)
_BY_DESCRIPTIONS = 0
_ISO_RANKS = {0: 0, 1: 1, 2: 2, 3: 3, 8: 4, 9: 5, 6: 6, 7: 7, 10: 8, 4: 9, 5: 10}
"""Where a speaker position of ISO/IEC 23001-8 (table 7) stands in FFmpeg's order."""
_ISO_LAYOUTS = frozenset({1, 2, 9, 10})
"""Defined layouts of ISO/IEC 23001-8 (table 8) in FFmpeg's order: mono, stereo, 2/1 and 2/2."""
_LARGEST = 64 << 20  # bytes of an index that is read


def has_foreign_channel_order(path: Path) -> bool:
    """Whether the channels of a QuickTime or MP4 file are in an order that FFmpeg has no layout for.

    Raises:
        OSError: it cannot be read.
    """
    index = _index(path)
    if any(_is_foreign(index[at:]) for at in _found(index, b"chan")):
        return True
    return any(
        _is_foreign_iso(int.from_bytes(index[at - 4 : at], "big"), index[at:])
        for at in _found(index, b"chnl")
        if at >= 4
    )


def _found(data: bytes, name: bytes) -> Iterator[int]:
    at = data.find(name)
    while at >= 0:
        yield at
        at = data.find(name, at + 1)


def _is_foreign(box: bytes) -> bool:
    """``box`` begins with ``chan``; then version and flags, tag, bitmap and the number of descriptions."""
    if len(box) < 20:
        return False
    tag, _, count = struct.unpack(">III", box[8:20])
    if tag != _BY_DESCRIPTIONS:
        return tag >> 16 in _FOREIGN_TAGS
    # Each description has a label, flags and three coordinates. Labels 1 to 18 are in FFmpeg's order.
    labels = [
        struct.unpack(">I", box[at : at + 4])[0]
        for at in range(20, 20 + 20 * min(count, 64), 20)
        if at + 4 <= len(box)
    ]
    return bool(labels) and (labels != sorted(set(labels)) or labels[0] < 1 or labels[-1] > 18)


def _is_foreign_iso(size: int, box: bytes) -> bool:
    """Whether FFmpeg may lack a layout for a ``chnl`` box of MP4.

    Args:
        size: of the box in bytes.
        box: from its name on; then version and flags, structure, defined layout, positions (ISO/IEC
            14496-12, 12.2.4).
    """
    if len(box) < 10 or box[4]:
        return True
    if not box[8] & 1:  # objects, no channels
        return False
    if box[9]:
        return box[9] not in _ISO_LAYOUTS
    ranks = [_ISO_RANKS.get(position, -1) for position in box[10 : size - 4]]
    return -1 in ranks or ranks != sorted(set(ranks))


def _index(path: Path) -> bytes:
    """What a file's ``moov`` box holds (ISO/IEC 14496-12, 4.2); empty for other formats."""
    with path.open("rb") as file:
        length, at = file.seek(0, 2), 0
        while at + 8 <= length:
            file.seek(at)
            size, name = struct.unpack(">I4s", file.read(8))
            header = 8
            if size == 1:
                size, header = int.from_bytes(file.read(8), "big"), 16
            if size == 0:
                size = length - at
            if size < header or not name.isascii():
                break
            if name == b"moov":
                file.seek(at + header)
                return file.read(min(size - header, _LARGEST))
            at += size
    return b""
