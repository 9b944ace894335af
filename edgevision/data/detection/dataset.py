"""Detection data sets in memory: paths and boxes, without pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.data.classes import map_classes
from edgevision.data.formats.coco import read_coco
from edgevision.data.formats.raw import RawImage, RawSet, Shape, large_enough
from edgevision.errors import DataError, nearest
from edgevision.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image and what is known to be in it.

    Attributes:
        path: the image.
        image_id: its number in the data set.
        boxes: float32 ``[G, 4]``, corners in source pixels.
        labels: int64 ``[G]``, indices into the set's classes.
        ignore: bool ``[G]``: regions that count neither for nor against (COCO's ``iscrowd``).
        scores: float32 ``[G]``: of the teacher that found the object, 1 for people's labels.
        shapes: of the G objects, where they were read.
    """

    path: Path
    image_id: int
    boxes: FloatArray
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    scores: FloatArray
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class DetectionSet:
    """Labelled images with one list of classes.

    Attributes:
        images: in the order of the file.
        classes: names that the labels index.
        known: bool ``[C]``: classes that the set labels; nothing is to be learnt about the others.
        keypoints: names of the key points that the set labels; empty where it labels none.
    """

    images: tuple[LabelledImage, ...]
    classes: tuple[str, ...]
    known: NDArray[np.bool_]
    keypoints: tuple[str, ...] = ()


def load_coco(annotations: str | Path, images: str | Path, classes: Sequence[str]) -> DetectionSet:
    """Reads a COCO instances json.

    Args:
        annotations: the json file.
        images: folder that its ``file_name`` entries are relative to.
        classes: names wanted; the file's categories are mapped to them by name and alias.

    Raises:
        DataError: the file is missing or malformed, or none of its categories is wanted.
    """
    return select_classes(read_coco(annotations, images), classes)


def select_classes(
    raw: RawSet, classes: Sequence[str], labelled: Sequence[str] | None = None
) -> DetectionSet:
    """The part of a set that a model of ``classes`` can use. Boxes under a pixel are left out.

    Args:
        raw: the set.
        classes: names wanted; those of the set are mapped to them by name and alias.
        labelled: which of ``classes`` the set labels wherever they appear, so that a place without
            such a box is background; None for all that the set declares.

    Raises:
        DataError: none of the set's classes is wanted, or ``labelled`` names none of ``classes``.
    """
    index = map_classes(raw.classes, classes)
    if not index:
        raise DataError(
            f"{raw.name}: none of its {len(raw.classes)} categories is wanted"
            f"{nearest(classes[0], raw.classes)}"
        )
    known = np.zeros(len(classes), bool)
    if labelled is None:
        known[list(index.values())] = True
    else:
        chosen = map_classes(labelled, classes)
        for name in labelled:
            if name not in chosen:
                raise DataError(f"{raw.name}: labelled class '{name}' is not wanted{nearest(name, classes)}")
        known[list(chosen.values())] = True
    images = tuple(_labelled(image, index) for image in raw.images)
    return DetectionSet(images, tuple(classes), known, raw.keypoints)


def _labelled(image: RawImage, index: dict[str, int]) -> LabelledImage:
    labels = np.array([index.get(name, -1) for name in image.names], np.int64)
    # To evaluate, every object counts that pycocotools counts.
    sides = image.boxes[:, 2:] - image.boxes[:, :2]
    kept = (labels >= 0) & ((sides > 0).all(axis=1) if image.shapes else large_enough(image.boxes))
    return LabelledImage(
        image.path,
        image.image_id,
        image.boxes[kept],
        labels[kept],
        image.ignore[kept],
        image.scores[kept],
        tuple(image.shapes[i] for i in np.flatnonzero(kept)) if image.shapes else (),
    )
