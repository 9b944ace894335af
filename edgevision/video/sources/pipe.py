"""Video from standard input, as another program writes it."""

from __future__ import annotations

import dataclasses
import sys
import threading
from pathlib import Path

from edgevision.errors import SourceError
from edgevision.video.sources.file import FileSource

ADDRESS = "-"
NAME = "standard input"
READ_TWICE = (
    "standard input is read by another stream, and nobody can read it twice; "
    "expected one stream with the source -"
)
_STDIN = Path("/dev/stdin")
_READING = threading.Lock()
"""Held while standard input is read: each of two readers would get a part of the bytes."""


class PipeSource(FileSource):
    """A recording that is piped in, in a format that needs no jumps (MPEG-TS, Matroska, FLV, fragmented MP4).

    Every frame is read; who writes waits. There is one at a time in a process.

    Raises:
        SourceError: standard input is read already, is a terminal, or holds no video.
    """

    def __init__(self) -> None:
        if sys.stdin is not None and sys.stdin.isatty():
            raise SourceError(
                "standard input is a terminal; expected a video that another program writes to it"
            )
        if not _READING.acquire(blocking=False):
            raise SourceError(READ_TWICE)
        self._is_reading = True
        try:
            super().__init__(_STDIN, name=NAME)
        except BaseException:
            self._give_back()
            raise
        # No path: nobody else can read it again, for its sound or by its name.
        self.info = dataclasses.replace(self.info, path=None)

    def _close_container(self) -> None:
        super()._close_container()
        self._give_back()

    def _give_back(self) -> None:
        if self._is_reading:
            self._is_reading = False
            _READING.release()
