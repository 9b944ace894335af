"""Results kept in memory: for tests, and for programs that look at a whole run afterwards."""

from __future__ import annotations

from edgevision.types import FrameResult, Image
from edgevision.video.base import Sink


class ListSink(Sink):
    """Keeps the result of each frame, and the image that was drawn.

    Memory grows with every frame: a minute of 720p at 25 frames a second takes 4 GB. It is for short runs.

    Attributes:
        results: one for each frame, in order.
        images: uint8 ``[H, W, 3]``, BGR, one for each frame, as :meth:`Sink.write` got them.

    Example:
        >>> import numpy as np
        >>> from edgevision.types import Frame
        >>> frame = Frame(np.zeros((48, 64, 3), np.uint8), 7, 0)
        >>> with ListSink() as sink:
        ...     sink.write(FrameResult(frame, ()), frame.image)
        >>> [result.frame.index for result in sink.results]
        [7]
    """

    def __init__(self) -> None:
        super().__init__("list")
        self.results: list[FrameResult] = []
        self.images: list[Image] = []

    def write(self, result: FrameResult, image: Image) -> None:
        """Keeps the frame."""
        self.results.append(result)
        self.images.append(image)
