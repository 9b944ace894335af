"""One who looks at a stream: what waits to be sent, and what a slow client loses of it."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any

import msgspec

_VIEWER_BYTES = 4 * 2**20
_JPEG_UNDERWAY = 2


def message(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """One message: the header's length (4 bytes, big-endian), the header as JSON, the payload."""
    text = msgspec.json.encode(header)
    return struct.pack(">I", len(text)) + text + payload


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that viewers of one kind get.

    Attributes:
        data: the message.
        kind: ``h264`` or ``jpeg``.
        is_key: a viewer can begin here.
        is_init: it describes what follows.
    """

    data: bytes
    kind: str = "h264"
    is_key: bool = False
    is_init: bool = False


class Viewer:
    """One socket's queue; used on the server's loop only.

    Args:
        kind: ``h264`` or ``jpeg``.

    Attributes:
        sent, lost: images that went out, and that did not because the client is slow.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.sent = self.lost = 0
        self._pieces: deque[Piece] = deque()
        self._bytes = 0
        self._needs_key = False
        self._underway = 0
        self._changed = asyncio.Event()
        self._is_over = False

    def offer(self, piece: Piece) -> None:
        """Takes what was encoded, or leaves it out."""
        if self.kind == "jpeg":
            self.lost += len(self._pieces)
            self._pieces.clear()
        else:
            if self._needs_key and not (piece.is_key or piece.is_init):
                self.lost += 1
                return
            if piece.is_key:
                self._needs_key = False
            if self._bytes + len(piece.data) > _VIEWER_BYTES:
                self.lost += sum(not one.is_init for one in self._pieces)
                kept = [one for one in self._pieces if one.is_init][-1:]
                self._pieces = deque(kept)
                self._bytes = sum(len(one.data) for one in kept)
                if not (piece.is_key or piece.is_init):
                    self._needs_key = True
                    self.lost += 1
                    return
        self._pieces.append(piece)
        self._bytes += len(piece.data)
        self._changed.set()

    def shown(self) -> None:
        """The client has drawn a JPEG, and can take another."""
        self._underway = max(0, self._underway - 1)
        self._changed.set()

    def end(self) -> None:
        """The stream is over."""
        self._is_over = True
        self._changed.set()

    async def next(self) -> bytes | None:
        """The next message; None at the end of the stream."""
        while True:
            if self._pieces and (self.kind != "jpeg" or self._underway < _JPEG_UNDERWAY):
                piece = self._pieces.popleft()
                self._bytes -= len(piece.data)
                self._underway += 1
                self.sent += not piece.is_init
                return piece.data
            if self._is_over:
                return None
            self._changed.clear()
            await self._changed.wait()
