"""A source of images in memory: for tests, and for programs that produce their own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from edgevision.closeable import Closeable
from edgevision.types import Frame, Image
from edgevision.video.base import SourceInfo, SourceReport


class ArraySource(Closeable):
    """Yields the given images with the given times.

    Args:
        images: uint8 ``[H, W, 3]`` each, BGR; their sizes may differ.
        timestamps_ns: one per image, increasing; by default spaced by ``frame_rate``.
        frame_rate: frames per second.
        is_live: True delivers each image at its time and not earlier, like a camera.
        name: display name.

    Raises:
        ValueError: the numbers of times and images differ.

    Example:
        >>> import numpy as np
        >>> with ArraySource([np.zeros((4, 6, 3), np.uint8)] * 3, frame_rate=10) as source:
        ...     [frame.time_s for frame in source]
        [0.0, 0.1, 0.2]
    """

    def __init__(
        self,
        images: Sequence[Image],
        timestamps_ns: Sequence[int] | None = None,
        *,
        frame_rate: float = 25.0,
        is_live: bool = False,
        name: str = "arrays",
    ) -> None:
        if timestamps_ns is None:
            timestamps_ns = [round(i * 1e9 / frame_rate) for i in range(len(images))]
        if len(timestamps_ns) != len(images):
            raise ValueError(f"{len(images)} images but {len(timestamps_ns)} timestamps; expected one each")
        sizes = {image.shape[:2] for image in images}
        height, width = sizes.pop() if len(sizes) == 1 else (None, None)
        self.info = SourceInfo(name, is_live, width, height, frame_rate, None if is_live else len(images))
        self.report = SourceReport()
        self._images = images
        self._timestamps_ns = timestamps_ns
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        start_ns = time.monotonic_ns()
        for index, (image, moment) in enumerate(zip(self._images, self._timestamps_ns, strict=True)):
            if self.info.is_live:
                time.sleep(max(0, start_ns + moment - time.monotonic_ns()) / 1e9)
            if self._closed:
                return
            self.report.read += 1
            yield Frame(image, index, moment, self.info.name)

    def close(self) -> None:
        self._closed = True
