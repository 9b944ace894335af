"""Video files: every frame, in order, with its own time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av

from edgevision.errors import SourceError
from edgevision.types import Frame, SourceReport
from edgevision.video.base import SourceInfo
from edgevision.video.damage import describe_unreadable, truncation
from edgevision.video.decode import Decoder, frame_rate, video_stream


class FileSource:
    """A video file, read once from start to end.

    Times are the file's own (a variable frame rate is kept), the display matrix of phones is applied,
    frames that cannot be decoded are counted in ``report.skipped``, and a file that is cut off gives
    what it holds and then says so in ``report.problem``. Frames may change size on the way.

    Args:
        path: the file, in any container that FFmpeg reads.
        threads: for decoding; 0 lets FFmpeg choose.

    Raises:
        SourceError: the file is missing, empty, no video, or not one of its frames can be decoded.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self.report = SourceReport()
        self._path = path
        self._lock = threading.Lock()
        self._closed = False
        self._container = _open(path)
        try:
            self._stream = video_stream(self._container, str(path))
            self._decoder = Decoder(self._stream, str(path), self.report, threads=threads)
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise SourceError(
                    f"{path}: not one frame could be decoded ({self._stream.codec_context.name}); "
                    "the file is damaged or cut off: copy it again"
                )
        except SourceError:
            self._container.close()
            raise
        rate = frame_rate(self._stream)
        aspect = self._stream.codec_context.sample_aspect_ratio or Fraction(1)
        self.info = SourceInfo(
            name=str(path),
            is_live=False,
            width=self._first.width,
            height=self._first.height,
            frame_rate=rate,
            frame_count=self._frame_count(rate),
            path=path,
            origin_ns=self._decoder.timeline.origin_ns or 0,
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

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decode(self) -> Iterator[Frame]:
        decoder, short_reads_end = self._decoder, "mpegts" not in self._container.format.name
        end_s = 0.0
        try:
            for packet in self._container.demux(self._stream):
                if packet.is_corrupt and short_reads_end:
                    # Half a packet at the cut of a file: it would take good frames behind it along.
                    self.report.skipped += 1
                    continue
                for picture in decoder.decode(packet):
                    yield decoder.frame(picture)
        except (av.error.FFmpegError, OSError) as error:
            self.report.problem = f"{self._path}: reading stopped: {error.strerror}"
        yield from self._behind_an_error()
        self.report.notes.extend(decoder.notes())
        if decoder.last_pts is not None and self._stream.time_base is not None:
            end_s = float(decoder.last_pts * self._stream.time_base) + decoder.timeline.frame_ns / 1e9
        cut = truncation(self._container, self._stream, self._path.stat().st_size, end_s)
        if cut and not self.report.problem:
            self.report.problem = f"{self._path}: {cut}; all that could be read was used"

    def _behind_an_error(self) -> Iterator[Frame]:
        """The last frames, when an error hid them.

        Threads hold a few frames back. When one fails while the decoder is emptied, PyAV gives up those
        behind it; so the end is decoded again, one frame at a time.
        """
        decoder, after = self._decoder, self._decoder.last_pts
        if decoder.errors == 0 or decoder.decoded + decoder.errors >= decoder.sent or after is None:
            return
        known = self.report.skipped
        with av.open(self._path) as again:
            stream = video_stream(again, str(self._path))
            tail = Decoder(stream, str(self._path), self.report, frame_threads=False)
            again.seek(after, stream=stream)
            for packet in again.demux(stream):
                for picture in tail.decode(packet):
                    if picture.pts is not None and picture.pts > after:
                        yield decoder.frame(picture)
        self.report.skipped = known  # counted the first time round

    def _frame_count(self, rate: float | None) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        if self._container.duration and rate:
            return round(self._container.duration / av.time_base * rate)
        return None


def _open(path: Path) -> av.container.InputContainer:
    try:
        return av.open(path)
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, av.error.InvalidDataError):
            raise SourceError(f"{path} {describe_unreadable(path)}") from error
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
