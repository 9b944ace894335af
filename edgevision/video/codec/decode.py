"""Decoding of packets into frames, for files and streams."""

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
from edgevision.video.codec.timeline import Timeline

_LONGEST_GAP_NS = 10_000_000_000  # ffmpeg's -dts_delta_threshold, by which it joins such recordings

DEFAULT_RATE = 25.0
"""Assumed frames per second if none is declared."""


def video_stream(container: av.container.InputContainer, name: str) -> VideoStream:
    """The video stream of a container; cover art does not count.

    Raises:
        SourceError: there is none; the message lists the streams that exist.
    """
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    kinds = sorted({f"{stream.type} ({stream.codec_context.name})" for stream in container.streams.audio})
    held = ", ".join(kinds) or "nothing that can be displayed"
    raise SourceError(f"{name} has no video stream, only {held}; choose a video")


def frame_rate(stream: VideoStream) -> float | None:
    """Declared frames per second, or None."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


def recorded_timeline(container: av.container.InputContainer, rate: float | None) -> Timeline:
    """The times of a recording's frames; ``rate`` is what :func:`frame_rate` says."""
    may_begin_anew = av.format.Flags.ts_discont in av.format.Flags(container.format.flags)
    return Timeline(round(1e9 / (rate or DEFAULT_RATE)), _LONGEST_GAP_NS if may_begin_anew else None)


class Decoder:
    """Decodes the packets of one video stream; packets that cannot be decoded are skipped and counted.

    Args:
        stream: an input stream whose codec has not been opened yet.
        threads: decoder threads; 0 lets FFmpeg choose.
        frame_threads: False decodes one frame at a time: an error belongs to its packet, and no frame is
            held back while later ones are decoded.

    Attributes:
        sent: number of packets that should become frames.
        decoded, errors: numbers of decoded frames and of failed packets.
        damaged: number of frames in which the decoder concealed errors.
        last_pts: presentation time of the newest frame, in the stream's time base.
        orientation: orientation of the newest frame.
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
        # One context, one thread: a context per frame, or slices of such small jobs, cost twice as much.
        self._reformatter = VideoReformatter()

    def decode(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """The frames that this packet completes; an empty packet flushes the decoder."""
        if packet.size and not packet.is_discard:  # an edit list hides discarded packets on purpose
            self.sent += 1
        return self._decode(packet)

    def flush(self) -> list[VideoFrame]:
        """The frames that the decoder still holds after the packets ended early."""
        return self._decode(None)

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        try:
            found = self._stream.codec_context.decode(packet)
        except (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.UnknownError):
            self.errors += 1
            return []
        self.decoded += len(found)
        return found

    def time_ns(self, frame: VideoFrame) -> int | None:
        """Presentation time on the stream's own clock, in nanoseconds; None if the stream has none."""
        base = self._stream.time_base
        if frame.pts is None or base is None:
            return None
        self.last_pts = frame.pts
        return round(frame.pts * base * 1_000_000_000)

    def image(self, frame: VideoFrame) -> Image:
        """The frame as an upright BGR image, uint8 ``[H, W, 3]``."""
        if frame.is_corrupt:
            self.damaged += 1
        image = np.asarray(
            self._reformatter.reformat(frame, format="bgr24", threads=1).to_ndarray(), np.uint8
        )
        self.orientation = Orientation()
        side_data = cast(Mapping[str, Any], frame.side_data)  # PyAV's stubs promise a plain dict
        if "DISPLAYMATRIX" in side_data:
            self.orientation = Orientation.from_display_matrix(bytes(side_data["DISPLAYMATRIX"]))
        return self.orientation.apply(image)


def damage_notes(damaged: int) -> list[str]:
    """One line about the number of damaged frames; none if there are none."""
    if not damaged:
        return []
    return [f"{damaged} damaged {'frame' if damaged == 1 else 'frames'}; the decoder concealed the errors"]
