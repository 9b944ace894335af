"""Where labelled images come from: the part of a training configuration that names a data set."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgevision.bounds import Positive, ShareAboveZero
from edgevision.data.detection.dataset import DetectionSet, select_classes
from edgevision.data.formats.coco import read_coco, read_ids
from edgevision.data.formats.detections import add_detections
from edgevision.data.formats.raw import RawSet
from edgevision.data.formats.voc import read_voc
from edgevision.data.formats.yolo import read_yolo
from edgevision.errors import DataError


class CocoSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="coco", tag_field="kind"):
    """A COCO json with its images.

    Attributes:
        annotations: the json file, relative to the working folder.
        images: the folder of the images.
        weight: how often each of its images is drawn, relative to the other sources.
        labelled: the run's classes that the set labels wherever they appear; all others are unknown
            in its images and teach nothing. None: every class that it declares.
        detections: a teacher's answers for the same images, COCO's results json (``image_id``,
            ``category_id``, ``bbox``, ``score``), or empty. The boxes of the classes ``labelled`` stay as
            people drew them; those of all others come from here, so that no class is unknown.
        learn_from: a detection of at least this score is an object; ``loss.certainty`` says what scores are
            worth.
        ignore_from: a detection between this score and ``learn_from`` is a region to ignore.
    """

    annotations: str
    images: str
    weight: Positive = 1.0
    labelled: tuple[str, ...] | None = None
    detections: str = ""
    learn_from: ShareAboveZero = 0.4
    ignore_from: ShareAboveZero = 0.2

    def __post_init__(self) -> None:
        if self.ignore_from > self.learn_from:
            raise ValueError(
                f"ignore_from is {self.ignore_from}, learn_from {self.learn_from}; expected the second not "
                "below the first"
            )
        if self.detections and self.labelled is None:
            raise ValueError(
                "detections needs labelled: the classes that people labelled, [] for none of them"
            )


class VocSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="voc", tag_field="kind"):
    """A PASCAL VOC folder.

    Attributes:
        folder: holds ``Annotations`` and ``JPEGImages``.
        split: a list in ``ImageSets/Main``; empty for every XML file.
        weight, labelled: as in :class:`CocoSource`.
    """

    folder: str
    split: str = ""
    weight: Positive = 1.0
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
    weight: Positive = 1.0
    labelled: tuple[str, ...] | None = None


DetectionSource = CocoSource | VocSource | YoloSource


def read_source(source: DetectionSource, *, shapes: bool = False) -> RawSet:
    """Everything that the source's labels say.

    Args:
        source: where it is.
        shapes: read the shapes of the objects too.

    Raises:
        DataError: files are missing or malformed, or cannot hold shapes.
    """
    if shapes and (not isinstance(source, CocoSource) or source.detections):
        raise DataError(
            "masks are learnt from polygons in a COCO json; expected kind: coco, without detections"
        )
    if isinstance(source, CocoSource):
        raw = read_coco(source.annotations, source.images, shapes=shapes)
        if not source.detections:
            return raw
        return add_detections(
            raw,
            source.detections,
            read_ids(source.annotations),
            source.labelled or (),
            source.learn_from,
            source.ignore_from,
        )
    if isinstance(source, VocSource):
        return read_voc(source.folder, source.split)
    return read_yolo(source.folder, source.split, source.names)


def load_source(source: DetectionSource, classes: Sequence[str], *, shapes: bool = False) -> DetectionSet:
    """The part of a source that a model of ``classes`` can use.

    Args:
        source: where it is.
        classes: names wanted.
        shapes: with the shapes of the objects.

    Raises:
        DataError: files are missing or malformed, hold none of the classes, or cannot hold shapes.
    """
    detected = isinstance(source, CocoSource) and source.detections
    return select_classes(read_source(source, shapes=shapes), classes, None if detected else source.labelled)
