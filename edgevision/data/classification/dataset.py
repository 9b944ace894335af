"""What is labelled as a whole: images by folder or by a COCO json, or its boxes, cut out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import LEAST_CROP_PX, pixel_edges
from edgevision.data.classes import map_classes
from edgevision.data.formats.coco import read_coco
from edgevision.errors import DataError
from edgevision.suffixes import IMAGE_SUFFIXES
from edgevision.types import FloatArray, Image


@dataclass(frozen=True, slots=True, eq=False)
class ClassificationSet:
    """Labelled images, or parts of images, with one list of classes.

    Attributes:
        paths: I images; one of which several parts are labelled stands there several times.
        labels: bool ``[I, C]``.
        classes: C names.
        boxes: float32 ``[I, 4]``, the part of each image that is labelled, corners in pixels; None for whole
            images.
        known: bool ``[I, C]``: whether it is known that the class holds, or that it does not; None where
            everything is.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.bool_]
    classes: tuple[str, ...]
    boxes: FloatArray | None = None
    known: NDArray[np.bool_] | None = None

    def chosen(self, rows: NDArray[np.intp]) -> ClassificationSet:
        """The set with only these images, in this order."""
        return ClassificationSet(
            tuple(self.paths[row] for row in rows.tolist()),
            self.labels[rows],
            self.classes,
            None if self.boxes is None else self.boxes[rows],
            None if self.known is None else self.known[rows],
        )

    def cut(self, index: int, image: Image) -> Image:
        """The labelled part of image ``index``: uint8 ``[H, W, 3]`` to a view of ``[h, w, 3]``.

        Raises:
            DataError: the part lies outside the image.
        """
        if self.boxes is None:
            return image
        height, width = image.shape[:2]
        left, top, right, bottom = pixel_edges(self.boxes[index : index + 1], width, height)[0].tolist()
        if left >= right or top >= bottom:
            raise DataError(f"{self.paths[index]}: a box lies outside the image, which is {width}x{height}")
        return image[top:bottom, left:right]


def read_class_folders(folder: Path) -> ClassificationSet:
    """A folder that has a folder of images for each class, named like it; each image has that one label.

    Raises:
        DataError: the folder is missing or has no image in a folder of its own.
    """
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir())
        images = {one.name: _images(one) for one in inner}
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error
    classes = tuple(name for name, found in images.items() if found)
    if not classes:
        raise DataError(f"{folder} has no images; expected a folder of images for each class in it")
    paths = tuple(path for name in classes for path in images[name])
    which = [position for position, name in enumerate(classes) for _ in images[name]]
    return ClassificationSet(paths, np.eye(len(classes), dtype=bool)[which], classes)


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def read_image_labels(annotations: Path, images: Path) -> ClassificationSet:
    """A COCO json: an image has the labels of all categories that something in it is annotated as.

    Where only regions to ignore are of a class, whether it holds is not known.

    Raises:
        DataError: see :func:`~edgevision.data.formats.coco.read_coco`.
    """
    raw = read_coco(annotations, images)
    index = {name: position for position, name in enumerate(raw.classes)}
    labels = np.zeros((len(raw.images), len(raw.classes)), bool)
    sure = np.zeros_like(labels)
    for i, image in enumerate(raw.images):
        labels[i, [index[name] for name in image.names]] = True
        named = zip(image.names, image.ignore, strict=True)
        sure[i, [index[name] for name, ignore in named if not ignore]] = True
    paths = tuple(image.path for image in raw.images)
    return ClassificationSet(paths, labels, raw.classes, known=sure | ~labels)


def read_box_crops(annotations: Path, images: Path, least_side: float = LEAST_CROP_PX) -> ClassificationSet:
    """The boxes of a COCO json, each with its one label; regions to ignore are left out.

    Args:
        annotations: the json file.
        images: the folder of its images.
        least_side: boxes with a shorter side, in pixels, are left out.

    Raises:
        DataError: see :func:`~edgevision.data.formats.coco.read_coco`; or no box is left.
    """
    raw = read_coco(annotations, images)
    index = {name: position for position, name in enumerate(raw.classes)}
    paths: list[Path] = []
    boxes: list[FloatArray] = []
    columns: list[int] = []
    for image in raw.images:
        sides = image.boxes[:, 2:] - image.boxes[:, :2]
        for row in np.flatnonzero(~image.ignore & (sides >= least_side).all(axis=1)):
            paths.append(image.path)
            boxes.append(image.boxes[row])
            columns.append(index[image.names[row]])
    if not paths:
        raise DataError(f"{annotations}: no box has sides of {least_side:g} pixels or more; expected some")
    labels = np.eye(len(raw.classes), dtype=bool)[columns]
    return ClassificationSet(tuple(paths), labels, raw.classes, np.stack(boxes))


def choose_classes(
    data: ClassificationSet, classes: Sequence[str], *, multi_label: bool
) -> ClassificationSet:
    """The set in other classes, mapped by name and alias; images that then have no label are left out.

    Args:
        data: the set.
        classes: names wanted.
        multi_label: keep images without a label: none of the classes holds.

    Raises:
        DataError: no image is left.
    """
    index = map_classes(data.classes, classes)
    labels = np.zeros((len(data.paths), len(classes)), bool)
    known = np.zeros_like(labels)
    for position, name in enumerate(data.classes):
        if name in index:
            labels[:, index[name]] |= data.labels[:, position]
            known[:, index[name]] = True if data.known is None else data.known[:, position]
    kept = np.arange(len(labels)) if multi_label else np.flatnonzero(labels.any(axis=1))
    if not len(kept):
        raise DataError("no image is labelled as one of the classes wanted")
    return ClassificationSet(data.paths, labels, tuple(classes), data.boxes, known).chosen(kept)
