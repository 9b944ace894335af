"""The vocabulary that crosses every stage: frames in, :class:`FrameResult` out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.masks import InstanceMasks

Image = NDArray[np.uint8]
"""An image as OpenCV gives it: uint8 ``[H, W, 3]``, BGR."""

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]
ObjectArray = NDArray[np.object_]

IGNORE_ID = 255
"""Label of pixels that training and evaluation leave out, in every segmentation data set."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image from a source.

    Attributes:
        image: uint8 ``[H, W, 3]``, BGR.
        index: position in the source, from 0; frames that could not be decoded are not counted.
        timestamp_ns: presentation time, in nanoseconds since the source's first frame.
        source: the name that users see for the source (no credentials).
        duration_ns: how long it stays, in nanoseconds; 0 where the source does not say.
    """

    image: Image
    index: int
    timestamp_ns: int
    source: str = ""
    duration_ns: int = 0

    def __repr__(self) -> str:
        return f"<Frame {self.index} of {self.source!r} at {self.time_s:g} s: {self.width}x{self.height}>"

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


@dataclass(frozen=True, slots=True)
class ZoneCount:
    """One zone after a frame. Counts are by class name; a class without any is not in the mapping.

    Attributes:
        name: of the zone.
        inside: objects in it now.
        entries, exits: since the run began; ``entries - exits == inside`` for each class.
        attributes: objects in it now by the name of what a second model said of them.
    """

    name: str
    inside: Mapping[str, int]
    entries: Mapping[str, int]
    exits: Mapping[str, int]
    attributes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LineCount:
    """One line after a frame: crossings since the run began, by class name.

    Attributes:
        name: of the line.
        inward: crossings from its left to its right, looking from its start to its end.
        outward: crossings from its right to its left.
    """

    name: str
    inward: Mapping[str, int]
    outward: Mapping[str, int]


class ZoneEventKind(str, Enum):
    """What an object did in a zone or at a line."""

    ENTER = "enter"
    EXIT = "exit"
    IN = "in"
    """Crossed a line inward."""
    OUT = "out"
    """Crossed a line outward."""


@dataclass(frozen=True, slots=True)
class ZoneEvent:
    """What an object did between the previous frame and this one.

    Attributes:
        kind: what happened.
        place: name of the zone or line.
        track_id, class_name: of the object.
        time_s: when, on the source's clock; for one that disappeared inside a zone, when it was last seen.
        dwell_s: time spent in the zone, for :attr:`ZoneEventKind.EXIT`; else None.
        attributes: names of what a second model last said of the object.
        reason: why it left other than across the border: ``vanished``, ``source lost`` or ``zone changed``;
            else None.
    """

    kind: ZoneEventKind
    place: str
    track_id: int
    class_name: str
    time_s: float
    dwell_s: float | None = None
    attributes: tuple[str, ...] = ()
    reason: str | None = None


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


class Skeleton(msgspec.Struct, frozen=True):
    """The key points of a pose.

    Attributes:
        names: of the J key points.
        bones: pairs of them that a line joins, by their positions from 0.

    Raises:
        ValueError: two key points have one name, or a bone joins one that there is not.
    """

    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError("two key points of a skeleton have the same name")
        for bone in self.bones:
            if not all(0 <= end < len(self.names) for end in bone):
                raise ValueError(f"bone {list(bone)} of a skeleton of {len(self.names)} key points")


class KeyPoint(msgspec.Struct, frozen=True):
    """One point of a pose.

    Attributes:
        name: what it is, such as ``left_wrist``.
        x, y: in source pixels.
        score: how sure the model is that it is seen there, 0..1.
    """

    name: str
    x: float
    y: float
    score: float


class Attribute(msgspec.Struct, frozen=True):
    """What a second model said of an object that the first found.

    Attributes:
        name: of the second model's class.
        score: 0..1.
        model: name of the second model.
        box: where it found that, ``(x1, y1, x2, y2)`` in source pixels; None from a classifier, and in the
            frames after the one in which it looked.
    """

    name: str
    score: float
    model: str = ""
    box: tuple[float, float, float, float] | None = None


class Detection(msgspec.Struct, frozen=True):
    """One row of :class:`Detections`, in plain Python values.

    Attributes:
        name: of the class.
        score: 0..1.
        box: ``(x1, y1, x2, y2)`` in source pixels.
        class_id: index into the class names of the detections that this is a row of.
        track_id: number of the object that this is, the same in every frame; None where it has none (yet).
        model: name of the model that found it.
        keypoints: of a pose, all of them, in the order of the skeleton; else None.
        rotated_box: ``(cx, cy, width, height, angle)`` as :class:`Detections` has it; else None.
        attributes: what a second model said of it; empty where none looked.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]
    class_id: int
    track_id: int | None = None
    model: str = ""
    keypoints: tuple[KeyPoint, ...] | None = None
    rotated_box: tuple[float, float, float, float, float] | None = None
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found in one image, best score first unless it was re-ordered.

    ``len(found)`` is the number of rows. ``found[0]`` and ``for one in found`` give a row as
    :class:`Detection`; a boolean mask, a slice or an index array choose rows and give :class:`Detections`.

    Attributes:
        boxes: float32 ``[N, 4]``, ``(x1, y1, x2, y2)`` in source pixels with ``x1 <= x2`` and ``y1 <= y2``.
        scores: float32 ``[N]`` in 0..1.
        class_ids: int32 ``[N]``, indices into ``names``.
        names: class names; empty where they are not known, and a row is then called by its class id.
        model: name of the model; empty where it is not known or there are several.
        track_ids: object ``[N]``, an int of 0 or more for each row that belongs to a track and None for the
            others; None altogether where nothing tracks.
        models: where rows of several models were joined, the model of each class in ``names``; else empty.
        masks: the mask of each row; None where the model gives none.
        keypoints: float32 ``[N, J, 3]``: ``(x, y, score)`` in source pixels, which may lie outside the image;
            None where the model gives none.
        skeleton: what the J key points are; None where it is not known.
        rotated_boxes: float32 ``[N, 5]``: ``(cx, cy, width, height, angle)`` in source pixels. The angle is
            in radians, -pi/2 to pi/2, from the x axis to the side of length ``width``, clockwise as one sees
            the image (x to the right, y down). ``boxes`` are the upright boxes around them, cut to the image.
            None where the model gives upright boxes.
        attributes: object ``[N]``, for each row a tuple of :class:`Attribute`, best first; None where no
            second model runs.

    Raises:
        ValueError: on a wrong shape, an inverted box, a value that is not finite, a class id without a name,
            or a negative track id.

    Example:
        >>> found = Detections([[0, 0, 9, 9]], [0.9], [1], ("person", "car"))
        >>> len(found), len(found[found.scores > 0.95]), found[0].name, found[0].box
        (1, 0, 'car', (0.0, 0.0, 9.0, 9.0))
    """

    boxes: FloatArray
    scores: FloatArray
    class_ids: IntArray
    names: tuple[str, ...] = ()
    model: str = ""
    track_ids: ObjectArray | None = None
    models: tuple[str, ...] = ()
    masks: InstanceMasks | None = None
    keypoints: FloatArray | None = None
    skeleton: Skeleton | None = None
    rotated_boxes: FloatArray | None = None
    attributes: ObjectArray | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "boxes", np.asarray(self.boxes, np.float32).reshape(-1, 4))
        set_field(self, "scores", np.asarray(self.scores, np.float32))
        set_field(self, "class_ids", np.asarray(self.class_ids, np.int32))
        set_field(self, "names", tuple(self.names))
        if self.track_ids is not None:
            set_field(self, "track_ids", _checked_track_ids(self.track_ids))
        for column in ("scores", "class_ids", "track_ids", "attributes"):
            values = getattr(self, column)
            if values is not None and values.shape != (len(self.boxes),):
                raise ValueError(
                    f"{column} has shape {list(values.shape)}; expected [{len(self.boxes)}], one value a box"
                )
        self._check_further(len(self.boxes))
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.scores).all()):
            raise ValueError("boxes and scores must be finite numbers")
        if (self.boxes[:, 2:] < self.boxes[:, :2]).any():
            raise ValueError("boxes are (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2")
        if self.names and len(self.boxes):
            lowest, highest = int(self.class_ids.min()), int(self.class_ids.max())
            if lowest < 0 or highest >= len(self.names):
                wrong = lowest if lowest < 0 else highest
                raise ValueError(f"class id {wrong} has no name; expected 0 to {len(self.names) - 1}")
        if self.models and len(self.models) != len(self.names):
            raise ValueError(
                f"models has {len(self.models)} entries; expected {len(self.names)}, one for each class name"
            )

    def _check_further(self, count: int) -> None:
        """Brings what not every model gives into its form, and checks it."""
        if self.masks is not None and len(self.masks) != count:
            raise ValueError(f"{len(self.masks)} masks for {count} boxes; expected one a box")
        if self.rotated_boxes is not None:
            rotated = np.asarray(self.rotated_boxes, np.float32).reshape(-1, 5)
            if len(rotated) != count or not np.isfinite(rotated).all() or (rotated[:, 2:4] < 0).any():
                raise ValueError(
                    f"rotated_boxes are finite numbers [{count}, 5] with sides of 0 or more; "
                    f"found {list(rotated.shape)}"
                )
            object.__setattr__(self, "rotated_boxes", rotated)
        if self.keypoints is not None:
            points = np.asarray(self.keypoints, np.float32)
            if points.ndim != 3 or points.shape[0] != count or points.shape[2] != 3:
                raise ValueError(f"keypoints are [{count}, J, 3]; found {list(points.shape)}")
            if self.skeleton is not None and points.shape[1] != len(self.skeleton.names):
                raise ValueError(f"{points.shape[1]} key points for {len(self.skeleton.names)} names")
            if not np.isfinite(points).all():
                raise ValueError("keypoints must be finite numbers")
            object.__setattr__(self, "keypoints", points)

    @classmethod
    def empty(cls, names: Sequence[str] = (), model: str = "") -> Detections:
        """No rows, of a model with these class names."""
        return cls(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), tuple(names), model
        )

    @classmethod
    def join(cls, parts: Sequence[Detections]) -> Detections:
        """The rows of all, part after part; each row still knows its class name and its model.

        Parts of different models get one list of class names, one model's after the other's, and the class
        ids are indices into that. Where some parts have masks, key points or rotated boxes, the rows of the
        others get a mask without pixels, key points of score 0, or their box with the angle 0. Key points of
        different skeletons have none in common.

        Raises:
            ValueError: parts of different models, of which one has no class names.
        """
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        names, model, models = parts[0].names, parts[0].model, parts[0].models
        starts = [0] * len(parts)
        if any((one.names, one.model, one.models) != (names, model, models) for one in parts):
            if not all(one.names for one in parts):
                raise ValueError("detections of different models can be joined only if all have class names")
            starts = [0, *itertools.accumulate(len(one.names) for one in parts[:-1])]
            names = tuple(name for one in parts for name in one.names)
            models = tuple(owner for one in parts for owner in one.models or (one.model,) * len(one.names))
            model = ""
        track_ids = None
        if any(one.track_ids is not None for one in parts):
            track_ids = np.concatenate(
                [np.full(len(one), None, object) if one.track_ids is None else one.track_ids for one in parts]
            )
        return cls(
            np.concatenate([one.boxes for one in parts]),
            np.concatenate([one.scores for one in parts]),
            np.concatenate([one.class_ids + start for one, start in zip(parts, starts, strict=True)]),
            names,
            model,
            track_ids,
            models,
            *_joined_further(parts),
        )

    def __repr__(self) -> str:
        shown = [f"{name} {score:.2f}" for name, score in zip(self.row_names, self.scores, strict=True)]
        more = [f"{len(shown) - 5} more"] if len(shown) > 6 else []
        return f"<Detections: {', '.join((shown[:5] + more) if more else shown) or 'none'}>"

    @property
    def row_names(self) -> list[str]:
        """The class name of each row."""
        class_ids: list[int] = self.class_ids.tolist()
        if not self.names:
            return [str(class_id) for class_id in class_ids]
        return [self.names[class_id] for class_id in class_ids]

    def __len__(self) -> int:
        return len(self.boxes)

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> Detection: ...

    @overload
    def __getitem__(self, index: slice | NDArray[Any] | Sequence[int]) -> Detections: ...

    def __getitem__(
        self, index: int | np.integer[Any] | slice | NDArray[Any] | Sequence[int]
    ) -> Detection | Detections:
        """One row, or the rows chosen by a boolean mask, an index array or a slice."""
        if isinstance(index, (int, np.integer)):
            (row,) = self[[int(index)]]
            return row
        chosen = object.__new__(Detections)  # rows of what was checked need no second check
        set_field = object.__setattr__
        for column in _COLUMNS:
            values = getattr(self, column)
            set_field(chosen, column, None if values is None else values[index])
        for shared in ("names", "model", "models", "skeleton"):
            set_field(chosen, shared, getattr(self, shared))
        return chosen

    def __iter__(self) -> Iterator[Detection]:
        """Yields each row."""
        columns = (
            self.row_names,
            self.scores.tolist(),
            self.boxes.tolist(),
            self.class_ids.tolist(),
            itertools.repeat(None) if self.track_ids is None else self.track_ids.tolist(),
            itertools.repeat(None) if self.keypoints is None else map(self._points, self.keypoints.tolist()),
            itertools.repeat(None) if self.rotated_boxes is None else map(tuple, self.rotated_boxes.tolist()),
            itertools.repeat(()) if self.attributes is None else self.attributes.tolist(),
        )
        for name, score, box, class_id, track_id, points, rotated, said in zip(*columns, strict=False):
            model = self.models[class_id] if self.models else self.model
            yield Detection(name, score, tuple(box), class_id, track_id, model, points, rotated, said)

    def _points(self, row: list[list[float]]) -> tuple[KeyPoint, ...]:
        names = map(str, range(len(row))) if self.skeleton is None else self.skeleton.names
        return tuple(KeyPoint(name, *values) for name, values in zip(names, row, strict=True))


_COLUMNS = (
    "boxes", "scores", "class_ids", "track_ids", "masks", "keypoints", "rotated_boxes", "attributes",
)  # fmt: skip
"""Fields of :class:`Detections` with an entry for each row, or None."""


def _joined_further(
    parts: Sequence[Detections],
) -> tuple[InstanceMasks | None, FloatArray | None, Skeleton | None, FloatArray | None, ObjectArray | None]:
    """Masks, key points, their skeleton, rotated boxes and attributes; see :meth:`Detections.join`."""
    sizes = [one.masks.size for one in parts if one.masks is not None]
    masks = None
    if sizes:
        masks = InstanceMasks.join(
            [InstanceMasks.absent(len(one), sizes[0]) if one.masks is None else one.masks for one in parts]
        )
    keypoints, skeleton = None, None
    posed = [one for one in parts if one.keypoints is not None]
    if posed:
        if all(one.skeleton == posed[0].skeleton for one in posed):
            skeleton = posed[0].skeleton
        count = max(one.keypoints.shape[1] for one in posed if one.keypoints is not None)
        keypoints = np.concatenate([_padded_points(one, count) for one in parts])
    rotated = None
    if any(one.rotated_boxes is not None for one in parts):
        rotated = np.concatenate(
            [_upright(one.boxes) if one.rotated_boxes is None else one.rotated_boxes for one in parts]
        )
    attributes = None
    if any(one.attributes is not None for one in parts):
        attributes = np.concatenate(
            [no_attributes(len(one)) if one.attributes is None else one.attributes for one in parts]
        )
    return masks, keypoints, skeleton, rotated, attributes


def no_attributes(count: int) -> ObjectArray:
    """An empty tuple for each row."""
    column = np.empty(count, object)
    for row in range(count):
        column[row] = ()
    return column


def _padded_points(found: Detections, count: int) -> FloatArray:
    """Key points float32 ``[N, count, 3]``, with zeros where there are fewer."""
    points = np.zeros((len(found), count, 3), np.float32)
    if found.keypoints is not None:
        points[:, : found.keypoints.shape[1]] = found.keypoints
    return points


def _upright(boxes: FloatArray) -> FloatArray:
    """Corners ``[N, 4]`` as rotated boxes ``[N, 5]`` of the angle 0."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.column_stack([boxes[:, :2] + sides / 2, sides, np.zeros(len(boxes), np.float32)])


