"""Network streams: RTSP, and video over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType

import av

from edgevision.errors import SourceError, SourceTimeoutError
from edgevision.types import Frame
from edgevision.video.base import SourceInfo, SourceReport
from edgevision.video.decode import Decoder, frame_rate, video_stream
from edgevision.video.redact import redact

SCHEMES = ("rtsp", "rtsps", "http", "https")


class StreamSource:
    """A stream from the network. RTSP runs over TCP, so that no picture is torn by a lost packet.

    A stream is live unless it declares a length (a file on a web server). The address's user, password and
    query never appear in ``info``, frames, notes or errors.

    Args:
        uri: the address.
        timeout_s: how long to wait for a connection, and for each frame.
        threads: for decoding; 0 lets FFmpeg choose.

    Raises:
        SourceTimeoutError: nothing answered, or (while iterating) nothing more came, in ``timeout_s``.
        SourceError: it was refused, is no video, or broke off.
    """

    def __init__(self, uri: str, *, timeout_s: float = 10.0, threads: int = 0) -> None:
        self.report = SourceReport()
        self._uri = uri
        self._name = redact(uri)
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._closed = False
        options = {"rtsp_transport": "tcp"} if uri.lower().startswith("rtsp") else {}
        failure: SourceError | None = None
        start = time.monotonic()
        try:
            self._container = av.open(uri, options=options, timeout=timeout_s)
        except (av.error.FFmpegError, OSError) as error:
            failure = self._failure(error, "cannot open", start)
        if failure is not None:
            raise failure  # outside the handler: the original error holds the address with its password
        try:
            self._stream = video_stream(self._container, self._name)
        except SourceError:
            self._container.close()
            raise
        self._decoder = Decoder(self._stream, self._name, self.report, threads=threads)
        context = self._stream.codec_context
        has_length = bool(self._container.duration) and uri.lower().startswith("http")
        self.info = SourceInfo(
            name=self._name,
            is_live=not has_length,
            width=context.width or None,
            height=context.height or None,
            frame_rate=frame_rate(self._stream),
            frame_count=self._stream.frames or None,
            pixel_aspect=context.sample_aspect_ratio or Fraction(1),
        )

    def __iter__(self) -> Iterator[Frame]:
        frames = self._decode()
        while True:
            with self._lock:  # Closing a container that another thread decodes crashes FFmpeg.
                frame = None if self._closed else next(frames, None)
            if frame is None:
                return
            self.report.read += 1
            yield frame

    def _decode(self) -> Iterator[Frame]:
        packets = self._container.demux(self._stream)
        while True:
            failure: SourceError | None = None
            start = time.monotonic()
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                failure = self._failure(error, "lost", start)
            if failure is not None:
                raise failure
            if packet is None:
                break
            for picture in self._decoder.decode(packet):
                yield self._decoder.frame(picture)
        self.report.notes.extend(self._decoder.notes())

    def _failure(self, error: av.error.FFmpegError | OSError, what: str, start: float) -> SourceError:
        # FFmpeg reports an interruption in many ways, invalid data among them; the clock does not lie.
        timed_out = isinstance(error, (av.error.ExitError, av.error.TimeoutError, TimeoutError))
        if timed_out or time.monotonic() - start >= self._timeout_s:
            return SourceTimeoutError(
                f"{what} {self._name}: nothing came for {self._timeout_s:g} s; check address and network"
            )
        hint = "check the address and that the camera or server is on"
        if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
            hint = "check user and password (rtsp://USER:PASSWORD@HOST/...)"
        elif isinstance(error, av.error.InvalidDataError):
            hint = "expected a video stream at this address"
        return SourceError(f"{what} {self._name}: {redact(str(error.strerror or error), self._uri)}; {hint}")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._container.close()

    def __enter__(self) -> StreamSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
