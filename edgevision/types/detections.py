"""What a model that finds objects says of one image: boxes, and with them masks, poses or rotated boxes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.masks import InstanceMasks
from edgevision.types.arrays import FloatArray, IntArray, ObjectArray


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
