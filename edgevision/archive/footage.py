"""Clips of a file: the stretches of its results that show certain classes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from edgevision.archive.inputs import InputFile
from edgevision.archive.records import ResultPlaces
from edgevision.errors import SourceError
from edgevision.files import atomic_path, make_folder, safe_name, write_json
from edgevision.types import Frame, FrameResult
from edgevision.video import Source
from edgevision.video.sinks.jsonl import read_jsonl
from edgevision.video.sinks.mp4 import Mp4Sink

PAD_S = 2.0
"""Seconds of a clip before the first and after the last frame that shows the class."""


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """One clip.

    Attributes:
        file: its name.
        start_s, end_s: of the source's time.
        frames: how many of the source's frames it holds.
    """

    file: str
    start_s: float
    end_s: float
    frames: int


class ClipList(msgspec.Struct, frozen=True, kw_only=True):
    """``clips.json`` beside the clips of a file; what makes them complete."""

    classes: list[str]
    clips: list[Clip]


def clip_folder(places: ResultPlaces, name: str) -> Path:
    """Where the clips of a file lie."""
    return places.out / "clips" / name


def has_clips(places: ResultPlaces, name: str, classes: Sequence[str]) -> bool:
    """Whether the clips of these classes were cut."""
    try:
        found = msgspec.json.decode((clip_folder(places, name) / "clips.json").read_bytes(), type=ClipList)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return False
    return found.classes == list(classes)


def stretches(times_s: Sequence[float], pad_s: float = PAD_S) -> list[tuple[float, float]]:
    """Times, with a margin around each, as stretches that do not touch.

    >>> stretches([5.0, 6.0, 20.0], 2.0)
    [(3.0, 8.0), (18.0, 22.0)]
    """
    found: list[tuple[float, float]] = []
    for time_s in times_s:
        start_s, end_s = max(0.0, time_s - pad_s), time_s + pad_s
        if found and start_s <= found[-1][1]:
            found[-1] = (found[-1][0], end_s)
        else:
            found.append((start_s, end_s))
    return found


def cut_clips(
    places: ResultPlaces,
    file: InputFile,
    path: Path,
    classes: Sequence[str],
    open_file: Callable[[str], Source],
) -> None:
    """Cuts the stretches of a file that show one of the classes, from its results; nothing is drawn on them.

    Every frame of a stretch is in its clip, whatever frames were looked at. An image has no clips.

    Args:
        places: where results lie.
        file: of the archive.
        path: where it can be read.
        classes: of which one is to be seen.
        open_file: opens it.

    Raises:
        SinkError: a clip cannot be written.
        SourceError: the file cannot be read, or is not the one that the results are of.
        DataError: the results are not readable.
    """
    wanted = set(classes)
    times_s = [
        record.time_s
        for record in read_jsonl(places.records(file.name))
        if any(one.class_name in wanted for one in record.detections)
    ]
    folder = clip_folder(places, file.name)
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder, parents=True)
    clips: list[Clip] = []
    pending = stretches(times_s)
    with open_file(str(path)) as source:
        if pending and not source.info.is_image:
            frames = iter(source)
            ahead = next(frames, None)
            while pending and ahead is not None:
                start_s, end_s = pending.pop(0)
                while ahead is not None and ahead.time_s < start_s:
                    ahead = next(frames, None)
                clip = f"{len(clips) + 1:04}_{safe_name(f'{start_s:.2f}s')}.mp4"
                count, first_ns = 0, None
                with (
                    atomic_path(folder / clip) as partial,
                    Mp4Sink(partial, replace(source.info, timeline=None), threads=1) as sink,
                ):
                    while ahead is not None and ahead.time_s <= end_s:
                        first_ns = ahead.timestamp_ns if first_ns is None else first_ns
                        moved = Frame(
                            ahead.image, count, ahead.timestamp_ns - first_ns, ahead.source, ahead.duration_ns
                        )
                        sink.write(FrameResult(moved, ()), moved.image)
                        count += 1
                        ahead = next(frames, None)
                    if not count:
                        raise SourceError(
                            f"{file.place}: no frame at {start_s:.2f} s, which its results name"
                        )
                clips.append(Clip(file=clip, start_s=round(start_s, 6), end_s=round(end_s, 6), frames=count))
    write_json(folder / "clips.json", ClipList(classes=list(classes), clips=clips))
