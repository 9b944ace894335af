"""Network streams: RTSP, RTMP, MPEG-TS over UDP and TCP, and video over HTTP."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from urllib.parse import urlsplit

import av
from av.video.frame import VideoFrame

from edgevision.address import HIDDEN, Address
from edgevision.errors import SourceError, SourceTimeoutError
from edgevision.video.base import FailReason, SourceInfo
from edgevision.video.codec.container import has_protocol, open_network_stream
from edgevision.video.codec.decode import (
    FILE_THREADS,
    LIBRARY_ERRORS,
    Decoder,
    declared_end_ns,
    discard_others,
    frame_rate,
    has_no_times,
    recorded_timeline,
    video_stream,
)
from edgevision.video.codec.timeline import WrongTimes
from edgevision.video.sources.feed import FeedFrame
from edgevision.video.sources.live import LiveSource
from edgevision.video.sources.options import SourceOptions, Transport
from edgevision.video.sources.pace import Pacer

CAMERA_SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps")
_PORT_SCHEMES = ("udp", "rtp", "tcp", "srt")  # without a usual port
SCHEMES = (*CAMERA_SCHEMES, *_PORT_SCHEMES)
_ADVICE = "check the address and the network"
_NEAR_END_S = 1.0
_RTMP_US = "1000000"  # FFmpeg would wait five seconds for sound where there is none
_FASTEST = 1000.0  # frames per second; a higher value is the rate of a clock, not of frames
_SLICE_NS = 100_000_000  # of waiting for a frame to be due, so that the source can be closed
_BEFORE_LIVE = "-2"  # where HLS begins, in segments: with one in reserve, and no older than needed
_ENDLESS = "mpjpeg"  # some cameras declare a length for it


def check_protocol(address: Address) -> None:
    """Refuses what this build of FFmpeg can never read.

    Raises:
        SourceError: it does not know the address's protocol, or needs a port that is not named.
    """
    if address.scheme in SCHEMES and not has_protocol(address.scheme):
        known = ", ".join(one for one in SCHEMES if has_protocol(one))
        raise SourceError(
            f"cannot read {address.shown}: the installed FFmpeg (of PyAV) was built without "
            f"{address.scheme}; it reads {known}"
        )
    if address.scheme in _PORT_SCHEMES and address.place_fault:
        raise SourceError(
            f"{address.shown} {address.place_fault}; expected an address such as {address.scheme}://0.0.0.0:5000"
        )


def open_stream(uri: str, options: SourceOptions, *, threads: int = 0) -> LiveSource:
    """A network stream as a source; it reconnects when it is lost, unless it is a file on a web server.

    User, password and query of the address never appear in ``info``, frames, notes, logs or errors.

    Raises:
        SourceError, SourceTimeoutError: see :class:`LiveSource` and :func:`check_protocol`.
    """
    check_protocol(Address.parse(uri))
    connect = partial(StreamFeed, uri, options, threads=threads)
    return LiveSource(Address.parse(uri).shown, connect, options, advice=_ADVICE)


class StreamFeed:
    """One connection to a stream, through PyAV.

    A stream is live unless it declares a duration or a length (a file on a web server). A live stream has no
    regular end: if the server stops sending, the connection is lost. A recording played in real time over
    RTSP is live too, but has an end. Frames of a live stream in a format without times (JPEG images, raw
    H.264) have those of their arrival; what comes in segments or groups over HTTP is read at the pace of its
    own times.

    Args:
        uri: the address.
        options: transport and timeouts.
        threads: decoder threads of a live stream; 0 lets FFmpeg choose.

    Raises:
        SourceTimeoutError: no response, or (while iterating) no more data within the time limit.
        SourceError: the connection was refused or lost, or the stream is not a video.
    """

    def __init__(self, uri: str, options: SourceOptions, *, threads: int = 0) -> None:
        self.notes: list[str] = []
        self._address = Address.parse(uri)
        self._name = self._address.shown
        self._read_timeout_s = options.read_timeout_s
        self._transport = options.transport if uri.startswith("rtsp") else None
        is_rtsp = self._transport is not None
        # FFmpeg would read a second or two of video to estimate the frame rate, which a stream need not keep.
        wanted = {"live_start_index": _BEFORE_LIVE}
        if is_rtsp:
            wanted = {"rtsp_transport": options.transport.value, "fpsprobesize": "0"}
        elif ".m3u8" in uri.lower():
            wanted["fpsprobesize"] = "0"  # for which FFmpeg would wait for segments that do not exist yet
        elif self._address.scheme in ("rtmp", "rtmps"):
            wanted["analyzeduration"] = _RTMP_US
        timeouts = (options.connect_timeout_s, options.read_timeout_s)
        failure: SourceError | None = None
        start = time.monotonic()
        try:
            self._container = open_network_stream(uri, wanted, timeouts)
        except LIBRARY_ERRORS as error:
            failure = self._failure(error, "cannot open", start, options.connect_timeout_s)
        if failure is not None:
            raise failure  # outside the handler: the original error contains the address with its password
        try:
            self._stream = video_stream(self._container, self._name)
        except SourceError:
            self._container.close()
            raise
        discard_others(self._container, self._stream)
        context = self._stream.codec_context
        format_name, has_clock = self._container.format.name, not has_no_times(self._container)
        self._length_s = (self._container.duration or 0) / av.time_base
        is_segmented = format_name == "hls"
        has_end = bool(self._length_s)
        if not (is_segmented or format_name == _ENDLESS):
            has_end |= self._container.size > 0
        is_live = is_rtsp or not has_end
        self._has_clock = has_clock or not is_live
        # Cameras send RTSP at the moment of a frame; over HTTP it may come in groups.
        is_paced = is_live and not is_rtsp and has_clock
        self._pacer = Pacer(is_pushed=not is_segmented) if is_paced else None
        rate = frame_rate(self._stream) if self._has_clock else None
        # Each frame thread holds back a frame, which adds latency.
        self._decoder = Decoder(
            self._stream, threads=threads if is_live else FILE_THREADS, frame_threads=not is_live
        )
        timeline = None if is_live else recorded_timeline(self._container, rate)
        self._times: WrongTimes[FeedFrame] | None = None
        if timeline is not None:
            self._times = WrongTimes(timeline, declared_end_ns(self._container))
        self.info = SourceInfo(
            name=self._name,
            is_live=is_live,
            width=context.width or None,
            height=context.height or None,
            frame_rate=None if rate is None or rate > _FASTEST else rate,
            frame_count=self._stream.frames or None,
            address=None if is_live else uri,
            timeline=timeline,
            pixel_aspect=context.sample_aspect_ratio or Fraction(1),
        )

    def __iter__(self) -> Iterator[FeedFrame | FailReason | None]:
        packets = self._container.demux(self._stream)
        decoder = self._decoder
        key_frame_came = False
        failure: SourceError | None = None
        while failure is None:
            start = time.monotonic()
            try:
                packet = next(packets, None)
            except LIBRARY_ERRORS as error:  # such as PyAV's, where another stream has begun
                failure = self._failure(error, "lost", start, self._read_timeout_s)
                continue
            if packet is None:
                break
            waited_ns = round((time.monotonic() - start) * 1e9)
            errors = decoder.errors
            frames = decoder.decode(packet)
            key_frame_came |= packet.is_keyframe or bool(frames)
            yield from self._delivered(frames, waited_ns)
            if not key_frame_came and packet.size:
                yield FailReason.NO_KEY_FRAME
            elif decoder.errors > errors:
                yield FailReason.UNDECODABLE
        if failure is not None:
            yield from self._delivered(decoder.flush())
        if self._times is not None:
            yield from self._settled(self._times.flush())
        if failure is not None:
            raise failure
        if not self._reached_its_end():
            raise SourceError(f"lost {self._name}: the server closed the connection")

    def _delivered(
        self, frames: Sequence[VideoFrame], waited_ns: int = 0
    ) -> Iterator[FeedFrame | FailReason | None]:
        now_ns, decoder = time.monotonic_ns(), self._decoder
        for frame in frames:
            time_ns = decoder.time_ns(frame)
            try:
                image = decoder.image(frame)
            except (av.error.FFmpegError, ValueError):
                yield FailReason.UNDECODABLE
                continue
            if self._pacer is not None:
                due_ns = self._pacer.due_ns(time_ns, time.monotonic_ns(), waited_ns)
                while (now_ns := time.monotonic_ns()) < due_ns:
                    time.sleep(min(due_ns - now_ns, _SLICE_NS) / 1e9)
                    yield None
            item = FeedFrame(image, time_ns if self._has_clock else None, now_ns, frame.is_corrupt)
            if self._times is None:
                yield item
            else:
                yield from self._settled(self._times.push(item, item.time_ns))

    @staticmethod
    def _settled(items: Sequence[tuple[FeedFrame, int | None]]) -> Iterator[FeedFrame]:
        for item, time_ns in items:
            yield replace(item, time_ns=time_ns)

    def _reached_its_end(self) -> bool:
        if not self._length_s:
            return not self.info.is_live
        last_pts, base = self._decoder.last_pts, self._stream.time_base
        if not self.info.is_live or last_pts is None or base is None:
            return True
        return float((last_pts - (self._stream.start_time or 0)) * base) >= self._length_s - _NEAR_END_S

    def _failure(self, error: Exception, what: str, start: float, timeout_s: float) -> SourceError:
        # FFmpeg reports a timeout as various errors, such as invalid data, so the elapsed time decides.
        timed_out = isinstance(error, (av.error.ExitError, av.error.TimeoutError, TimeoutError))
        if timed_out or time.monotonic() - start >= timeout_s:
            return SourceTimeoutError(f"{what} {self._name}: no data for {timeout_s:g} s; {_ADVICE}")
        found = getattr(error, "strerror", None) or type(error).__name__
        code = getattr(error, "errno", None)
        hint = "check the address, and that the camera or server is running"
        if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
            hint = "check user and password (rtsp://USER:PASSWORD@HOST/...)"
        elif isinstance(error, av.error.InvalidDataError):
            hint = "expected a video stream at this address"
        elif code == errno.EPROTONOSUPPORT and self._transport is not None:
            found = f"the server does not offer {self._transport.value.upper()}"
            other = Transport.UDP if self._transport is Transport.TCP else Transport.TCP
            hint = f"add #transport={other.value} to the address"
        elif code == errno.EIO and (host := self._unresolved_host()):
            found = f"the name {host} cannot be resolved"
            hint = "check its spelling and the DNS of this machine, or use the IP address"
        return SourceError(f"{what} {self._name}: {found}; {hint}{self._address.advice}")

    def _unresolved_host(self) -> str | None:
        """The host that FFmpeg could not find, of which it says no more than 'input/output error'."""
        try:
            host = urlsplit(self._name).hostname  # of what may be shown
        except ValueError:
            return None
        if not host or host == HIDDEN:
            return None
        try:
            socket.getaddrinfo(host, None)
        except (socket.gaierror, UnicodeError):  # the latter for names that no rule allows
            return host
        return None

    def close(self) -> None:
        self._container.close()
