"""Streams out: to a server, a multicast group, a folder for browsers, or a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import msgspec
import numpy as np

from edgevision.address import Address
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize
from edgevision.errors import SinkError
from edgevision.types import FrameResult, Image
from edgevision.video.base import Delivery, Sink, SourceInfo
from edgevision.video.codec.container import has_protocol
from edgevision.video.codec.h264 import DEFAULT_RATE, TIME_BASE, YuvConverter
from edgevision.video.sinks.receipts import TAKEN
from edgevision.video.sinks.sender import EXIT_IMPOSSIBLE, HEAD, READY, Codec, Order
from edgevision.video.sinks.whip import whip_target, write_certificate

_LOG = logging.getLogger(__name__)

SCHEMES = ("rtsp", "rtmp", "rtmps", "udp", "tcp", "srt", "whip+https", "whip+http")
PIPES = {"-": "mpegts", "-.ts": "mpegts", "-.mjpg": "mjpeg", "-.mjpeg": "mjpeg"}
"""Standard output, by what goes there."""
PLAYLIST_SUFFIX = ".m3u8"
_EXAMPLES = {
    "rtmp": "rtmp://host/app/key",
    "rtmps": "rtmps://host/app/key",
    "udp": "udp://239.0.0.1:5000",
    "tcp": "tcp://host:5000",
    "srt": "srt://host:5000",
    "whip+https": "whip+https://TOKEN@host/path",
    "whip+http": "whip+http://host:8080/path",
}

_WAITING = 8  # images; then the oldest goes
_LATE_S = 5.0  # without a sign of the peer, it is given up
_OPEN_S = (5.0, 15.0)
"""The time of the first opening without an answer, and the longest: each next one has as much more, for a
peer that takes long to answer."""
_LOAD_S = 60.0  # until a process has begun, on a machine that is busy or slow
_CLOSE_S = 3.0
_RETRY_S = (0.5, 3.0)
_POLL_S = 0.1
_HLS = {
    "hls_time": "2",
    "hls_list_size": "6",
    "hls_delete_threshold": "1",
    "hls_flags": "delete_segments+independent_segments+program_date_time+temp_file",
}
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux, which Python names from 3.10 on where it was built there
_START = "import sys; sys.path[:] = {path!r}; from edgevision.video.sinks.sender import main; main()"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stream goes.

    Attributes:
        name: as users see it, without credentials.
        address: for FFmpeg.
        muxer: FFmpeg's name of the format.
        options: of the muxer.
        is_retried: it is tried again where it is lost.
        codec: see :class:`~edgevision.video.sinks.sender.Order`.
        encoder: further options of the encoder.
    """

    name: str
    address: str
    muxer: str
    options: dict[str, str]
    is_retried: bool = True
    codec: Codec = "h264"
    encoder: dict[str, str] = field(default_factory=dict)


def target_of(uri: str) -> Target:
    """Where an output that is an address, a playlist or a pipe goes.

    Raises:
        SinkError: the address names no host, or no port where there is no usual one, or this build of FFmpeg
            does not know its protocol.
        UsageError, DependencyError: a library is missing.
    """
    if uri in PIPES:
        codec: Codec = "mjpeg" if PIPES[uri] == "mjpeg" else "h264"
        return Target("standard output", "pipe:1", PIPES[uri], {}, is_retried=False, codec=codec)
    address = Address.parse(uri)
    if address.scheme not in SCHEMES:
        path = Path(uri)
        segments = {"hls_segment_filename": str(path.with_name(f"{path.stem}-%06d.ts"))}
        return Target(uri, f"file:{path}", "hls", {**_HLS, **segments})
    if address.place_fault:
        wanted = _EXAMPLES.get(address.scheme, "rtsp://host:8554/name")
        raise SinkError(f"{address.shown} {address.place_fault}; expected an address such as {wanted}")
    if not has_protocol(address.scheme.removeprefix("whip+")):
        known = ", ".join(one for one in SCHEMES if has_protocol(one.removeprefix("whip+")))
        raise SinkError(
            f"cannot send to {address.shown}: the installed FFmpeg (of PyAV) was built without "
            f"{address.scheme}; it sends to {known}"
        )
    text = address.text
    if address.scheme == "rtsp":
        return Target(address.shown, text, "rtsp", {"rtsp_transport": "tcp", "timeout": "5000000"})
    if address.scheme in ("rtmp", "rtmps"):
        return Target(address.shown, text, "flv", {"flvflags": "no_duration_filesize"})
    if address.scheme in ("whip+https", "whip+http"):
        place, options = whip_target(text)
        return Target(address.shown, place, "whip", options, encoder={"profile": "baseline"})
    if address.scheme == "udp" and "pkt_size=" not in text:
        text += f"{'&' if '?' in text else '?'}pkt_size=1316"
    return Target(address.shown, text, "mpegts", {})


