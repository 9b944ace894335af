"""A part of a recording as one file, without encoding anything again, and what was found in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import msgspec
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from edgevision.errors import SinkError, UsageError
from edgevision.recording.segment import notes_path
from edgevision.video.codec.container import Mp4File, open_video_file
from edgevision.video.codec.h264 import TIME_BASE

LONGEST_MS = 3_600_000
_MUXER = {"movflags": "faststart"}
Files = Sequence[tuple[Path, int]]
"""The files of a recording in their order, each with the time at which it begins, in ms since 1970."""


class _Line(msgspec.Struct):
    """What was found in an image."""

    t: int
    d: msgspec.Raw


def within(files: Files, from_ms: int, to_ms: int) -> list[tuple[Path, int]]:
    """The files that hold something of a part, as far as their times say.

    Raises:
        UsageError: the part is empty or longer than an hour, or all files begin later.
    """
    if not 0 < to_ms - from_ms <= LONGEST_MS:
        raise UsageError("expected a part of a recording that ends after it begins, of one hour at most")
    starts = [start_ms for _, start_ms in files]
    found = [
        (path, start_ms)
        for i, (path, start_ms) in enumerate(files)
        if start_ms < to_ms and (i + 1 == len(starts) or starts[i + 1] > from_ms)
    ]
    if not found:
        raise UsageError("nothing was recorded in this time")
    return found


def has_boxes(files: Files, from_ms: int, to_ms: int) -> bool:
    """Whether boxes lie beside the files of a part of a recording.

    Raises:
        UsageError: as of :func:`cut`.
        SinkError: a file cannot be read.
    """
    try:
        if next(_packets(files, from_ms, to_ms), None) is None:
            raise UsageError("nothing was recorded in this time")
    except (av.error.FFmpegError, OSError) as error:
        raise SinkError(f"cannot read the recording: {error.strerror or error}") from error
    return any(notes_path(path).is_file() for path, _ in within(files, from_ms, to_ms))


def cut(files: Files, from_ms: int, to_ms: int, target: Path) -> None:
    """Copies what was recorded between two times; it begins with a key frame, up to two seconds earlier.

    Args:
        files: see there.
        from_ms, to_ms: the part.
        target: the MP4 that is made.

    Raises:
        UsageError: the part is empty or longer than an hour, nothing was recorded in it, or the images change
            their size in it.
        SinkError: a file cannot be read, or the target not be written.
    """
    try:
        with Mp4File(target, _MUXER) as output:
            stream: VideoStream | None = None
            for _, packet, ticks in _packets(files, from_ms, to_ms):
                if stream is None:
                    stream = output.container.add_stream_from_template(packet.stream)
                packet.pts = packet.dts = round(ticks * TIME_BASE / packet.time_base)
                packet.stream = stream
                output.mux(packet)
            if stream is None:
                raise UsageError("nothing was recorded in this time")
    except (av.error.FFmpegError, OSError) as error:
        raise SinkError(f"cannot copy the recording: {error.strerror or error}") from error


def cut_boxes(files: Files, from_ms: int, to_ms: int, target: Path) -> None:
    """Writes what was found in the images that :func:`cut` copies, a line each, with their times in the copy.

    Args:
        files, from_ms, to_ms: as of :func:`cut`.
        target: the file of JSON lines that is made.

    Raises:
        UsageError: as of :func:`cut`; or there are no boxes beside these files.
        SinkError: a file cannot be read, or the target not be written.
    """
    decoder = msgspec.json.Decoder(_Line)
    is_empty = True
    try:
        with target.open("wb") as output:
            for path, moments in _moments(files, from_ms, to_ms):
                if not notes_path(path).is_file():
                    continue
                with notes_path(path).open("rb") as lines:
                    for line in lines:
                        if not line.endswith(b"\n"):
                            break  # it is being written
                        found = decoder.decode(line)
                        if found.t in moments:
                            is_empty = False
                            output.write(msgspec.json.encode(_Line(moments[found.t], found.d)) + b"\n")
    except (av.error.FFmpegError, OSError) as error:
        raise SinkError(f"cannot read the recording: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise SinkError(f"what was found in the recording cannot be read: {error}") from error
    if is_empty:
        raise UsageError("there are no boxes beside these recordings")


def _moments(files: Files, from_ms: int, to_ms: int) -> Iterator[tuple[Path, dict[int, int]]]:
    """For each file, the times in the copy of its images by their times in the file; in ticks."""
    found: dict[Path, dict[int, int]] = {}
    for path, packet, ticks in _packets(files, from_ms, to_ms):
        found.setdefault(path, {})[round((packet.pts or 0) * packet.time_base / TIME_BASE)] = ticks
    yield from found.items()


def _packets(files: Files, from_ms: int, to_ms: int) -> Iterator[tuple[Path, Packet[VideoStream], int]]:
    """The images of a part with their files, and their times since its first one, in ticks."""
    first_ms: float | None = None
    size: tuple[int, int] | None = None
    last = -1
    for path, start_ms in within(files, from_ms, to_ms):
        with open_video_file(path) as source:
            stream = source.streams.video[0]
            for packet, at_ms in _images(source, stream, start_ms, from_ms):
                if at_ms > to_ms:
                    return
                size = size or (stream.width, stream.height)
                if (stream.width, stream.height) != size:
                    raise UsageError("the images change their size in this time; choose a shorter one")
                first_ms = at_ms if first_ms is None else first_ms
                last = max(round((at_ms - first_ms) / 1e3 / TIME_BASE), last + 1)
                yield path, packet, last


def _images(
    source: InputContainer, stream: VideoStream, start_ms: int, from_ms: int
) -> Iterator[tuple[Packet[VideoStream], float]]:
    """A file's images and when they were taken, in ms since 1970, from the key frame before ``from_ms`` on.

    There are none where the file ends before.
    """
    base = stream.time_base
    if base is None:
        return
    if from_ms > start_ms:
        source.seek(round((from_ms - start_ms) / 1e3 / base), stream=stream)
    before: list[tuple[Packet[VideoStream], float]] = []
    for packet in source.demux(stream):
        if packet.pts is None or not packet.size:
            continue
        at_ms = start_ms + float(packet.pts * base) * 1e3
        before.append((packet, at_ms))
        if at_ms >= from_ms:
            yield from before
            before.clear()
