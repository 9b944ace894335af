"""A part of a video file, decoded alone and proven to be what one pass over the file gives.

The proof of a span has these parts. Every packet that is read is compared with a scan of the whole file;
the times of the frames are those of the scan, without an error or a concealed one; and the
:data:`PROOF_FRAMES` frames behind its end, decoded on, have the pixels of the next span's first ones. HEVC is
decoded twice, the second time in other memory: FFmpeg gives out a damaged frame of it without a sign, with
what an earlier frame left in its buffer where nothing was decoded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import av
from av.video.frame import VideoFrame

from edgevision.closeable import Closeable
from edgevision.errors import SourceError
from edgevision.types import Frame
from edgevision.video.codec.decode import FILE_THREADS, LIBRARY_ERRORS, Decoder, library_reason, packets_of
from edgevision.video.codec.scan import PacketScan, SpanPlan, open_scanned

PROOF_FRAMES = 4
"""Frames that a span shares with the next one, and that must be equal."""

_SILENT = frozenset({"hevc"})
"""Decoders that give out damaged frames without a sign; found with 300 clips of flipped bits."""

_HELD = 7  # frames whose memory the second decoding withholds
_ATTEMPTS = 3  # with earlier and earlier key frames
_LOG_LOCK = threading.Lock()


class NotProvenError(SourceError):
    """A span may differ from one pass over the file, which is to be decoded in one go."""


class SpanSource(Closeable):
    """Gives the frames of a span, with the numbers that they have in the file.

    Args:
        path: the file.
        scan: of its packets.
        plan: which part.

    Attributes:
        head, tail: after the last frame: times and hashes of the span's first :data:`PROOF_FRAMES`
            frames, and of as many behind its end. ``tail`` of a span is ``head`` of the next one, or a
            beginning of it.
        notes: remarks for the user, as of the whole file.

    Raises:
        SourceError: the file cannot be opened.

    Iteration gives frames whose ``timestamp_ns`` is the stream's own time, not counted from the first frame.
    It raises :class:`NotProvenError`, at the latest after the last frame.
    """

    def __init__(self, path: Path, scan: PacketScan, plan: SpanPlan) -> None:
        self.head: list[str] = []
        self.tail: list[str] = []
        self.notes: list[str] = []
        self._hashes: list[str] = []
        self._path, self._scan, self._plan = path, scan, plan
        self._container, self._stream = open_scanned(path, scan.is_generated)

    def close(self) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        with _LOG_LOCK, _ErrorLines() as errors:
            try:
                yield from self._frames(errors)
            except LIBRARY_ERRORS as error:
                raise NotProvenError(f"{self._path}: {library_reason(error)}") from error
        if errors.lines:
            raise NotProvenError(f"{self._path}: the decoder says: {errors.lines[0]}")
        if self._stream.codec_context.name in _SILENT:
            self._decode_again()

    def _frames(self, errors: _ErrorLines) -> Iterator[Frame]:
        plan, given = self._plan, 0
        expected = iter(self._scan.times()[plan.first_index :][: plan.frames].tolist())
        landed, start = self._seek()
        is_silent = self._stream.codec_context.name in _SILENT
        decoder = Decoder(self._stream, threads=FILE_THREADS)
        before = 0
        for is_preroll, decoded in self._decoded(decoder, landed, start, errors):
            pts = decoded.pts
            if pts is None:
                raise NotProvenError(f"{self._path}: a frame has no time")
            if self._scan.is_generated:
                decoded.pts = None  # as in one pass, where the decoding time counts
            time_ns = decoder.time_ns(decoded)
            if is_preroll:
                before = decoder.errors  # images in front of the first key frame may lack what they refer to
            if plan.start is not None and pts < plan.start:
                continue
            if decoder.errors > before or decoded.is_corrupt or time_ns is None:
                raise NotProvenError(f"{self._path}: a frame is damaged")
            if plan.end is not None and pts >= plan.end:
                self.tail.append(f"{time_ns} {frame_hash(decoded)}")
                if len(self.tail) == PROOF_FRAMES:
                    break
                continue
            if pts != next(expected, None) or self.tail:
                raise NotProvenError(f"{self._path}: a frame comes that was not expected")
            if is_silent:
                self._hashes.append(frame_hash(decoded))
            if given < PROOF_FRAMES:
                self.head.append(f"{time_ns} {frame_hash(decoded)}")
            image, length = decoder.image(decoded), decoder.duration_ns(decoded)
            yield Frame(image, plan.first_index + given, time_ns, str(self._path), length)
            given += 1
        if decoder.errors > before or given != plan.frames or (plan.end is not None and not self.tail):
            raise NotProvenError(f"{self._path}: {given} frames of {plan.frames} came")
        self.notes += decoder.notes()

    def _decode_again(self) -> None:
        """Raises :class:`NotProvenError` where a frame depends on what was in memory before it.

        Frames that are held on to make the decoder take other buffers.
        """
        self._container.close()
        self._container, self._stream = open_scanned(self._path, self._scan.is_generated)
        landed, start = self._seek()
        decoder = Decoder(self._stream, threads=FILE_THREADS)
        held: deque[VideoFrame] = deque(maxlen=_HELD)
        expected = iter(self._hashes)
        with _ErrorLines() as errors:
            for number, (_, decoded) in enumerate(self._decoded(decoder, landed, start, errors)):
                if number % 3 == 0:
                    held.append(decoded)
                pts, end = decoded.pts, self._plan.end
                if pts is None or (self._plan.start is not None and pts < self._plan.start):
                    continue
                if end is not None and pts >= end:
                    break
                if frame_hash(decoded) != next(expected, None):
                    raise NotProvenError(f"{self._path}: decoded twice, a frame is not the same")

    def _decoded(
        self, decoder: Decoder, landed: int, start: int, errors: _ErrorLines
    ) -> Iterator[tuple[bool, VideoFrame]]:
        """Decodes from the packet at ``start`` on; those from ``landed`` on must be those of the scan.

        Yields each frame, and whether no packet of the span itself was decoded yet.
        """
        plan, position = self._plan, landed
        shown = int(self._scan.visible.argmax())  # an edit list hides those before it
        is_preroll = plan.start is not None or shown > 0
        for packet in packets_of(self._container, self._stream):
            if packet.size:
                if not self._scan.is_at(position, packet):
                    raise NotProvenError(f"{self._path}: the packets differ from those of the whole file")
                position += 1
                if position <= start:
                    continue
            is_begin = position > shown if plan.start is None else packet.pts == plan.start
            if is_preroll and is_begin:
                is_preroll = False
                errors.forget()
            for decoded in decoder.decode(packet):
                yield is_preroll, decoded

    def _seek(self) -> tuple[int, int]:
        """Goes to a key frame before the one where the span begins.

        Returns:
            Positions in the scan of the packet that comes next, and of the one to decode from. The file is
            opened again where seeking does not get there.
        """
        if self._plan.start is None:
            return 0, 0
        keys = self._scan.keys
        earlier = keys[self._scan.pts[keys] < self._plan.start]
        for key in earlier[::-1][:_ATTEMPTS].tolist():
            pts = int(self._scan.pts[key])
            try:
                self._container.seek(pts, stream=self._stream)
                landed = self._scan.find(next(packets_of(self._container, self._stream)))
                self._container.seek(pts, stream=self._stream)  # the packet that was looked at is read again
            except (*LIBRARY_ERRORS, StopIteration):
                break
            if landed is not None and landed <= key:
                return landed, key
        self._container.close()
        self._container, self._stream = open_scanned(self._path, self._scan.is_generated)
        return 0, 0


def frame_hash(frame: VideoFrame) -> str:
    """BLAKE2b, 8 bytes, over a frame's pixels in its own pixel format; hexadecimal."""
    digest = blake2b(digest_size=8)
    try:
        digest.update(frame.to_ndarray().tobytes())
    except ValueError:  # a format that PyAV has no array for
        for plane in frame.planes:
            digest.update(memoryview(plane))
    return digest.hexdigest()


class _ErrorLines:
    """Collects what FFmpeg reports as an error on this thread, while it lasts.

    A line that is equal to the one before it does not count. PyAV can leave those out, but takes the line
    before it from whatever file was read last, and then tells of it among the lines of yet another file.

    Attributes:
        lines: at the end, those that count.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._logs: list[tuple[int, str, str]] = []
        self._forgotten = 0

    def forget(self) -> None:
        """What was reported so far does not count."""
        self._forgotten = len(self._logs)

    def __enter__(self) -> _ErrorLines:
        self._level, self._skips = av.logging.get_level(), av.logging.get_skip_repeated()
        av.logging.set_level(av.logging.ERROR)
        av.logging.set_skip_repeated(False)
        self._capture = av.logging.Capture(local=True)
        self._logs = self._capture.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._capture.__exit__(None, None, None)
        av.logging.set_level(self._level)
        av.logging.set_skip_repeated(self._skips)
        before = self._logs[max(0, self._forgotten - 1) : self._forgotten]
        for log in self._logs[self._forgotten :]:
            if [log] != before and log[0] <= av.logging.ERROR:
                self.lines.append(log[2].strip())
            before = [log]
