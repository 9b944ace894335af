"""The part of protobuf's wire format that is needed to read and write a model's metadata.

See https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

Buffer = bytes | mmap.mmap

_LENGTH_DELIMITED = 2


def fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields ``(field number, start, start of the value, end)`` for each field in ``data[start:end]``.

    Raises:
        IndexError, ValueError: the bytes are not a message.
    """
    position = start
    while position < end:
        tag, body = _varint(data, position)
        kind = tag & 7
        if kind == 0:
            _, stop = _varint(data, body)
        elif kind == 1:
            stop = body + 8
        elif kind == _LENGTH_DELIMITED:
            length, body = _varint(data, body)
            stop = body + length
        elif kind == 5:
            stop = body + 4
        else:
            raise ValueError(f"wire type {kind}")
        if stop > end or tag >> 3 == 0:
            raise ValueError("field runs past the end")
        yield tag >> 3, position, body, stop
        position = stop


def _varint(data: Buffer, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_field(number: int, body: bytes) -> bytes:
    """A length-delimited field, such as a string or an embedded message."""
    return _encode_varint(number << 3 | _LENGTH_DELIMITED) + _encode_varint(len(body)) + body
