"""A recording that never ends, in the room of one segment."""

from __future__ import annotations

from pathlib import Path

from edgevision.types import Frame, Image, Result
from edgevision.video import Sink, open_sink
from edgevision.video.base import SourceInfo

_SEGMENT_FRAMES = 1500


class SegmentSink:
    """Records in segments of a minute and keeps only the newest: the index of one endless MP4 would grow."""

    closed = False

    def __init__(self, folder: Path, info: SourceInfo) -> None:
        self.name = "segments"
        self.notes: list[str] = []
        self.took = 0
        self._path, self._info = folder / "soak.mp4", info
        self._segment: Sink | None = None

    def write(self, frame: Frame, picture: Image, results: tuple[Result, ...]) -> None:
        if self._segment is not None and self.took % _SEGMENT_FRAMES == 0:
            self.close()
        if self._segment is None:
            self._segment = open_sink(str(self._path), info=self._info, overwrite=True)
        self._segment.write(frame, picture, results)
        self.took += 1

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def __enter__(self) -> SegmentSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
