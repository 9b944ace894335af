"""Diagnoses unreadable and truncated video files."""

from __future__ import annotations

import struct
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

_SHORTFALL_S = 1.0  # containers round their durations; a truncated recording lacks more than that


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


def truncation(container: InputContainer, stream: VideoStream, size: int, shown_s: float) -> str | None:
    """One line if the file is shorter than its index or header declares, else None.

    Args:
        container: the open file.
        stream: the video stream, read to its end.
        size: size of the file in bytes.
        shown_s: end of the last frame on the stream's own clock, in seconds.
    """
    if "mp4" in container.format.name:
        # The index locates every sample, so this is exact; its duration may include hidden frames.
        entries = stream.index_entries
        last = max((entry.pos + entry.size for entry in entries), default=0)
        if last <= size:
            return None
        held = sum(entry.pos + entry.size <= size for entry in entries)
        return f"the file is truncated: it contains {held} of {len(entries)} frames"
    declared_s = _declared_seconds(container, stream)
    if declared_s - shown_s <= max(_SHORTFALL_S, 0.02 * declared_s):
        return None
    return f"the file is truncated: it ends after {shown_s:.1f} s of {declared_s:.1f} s"


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float:
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
