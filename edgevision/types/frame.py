"""One image from a source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgevision.types.arrays import Image


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image from a source.

    Attributes:
        image: uint8 ``[H, W, 3]``, BGR.
        index: position in the source, from 0; frames that could not be decoded are not counted.
        timestamp_ns: presentation time, in nanoseconds since the source's first frame.
        source: the name that users see for the source (no credentials).
        duration_ns: how long it stays, in nanoseconds; 0 where the source does not say.
    """

    image: Image
    index: int
    timestamp_ns: int
    source: str = ""
    duration_ns: int = 0

    def __repr__(self) -> str:
        return f"<Frame {self.index} of {self.source!r} at {self.time_s:g} s: {self.width}x{self.height}>"

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(
                f"a frame is uint8 [H, W, 3] in BGR; found {self.image.dtype} {list(self.image.shape)}"
            )

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        return int(self.image.shape[0])

    @property
    def time_s(self) -> float:
        """Presentation time in seconds."""
        return self.timestamp_ns / 1e9
