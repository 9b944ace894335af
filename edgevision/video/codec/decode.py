"""Decoding of packets into frames, for files and streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.errors import SourceError
from edgevision.types import Image
from edgevision.video.codec.colour import ColourConverter
from edgevision.video.codec.orientation import Orientation, frame_orientation
from edgevision.video.codec.timeline import BestEffortTimes, Timeline

_LONGEST_GAP_NS = 10_000_000_000  # ffmpeg's -dts_delta_threshold, by which it joins such recordings

DEFAULT_RATE = 25.0
"""Assumed frames per second if none is declared."""

FILE_THREADS = 1
"""Decoder threads of every file, in every command. The frames of a damaged file depend on the number, and
with two or more they differ from run to run (measured: MPEG-4 with flipped bytes), so it is one."""

MAX_PIXELS = 250_000_000
"""The largest image that is decoded: 750 MB as BGR. A file of a few MB can declare more than memory holds."""

LIBRARY_ERRORS = (
    av.error.FFmpegError, OSError, ValueError, LookupError, ArithmeticError, MemoryError, RuntimeError
)  # fmt: skip
"""What libraries raise at a file that they cannot take; each is the end of that file, not of the run."""

_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS of libavformat/avformat.h
_ENOUGH_TIMES = 6
_DENIED = 1.5  # declared rates are rounded, and some count fields or leave out repeated frames

_EXTRAS = (
    av.stream.Disposition.attached_pic  # cover art
    | av.stream.Disposition.timed_thumbnails
    | av.stream.Disposition.dependent  # a tile of a larger image
)


def video_stream(container: av.container.InputContainer, name: str) -> VideoStream:
    """The video stream that players show.

    Cover art, tiles and thumbnails do not count. Of several streams a moving one is preferred to a still one,
    then one that is flagged as default, then the largest, then the one of the highest bit rate (of variants
    in a playlist), then the first.

    Raises:
        SourceError: there is none that can be decoded; the message lists the streams that exist.
    """
    found = _video_streams(container)
    known = [stream for stream in found if stream.codec_context is not None]
    if known:
        return max(known, key=_preference)  # the first of equals
    if found:
        raise SourceError(f"{name} has a video stream of an unknown codec; convert it to H.264 first")
    names = {stream.codec_context and stream.codec_context.name for stream in container.streams.audio}
    held = ", ".join(f"audio ({codec or 'unknown codec'})" for codec in sorted(names, key=str))
    raise SourceError(
        f"{name} has no video stream, only {held or 'nothing that can be displayed'}; choose a video"
    )


def stream_notes(container: av.container.InputContainer, chosen: VideoStream) -> list[str]:
    """One line if the container has several video streams; none otherwise."""
    count = len(_video_streams(container))
    if count < 2:
        return []
    return [
        f"{count} video streams: number {chosen.index} is used "
        f"({chosen.codec_context.name}, {chosen.codec_context.width}x{chosen.codec_context.height})"
    ]


def _video_streams(container: av.container.InputContainer) -> Sequence[VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & _EXTRAS]


def _preference(stream: VideoStream) -> tuple[bool, bool, int, int]:
    context = stream.codec_context
    return (
        stream.frames != 1,
        bool(stream.disposition & av.stream.Disposition.default),
        context.width * context.height,
        int(stream.metadata.get("variant_bitrate", "0")),
    )


def frame_rate(stream: VideoStream) -> float | None:
    """Declared frames per second, or None.

    A format without times (raw H.264) has no rate but its demuxer's default; the codec's own comes first.
    """
    rates = (stream.average_rate, stream.guessed_rate)
    rate = next(filter(None, reversed(rates) if has_no_times(stream.container) else rates), None)
    return float(rate) if rate else None


def has_no_times(container: av.container.Container) -> bool:
    """Whether its format holds no times, such as raw H.264 and JPEG images in a row: FFmpeg counts 25 a
    second, or what the codec says."""
    return bool(int(container.format.flags) & _NO_TIMESTAMPS)


def discard_others(container: av.container.InputContainer, *chosen: av.stream.Stream) -> None:
    """Has a playlist's other variants (HLS) not fetched any more."""
    if container.format.name == "hls":
        for stream in container.streams:
            stream.discard = av.stream.Discard.default if stream in chosen else av.stream.Discard.all


def recorded_timeline(container: av.container.InputContainer, rate: float | None) -> Timeline:
    """The times of a recording's frames; ``rate`` is what :func:`frame_rate` says."""
    may_begin_anew = av.format.Flags.ts_discont in av.format.Flags(container.format.flags)
    return Timeline(round(1e9 / (rate or DEFAULT_RATE)), _LONGEST_GAP_NS if may_begin_anew else None)