class _Child:
    """One process that sends, from its start to its end.

    Raises:
        OSError: the system lacks memory, processes or file numbers.
    """

    def __init__(self, order: Order, pipe: int | None, open_s: float) -> None:
        self.open_s = open_s
        code = _START.format(path=sys.path)
        self.outgoing = memoryview(msgspec.json.encode(order) + b"\n")
        with contextlib.ExitStack() as given, contextlib.ExitStack() as kept:
            stdin, self.stdin = os.pipe()
            given.callback(os.close, stdin)
            kept.callback(os.close, self.stdin)
            self.taken, stdout = os.pipe()
            given.callback(os.close, stdout)
            kept.callback(os.close, self.taken)
            with contextlib.suppress(OSError):  # fewer turns for an image; a system may forbid it
                fcntl.fcntl(self.stdin, _SET_PIPE_SIZE, 2**20)
            for end in (self.stdin, self.taken):
                os.set_blocking(end, False)
            # The process's own standard output is the pipe that people read, where there is one.
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                pass_fds=() if pipe is None else (pipe,),
                start_new_session=True,  # Ctrl-C ends the run, which ends this one in good order
            )
            kept.pop_all()
        self.underway = 0
        self.is_loaded = self.has_begun = False
        self.progress_s = time.monotonic()

    @property
    def is_late(self) -> bool:
        return self.has_waited(_LATE_S)

    def has_waited(self, limit_s: float) -> bool:
        """Whether an image has been under way for too long; the first one has the time of opening, too."""
        if not self.is_loaded:
            limit_s = _LOAD_S
        elif not self.has_begun:
            limit_s = max(limit_s, self.open_s)
        return self.underway > 0 and time.monotonic() - self.progress_s > limit_s

    def end_input(self) -> None:
        """Nothing more comes."""
        with contextlib.suppress(OSError):
            os.close(self.stdin)
        self.stdin = -1

    def kill(self) -> str:
        """Ends the process, and says what it said last."""
        self.process.kill()
        return self.close()

    def close(self) -> str:
        """Waits for the process, which is over or about to be, and says what it said last."""
        self.end_input()
        stderr: IO[bytes] | None = self.process.stderr
        said = b"" if stderr is None else stderr.read()
        self.process.wait()
        if stderr is not None:
            stderr.close()
        os.close(self.taken)
        lines = said.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