def _checked_track_ids(track_ids: object) -> ObjectArray:
    ids = np.array(track_ids, object)
    for number in ids.flat:
        if number is not None and number < 0:
            raise ValueError(f"track id {number}; expected 0 or more, or None where there is no track")
    return ids


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationMap:
    """The class of each pixel of one image.

    Attributes:
        class_map: uint8 ``[H, W]`` at source size, indices into ``names``.
        names: class names; empty where they are not known.
        model: name of the model; empty where it is not known.
    """

    class_map: NDArray[np.uint8]
    names: tuple[str, ...] = ()
    model: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        if self.class_map.dtype != np.uint8 or self.class_map.ndim != 2:
            raise ValueError(
                f"a class map is uint8 [H, W]; found {self.class_map.dtype} {list(self.class_map.shape)}"
            )

    def __repr__(self) -> str:
        height, width = self.class_map.shape
        return f"<SegmentationMap: {width}x{height}, {len(self.names)} classes>"

    def shares(self) -> FloatArray:
        """Share of the image that each class in ``names`` covers: float32 ``[C]``, summing to at most 1."""
        classes = len(self.names)
        counts = np.bincount(self.class_map.ravel(), minlength=classes)[:classes]
        return (counts / max(self.class_map.size, 1)).astype(np.float32)


