"""From packets to frames: what files and streams have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from edgevision.errors import SourceError
from edgevision.types import Frame, Image
from edgevision.video.base import FailReason, SourceReport
from edgevision.video.orientation import Orientation
from edgevision.video.timeline import Timeline

_DEFAULT_RATE = 25.0


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
        name: the source, for people.
        report: gets the counts and the notes.
        threads: for decoding; 0 lets FFmpeg choose.
        frame_threads: False decodes one frame at a time, so that an error belongs to its packet.

    Attributes:
        sent: packets that should become frames.
        decoded, errors: frames that came out, and packets that failed.
        last_pts: of the newest frame, in the stream's time base.
        orientation: of the newest frame.
    """

    def __init__(
        self,
        stream: VideoStream,
        name: str,
        report: SourceReport,
        *,
        threads: int = 0,
        frame_threads: bool = True,
    ) -> None:
        stream.thread_type = "AUTO" if frame_threads else "SLICE"
        stream.codec_context.thread_count = threads
        self.timeline = Timeline(round(1e9 / (frame_rate(stream) or _DEFAULT_RATE)))
        self.sent = 0
        self.decoded = 0
        self.errors = 0
        self.damaged = 0
        self.last_pts: int | None = None
        self.orientation = Orientation()
        self._index = 0
        self._stream = stream
        self._name = name
        self._report = report
        # One for all frames, and one thread: a context a frame, or slices of so small a job, cost double.
        self._reformatter = VideoReformatter()

    def decode(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """The frames that this packet completes; an empty packet empties the decoder."""
        if packet.size:
            self.sent += not packet.is_discard  # an edit list hides these on purpose
        try:
            found = packet.decode()
        except (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.UnknownError):
            self.errors += 1
            self._report.failed[FailReason.UNDECODABLE] += 1
            return []
        self.decoded += len(found)
        return found

    def frame(self, picture: VideoFrame) -> Frame:
        """The picture as BGR, upright, with its place and time."""
        if picture.pts is not None:
            self.last_pts = picture.pts
        base = self._stream.time_base
        known = picture.pts is not None and base is not None
        moment = round(picture.pts * base * 1_000_000_000) if known else None  # type: ignore[operator]
        self.damaged += picture.is_corrupt
        frame = Frame(self._image(picture), self._index, self.timeline.next(moment), self._name)
        self._index += 1
        return frame

    def _image(self, picture: VideoFrame) -> Image:
        image = np.asarray(
            self._reformatter.reformat(picture, format="bgr24", threads=1).to_ndarray(), np.uint8
        )
        self.orientation = Orientation()
        side_data = cast(Mapping[str, Any], picture.side_data)  # PyAV's stubs promise a plain dict
        if "DISPLAYMATRIX" in side_data:
            self.orientation = Orientation.from_display_matrix(bytes(side_data["DISPLAYMATRIX"]))
        return self.orientation.apply(image)

    def notes(self) -> Iterator[str]:
        """What happened on the way, one line each."""
        yield from self.timeline.notes()
        if self.damaged:
            yield f"{self.damaged} damaged frames are shown as far as the decoder could mend them"