class NetworkSink(Sink):
    """Sends H.264 without ever delaying the run: what cannot be sent is counted.

    Each output has a process of its own, which is killed when its peer is silent for five seconds (in the
    third opening that is not answered, 15), and started again, at most three seconds later, until the stream
    ends. Only a pipe makes the run wait.

    Args:
        target: see :func:`target_of`.
        info: the source. A recording is sent at its own speed, unless it goes to a pipe.

    Attributes:
        made, sent, unsent: images; ``made == sent + unsent`` once it is closed. Over TCP, an image is sent
            once the peer's system has received it: see :mod:`edgevision.video.sinks.receipts`.

    Raises:
        SinkError: the system has no room for its pipe or folder; (from ``write``) a pipe's reader is gone, no
            process can be started for a pipe, or this build of FFmpeg has no such protocol; (from ``close``)
            of a recording, no image at all could be sent.
    """

    def __init__(self, target: Target, info: SourceInfo) -> None:
        super().__init__(target.name)
        self.made = self.sent = self.unsent = 0
        self._target, self._info = target, info
        self._alarm: str | None = None
        self._failure: str | None = None
        self._queue: deque[tuple[int, bytes]] = deque()
        self._changed = threading.Condition()
        self._size: tuple[int, int] | None = None
        self._order: Order | None = None
        self._to_yuv = YuvConverter()
        self._ticks = -1
        self._is_over = False
        self._over_s = 0.0
        self._began_s: float | None = None
        self._folder: TemporaryDirectory[str] | None = None
        self._pipe: int | None = None
        self._has_closed_ends = False
        self._thread: threading.Thread | None = None
        with contextlib.ExitStack() as kept:
            try:
                self._wake, self._woken = os.pipe()
                kept.callback(self._close_ends)
                os.set_blocking(self._wake, False)
                os.set_blocking(self._woken, False)
                if target.address == "pipe:1":
                    self._pipe = os.dup(sys.stdout.fileno())
                if target.muxer == "whip":
                    self._folder = TemporaryDirectory(prefix="edgevision-whip-")
            except OSError as error:
                raise SinkError(f"cannot send to {self.name}: {error.strerror or error}") from error
            kept.pop_all()

    def write(self, result: FrameResult, image: Image) -> None:
        if self._failure is not None:
            raise SinkError(self._failure)
        frame = result.frame
        if not self._info.is_live and self._target.is_retried:
            self._wait_for(frame.time_s)
        self._ticks = max(round(frame.timestamp_ns * 1e-9 / TIME_BASE), self._ticks + 1)
        data = np.ascontiguousarray(self._to_yuv(self._fitted(image)).to_ndarray()).tobytes()
        self.made += 1
        with self._changed:
            if not self._target.is_retried:
                while len(self._queue) >= _WAITING and self._failure is None:
                    self._changed.wait(1.0)  # a pipe takes every image
            elif len(self._queue) >= _WAITING:
                self._queue.popleft()
                self.unsent += 1
            self._queue.append((self._ticks, data))
            if self._thread is None and self._order is not None and not self._is_over:
                thread = threading.Thread(
                    target=self._run, args=(self._order,), name=f"send {self.name}", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError as error:  # the next image tries again
                    self._lose(f"no thread can be begun for it: {error}")
                else:
                    self._thread = thread
        self._notify()

    def close(self) -> None:
        """Sends what waits, within seconds; the rest is counted."""
        with self._changed:
            if self._is_over:
                return
            self._over_s = time.monotonic()
            self._is_over = True
            if self._thread is None:
                self._close_ends()
        self._notify()
        if self._thread is not None:
            self._thread.join(_OPEN_S[1] + _CLOSE_S + (0 if self._target.is_retried else _LOAD_S))
        with self._changed:
            self.unsent += len(self._queue)
            self._queue.clear()
        if self._folder is not None:
            self._folder.cleanup()
        lost = f", {self.unsent} not" if self.unsent else ""
        self.notes.append(f"{self.name}: {self.sent} images sent{lost}")
        reason = self._failure
        if reason is None and self._alarm is not None and not self._info.is_live:
            reason = f"{self._alarm}; none of {self.made} images was sent"
        if reason is not None and self.made and not self.sent:
            raise SinkError(reason)

    def deliveries(self) -> tuple[Delivery, ...]:
        """The account now; see :meth:`~edgevision.video.base.Sink.deliveries`."""
        waiting = max(0, self.made - self.sent - self.unsent)
        return (
            Delivery(
                output=self.name,
                kind="stream",
                delivered=self.sent,
                waiting=waiting,
                lost=self.unsent,
                alarm=self._failure or self._alarm,
            ),
        )

    def _wait_for(self, time_s: float) -> None:
        now_s = time.monotonic()
        if self._began_s is None or now_s - self._began_s - time_s > 1.0:
            self._began_s = now_s - time_s
        time.sleep(max(0.0, self._began_s + time_s - now_s))

    def _fitted(self, image: Image) -> Image:
        """The image, in the size of the first one: a stream keeps its size."""
        height, width = image.shape[:2]
        if self._size is None:
            self._size = (width, height)
            aspect = Fraction(self._info.pixel_aspect)
            self._order = Order(
                address=self._target.address,
                muxer=self._target.muxer,
                options=self._options(),
                codec=self._target.codec,
                encoder=self._target.encoder,
                width=width + width % 2,
                height=height + height % 2,
                rate=self._info.frame_rate or DEFAULT_RATE,
                aspect=(aspect.numerator, aspect.denominator),
            )
        if (width, height) != self._size:
            return Letterbox.fit(width, height, *self._size, Resize(fill=0)).image(image)
        return image

    def _options(self) -> dict[str, str]:
        if self._folder is None:
            return self._target.options
        try:
            return {**self._target.options, **write_certificate(Path(self._folder.name))}
        except OSError as error:
            raise SinkError(f"cannot send to {self.name}: {error.strerror or error}") from error

    def _notify(self) -> None:
        with self._changed, contextlib.suppress(BlockingIOError):
            if not self._has_closed_ends:
                os.write(self._woken, b"x")

    def _close_ends(self) -> None:
        """Once, by the last who uses them: their numbers are another file's from then on."""
        with self._changed:
            self._has_closed_ends = True
            for end in (self._wake, self._woken, *([] if self._pipe is None else [self._pipe])):
                os.close(end)

    # On the sink's own thread.

    def _run(self, order: Order) -> None:
        try:
            self._send(order)
        finally:
            self._close_ends()

    def _send(self, order: Order) -> None:
        if self._pipe is not None:
            order = msgspec.structs.replace(order, address=f"pipe:{self._pipe}")
        wait_s, open_s = 0.0, _OPEN_S[0]
        while self._failure is None:
            child, sent = None, self.sent
            try:
                child = _Child(order, self._pipe, open_s)
                self._send_once(child, wait_s)
            except (OSError, MemoryError) as error:  # the system may have room again later
                cause = getattr(error, "strerror", None) or type(error).__name__
                self._lose(f"no process can be run for it: {cause}")
                time.sleep(_POLL_S)
                self._pause(wait_s)
            if self._is_over and (not self._queue or time.monotonic() - self._over_s > _CLOSE_S):
                return
            if self.sent > sent:
                wait_s, open_s = _RETRY_S[0], _OPEN_S[0]
                continue
            wait_s = min(max(wait_s, _RETRY_S[0]) * 2, _RETRY_S[1])
            if child is not None and child.is_late:
                open_s = min(open_s + _OPEN_S[0], _OPEN_S[1])

    def _pause(self, wait_s: float) -> None:
        until = time.monotonic() + wait_s
        while time.monotonic() < until and not self._is_over:
            time.sleep(_POLL_S)

    def _send_once(self, child: _Child, wait_s: float) -> None:
        """Sends by one process, until the stream is over or it is lost."""
        reason = "the peer takes nothing"
        try:
            self._pause(wait_s)  # while it loads what it needs
            if self._is_over and not self._queue:
                return
            if self._target.muxer == "hls":
                _remove_segments(self._target)
            child.progress_s = time.monotonic()
            with selectors.DefaultSelector() as selector:
                selector.register(child.taken, selectors.EVENT_READ)
                selector.register(self._wake, selectors.EVENT_READ)
                while self._exchange(child, selector):
                    pass
        finally:
            is_dead = child.process.poll() is not None
            said = child.close() if is_dead else child.kill()
            self.unsent += child.underway
        if child.process.returncode == 0 or (self._is_over and not child.underway and not self._queue):
            return
        reason = said or (reason if child.is_loaded else "the process that sends does not start")
        if child.process.returncode == EXIT_IMPOSSIBLE:
            self._failure = f"cannot send to {self.name}: {reason}; this build of FFmpeg cannot send there"
        else:
            self._lose(f"{reason}; its reader is gone" if said and not self._target.is_retried else reason)

    def _lose(self, reason: str) -> None:
        text = f"cannot send to {self.name}: {reason}"
        if not self._target.is_retried:
            self._failure = text
            return
        if self._alarm != text:
            _LOG.warning("%s; trying again, the run goes on", text)
        self._alarm = text

    def _exchange(self, child: _Child, selector: selectors.BaseSelector) -> bool:
        """Passes on what can be; False where the process is over, or too late."""
        self._fill(child)
        if child.outgoing and child.stdin >= 0 and child.stdin not in selector.get_map():
            selector.register(child.stdin, selectors.EVENT_WRITE)
        for key, _ in selector.select(_POLL_S):
            if key.fd == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            elif key.fd == child.taken:
                taken = os.read(child.taken, 4096)
                if not taken:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.process.wait(_CLOSE_S)
                    return False
                if READY in taken:
                    child.is_loaded = True
                    child.progress_s = time.monotonic()
                if images := taken.count(TAKEN):
                    self._note(child, images)
            else:
                try:
                    child.outgoing = child.outgoing[os.write(child.stdin, child.outgoing) :]
                except BlockingIOError:
                    continue
                except OSError:  # the process is gone
                    return False
                if not child.outgoing:
                    selector.unregister(child.stdin)
        if self._is_over and not self._queue and not child.outgoing and child.stdin >= 0:
            if child.stdin in selector.get_map():
                selector.unregister(child.stdin)
            child.end_input()
        if not self._target.is_retried:  # a pipe's reader may take its time, until the run ends
            return not (self._is_over and child.has_waited(_CLOSE_S))
        is_too_long = self._is_over and time.monotonic() - self._over_s > _CLOSE_S
        return not (child.is_late or is_too_long)

    def _fill(self, child: _Child) -> None:
        if child.outgoing or child.stdin < 0:
            return
        with self._changed:
            if not self._queue:
                return
            ticks, data = self._queue.popleft()
            self._changed.notify()
        if child.underway == 0:
            child.progress_s = time.monotonic()
        child.underway += 1
        child.outgoing = memoryview(HEAD.pack(ticks, len(data)) + data)

    def _note(self, child: _Child, images: int) -> None:
        child.underway -= images
        self.sent += images
        child.has_begun = True
        child.progress_s = time.monotonic()
        if self._alarm is not None:
            _LOG.warning("%s: images are sent again; %d were not", self.name, self.unsent)
        self._alarm = None


def _remove_segments(target: Target) -> None:
    """What a run that was killed left behind."""
    pattern = Path(target.options["hls_segment_filename"])
    stem = pattern.name.partition("%")[0]
    for path in pattern.parent.glob(f"{stem}[0-9]*.ts*"):
        with contextlib.suppress(OSError):
            path.unlink()