def declared_end_ns(container: av.container.InputContainer) -> int | None:
    """Where a recording says that it ends, on its own clock, in nanoseconds; None where nothing else than its
    last frame would say so."""
    if container.format.name != "flv" and "matroska" not in container.format.name:
        return None
    if not container.duration:
        return None
    return ((container.start_time or 0) + container.duration) * (1_000_000_000 // av.time_base)


def packets_of(container: av.container.InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets of a stream, and at its end an empty one that flushes the decoder."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:  # PyAV at the end of a transport stream in which another stream has begun
            flush = cast("Packet[VideoStream]", Packet())
            flush.stream = stream
            yield flush
            return
        if packet is None:
            return
        yield packet


def library_reason(error: Exception) -> str:
    """What a library says, in one line.

    PyAV appends the last line that FFmpeg logged as an error, of whichever file that was: that is left out.
    """
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


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
        last_pts: best time of the newest frame, in the stream's time base.
        end_pts: end of the newest frame where its duration is known, else its own time.
        end_byte: where the newest packet that could be decoded ends in its file; None if not known.
        orientation: orientation of the newest frame.
    """

    def __init__(self, stream: VideoStream, *, threads: int = 0, frame_threads: bool = True) -> None:
        stream.thread_type = "AUTO" if frame_threads else "SLICE"
        stream.codec_context.thread_count = threads
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        self.sent = 0
        self.decoded = 0
        self.errors = 0
        self.damaged = 0
        self.last_pts: int | None = None
        self.end_pts: int | None = None
        self.end_byte: int | None = None
        self.orientation = Orientation()
        self._stream = stream
        self._packet: Packet[VideoStream] | None = None
        self._times = BestEffortTimes()
        self._colours = ColourConverter()

    def decode(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """The frames that this packet completes; an empty packet flushes the decoder."""
        if packet.size and not packet.is_discard:  # an edit list hides discarded packets on purpose
            self.sent += 1
        return self._decode(packet)

    def flush(self) -> list[VideoFrame]:
        """The frames that the decoder still holds after the packets ended early."""
        return self._decode(None)

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        if packet is not None and packet.size:
            self._packet = packet
        try:
            found = self._stream.codec_context.decode(packet)
        except av.error.FFmpegError:  # each codec library has errors of its own
            self.errors += 1
            return []
        self.decoded += len(found)
        if packet is not None and packet.size and packet.pos is not None and packet.pos >= 0:
            self.end_byte = packet.pos + packet.size
        return found

    def time_ns(self, frame: VideoFrame) -> int | None:
        """Presentation time on the stream's own clock, in nanoseconds; None if the stream has none.

        To be called once for each frame, in order.
        """
        base = self._stream.time_base
        time = self._times.next(frame.pts, frame.dts)
        if time is None and self.end_pts is not None and frame.duration:
            time = self.end_pts  # the decoder's last frames have no packet of their own
        self.last_pts = time if time is not None else self.last_pts
        if time is None or base is None:
            return None
        self.end_pts = time + frame.duration
        return round(time * base * 1_000_000_000)

    def image(self, frame: VideoFrame) -> Image:
        """The frame as an upright BGR image, uint8 ``[H, W, 3]``.

        Raises:
            av.error.FFmpegError, ValueError: its pixel format cannot be converted.
        """
        if frame.is_corrupt:
            self.damaged += 1
        image = self._colours(frame)
        self.orientation = frame_orientation(frame, self._packet)
        return self.orientation.apply(image)

    def duration_ns(self, frame: VideoFrame) -> int:
        """How long the frame stays, in nanoseconds; 0 where the stream does not say."""
        base = self._stream.time_base
        return 0 if base is None else round(frame.duration * base * 1_000_000_000)

    def notes(self) -> list[str]:
        """What the user should know about the frames so far, one line each."""
        return [*self._colours.notes(), *damage_notes(self.damaged)]


def damage_notes(damaged: int) -> list[str]:
    """One line about the number of damaged frames; none if there are none."""
    if not damaged:
        return []
    return [f"{damaged} damaged {'frame' if damaged == 1 else 'frames'}; the decoder concealed the errors"]


def real_rate(stream: VideoStream, packets: Sequence[Packet[VideoStream]]) -> float | None:
    """Frames per second of a file: as declared, unless the times of its packets deny that.

    Args:
        stream: the video stream.
        packets: its first ones, in order.
    """
    declared, base = frame_rate(stream), stream.time_base
    moments = sorted({packet.pts for packet in packets if packet.size and packet.pts is not None})
    if base is None or len(moments) < _ENOUGH_TIMES:
        return declared
    measured = 1 / float(np.median(np.diff(moments)) * float(base))
    if declared is None or not 1 / _DENIED < measured / declared < _DENIED:
        return measured
    return declared
