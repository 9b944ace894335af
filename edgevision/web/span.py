"""A part of a recording as one file, without encoding anything again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from edgevision.errors import SinkError, UsageError
from edgevision.video.codec.container import create_mp4_file, open_video_file

LONGEST_MS = 3_600_000
_MUXER = {"movflags": "faststart"}


def cut(files: Sequence[tuple[Path, int]], from_ms: int, to_ms: int, target: Path) -> None:
    """Copies what was recorded between two times; it begins with a key frame, up to two seconds earlier.

    Args:
        files: each file with the time at which it begins, in milliseconds since 1970, in their order.
        from_ms, to_ms: the part.
        target: the MP4 that is made.

    Raises:
        UsageError: the part is empty or longer than an hour, nothing was recorded in it, or the images change
            their size in it.
        SinkError: a file cannot be read, or the target not be written.
    """
    if not 0 < to_ms - from_ms <= LONGEST_MS:
        raise UsageError("expected a part of a recording that ends after it begins, of one hour at most")
    starts = [start_ms for _, start_ms in files]
    wanted = [
        (path, start_ms)
        for i, (path, start_ms) in enumerate(files)
        if start_ms < to_ms and (i + 1 == len(starts) or starts[i + 1] > from_ms)
    ]
    try:
        with create_mp4_file(target, _MUXER) as output:
            copied = _Copy(output, from_ms, to_ms)
            for path, start_ms in wanted:
                copied.add(path, start_ms)
            if copied.first_ms is None:
                raise UsageError("nothing was recorded in this time")
    except (av.error.FFmpegError, OSError) as error:
        raise SinkError(f"cannot copy the recording: {error.strerror or error}") from error


class _Copy:
    """The copy as it grows."""

    def __init__(self, output: OutputContainer, from_ms: int, to_ms: int) -> None:
        self.first_ms: float | None = None
        self._output, self._from_ms, self._to_ms = output, from_ms, to_ms
        self._stream: VideoStream | None = None
        self._last = -1

    def add(self, path: Path, start_ms: int) -> None:
        with open_video_file(path) as source:
            stream = source.streams.video[0]
            base = stream.time_base
            if base is None:
                return
            if self.first_ms is None and self._from_ms > start_ms:
                source.seek(
                    round((self._from_ms - start_ms) / 1e3 / base), stream=stream
                )  # to a key frame before
            for packet in source.demux(stream):
                if packet.pts is None or not packet.size:
                    continue
                at_ms = start_ms + float(packet.pts * base) * 1e3
                if at_ms > self._to_ms:
                    return
                if self._stream is None:
                    self._stream = self._output.add_stream_from_template(stream)
                    self._size = (stream.width, stream.height)
                if (stream.width, stream.height) != self._size:
                    raise UsageError("the images change their size in this time; choose a shorter one")
                self.first_ms = at_ms if self.first_ms is None else self.first_ms
                ticks = max(round((at_ms - self.first_ms) / 1e3 / base), self._last + 1)
                self._last = packet.pts = packet.dts = ticks
                packet.stream = self._stream
                self._output.mux(packet)
