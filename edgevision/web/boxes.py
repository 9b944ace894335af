"""What was found in a recording without drawings, for a part of it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec

from edgevision.errors import SinkError

_LARGEST = 16 * 2**20


class _Moment(msgspec.Struct):
    """The time of a line, in ticks of 1/90000 s."""

    t: int


_DECODER = msgspec.json.Decoder(_Moment)


def boxes_between(path: Path, begin: int, end: int) -> tuple[bytes, int | None]:
    """The lines of a part of a recording, at most 16 MiB, and where the rest begins (None without one).

    Args:
        path: see :func:`edgevision.recording.segment.notes_path`; it may grow.
        begin, end: of the part, in ticks of 1/90000 s since the start of the file; without ``end`` itself.

    Raises:
        SinkError: it cannot be read, or holds something else.
    """
    found: list[bytes] = []
    size = 0
    try:
        with path.open("rb") as file:
            _seek(file, begin)
            for line in file:
                if not line.endswith(b"\n") or (moment := _DECODER.decode(line).t) >= end:
                    break
                if size > _LARGEST:
                    return b"".join(found), moment
                found.append(line)
                size += len(line)
    except (OSError, msgspec.DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SinkError(f"cannot read {path.name}: {reason}") from error
    return b"".join(found), None


def _seek(file: BinaryIO, begin: int) -> None:
    """Goes to the first line whose time is ``begin`` or later, by halving."""
    low, high = 0, file.seek(0, 2)
    while low < high:
        middle = (low + high) // 2
        _to_line(file, middle)
        line = file.readline()
        if not line.endswith(b"\n") or _DECODER.decode(line).t >= begin:
            high = middle
        else:
            low = middle + 1
    _to_line(file, low)


def _to_line(file: BinaryIO, place: int) -> None:
    """Goes to the first line that begins at a place or behind it."""
    file.seek(max(0, place - 1))
    if place:
        file.readline()
