"""Where labelled images come from: the part of a classifier's training that names a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgevision.bounds import NonNegative, Positive
from edgevision.data.classification.dataset import (
    ClassificationSet,
    choose_classes,
    read_box_crops,
    read_class_folders,
    read_image_labels,
)
from edgevision.data.formats.coco import read_coco
from edgevision.data.formats.raw import RawImage, RawSet
from edgevision.data.images import image_size


class CropSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="crops", tag_field="kind"):
    """The boxes of a COCO json, cut out of their images; each has the label of its category.

    Attributes:
        annotations: the json file, relative to the working folder.
        images: the folder of the images.
        weight: how often each of its boxes is drawn, relative to the other sources.
        least_side: boxes with a shorter side, in pixels, are left out.
    """

    annotations: str
    images: str
    weight: Positive = 1.0
    least_side: NonNegative = 2.0


class FolderSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="folders", tag_field="kind"):
    """A folder that has a folder of images for each class, named like it.

    Attributes:
        folder: of the folders, relative to the working folder.
        weight: as in :class:`CropSource`.
    """

    folder: str
    weight: Positive = 1.0


class ImageLabelSource(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="labels", tag_field="kind"
):
    """Whole images with several labels each: all categories that a COCO json annotates something in them as.

    Attributes:
        annotations, images, weight: as in :class:`CropSource`.
    """

    annotations: str
    images: str
    weight: Positive = 1.0


ClassificationSource = CropSource | FolderSource | ImageLabelSource


def load_source(
    source: ClassificationSource, classes: Sequence[str], *, multi_label: bool
) -> ClassificationSet:
    """The part of a source that a classifier of ``classes`` can use.

    Args:
        source: what the configuration names.
        classes: names wanted; those of the set are mapped to them by name and alias.
        multi_label: several classes may hold at once.

    Raises:
        DataError: files are missing or malformed, or nothing is labelled as one of the classes.
    """
    if isinstance(source, CropSource):
        found = read_box_crops(Path(source.annotations), Path(source.images), source.least_side)
    elif isinstance(source, FolderSource):
        found = read_class_folders(Path(source.folder))
    else:
        found = read_image_labels(Path(source.annotations), Path(source.images))
    return choose_classes(found, classes, multi_label=multi_label)


def read_raw(source: ClassificationSource) -> RawSet:
    """Everything that the source's labels say; the label of an image of a folder is a box around all of it.

    Raises:
        DataError: files are missing or malformed.
    """
    if not isinstance(source, FolderSource):
        return read_coco(source.annotations, source.images)
    found = read_class_folders(Path(source.folder))
    images = []
    for number, (path, label) in enumerate(zip(found.paths, found.labels, strict=True)):
        width, height = image_size(path) or (1, 1)
        whole = np.array([[0, 0, width, height]], np.float32)
        name = found.classes[int(label.argmax())]
        images.append(
            RawImage(path, number, None, None, whole, (name,), np.zeros(1, bool), np.ones(1, np.float32))
        )
    return RawSet(source.folder, tuple(images), found.classes)


def source_name(source: ClassificationSource) -> str:
    """What users see: the file or folder."""
    return source.folder if isinstance(source, FolderSource) else source.annotations
