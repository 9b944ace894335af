"""Encodes a stream for those who look, on a thread that lives while somebody does."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import msgspec

from edgevision.recording.encoder import EncodedImage
from edgevision.types import FrameResult, Image
from edgevision.video.base import SourceInfo
from edgevision.video.codec.h264 import DEFAULT_RATE, TIME_BASE
from edgevision.web.drawings import drawing
from edgevision.web.fragments import Fragment, FragmentEncoder, FragmentMuxer
from edgevision.web.viewer import Piece, message

_LOG = logging.getLogger(__name__)

_WAITING = 2  # images that wait for the encoder; the oldest goes first
_JPEG_QUALITY = 80
_RESTART_S = 2.0
_END_S = 1.0
GAP_TICKS = round(10 / TIME_BASE)
"""Without an image for so long, a new description begins: the image before would seem to last as long."""

Give = Callable[[Piece], None]


@dataclass(slots=True)
class Audience:
    """Who looks, in numbers that the stream's thread reads without a lock.

    Attributes:
        h264, jpeg: viewers of each kind.
        showing: how often somebody came when nobody looked: each begins with a description of the stream.
        stills: take the next frame.
    """

    h264: int = 0
    jpeg: int = 0
    showing: int = 0
    stills: deque[Callable[[FrameResult], None]] = field(default_factory=deque)

    @property
    def is_there(self) -> bool:
        return bool(self.h264 or self.jpeg)


@dataclass(slots=True)
class EncodingCounts:
    """What was encoded for the page.

    Attributes:
        encoded: images as H.264.
        shared: images that a recording had encoded.
        jpegs: images as JPEG.
        skipped: images that came while the encoder was busy.
    """

    encoded: int = 0
    shared: int = 0
    jpegs: int = 0
    skipped: int = 0


@dataclass(slots=True)
class Job:
    """An image on its way to the encoder.

    Attributes:
        image: a copy that nobody else changes.
        ticks: when it is shown.
        at_ms: when it came, in milliseconds since 1970.
        result: what was found in it.
        as_h264: False where a recording has encoded it already.
    """

    image: Image
    ticks: int
    at_ms: float
    result: FrameResult
    as_h264: bool = True


def init_piece(codec: str, size: tuple[int, int], init: bytes) -> Piece:
    """Describes the fragments that follow."""
    header = {"kind": "init", "codec": codec, "width": size[0], "height": size[1]}
    return Piece(message(header, init), is_init=True)


def frame_piece(fragment: Fragment, at_ms: float, found: object) -> Piece:
    """One image with what was found in it."""
    header = {"kind": "frame", "t": fragment.ticks, "key": fragment.is_key, "at": at_ms, "d": found}
    return Piece(message(header, fragment.data), is_key=fragment.is_key)


class Encoding:
    """Encodes images, once for all viewers of a kind.

    Args:
        name: of the stream, for the log.
        info: its source.
        audience: who looks.
        give: called with each message, on a thread of this object.

    Attributes:
        counts: what it did.
    """

    def __init__(self, name: str, info: SourceInfo, audience: Audience, give: Give) -> None:
        self.counts = EncodingCounts()
        self._name, self._info, self._audience, self._give = name, info, audience, give
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_finished = False
        self._failed_at = float("-inf")
        self._encoder: FragmentEncoder | None = None
        self._drawings: dict[int, Job] = {}
        self._showing = 0
        self._last_ticks = 0

    def put(self, job: Job) -> None:
        """Takes an image; never waits."""
        with self._changed:
            if len(self._jobs) >= _WAITING:
                self._jobs.popleft()
                self.counts.skipped += 1
            self._jobs.append(job)
            if self._thread is None and not self._is_finished:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()  # its first step waits for this lock
                except RuntimeError as error:  # the next image tries again
                    self._note_failure(error)
                else:
                    self._thread = thread
            self._changed.notify()

    def stop(self) -> None:
        """Nobody looks any more."""
        with self._changed:
            self._jobs.clear()
            self._changed.notify()

    def close(self) -> None:
        """The stream is over; returns when the last image is encoded, or after a second."""
        self._is_finished = True
        self.stop()
        thread = self._thread
        if thread is not None:
            thread.join(_END_S)

    def _run(self) -> None:
        """Encodes until nobody looks. There is one such thread at a time, and the encoder is its own."""
        while True:
            job = self._next()
            try:
                if job is not None and self._audience.jpeg:
                    self._encode_jpeg(job)
                if job is not None and self._audience.h264 and job.as_h264:
                    self._encode(job)
                else:
                    self._drop_encoder()
            except Exception as error:  # of the codec: the run goes on, and so do the other outputs
                self._note_failure(error)
                self._encoder = None
                time.sleep(_RESTART_S)
            if job is None and self._has_ended():
                return

    def _note_failure(self, error: Exception) -> None:
        """Says it, once while it goes on."""
        if time.monotonic() - self._failed_at > 60:
            cause = str(error) or type(error).__name__
            _LOG.error("%s: cannot encode for the page: %s", self._name, cause)
        self._failed_at = time.monotonic()

    def _has_ended(self) -> bool:
        """Whether the thread ends here; an image that came while it let the encoder go keeps it."""
        with self._changed:
            if self._jobs and not self._is_finished:
                return False
            self._thread = None
            return True

    def _next(self) -> Job | None:
        """The next image; None where there will be none for now."""
        with self._changed:
            while not self._jobs and not self._is_finished and self._audience.is_there:
                self._changed.wait()
            return None if self._is_finished or not self._jobs else self._jobs.popleft()

    def _encode(self, job: Job) -> None:
        size = (job.image.shape[1], job.image.shape[0])
        encoder, is_after_gap = self._encoder, job.ticks - self._last_ticks > GAP_TICKS
        self._last_ticks = job.ticks
        is_new = (
            encoder is None or encoder.size != size or is_after_gap or self._showing != self._audience.showing
        )
        if encoder is None or is_new:
            self._showing = self._audience.showing
            rate = self._info.frame_rate or DEFAULT_RATE
            encoder = self._encoder = FragmentEncoder(size, rate, self._info.pixel_aspect)
            self._drawings.clear()
            self._give(init_piece(encoder.codec, size, encoder.init))
        self._drawings[job.ticks] = job
        for fragment in encoder.encode(job.image, job.ticks, as_key=is_new):
            of = self._drawings.pop(fragment.ticks)
            self._give(frame_piece(fragment, of.at_ms, drawing(of.result)))
        self.counts.encoded += 1

    def _encode_jpeg(self, job: Job) -> None:
        _, data = cv2.imencode(".jpg", job.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        header = {"kind": "jpeg", "t": job.ticks, "at": job.at_ms, "d": drawing(job.result)}
        self.counts.jpegs += 1
        self._give(Piece(message(header, data.tobytes()), "jpeg", is_key=True))

    def _drop_encoder(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
        self._encoder = None


class SharedEncoding:
    """Makes a recording's images ready for the page, so that they are not encoded twice.

    It keeps the images since the last key frame, so that a viewer begins at once. Used on the
    stream's thread.

    Args:
        info: the source.
        audience: who looks.
        give: called with each message.
        counts: ``shared`` grows.
    """

    def __init__(self, info: SourceInfo, audience: Audience, give: Give, counts: EncodingCounts) -> None:
        self._info, self._audience, self._give, self._counts = info, audience, give, counts
        self._group: list[EncodedImage] = []
        self._muxer: FragmentMuxer | None = None
        self._waiting: dict[int, EncodedImage] = {}
        self._showing = 0
        self._last_pts = 0

    def take(self, image: EncodedImage, size: tuple[int, int]) -> None:
        """Takes the next image of a recording.

        Args:
            image: with what was found in it as its ``note``.
            size: of the images, in pixels.
        """
        if image.is_key:
            self._group.clear()
        if image.is_key or self._group:
            self._group.append(image)
        is_after_gap = image.pts - self._last_pts > GAP_TICKS
        self._last_pts = image.pts
        if not self._audience.h264:
            self._drop_muxer()
            return
        if self._muxer is not None and not (
            self._muxer.size != size or is_after_gap or self._showing != self._audience.showing
        ):
            self._pass_on(self._muxer, image)
            return
        self._drop_muxer()
        if not self._group:
            return  # until the next key frame
        self._showing = self._audience.showing
        self._muxer = FragmentMuxer(size, self._info.frame_rate or DEFAULT_RATE, self._info.pixel_aspect)
        for one in list(self._group):
            self._pass_on(self._muxer, one)

    def _pass_on(self, muxer: FragmentMuxer, image: EncodedImage) -> None:
        self._waiting[image.pts] = image
        had_init = bool(muxer.init)
        fragments = muxer.add(image)
        if muxer.init and not had_init:
            self._give(init_piece(muxer.codec, muxer.size, muxer.init))
        for fragment in fragments:
            of = self._waiting.pop(fragment.ticks)
            self._give(frame_piece(fragment, of.at_ms, msgspec.Raw(of.note)))
            self._counts.shared += 1

    def _drop_muxer(self) -> None:
        if self._muxer is not None:
            self._muxer.close()
            self._muxer = None
            self._waiting.clear()
