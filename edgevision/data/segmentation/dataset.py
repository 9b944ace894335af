"""Segmentation data sets: a folder of images and of label PNGs with one class id a pixel.

The layout, for a split called ``train``::

    classes.json   {"ignore_index": 11, "classes": [{"id": 0, "name": "sky", "rgb": [128, 128, 128]}, ...]}
    train.txt      one name a line, with or without the suffix; without this file all images
    images/train/NAME.jpg (or .png, .bmp, .webp, .tif), or images/NAME.jpg
    labels/train/NAME.png, or labels/NAME.png: 8-bit grey or palette, whose values are class ids

:mod:`edgevision.data.segmentation.class_file` has what ``classes.json`` holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.bounds import Positive
from edgevision.data.classes import NO_GROUPS, ClassGroups, map_classes
from edgevision.data.segmentation.class_file import ClassFile, NamedClass, read_class_file
from edgevision.errors import DataError, nearest
from edgevision.suffixes import IMAGE_SUFFIXES
from edgevision.types import IGNORE_ID

UNKNOWN_ID = 254
"""Marks ids that the data set does not define; no label that was read holds it."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image and its labels, as files; None where nobody has labelled it."""

    image: Path
    labels: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationSet:
    """Labelled images with one list of classes.

    Attributes:
        name: what users see: folder and split.
        images: in the order of the list.
        classes: names that the labels index once they are read.
        colours: RGB of each class; empty where the set has none.
        lookup: uint8 ``[256]``: what each id of a label file becomes: an index into ``classes``,
            :data:`~edgevision.types.IGNORE_ID` or :data:`UNKNOWN_ID`.
        groups: the classes that count as one, in the set and in what a model says of it.
    """

    name: str
    images: tuple[LabelledImage, ...]
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    lookup: NDArray[np.uint8]
    groups: ClassGroups = NO_GROUPS


class SegmentationSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One split of a folder of labelled images, as the head of this file states it; or a folder of images.

    Attributes:
        folder: relative to the working folder.
        split: names the list ``<split>.txt`` and the folders ``images/<split>`` and ``labels/<split>``.
        unlabelled: the folder holds images alone, of which only the teacher of a distillation speaks; it has
            no split.
        exclude: prefixes of file names that are left out, such as a video sequence kept for validation.
        only: where given, nothing but file names with one of these prefixes.
        weight: how often each of its images is drawn, relative to the other sources.
    """

    folder: str
    split: str = ""
    unlabelled: bool = False
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    weight: Positive = 1.0

    def __post_init__(self) -> None:
        if self.unlabelled == bool(self.split):
            raise ValueError(
                "an unlabelled source has no split; leave one of the two out"
                if self.unlabelled
                else "split is missing; expected a name such as train, or 'unlabelled: true'"
            )


def load_source(source: SegmentationSource, classes: Sequence[str]) -> SegmentationSet:
    """The part of a source that a model of ``classes`` can use; see :func:`load_segmentation`."""
    if source.unlabelled:
        return _load_unlabelled(source, classes)
    return load_segmentation(source.folder, source.split, classes, source.exclude, source.only)


def load_segmentation(
    folder: str | Path,
    split: str,
    classes: Sequence[str] = (),
    exclude: Sequence[str] = (),
    only: Sequence[str] = (),
    groups: ClassGroups = NO_GROUPS,
) -> SegmentationSet:
    """Finds the images and labels of one split; reads no pixel yet.

    Args:
        folder: see the head of this file.
        split: name of the list and the inner folders.
        classes: names wanted, found by name and alias; pixels of other classes are ignored. Empty for the
            set's own classes in the order of their ids.
        exclude: prefixes of names that are left out.
        only: where given, names need one of these prefixes.
        groups: classes of the set that count as one; ``classes`` then names groups.

    Raises:
        DataError: a part of the layout is missing or malformed, no class is wanted, or no name is left.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"data folder not found: {folder}")
    document = _grouped(read_class_file(folder / "classes.json"), groups)
    real = [one for one in document.classes if one.id != document.ignore_index]
    own = dict.fromkeys(one.name for one in sorted(real, key=lambda one: one.id))
    wanted = tuple(classes) or tuple(own)
    index = map_classes((one.name for one in real), wanted)
    absent = [name for position, name in enumerate(wanted) if position not in index.values()]
    if absent:
        known = [one.name for one in real]
        hint = nearest(absent[0], known) or f"; it has: {', '.join(known)}"
        raise DataError(f"{folder} has no class '{absent[0]}'{hint}")
    image_folder, label_folder = _inner(folder, "images", split), _inner(folder, "labels", split)
    names = _names(folder, split, image_folder)
    chosen = [name for name in names if _wanted(name, exclude, only)]
    if not chosen:
        filters = f" with exclude {list(exclude)} and only {list(only)}" if exclude or only else ""
        raise DataError(f"{folder}: split '{split}' is empty{filters}; expected names in {split}.txt")
    wanted_stems = set(chosen)
    by_stem: dict[str, Path] = {}
    for path in sorted(image_folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.stem in wanted_stems:
            other = by_stem.setdefault(path.stem, path)
            if other is not path:
                raise DataError(
                    f"{image_folder}: {other.name} and {path.name} share the labels {path.stem}.png; "
                    "expected one image of a name"
                )
    images = tuple(
        LabelledImage(by_stem.get(name, image_folder / f"{name}.jpg"), label_folder / f"{name}.png")
        for name in chosen
    )
    colours = _colours(real, index, wanted)
    return SegmentationSet(f"{folder}/{split}", images, wanted, colours, _lookup(document, index), groups)


def _load_unlabelled(source: SegmentationSource, classes: Sequence[str]) -> SegmentationSet:
    """The images of a folder that fit ``exclude`` and ``only``, in the order of their names."""
    try:
        found = sorted(Path(source.folder).iterdir())
    except OSError as error:
        raise DataError(f"data folder cannot be read: {source.folder} ({error.strerror})") from error
    images = tuple(
        LabelledImage(path, None)
        for path in found
        if path.suffix.lower() in IMAGE_SUFFIXES and _wanted(path.stem, source.exclude, source.only)
    )
    if not images:
        given = (("exclude", source.exclude), ("only", source.only))
        filters = " and".join(f" {name} {list(starts)}" for name, starts in given if starts)
        folders = [path.name for path in found if path.is_dir()]
        raise DataError(
            f"{source.folder} has no image{filters and ' with' + filters}; expected some directly in it"
            + (f", or each of its folders as a source of its own, such as {folders[0]}" if folders else "")
        )
    nothing = np.full(256, UNKNOWN_ID, np.uint8)
    return SegmentationSet(source.folder, images, tuple(classes), (), nothing)


def _wanted(name: str, exclude: Sequence[str], only: Sequence[str]) -> bool:
    return not name.startswith(tuple(exclude)) and (not only or name.startswith(tuple(only)))


def _grouped(document: ClassFile, groups: ClassGroups) -> ClassFile:
    """The class file with each class called by its group; ``ignore_index`` keeps its name."""
    ignored = document.ignore_index
    group_of = groups.mapping(one.name for one in document.classes if one.id != ignored)
    classes = [
        one if one.id == ignored else msgspec.structs.replace(one, name=group_of[one.name])
        for one in document.classes
    ]
    return msgspec.structs.replace(document, classes=classes)


def _inner(folder: Path, kind: str, split: str) -> Path:
    for place in (folder / kind / split, folder / kind):
        if place.is_dir():
            return place
    raise DataError(f"{folder} has no folder {kind}/{split} or {kind}; expected images and labels in it")


def _names(folder: Path, split: str, images: Path) -> list[str]:
    listed = folder / f"{split}.txt"
    if listed.is_file():
        try:
            lines = [line.strip() for line in listed.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read the list {listed}: {error}") from error
        return list(dict.fromkeys(_without_suffix(line) for line in lines if line))
    if images.name != split:
        splits = [path.stem for path in sorted(folder.glob("*.txt"))]
        raise DataError(
            f"{folder} has no split '{split}': neither {split}.txt nor images/{split}{nearest(split, splits)}"
        )
    return [path.stem for path in sorted(images.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]


def _without_suffix(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name


def _colours(
    real: Sequence[NamedClass], index: dict[str, int], wanted: Sequence[str]
) -> tuple[tuple[int, int, int], ...]:
    found = {index[one.name]: one.rgb for one in real if one.name in index and one.rgb is not None}
    return tuple(found[position] for position in range(len(wanted))) if len(found) == len(wanted) else ()


def _lookup(document: ClassFile, index: dict[str, int]) -> NDArray[np.uint8]:
    lookup = np.full(256, UNKNOWN_ID, np.uint8)
    for one in document.classes:
        lookup[one.id] = index.get(one.name, IGNORE_ID)
    if document.ignore_index is not None and 0 <= document.ignore_index <= 255:
        lookup[document.ignore_index] = IGNORE_ID
    return lookup
