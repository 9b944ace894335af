"""From packets to frames: what files and streams have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from edgevision.errors import SourceError
from edgevision.types import Image
from edgevision.video.codec.orientation import Orientation

DEFAULT_RATE = 25.0
"""Frames a second where nobody says."""


def video_stream(container: av.container.InputContainer, name: str) -> VideoStream:
    """The stream of moving pictures; cover art does not count.

    Raises:
        SourceError: there is none; the message says what there is.
    """
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    kinds = sorted({f"{stream.type} ({stream.codec_context.name})" for stream in container.streams.audio})
    held = ", ".join(kinds) or "nothing that can be shown"
    raise SourceError(f"{name} has no video stream, only {held}; choose a file with pictures")


def frame_rate(stream: VideoStream) -> float | None:
    """Frames a second as declared, or None."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


class Decoder:
    """Decodes the packets of one video stream; what cannot be decoded is passed over and counted.

    Args:
        stream: an input stream whose codec has not been opened yet.
        threads: for decoding; 0 lets FFmpeg choose.
        frame_threads: False decodes one frame at a time: an error belongs to its packet, and no frame is
            held back while others are on their way.

    Attributes:
        sent: packets that should become frames.
        decoded, errors: frames that came out, and packets that failed.
        damaged: frames that the decoder mended as far as it could.
        last_pts: of the newest frame, in the stream's time base.
        orientation: of the newest frame.
    """

    def __init__(self, stream: VideoStream, *, threads: int = 0, frame_threads: bool = True) -> None:
        stream.thread_type = "AUTO" if frame_threads else "SLICE"
        stream.codec_context.thread_count = threads
        self.sent = 0
        self.decoded = 0
        self.errors = 0
        self.damaged = 0
        self.last_pts: int | None = None
        self.orientation = Orientation()
        self._stream = stream
        # One for all frames, and one thread: a context a frame, or slices of so small a job, cost double.
        self._reformatter = VideoReformatter()

    def decode(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """The frames that this packet completes; an empty packet empties the decoder."""
        if packet.size:
            self.sent += not packet.is_discard  # an edit list hides these on purpose
        return self._decode(packet)

    def flush(self) -> list[VideoFrame]:
        """The frames that the decoder still holds, where the packets broke off."""
        return self._decode(None)

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        try:
            found = self._stream.codec_context.decode(packet)
        except (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.UnknownError):
            self.errors += 1
            return []
        self.decoded += len(found)
        return found

    def time_ns(self, picture: VideoFrame) -> int | None:
        """When to show it on the stream's own clock, in nanoseconds; None where the stream does not say."""
        base = self._stream.time_base
        if picture.pts is None or base is None:
            return None
        self.last_pts = picture.pts
        return round(picture.pts * base * 1_000_000_000)

    def image(self, picture: VideoFrame) -> Image:
        """The picture as BGR, upright."""
        self.damaged += picture.is_corrupt
        image = np.asarray(
            self._reformatter.reformat(picture, format="bgr24", threads=1).to_ndarray(), np.uint8
        )
        self.orientation = Orientation()
        side_data = cast(Mapping[str, Any], picture.side_data)  # PyAV's stubs promise a plain dict
        if "DISPLAYMATRIX" in side_data:
            self.orientation = Orientation.from_display_matrix(bytes(side_data["DISPLAYMATRIX"]))
        return self.orientation.apply(image)


def damage_notes(damaged: int) -> list[str]:
    """What people should know about that many damaged frames: one line, or none."""
    if not damaged:
        return []
    return [f"{damaged} damaged frames are shown as far as the decoder could mend them"]