class Label(msgspec.Struct, frozen=True):
    """A class that an image, or an object in it, was given.

    Attributes:
        name: of the class.
        score: its probability, 0..1.
        class_id: index into the class names.
        model: name of the model that says so.
    """

    name: str
    score: float
    class_id: int
    model: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """What one image shows as a whole.

    Attributes:
        probabilities: float32 ``[C]``, one for each of ``names``.
        names: class names.
        model: name of the model; empty where it is not known.
        multi_label: several classes may hold at once; otherwise exactly one does.
        threshold: least probability of what :meth:`labels` gives.

    Raises:
        ValueError: on a wrong shape, or a probability that is not within 0..1.

    Example:
        >>> shown = Classification([0.7, 0.2, 0.1], ("cat", "dog", "cow"), threshold=0.15)
        >>> shown.top(1)[0].name, [one.name for one in shown.labels()]
        ('cat', ['cat'])
    """

    probabilities: FloatArray
    names: tuple[str, ...]
    model: str = ""
    multi_label: bool = False
    threshold: float = 0.0

    def __post_init__(self) -> None:
        values = np.asarray(self.probabilities, np.float32)
        object.__setattr__(self, "probabilities", values)
        object.__setattr__(self, "names", tuple(self.names))
        if values.shape != (len(self.names),):
            raise ValueError(f"probabilities have shape {list(values.shape)}; expected [{len(self.names)}]")
        if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
            raise ValueError("probabilities must be numbers from 0 to 1")

    def __repr__(self) -> str:
        shown = [f"{one.name} {one.score:.2f}" for one in self.labels()]
        return f"<Classification: {', '.join(shown) or 'none'}>"

    def top(self, count: int) -> list[Label]:
        """The most probable classes, best first, at most ``count``; equal ones in the order of the names."""
        best: list[int] = np.argsort(-self.probabilities, kind="stable")[:count].tolist()
        return [Label(self.names[i], float(self.probabilities[i]), i, self.model) for i in best]

    def labels(self) -> list[Label]:
        """The classes that hold, best first: those of ``threshold`` or more, of which one where it is one."""
        best = self.top(len(self.names) if self.multi_label else 1)
        return [one for one in best if one.score >= self.threshold]


