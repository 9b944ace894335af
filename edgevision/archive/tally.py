"""Counts what a file shows, and keeps its best crops, while its frames pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import msgspec
import numpy as np

from edgevision.archive.records import ClassSummary
from edgevision.files import atomic_path
from edgevision.types import Detections, Frame, FrameResult

BINS = 120
"""A file's timeline has at most this many bins; their length is 1, 2, 4, ... seconds."""

CROPS = 6
"""Of each class in each file."""

APART_S = 2.0
"""Seconds of the file's time of which one crop is kept: the next frame shows the same once more."""

_CROP_SIDE = 160  # pixels
_MARGIN = 0.15  # of a box's sides


class Crop(msgspec.Struct, frozen=True, kw_only=True):
    """The best detections of a file, for a contact sheet.

    Attributes:
        class_name, score, frame, time_s: of the detection.
        jpeg: what is seen of it, at most 160 pixels wide and high.
    """

    class_name: str
    score: float
    frame: int
    time_s: float
    jpeg: bytes


@dataclass(slots=True)
class _ClassTally:
    first_s: float
    last_s: float = 0.0
    detections: int = 0
    most: int = 0
    tracks: set[int] = field(default_factory=set)
    bins: list[int] = field(default_factory=list)


class Tally:
    """What a file shows, by class.

    Attributes:
        frames: that were counted.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._bin_s = 1.0
        self._classes: dict[str, _ClassTally] = {}

    def add(self, result: FrameResult) -> None:
        """Counts one frame; the times of frames rise."""
        self.frames += 1
        time_s = result.frame.time_s
        while time_s >= BINS * self._bin_s:
            self._bin_s *= 2
            for one in self._classes.values():
                one.bins = [sum(one.bins[i : i + 2]) for i in range(0, len(one.bins), 2)]
        counts: dict[str, int] = {}
        for found in result.detections:
            counts[found.name] = counts.get(found.name, 0) + 1
            one = self._classes.setdefault(found.name, _ClassTally(time_s))
            if found.track_id is not None:
                one.tracks.add(found.track_id)
        position = int(time_s // self._bin_s)
        for name, count in counts.items():
            one = self._classes[name]
            one.detections += count
            one.most = max(one.most, count)
            one.last_s = time_s
            one.bins += [0] * (position + 1 - len(one.bins))
            one.bins[position] += count

    @property
    def bin_s(self) -> float:
        """Length of a bin in seconds."""
        return self._bin_s

    def classes(self) -> dict[str, ClassSummary]:
        """By name, the most frequent first."""
        order = sorted(self._classes.items(), key=lambda item: (-item[1].detections, item[0]))
        return {
            name: ClassSummary(
                detections=one.detections,
                most=one.most,
                tracks=len(one.tracks),
                first_s=round(one.first_s, 6),
                last_s=round(one.last_s, 6),
                bins=one.bins,
            )
            for name, one in order
        }


class BestCrops:
    """The crops of the best detections of each class, one of every :data:`APART_S` seconds of the file.

    They are the same whichever parts they come from: the best of all are among the best of their part.
    """

    def __init__(self, crops: Iterable[Crop] = ()) -> None:
        self._kept: dict[str, dict[int, Crop]] = {}
        for one in crops:
            self._keep(one)

    def add(self, frame: Frame, found: Detections, time_s: float) -> None:
        """Looks at the detections of one frame: the best of each class is a candidate.

        Args:
            frame: with its image.
            found: what is shown of it.
            time_s: of the frame.
        """
        seen: set[str] = set()
        for one in sorted(found, key=lambda one: -one.score):
            if one.name not in seen:
                seen.add(one.name)
                crop = Crop(
                    class_name=one.name, score=round(one.score, 4), frame=frame.index, time_s=time_s, jpeg=b""
                )
                if self._is_wanted(crop):
                    self._keep(msgspec.structs.replace(crop, jpeg=_cut(frame, one.box)))

    def _is_wanted(self, crop: Crop) -> bool:
        kept = self._kept.get(crop.class_name, {})
        rival = kept.get(int(crop.time_s // APART_S))
        if rival is None and len(kept) >= CROPS:
            rival = max(kept.values(), key=_rank)
        return rival is None or _rank(crop) < _rank(rival)

    def _keep(self, crop: Crop) -> None:
        if self._is_wanted(crop):
            kept = self._kept.setdefault(crop.class_name, {})
            kept[int(crop.time_s // APART_S)] = crop
            if len(kept) > CROPS:
                worst = max(kept.values(), key=_rank)
                del kept[int(worst.time_s // APART_S)]

    def crops(self) -> list[Crop]:
        """By class name, the best first."""
        return [one for name in sorted(self._kept) for one in sorted(self._kept[name].values(), key=_rank)]


def _rank(crop: Crop) -> tuple[float, int]:
    """The best first; of equals the earliest."""
    return -crop.score, crop.frame


def write_crops(path: Path, crops: list[Crop]) -> None:
    """Raises :class:`SinkError` where they cannot be written."""
    with atomic_path(path) as partial:
        partial.write_bytes(msgspec.msgpack.encode(crops))


def read_crops(path: Path) -> list[Crop]:
    """What :func:`write_crops` wrote; nothing where it is not there or not readable."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=list[Crop])
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return []


def _cut(frame: Frame, box: tuple[float, float, float, float]) -> bytes:
    x1, y1, x2, y2 = box
    across, down = (x2 - x1) * _MARGIN, (y2 - y1) * _MARGIN
    left, top = max(0, int(x1 - across)), max(0, int(y1 - down))
    right, bottom = min(frame.width, int(x2 + across) + 1), min(frame.height, int(y2 + down) + 1)
    image = frame.image[top:bottom, left:right]
    scale = _CROP_SIDE / max(*image.shape[:2], 1)
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
