"""Video files: every frame, in order, with its presentation time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.closeable import Closeable
from edgevision.errors import SourceError, printable
from edgevision.types import Frame, Image
from edgevision.video.base import FailReason, SourceInfo, SourceReport
from edgevision.video.codec.container import open_video_file
from edgevision.video.codec.damage import describe_unreadable, truncation
from edgevision.video.codec.decode import (
    FILE_THREADS,
    LIBRARY_ERRORS,
    MAX_PIXELS,
    Decoder,
    declared_end_ns,
    discard_others,
    library_reason,
    packets_of,
    real_rate,
    recorded_timeline,
    stream_notes,
    video_stream,
)
from edgevision.video.codec.timeline import WrongTimes

_TEXT_ART = frozenset(
    {"tty", "bin", "xbin", "adf", "idf"}
)  # FFmpeg would draw any .txt or .bin as a terminal
_GENERATE_TIMES = 0x1  # AVFMT_FLAG_GENPTS of libavformat/avformat.h
_CLOSE_S = 0.5  # to decode a frame takes less
_AHEAD_PACKETS = 60  # read before the first is decoded, to measure the rate
_AHEAD_BYTES = 8 << 20


class FileSource(Closeable):
    """A video file, read once from start to end.

    Times are the file's own (a variable frame rate is kept) and the display matrix of phones is applied.
    Frames that cannot be decoded are counted in ``report.skipped``; a truncated file delivers the frames that
    it contains, and ``report.problem`` reports it. The frame size may change within a file.

    Args:
        path: the file, in any container format that FFmpeg supports.
        threads: decoder threads. Frames of damaged files depend on it: see :data:`FILE_THREADS`.
        demuxer: FFmpeg's name of the format, where the content alone would not choose it.
        name: what people see instead of the path.

    Raises:
        SourceError: the file is missing, empty or not a video, or none of its frames can be decoded.
    """

    def __init__(
        self, path: Path, *, threads: int = FILE_THREADS, demuxer: str | None = None, name: str = ""
    ) -> None:
        self.report = SourceReport()
        self._path, self._name = path, name or str(path)
        self._lock = threading.Lock()
        self._closed = False
        self._index = 0
        self._container = _open(path, self._name, demuxer)
        # PyAV has FFmpeg invent times where there are none; those of AVI would be in decoding order.
        self._container.flags &= ~_GENERATE_TIMES
        try:
            self._stream = _checked_stream(self._container, self._name)
            self.report.notes += stream_notes(self._container, self._stream)
            discard_others(self._container, self._stream)
            packets, ahead = _read_ahead(packets_of(self._container, self._stream))
            rate = real_rate(self._stream, ahead)
            self._timeline = recorded_timeline(self._container, rate)
            self._times: WrongTimes[tuple[Image | None, int]] = WrongTimes(
                self._timeline, declared_end_ns(self._container), _times_ns(ahead)
            )
            self._decoder = Decoder(self._stream, threads=threads)
            self._frames = self._decode(packets)
            self._first = next(self._frames, None)
            if self._first is None:
                raise SourceError(
                    f"{self._name}: no frame could be decoded ({self._stream.codec_context.name}); "
                    "the file is damaged or truncated: copy it again"
                )
        except SourceError:
            self._container.close()
            raise
        except LIBRARY_ERRORS as error:  # whatever a library raises is about this file
            self._container.close()
            raise SourceError(f"cannot read {self._name}: {library_reason(error)}") from error
        aspect = self._stream.codec_context.sample_aspect_ratio or Fraction(1)
        self.info = SourceInfo(
            name=printable(self._name),
            is_live=False,
            width=self._first.width,
            height=self._first.height,
            frame_rate=rate,
            frame_count=self._frame_count(rate),
            path=path,
            timeline=self._timeline,
            pixel_aspect=1 / aspect if self._decoder.orientation.transpose else aspect,
        )

    def __iter__(self) -> Iterator[Frame]:
        frame, self._first = self._first, None
        while frame is not None:
            self.report.read += 1
            yield frame
            with self._lock:  # Closing a container that another thread decodes crashes FFmpeg.
                frame = None if self._closed else next(self._frames, None)
                if self._closed:  # meanwhile, by a thread that did not wait
                    frame = None
                    self._close_container()

    def close(self) -> None:
        """Closes the file; one that is being read on another thread is closed there.

        A FIFO or a network disk can keep that thread waiting for ever, and this one does not wait with it.
        """
        self._closed = True
        if self._lock.acquire(timeout=_CLOSE_S):
            try:
                self._close_container()
            finally:
                self._lock.release()

    def _close_container(self) -> None:
        """Once nothing reads it any more; may be called twice."""
        self._container.close()

    def _decode(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Frame]:
        decoder = self._decoder
        try:
            for packet in packets:
                if packet.is_corrupt and self._has_index:
                    # an incomplete packet at the end of a truncated file
                    self.report.failed[FailReason.INCOMPLETE] += 1
                    continue
                errors = decoder.errors
                for decoded in decoder.decode(packet):
                    time_ns = decoder.time_ns(decoded)
                    yield from self._timed(self._times.push(self._converted(decoded), time_ns))
                if decoder.errors > errors:
                    self.report.failed[FailReason.UNDECODABLE] += 1
        except LIBRARY_ERRORS as error:  # whatever a library raises is the end of this file
            self.report.problem = f"{printable(self._name)}: reading stopped: {library_reason(error)}"
        yield from self._timed(self._times.flush())
        self.report.packets = decoder.sent
        self.report.notes += self._timeline.notes() + decoder.notes()
        if not self._path.is_file():  # a pipe, which has no end to look at
            return
        cut = truncation(self._container, self._stream, self._path, self._end_s(), decoder.end_byte)
        if cut and not self.report.problem:
            self.report.problem = f"{printable(self._name)}: {cut}; all readable frames were used"

    def _end_s(self) -> float:
        """Where the last frame ends on the stream's own clock, in seconds."""
        decoder, base = self._decoder, self._stream.time_base
        if decoder.last_pts is None or decoder.end_pts is None or base is None:
            return 0.0
        nominal_s = float(decoder.last_pts * base) + self._timeline.frame_ns / 1e9
        return max(nominal_s, float(decoder.end_pts * base), self._times.latest_ns / 1e9)

    def _converted(self, decoded: VideoFrame) -> tuple[Image | None, int]:
        """The image, or None, counted, where its pixels cannot be converted; and how long it stays, in ns."""
        duration_ns = self._decoder.duration_ns(decoded)
        try:
            return self._decoder.image(decoded), duration_ns
        except (av.error.FFmpegError, ValueError):
            self.report.failed[FailReason.UNDECODABLE] += 1
            return None, duration_ns

    def _timed(self, settled: list[tuple[tuple[Image | None, int], int | None]]) -> Iterator[Frame]:
        for (image, duration_ns), time_ns in settled:
            moment = self._timeline.next(time_ns)
            if image is not None:
                yield Frame(image, self._index, moment, self._name, duration_ns)
                self._index += 1

    @property
    def _has_index(self) -> bool:
        """Whether seeking lands on a key frame and an incomplete packet means the end of the file."""
        return any(name in self._container.format.name for name in ("mp4", "matroska", "avi"))

    def _frame_count(self, rate: float | None) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        if self._container.duration and rate:
            return round(self._container.duration / av.time_base * rate)
        return None


