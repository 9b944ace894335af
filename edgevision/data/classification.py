"""Images that are labelled as a whole: a folder for each class, or the categories of a COCO json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.data.classes import map_classes
from edgevision.data.formats.coco import read_coco
from edgevision.errors import DataError
from edgevision.suffixes import IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True, eq=False)
class ClassificationSet:
    """Labelled images with one list of classes.

    Attributes:
        paths: I images.
        labels: bool ``[I, C]``.
        classes: C names.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.bool_]
    classes: tuple[str, ...]


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

    Raises:
        DataError: see :func:`~edgevision.data.formats.coco.read_coco`.
    """
    raw = read_coco(annotations, images)
    index = {name: position for position, name in enumerate(raw.classes)}
    labels = np.zeros((len(raw.images), len(raw.classes)), bool)
    for i, image in enumerate(raw.images):
        labels[i, [index[name] for name in image.names]] = True
    return ClassificationSet(tuple(image.path for image in raw.images), labels, raw.classes)


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
    for position, name in enumerate(data.classes):
        if name in index:
            labels[:, index[name]] |= data.labels[:, position]
    kept = np.arange(len(labels)) if multi_label else np.flatnonzero(labels.any(axis=1))
    if not len(kept):
        raise DataError("no image is labelled as one of the classes wanted")
    paths = tuple(data.paths[i] for i in kept)
    return ClassificationSet(paths, labels[kept], tuple(classes))
