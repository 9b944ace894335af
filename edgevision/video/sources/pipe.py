"""Video from standard input, as another program writes it."""

from __future__ import annotations

import dataclasses
import sys
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


class PipeSource(FileSource):
    """A recording that is piped in, in a format that needs no jumps (MPEG-TS, Matroska, FLV, fragmented MP4).

    Every frame is read; who writes waits.

    Raises:
        SourceError: standard input is a terminal, or holds no video.
    """

    def __init__(self) -> None:
        if sys.stdin is not None and sys.stdin.isatty():
            raise SourceError(
                "standard input is a terminal; expected a video that another program writes to it"
            )
        super().__init__(_STDIN, name=NAME)
        # No path: nobody else can read it again, for its sound or by its name.
        self.info = dataclasses.replace(self.info, path=None)
