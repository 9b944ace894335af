"""A recording that never ends, in the room of one segment."""

from __future__ import annotations

from pathlib import Path

from edgevision.types import FrameResult, Image
from edgevision.video import Sink, open_sink
from edgevision.video.base import SourceInfo

_SEGMENT_FRAMES = 1500


class SegmentSink(Sink):
    """Records in segments of a minute and keeps only the newest: the index of one endless MP4 would grow."""

    def __init__(self, folder: Path, info: SourceInfo) -> None:
        super().__init__("segments")
        self.took = self._left = 0
        self._path, self._info = folder / "soak.mp4", info
        self._segment: Sink | None = None

    def write(self, result: FrameResult, image: Image) -> None:
        self.took += 1
        declared = (self._info.height or image.shape[0], self._info.width or image.shape[1])
        # An encoder holds as much memory as its first image asks for, and each must hold the same.
        if image.shape[:2] == declared and (self._segment is None or self._left <= 0):
            self.close()
            self._segment = open_sink(str(self._path), info=self._info, overwrite=True)
            self._left = _SEGMENT_FRAMES
        if self._segment is not None:
            self._segment.write(result, image)
            self._left -= 1

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None