Result = Detections | SegmentationMap | Classification
"""What one model says of one image."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """A frame with what the models found in it: what every stage after inference takes.

    Attributes:
        frame: the frame, without anything drawn on it.
        results: one for each model that ran, in the order of the models.
        zones: zones and lines after this frame; None where there are none.
        stream: name of the stream that the frame belongs to; the source's where it has none of its own.
        objects: tracked objects until now by class, each once; None where nothing is tracked.

    Raises:
        ValueError: a class map or masks are of another size than the frame.

    Example:
        >>> frame = Frame(np.zeros((48, 64, 3), np.uint8), 0, 0)
        >>> result = FrameResult(frame, (Detections([[0, 0, 9, 9]], [0.5], [0], ("dog",)),))
        >>> [(one.name, one.score, one.track_id) for one in result.detections]
        [('dog', 0.5, None)]
    """

    frame: Frame
    results: tuple[Result, ...]
    zones: ZoneReport | None = None
    stream: str = ""
    objects: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "results", tuple(self.results))
        size = self.frame.image.shape[:2]
        for one in self.results:
            if isinstance(one, Detections) and one.masks is not None and one.masks.size != size:
                raise ValueError(
                    f"masks are of an image of {list(one.masks.size)}; expected {list(size)}, the frame's"
                )
        for class_map in self.class_maps:
            if class_map.class_map.shape != size:
                raise ValueError(
                    f"a class map has shape {list(class_map.class_map.shape)}; "
                    f"expected {list(size)}, the frame's"
                )

    @property
    def detections(self) -> Detections:
        """The detections: those of the one model that gives any, or of all such models joined.

        See :meth:`Detections.join`; empty where no model detects.
        """
        return Detections.join([result for result in self.results if isinstance(result, Detections)])

    @property
    def classifications(self) -> tuple[Classification, ...]:
        """What each model that classifies says of the image."""
        return tuple(result for result in self.results if isinstance(result, Classification))

    @property
    def class_maps(self) -> tuple[SegmentationMap, ...]:
        """The class map of each model that segments."""
        return tuple(result for result in self.results if isinstance(result, SegmentationMap))
