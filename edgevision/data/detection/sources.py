"""Where labelled images come from: the part of a training configuration that names a data set."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgevision.data.detection.dataset import DetectionSet, select_classes
from edgevision.data.formats.coco import read_coco
from edgevision.data.formats.raw import RawSet
from edgevision.data.formats.voc import read_voc
from edgevision.data.formats.yolo import read_yolo


class CocoSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="coco", tag_field="kind"):
    """A COCO json with its images.

    Attributes:
        annotations: the json file, relative to the working folder.
        images: the folder of the images.
        weight: how often each of its images is drawn, relative to the other sources.
        labelled: the run's classes that the set labels wherever they appear; all others are unknown
            in its images and teach nothing. None: every class that it declares.
    """

    annotations: str
    images: str
    weight: float = 1.0
    labelled: tuple[str, ...] | None = None


class VocSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="voc", tag_field="kind"):
    """A PASCAL VOC folder.

    Attributes:
        folder: holds ``Annotations`` and ``JPEGImages``.
        split: a list in ``ImageSets/Main``; empty for every XML file.
        weight, labelled: as in :class:`CocoSource`.
    """

    folder: str
    split: str = ""
    weight: float = 1.0
    labelled: tuple[str, ...] | None = None


class YoloSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="yolo", tag_field="kind"):
    """A folder in YOLO's form.

    Attributes:
        folder: holds ``images`` and ``labels``.
        split: a folder inside both; empty for all images.
        names: file of the class names; searched for where empty.
        weight, labelled: as in :class:`CocoSource`.
    """

    folder: str
    split: str = ""
    names: str = ""
    weight: float = 1.0
    labelled: tuple[str, ...] | None = None


DetectionSource = CocoSource | VocSource | YoloSource


def read_source(source: DetectionSource) -> RawSet:
    """Everything that the source's labels say.

    Raises:
        DataError: files are missing or malformed.
    """
    if isinstance(source, CocoSource):
        return read_coco(source.annotations, source.images)
    if isinstance(source, VocSource):
        return read_voc(source.folder, source.split)
    return read_yolo(source.folder, source.split, source.names)


def load_source(source: DetectionSource, classes: Sequence[str]) -> DetectionSet:
    """The part of a source that a model of ``classes`` can use.

    Raises:
        DataError: files are missing or malformed, or hold none of the classes.
    """
    return select_classes(read_source(source), classes, source.labelled)
