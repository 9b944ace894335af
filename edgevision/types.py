"""The vocabulary that crosses every stage: frames in, detections or class maps out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""A picture as OpenCV gives it: uint8 ``[H, W, 3]``, BGR."""

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]

IGNORE_ID = 255
"""Label of pixels that count nowhere, whatever a segmentation data set itself calls them."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture from a source.

    Attributes:
        image: uint8 ``[H, W, 3]``, BGR.
        index: position in the source, from 0; frames that could not be decoded are not counted.
        timestamp_ns: presentation time, in nanoseconds since the source's first frame.
        source: the name that users see for the source (no credentials).
    """

    image: Image
    index: int
    timestamp_ns: int
    source: str = ""

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(
                f"a frame is uint8 [H, W, 3] in BGR; found {self.image.dtype} {list(self.image.shape)}"
            )

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        return int(self.image.shape[0])

    @property
    def time_s(self) -> float:
        """Presentation time in seconds."""
        return self.timestamp_ns / 1e9


NOT_TRACKED = -1
"""Track id of a detection that belongs to no track, or not yet."""


@dataclass(frozen=True, slots=True)
class ZoneCount:
    """One zone after a frame. Mappings go from class name to a number; a class that is absent has none.

    Attributes:
        name: of the zone.
        inside: objects in it now.
        entries, exits: since the run began; ``entries - exits == inside`` for each class.
    """

    name: str
    inside: Mapping[str, int]
    entries: Mapping[str, int]
    exits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LineCount:
    """One line after a frame: crossings since the run began, by class name.

    Attributes:
        name: of the line.
        inward: crossings from its left to its right, as one looks along it.
        outward: crossings from its right to its left.
    """

    name: str
    inward: Mapping[str, int]
    outward: Mapping[str, int]


class ZoneEventKind(str, Enum):
    """What an object did."""

    ENTER = "enter"
    EXIT = "exit"
    IN = "in"
    """Crossed a line inward."""
    OUT = "out"
    """Crossed a line outward."""


@dataclass(frozen=True, slots=True)
class ZoneEvent:
    """Something that an object did between the frame before and this one.

    Attributes:
        kind: what.
        place: name of the zone or line.
        track_id, class_name: of the object.
        time_s: when, on the source's clock; for an object that vanished inside, when it was last seen.
        dwell_s: time spent in the zone; set where it left.
    """

    kind: ZoneEventKind
    place: str
    track_id: int
    class_name: str
    time_s: float
    dwell_s: float | None = None


@dataclass(frozen=True, slots=True)
class ZoneReport:
    """Zones and lines after a frame.

    Attributes:
        zones, lines: counts, in the order of the file.
        events: what happened in this frame.
        dwell_s: for each track that is in a zone, the zones' names and the seconds spent there so far.
    """

    zones: tuple[ZoneCount, ...] = ()
    lines: tuple[LineCount, ...] = ()
    events: tuple[ZoneEvent, ...] = ()
    dwell_s: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector found in one picture, best score first unless it was re-ordered.

    Attributes:
        boxes: float32 ``[N, 4]``, ``(x1, y1, x2, y2)`` in source pixels with ``x1 <= x2`` and ``y1 <= y2``.
        scores: float32 ``[N]`` in 0..1.
        class_ids: int32 ``[N]``, indices into the model's class names.
        track_ids: int32 ``[N]``, unique but for :data:`NOT_TRACKED`; None where nothing tracks.
        zones: what the zones say of the whole frame, not only of these rows; None where there are none.

    Raises:
        ValueError: on a wrong shape, an inverted box, or a value that is not finite.

    Example:
        >>> found = Detections(np.array([[0, 0, 9, 9]]), np.array([0.9]), np.array([2]))
        >>> len(found), len(found[found.scores > 0.95])
        (1, 0)
    """

    boxes: FloatArray
    scores: FloatArray
    class_ids: IntArray
    track_ids: IntArray | None = None
    zones: ZoneReport | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "boxes", np.asarray(self.boxes, np.float32).reshape(-1, 4))
        set_field(self, "scores", np.asarray(self.scores, np.float32))
        set_field(self, "class_ids", np.asarray(self.class_ids, np.int32))
        if self.track_ids is not None:
            set_field(self, "track_ids", np.asarray(self.track_ids, np.int32))
        columns: dict[str, NDArray[Any] | None] = {
            "scores": self.scores,
            "class_ids": self.class_ids,
            "track_ids": self.track_ids,
        }
        for name, column in columns.items():
            if column is not None and column.shape != (len(self.boxes),):
                raise ValueError(
                    f"{name} has shape {list(column.shape)}; expected [{len(self.boxes)}], one value a box"
                )
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.scores).all()):
            raise ValueError("boxes and scores must be finite numbers")
        if (self.boxes[:, 2:] < self.boxes[:, :2]).any():
            raise ValueError("boxes are (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2")

    @classmethod
    def empty(cls) -> Detections:
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: NDArray[Any] | slice) -> Detections:
        """The detections chosen by a boolean mask, an index array or a slice."""
        tracks = None if self.track_ids is None else self.track_ids[index]
        return Detections(self.boxes[index], self.scores[index], self.class_ids[index], tracks, self.zones)

    def __iter__(self) -> Iterator[tuple[FloatArray, float, int, int | None]]:
        """Yields ``(box float32 [4], score, class_id, track_id)``, the last None where nothing tracks."""
        for i in range(len(self)):
            track = None if self.track_ids is None else int(self.track_ids[i])
            track = None if track == NOT_TRACKED else track
            yield self.boxes[i], float(self.scores[i]), int(self.class_ids[i]), track


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationMap:
    """What a segmenter said of one picture.

    Attributes:
        class_map: uint8 ``[H, W]`` at source size, indices into the model's class names.
    """

    class_map: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.class_map.dtype != np.uint8 or self.class_map.ndim != 2:
            raise ValueError(
                f"a class map is uint8 [H, W]; found {self.class_map.dtype} {list(self.class_map.shape)}"
            )

    def shares(self, classes: int) -> FloatArray:
        """Share of the picture that each class covers: float32 ``[classes]``, summing to at most 1."""
        counts = np.bincount(self.class_map.ravel(), minlength=classes)[:classes]
        return (counts / max(self.class_map.size, 1)).astype(np.float32)


Result = Detections | SegmentationMap
