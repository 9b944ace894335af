"""Diagnoses unreadable and truncated video files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.video.stream import VideoStream

_SHORTFALL_S = 1.0  # containers round their durations; a truncated recording lacks more than that

_JOINED = (
    "another recording follows behind it in the file (joined with cat), which players do not show either; "
    "cut the file there to run the rest"
)

_UNREAD = 0.1  # of a transport stream, whose streams lie side by side to its end

_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def describe_unreadable(path: Path) -> str:
    """Why FFmpeg cannot read the file as a video: the predicate of an error message."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    if not head:
        return "is empty (0 bytes); record or copy it again"
    if head[4:8] in (b"ftyp", b"mdat", b"moov", b"free", b"wide", b"skip"):
        if "moov" not in _top_level_boxes(path):
            return (
                "has no complete index ('moov' box), so its recording or copying was interrupted; "
                "copy it again, or repair it with a tool such as untrunc"
            )
        return "is damaged: its index cannot be read; copy it again"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8") if error.start > len(head) - 4 else "\0"
    if all(letter.isprintable() or letter.isspace() for letter in text):
        return "contains text, not video; choose a video or an image"
    return "is not a video that FFmpeg can read; expected for example MP4, MKV, MOV, AVI, WebM or MPEG-TS"


def _top_level_boxes(path: Path) -> list[str]:
    """Names of the complete top-level ISO base media boxes (ISO/IEC 14496-12, 4.2)."""
    names: list[str] = []
    size = path.stat().st_size
    with path.open("rb") as stream:
        position = 0
        while position + 8 <= size and len(names) < 1000:
            stream.seek(position)
            length, kind = struct.unpack(">I4s", stream.read(8))
            if not kind.isalnum():
                break
            if length == 1:
                wide = stream.read(8)
                length = struct.unpack(">Q", wide)[0] if len(wide) == 8 else 0
            length = length or size - position  # 0: up to the end
            if length < 8 or position + length > size:
                break
            names.append(kind.decode("latin-1"))
            position += length
    return names


def truncation(
    container: InputContainer, stream: VideoStream, path: Path, shown_s: float, end_byte: int | None = None
) -> str | None:
    """One line if the file is shorter than it declares, or much of it was not read; else None.

    Args:
        container: the open file.
        stream: the video stream, read to its end.
        path: the file.
        shown_s: end of the last frame on the stream's own clock, in seconds.
        end_byte: where its last packet that could be decoded ends in the file; None where unknown.
    """
    if not path.is_file():
        return None
    size = path.stat().st_size
    if "mp4" in container.format.name:
        # The index locates every sample, so this is exact; its duration may include hidden frames.
        entries = stream.index_entries
        last = max((entry.pos + entry.size for entry in entries), default=0)
        if last <= size:
            return _JOINED if _top_level_boxes(path).count("moov") > 1 else None
        held = sum(entry.pos + entry.size <= size for entry in entries)
        return f"the file is truncated: it contains {held} of {len(entries)} frames"
    if container.format.name == "mpegts" and end_byte and size - end_byte > _UNREAD * size:
        return (
            f"its images end at {end_byte / size:.0%} of the file and go on in another stream or not at all; "
            "cut it there to run the rest"
        )
    declared_s = _declared_seconds(container, stream)
    if declared_s - shown_s > max(_SHORTFALL_S, 0.02 * declared_s):
        return f"the file is truncated: it ends after {shown_s:.1f} s of {declared_s:.1f} s"
    declared_bytes = _declared_bytes(container.format.name, path)
    if declared_bytes > size:
        return f"the file is truncated: it contains {size} of {declared_bytes} bytes"
    if container.format.name == "flv" and _flv_end(path)[1]:
        return _JOINED
    return None


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float:
    if container.format.name == "flv":
        return _flv_seconds(container)
    tag = stream.metadata.get("DURATION", "")  # Matroska and WebM
    hours, _, rest = tag.partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        pass
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    if stream.duration and stream.time_base:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    return 0.0


def _flv_seconds(container: InputContainer) -> float:
    """The declared length if the last complete tag of any stream lies before it, else 0.

    The header gives the length of the whole file, whose sound may outlast its images. Tags are as in Adobe's
    Flash Video File Format Specification 10.1, annex E.4.
    """
    declared_s = (container.duration or 0) / av.time_base
    last_ms, is_followed = _flv_end(Path(container.name.removeprefix("file:")))
    return 0.0 if is_followed or declared_s - last_ms / 1000 <= _SHORTFALL_S else declared_s


def _flv_end(path: Path) -> tuple[int, bool]:
    """The highest time of the tags of an FLV, in milliseconds, and whether the header of another follows."""
    size, position, last_ms = path.stat().st_size, 13, 0
    with path.open("rb") as stream:
        while position + 11 <= size:
            stream.seek(position)
            head = stream.read(11)
            if head.startswith(b"FLV\1"):
                return last_ms, True
            position += 11 + int.from_bytes(head[1:4], "big") + 4
            if position > size or head[0] & 0x1F not in (8, 9, 18):
                break
            last_ms = max(last_ms, int.from_bytes(head[4:7], "big") | head[7] << 24)
    return last_ms, False


def _declared_bytes(demuxer: str, path: Path) -> int:
    """The size that the file declares, in bytes; 0 where its format has none."""
    with path.open("rb") as stream:
        if "matroska" in demuxer:
            return _segment_end(stream)
        if demuxer == "asf":
            head = stream.read(4096)
            place = head.find(_ASF_FILE_PROPERTIES)
            # ASF 3.2: id, object size, file id, file size, ..., flags; a broadcast has no size
            if place >= 0 and len(head) >= place + 92 and not head[place + 88] & 1:
                return int.from_bytes(head[place + 40 : place + 48], "little")
    return 0


def _segment_end(stream: BinaryIO) -> int:
    """Where a Matroska segment says that it ends (RFC 9559 and 8794); 0 where it does not."""
    for element in (0x1A45DFA3, 0x18538067):
        if int.from_bytes(stream.read(4), "big") != element:
            return 0
        first = stream.read(1)
        if not first or not first[0]:
            return 0
        length = 9 - first[0].bit_length()
        bits = 7 * length
        size = int.from_bytes(first + stream.read(length - 1), "big") & ((1 << bits) - 1)
        if size == (1 << bits) - 1:  # unknown: it was recorded to a pipe, or interrupted
            return 0
        if element == 0x18538067:
            return stream.tell() + size
        stream.seek(size, 1)
    return 0
