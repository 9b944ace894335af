"""What label files say, before anything is chosen, corrected or left out: the form that all readers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgevision.types import FloatArray

FARTHEST = 1e7
"""Pixels beyond which no corner of a box can lie: far below where float32 overflows."""

LEAST_SIDE = 1.0
"""Pixels below which the side of a box is taken for a mistake of units."""


class LabelProblem(NamedTuple):
    """A label that could not be used.

    Attributes:
        kind: it is malformed (and left out), its whole file is unreadable, it has
            a class that the set does not define, it belongs to no image, or to one of several.
        text: one line that names it.
        boxes: labelled boxes that it takes away.
    """

    kind: Literal["malformed", "unreadable", "class", "orphan", "ambiguous"]
    text: str
    boxes: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What COCO says of an object beyond its box.

    Attributes:
        segmentation: polygons ``[[x, y, x, y, ...], ...]`` in pixels, or run lengths as a dict with ``size``
            and ``counts``; None where there is none.
        keypoints: float64 ``[J, 3]``, ``(x, y, visibility)`` in pixels, of which visibility is 0 for a point
            that is not labelled; None where there are none.
        area: of the object in square pixels, by which key points are judged; None where it is not stated.
    """

    segmentation: Any = None
    keypoints: NDArray[np.float64] | None = None
    area: float | None = None


class RawObject(NamedTuple):
    """One labelled object.

    Attributes:
        name: its class.
        box: four corners in pixels.
        ignore: it is a region that counts neither for nor against.
        score: of the teacher that found it, 0 to 1; 1 for people's labels.
        shape: where it was asked for.
    """

    name: str
    box: list[float]
    ignore: bool
    score: float = 1.0
    shape: Shape | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RawImage:
    """One image as its labels describe it.

    Attributes:
        path: the image; it may be missing.
        image_id: its number in the set.
        width, height: in pixels as the labels state it, or None where they do not.
        boxes: float32 ``[G, 4]``, corners in pixels, as written: perhaps empty or outside the image.
        names: G class names.
        ignore: bool ``[G]``.
        scores: float32 ``[G]``, a teacher's, or 1.
        repeated: labels left out because they repeat one that is here: the same class and box, and shape.
        unlabelled: nobody said what it shows: it has no label file, not even an empty one.
        shapes: of each object; empty where they were not asked for.
    """

    path: Path
    image_id: int
    width: int | None
    height: int | None
    boxes: FloatArray
    names: tuple[str, ...]
    ignore: NDArray[np.bool_]
    scores: FloatArray
    repeated: int = 0
    unlabelled: bool = False
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RawSet:
    """Everything that the labels of one set say.

    Attributes:
        name: what users see: the file or folder.
        images: in the order of the labels.
        classes: class names that the set declares, or that occur where it declares none.
        problems: labels that could not be used.
        keypoints: names of the key points that the set labels; empty where it labels none.
    """

    name: str
    images: tuple[RawImage, ...]
    classes: tuple[str, ...]
    problems: tuple[LabelProblem, ...] = ()
    keypoints: tuple[str, ...] = ()


def raw_image(
    path: Path,
    image_id: int,
    size: tuple[int, int] | None,
    objects: Sequence[RawObject],
    unlabelled: bool = False,
) -> RawImage:
    """An image from ``(width, height)`` and its objects, each once."""
    width, height = size or (None, None)
    once = list({(one.name, *one.box, one.ignore, _text(one.shape)): one for one in objects}.values())
    boxes = np.array([one.box for one in once], np.float32).reshape(-1, 4)
    return RawImage(
        path,
        image_id,
        width,
        height,
        boxes,
        tuple(one.name for one in once),
        np.array([one.ignore for one in once], bool),
        np.array([one.score for one in once], np.float32),
        len(objects) - len(once),
        unlabelled,
        tuple(one.shape for one in once if one.shape is not None),
    )


def _text(shape: Shape | None) -> str:
    """Equal for equal shapes."""
    if shape is None:
        return ""
    points = None if shape.keypoints is None else shape.keypoints.tolist()
    return f"{shape.segmentation} {points}"


def large_enough(boxes: FloatArray) -> NDArray[np.bool_]:
    """Which boxes, float32 ``[G, 4]``, have sides in the image that a detector can learn: bool ``[G]``."""
    return np.asarray((boxes[:, 2:] - np.maximum(boxes[:, :2], 0) >= LEAST_SIDE).all(axis=1))
