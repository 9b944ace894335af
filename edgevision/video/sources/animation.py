"""Animated WebP, which FFmpeg does not decode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edgevision.closeable import Closeable
from edgevision.errors import SourceError, printable
from edgevision.types import Frame, Image
from edgevision.video.base import SourceInfo, SourceReport
from edgevision.video.codec.colour import over_white
from edgevision.video.codec.decode import MAX_PIXELS
from edgevision.video.codec.image_header import image_size

_CHUNK_PIXELS = 1 << 26  # decoded at a time; each chunk begins at the first image again
_SHORTEST_MS = 10  # browsers show what is declared shorter for 100 ms
_USUAL_MS = 100


class AnimationSource(Closeable):
    """The images of an animated WebP, each with its own duration; transparent pixels are white.

    Args:
        path: the file.

    Raises:
        SourceError: it cannot be read, or is larger than :data:`MAX_PIXELS`.
    """

    def __init__(self, path: Path) -> None:
        self.report = SourceReport()
        self._path = path
        self._closed = False
        try:
            with path.open("rb") as stream:
                size = image_size(stream.read(64))
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror}") from error
        if size is None or not 0 < size[0] * size[1] <= MAX_PIXELS:
            raise SourceError(f"{path} is damaged, or larger than {MAX_PIXELS // 1_000_000} million pixels")
        self._step = max(1, _CHUNK_PIXELS // (size[0] * size[1]))
        self._first, durations = self._chunk(0)
        if not self._first:
            raise SourceError(f"{path} is not an image that OpenCV can read; copy it again")
        self.info = SourceInfo(
            name=printable(str(path)),
            is_live=False,
            width=size[0],
            height=size[1],
            frame_rate=1000 / float(np.median(durations)),
            frame_count=cv2.imcount(str(path)) or None,
            path=path,
        )
        self._durations = durations

    def __iter__(self) -> Iterator[Frame]:
        images, durations = self._first, self._durations
        self._first = []
        moment_ms = 0
        while images:
            for image, duration_ms in zip(images, durations, strict=True):
                if self._closed:
                    return
                index = self.report.read
                self.report.read += 1
                yield Frame(image, index, moment_ms * 1_000_000, str(self._path), duration_ms * 1_000_000)
                moment_ms += duration_ms
            images, durations = self._chunk(self.report.read)

    def close(self) -> None:
        self._closed = True

    def _chunk(self, start: int) -> tuple[list[Image], list[int]]:
        """Images from ``start`` on, and how long each stays, in milliseconds."""
        if start and start >= (self.info.frame_count or 0):
            return [], []
        try:
            is_read, animation = cv2.imreadanimation(str(self._path), start=start, count=self._step)
        except cv2.error as error:
            self.report.problem = f"{self.info.name}: reading stopped: {error.err}"
            return [], []
        if not is_read:
            return [], []
        images = [
            over_white(image) if image.shape[2] == 4 else np.asarray(image, np.uint8)
            for image in animation.frames
        ]
        durations = [int(ms) if ms > _SHORTEST_MS else _USUAL_MS for ms in animation.durations]
        return images, durations
