"""Network streams: RTSP, and video over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial

import av
from av.video.frame import VideoFrame

from edgevision.errors import SourceError, SourceTimeoutError
from edgevision.video.base import FailReason, SourceInfo
from edgevision.video.codec.decode import Decoder, frame_rate, video_stream
from edgevision.video.redact import redact
from edgevision.video.sources.feed import Picture
from edgevision.video.sources.live import LiveSource
from edgevision.video.sources.options import SourceOptions

SCHEMES = ("rtsp", "rtsps", "http", "https")
_ADVICE = "check address and network"
_NEAR_END_S = 1.0
_FASTEST = 1000.0  # frames a second; what is above is a clock's rate that passes for one


def open_stream(uri: str, options: SourceOptions, *, threads: int = 0) -> LiveSource:
    """A stream as a source; it comes back when it is lost, unless it is a file on a web server.

    The address's user, password and query never appear in ``info``, frames, notes, logs or errors.

    Raises:
        SourceError, SourceTimeoutError: see :class:`LiveSource`.
    """
    connect = partial(StreamFeed, uri, options, threads=threads)
    return LiveSource(redact(uri), connect, options, advice=_ADVICE)


class StreamFeed:
    """One connection to a stream, through PyAV.

    A stream is live unless it declares a length (a file on a web server). A live stream has no regular end: a
    server that stops sending is lost. A recording that RTSP plays in its own time is live too, but has one.

    Args:
        uri: the address.
        options: transport and time-outs.
        threads: for decoding; 0 lets FFmpeg choose.

    Raises:
        SourceTimeoutError: nothing answered, or (while iterating) nothing more came.
        SourceError: it was refused, is no video, or broke off.
    """

    def __init__(self, uri: str, options: SourceOptions, *, threads: int = 0) -> None:
        self.notes: list[str] = []
        self._uri = uri
        self._name = redact(uri)
        self._read_timeout_s = options.read_timeout_s
        is_rtsp = uri.lower().startswith("rtsp")
        # FFmpeg would look at a second or two of pictures to find their rate, which no stream has to keep.
        wanted = {"rtsp_transport": options.transport.value, "fpsprobesize": "0"} if is_rtsp else {}
        timeouts = (options.connect_timeout_s, options.read_timeout_s)
        failure: SourceError | None = None
        start = time.monotonic()
        try:
            self._container = av.open(uri, options=wanted, timeout=timeouts)
        except (av.error.FFmpegError, OSError) as error:
            failure = self._failure(error, "cannot open", start, options.connect_timeout_s)
        if failure is not None:
            raise failure  # outside the handler: the original error holds the address with its password
        try:
            self._stream = video_stream(self._container, self._name)
        except SourceError:
            self._container.close()
            raise
        context = self._stream.codec_context
        self._length_s = (self._container.duration or 0) / av.time_base
        rate = frame_rate(self._stream)
        is_live = is_rtsp or not self._length_s
        # Frame threads hold back a picture for each of them, which is latency.
        self._decoder = Decoder(self._stream, threads=threads, frame_threads=not is_live)
        self.info = SourceInfo(
            name=self._name,
            is_live=is_live,
            width=context.width or None,
            height=context.height or None,
            frame_rate=None if rate is None or rate > _FASTEST else rate,
            frame_count=self._stream.frames or None,
            pixel_aspect=context.sample_aspect_ratio or Fraction(1),
        )

    def __iter__(self) -> Iterator[Picture | FailReason]:
        packets = self._container.demux(self._stream)
        decoder = self._decoder
        key_frame_came = False
        failure: SourceError | None = None
        while failure is None:
            start = time.monotonic()
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                failure = self._failure(error, "lost", start, self._read_timeout_s)
                continue
            if packet is None:
                break
            errors = decoder.errors
            pictures = decoder.decode(packet)
            key_frame_came |= packet.is_keyframe or bool(pictures)
            yield from self._delivered(pictures)
            if not key_frame_came and packet.size:
                yield FailReason.NO_KEY_FRAME
            elif decoder.errors > errors:
                yield FailReason.UNDECODABLE
        if failure is not None:
            yield from self._delivered(decoder.flush())
            raise failure
        if not self._reached_its_end():
            raise SourceError(f"lost {self._name}: the other side ended it")

    def _delivered(self, pictures: Sequence[VideoFrame]) -> Iterator[Picture]:
        now_ns, decoder = time.monotonic_ns(), self._decoder
        for picture in pictures:
            yield Picture(decoder.image(picture), decoder.time_ns(picture), now_ns, picture.is_corrupt)

    def _reached_its_end(self) -> bool:
        if not self._length_s:
            return False
        last_pts, base = self._decoder.last_pts, self._stream.time_base
        if not self.info.is_live or last_pts is None or base is None:
            return True
        return float((last_pts - (self._stream.start_time or 0)) * base) >= self._length_s - _NEAR_END_S

    def _failure(
        self, error: av.error.FFmpegError | OSError, what: str, start: float, timeout_s: float
    ) -> SourceError:
        # FFmpeg reports an interruption in many ways, invalid data among them; the clock does not lie.
        timed_out = isinstance(error, (av.error.ExitError, av.error.TimeoutError, TimeoutError))
        if timed_out or time.monotonic() - start >= timeout_s:
            return SourceTimeoutError(f"{what} {self._name}: nothing came for {timeout_s:g} s; {_ADVICE}")
        hint = "check the address and that the camera or server is on"
        if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
            hint = "check user and password (rtsp://USER:PASSWORD@HOST/...)"
        elif isinstance(error, av.error.InvalidDataError):
            hint = "expected a video stream at this address"
        return SourceError(f"{what} {self._name}: {redact(str(error.strerror or error), self._uri)}; {hint}")

    def close(self) -> None:
        self._container.close()
