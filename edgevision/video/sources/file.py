"""Video files: every frame, in order, with its presentation time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.closeable import Closeable
from edgevision.errors import SourceError
from edgevision.types import Frame
from edgevision.video.base import FailReason, SourceInfo, SourceReport
from edgevision.video.codec.container import open_video_file
from edgevision.video.codec.damage import describe_unreadable, truncation
from edgevision.video.codec.decode import (
    Decoder,
    damage_notes,
    frame_rate,
    recorded_timeline,
    video_stream,
)

_TEXT_ART = frozenset(
    {"tty", "bin", "xbin", "adf", "idf"}
)  # FFmpeg would draw any .txt or .bin as a terminal


class FileSource(Closeable):
    """A video file, read once from start to end.

    Times are the file's own (a variable frame rate is kept) and the display matrix of phones is applied.
    Frames that cannot be decoded are counted in ``report.skipped``; a truncated file delivers the frames that
    it contains, and ``report.problem`` reports it. The frame size may change within a file.

    Args:
        path: the file, in any container format that FFmpeg supports.
        threads: decoder threads; 0 lets FFmpeg choose.

    Raises:
        SourceError: the file is missing, empty or not a video, or none of its frames can be decoded.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self.report = SourceReport()
        self._path = path
        self._lock = threading.Lock()
        self._closed = False
        self._index = 0
        self._container = _open(path)
        try:
            self._stream = video_stream(self._container, str(path))
            rate = frame_rate(self._stream)
            self._timeline = recorded_timeline(self._container, rate)
            self._decoder = Decoder(self._stream, threads=threads)
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise SourceError(
                    f"{path}: no frame could be decoded ({self._stream.codec_context.name}); "
                    "the file is damaged or truncated: copy it again"
                )
        except SourceError:
            self._container.close()
            raise
        aspect = self._stream.codec_context.sample_aspect_ratio or Fraction(1)
        self.info = SourceInfo(
            name=str(path),
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

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._container.close()

    def _decode(self) -> Iterator[Frame]:
        decoder = self._decoder
        try:
            yield from self._run(self._container, self._stream, decoder)
            if decoder.last_pts is not None and self._has_index and decoder.decoded < decoder.sent:
                yield from self._run_carefully(decoder.last_pts)
        except (av.error.FFmpegError, OSError) as error:
            self.report.problem = f"{self._path}: reading stopped: {error.strerror}"
        self.report.notes += self._timeline.notes() + damage_notes(decoder.damaged)
        end_s = 0.0
        if decoder.last_pts is not None and self._stream.time_base is not None:
            end_s = float(decoder.last_pts * self._stream.time_base) + self._timeline.frame_ns / 1e9
        cut = truncation(self._container, self._stream, self._path.stat().st_size, end_s)
        if cut and not self.report.problem:
            self.report.problem = f"{self._path}: {cut}; all readable frames were used"

    def _run(
        self, container: InputContainer, stream: VideoStream, decoder: Decoder, after: int | None = None
    ) -> Iterator[Frame]:
        """Frames from here to the end, or to the first error that :meth:`_run_carefully` can isolate."""
        for packet in container.demux(stream):
            if packet.is_corrupt and self._has_index:
                self.report.failed[FailReason.INCOMPLETE] += (
                    1  # an incomplete packet at the end of a truncated file
                )
                continue
            errors = decoder.errors
            for decoded in decoder.decode(packet):
                if after is None or (decoded.pts is not None and decoded.pts > after):
                    yield self._frame(decoded)
            if decoder.errors > errors:
                self.report.failed[FailReason.UNDECODABLE] += 1
            if decoder.errors and self._has_index and after is None:
                return

    def _run_carefully(self, after: int) -> Iterator[Frame]:
        """The frames after an error, decoded one at a time.

        Decoder threads hold frames back, and PyAV drops those after one that fails while the decoder is
        flushed. Decoded one at a time, an error costs only the frame that it belongs to and is counted once.
        """
        self.report.failed.clear()
        with open_video_file(self._path) as again:
            stream = video_stream(again, str(self._path))
            careful = Decoder(stream, frame_threads=False)
            again.seek(after, stream=stream)
            yield from self._run(again, stream, careful, after)

    def _frame(self, decoded: VideoFrame) -> Frame:
        moment = self._timeline.next(self._decoder.time_ns(decoded))
        frame = Frame(self._decoder.image(decoded), self._index, moment, str(self._path))
        self._index += 1
        return frame

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


def _open(path: Path) -> InputContainer:
    try:
        container = open_video_file(path)
    except (av.error.InvalidDataError, av.error.EOFError) as error:
        raise SourceError(f"{path} {describe_unreadable(path)}") from error
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    if container.format.name in _TEXT_ART:
        container.close()
        raise SourceError(f"{path} {describe_unreadable(path)}")
    return container