def _open(path: Path, name: str, demuxer: str | None) -> InputContainer:
    try:
        container = open_video_file(path, demuxer=demuxer)
    except (av.error.InvalidDataError, av.error.EOFError) as error:
        found = describe_unreadable(path) if path.is_file() else "holds no video that can be read from a pipe"
        raise SourceError(f"{name} {found}") from error
    except LIBRARY_ERRORS as error:  # whatever a library raises is about this file
        raise SourceError(f"cannot read {name}: {library_reason(error)}") from error
    if container.format.name in _TEXT_ART:
        container.close()
        raise SourceError(f"{name} {describe_unreadable(path)}")
    return container


def _checked_stream(container: InputContainer, name: str) -> VideoStream:
    stream = video_stream(container, name)
    context = stream.codec_context
    if context.width * context.height > MAX_PIXELS:
        raise SourceError(
            f"{name} is {context.width}x{context.height}; expected at most {MAX_PIXELS // 1_000_000} million "
            "pixels: scale it down"
        )
    return stream


def _read_ahead(
    packets: Iterator[Packet[VideoStream]],
) -> tuple[Iterator[Packet[VideoStream]], list[Packet[VideoStream]]]:
    """All packets, and the first of them as far as they fit in memory."""
    ahead: list[Packet[VideoStream]] = []
    size = 0
    while len(ahead) < _AHEAD_PACKETS and size < _AHEAD_BYTES:
        packet = next(packets, None)
        if packet is None:
            break
        ahead.append(packet)
        size += packet.size
    return itertools.chain(ahead, packets), ahead


def _times_ns(packets: list[Packet[VideoStream]]) -> list[int]:
    return [
        round(packet.pts * packet.time_base * 1_000_000_000) for packet in packets if packet.pts is not None
    ]
