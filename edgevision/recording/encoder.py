"""Encodes images as H.264 once, whether they are kept in memory, recorded, or both."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.video.frame import PictureType

from edgevision.types import Image
from edgevision.video.codec.h264 import TIME_BASE, YuvConverter, add_h264_stream
from edgevision.video.sinks.muxing import MAX_TICKS

# No B-frames, so packets come in the order of the images and a file can be cut before any key frame.
# Measured on 200 frames of 768x432 (06, two cores): veryfast 334 kB with B-frames and a look-ahead of 10,
# 339 kB so, 723 kB with tune=zerolatency; 4.4 ms of CPU a frame each.
_OPTIONS = {"preset": "veryfast", "crf": "23", "bf": "0", "rc-lookahead": "5"}
# Every image leaves at once, for those who look at the same time.
_AT_ONCE = {"preset": "veryfast", "tune": "zerolatency", "crf": "25", "bf": "0"}


LONGEST_GAP = MAX_TICKS // 2
"""Ticks between two images of one file: 3.3 hours; after more a new file begins."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image as H.264 (Annex B, parameter sets before each key frame).

    Attributes:
        data: the bytes.
        pts: when it is shown, in ticks of 1/90000 s of the source's time.
        is_key: decoding can begin here.
        note: what was found in it; empty where that is drawn on it.
        at_ms: when it was given to the encoder, in milliseconds since 1970.
    """

    data: bytes
    pts: int
    is_key: bool
    note: bytes = b""
    at_ms: float = 0.0

    @property
    def size(self) -> int:
        """In bytes, with its note."""
        return len(self.data) + len(self.note)


class H264Encoder:
    """Encodes images of one size. It holds about six images at any time, unless each has to leave at once.

    Args:
        size: width and height, in pixels.
        rate: nominal frames a second.
        pixel_aspect: width of a pixel over its height.
        threads: to encode with.
        at_once: each image leaves before the next one comes, at a little less quality for the bytes.

    Attributes:
        pending: times of the images that are inside, in ticks.

    Raises:
        SinkError: this build has no x264.
    """

    def __init__(
        self,
        size: tuple[int, int],
        rate: float,
        pixel_aspect: Fraction = Fraction(1),
        threads: int = 2,
        *,
        at_once: bool = False,
    ) -> None:
        self.size = size
        self._notes: deque[tuple[bytes, float]] = deque()
        self.pending: deque[int] = deque()
        self._nowhere = av.open(os.devnull, "w", format="null")  # a stream must live in a container
        self._stream = add_h264_stream(
            self._nowhere,
            size,
            rate,
            options=_AT_ONCE if at_once else _OPTIONS,
            pixel_aspect=pixel_aspect,
            threads=threads,
        )
        self._to_yuv = YuvConverter()

    def encode(
        self, image: Image, pts: int, *, as_key: bool = False, note: bytes = b""
    ) -> list[EncodedImage]:
        """Takes one image and returns those that are finished.

        Args:
            image: uint8 ``[H, W, 3]``, BGR, of this encoder's size.
            pts: later than the one before.
            as_key: make it a key frame.
            note: goes with it.
        """
        frame = self._to_yuv(image)
        frame.pts, frame.time_base = pts, TIME_BASE
        frame.pict_type = PictureType.I if as_key else PictureType.NONE
        self.pending.append(pts)
        self._notes.append((note, time.time() * 1e3))
        return self._read(self._stream.encode(frame))

    def finish(self) -> list[EncodedImage]:
        """The images that were still inside. Nothing can be encoded afterwards."""
        done = self._read(self._stream.encode(None))
        self._nowhere.close()
        return done

    def _read(self, packets: Iterable[Any]) -> list[EncodedImage]:
        done = [
            EncodedImage(bytes(packet), packet.pts or 0, packet.is_keyframe, *self._notes.popleft())
            for packet in packets
        ]
        for _ in done:  # in the order in which they came
            self.pending.popleft()
        return done
