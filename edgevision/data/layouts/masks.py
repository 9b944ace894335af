"""Label maps for a segmenter in the forms of others: Roboflow's masks, CVAT's and VOC's, ``masks/``."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.data.classes import VOC_CLASSES
from edgevision.data.formats.text import read_text
from edgevision.data.layouts.tree import Tree
from edgevision.data.layouts.voc import image_sets
from edgevision.data.segmentation.class_file import write_class_file
from edgevision.errors import DataError
from edgevision.files import atomic_path, make_folder
from edgevision.types import IGNORE_ID

_MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "segmentationclass", "segmentation", "gt", "gtfine",
    "labels_png", "mask_png", "ground_truth", "groundtruth", "annotated",
)  # fmt: skip
_ENDINGS = ("_mask", "-mask", "_seg", "_label", "_labels", "_gt", "_l", "_labelids", "_segmentation")
_SEEN = 8  # masks whose values say what is in all of them, where no file names the classes


class MaskClass(NamedTuple):
    """One class of label maps: by its value or by its colour (RGB)."""

    name: str
    value: int | None = None
    rgb: tuple[int, int, int] | None = None


class MaskPair(NamedTuple):
    """An image and its label map, as they lie there."""

    image: Path
    mask: Path
    split: str


@dataclass(slots=True)
class MaskReading:
    """A folder of label maps as it was read.

    Attributes:
        layout: its name.
        classes: by value, or by colour.
        names_from: the file that names them.
        pairs: every labelled image.
        left_out: images without a label map, and why.
        notes: what the user should know.
        spare: label maps of images that are in no list.
    """

    layout: str
    classes: tuple[MaskClass, ...]
    names_from: str
    pairs: list[MaskPair]
    left_out: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    spare: set[Path] = field(default_factory=set)


def read_layout(tree: Tree) -> MaskReading | None:
    """Reads the folder, where it holds images and label maps of their names.

    Raises:
        DataError: no file names the classes, and there are more than two.
    """
    masks = {_key(tree, path): path for path in tree.images if _is_mask(tree, path)}
    taken = set(masks.values())
    pairs, left_out = [], {}
    lists = image_sets(tree, "segmentation")
    spare: set[Path] = set()
    for path in tree.images:
        if path in taken:
            continue
        mask = _mask_of(tree, path, masks)
        if mask is None:
            left_out[path] = "no label map"
        elif lists and path.stem not in lists:
            left_out[path] = "in no list of ImageSets/Segmentation"
            spare.add(mask)
        else:
            pairs.append(MaskPair(path, mask, lists[path.stem][0] if lists else tree.role(path)))
    if not pairs:
        return None
    classes, origin, layout = _classes(tree, pairs)
    reading = MaskReading(layout, classes, origin, pairs, left_out, spare=spare)
    unused = len(taken - spare - {pair.mask for pair in pairs})
    if unused:
        reading.notes.append(f"{unused} label maps belong to no image")
    return reading


def has_masks(tree: Tree) -> bool:
    """Whether a folder is one of label maps alone: told by the files that only such folders have."""
    if any(path.parent.name.lower() == "segmentationclass" for path in tree.images):
        return True
    return bool(tree.named("_classes.csv")) and any(path.stem.endswith("_mask") for path in tree.images)


def _is_mask(tree: Tree, path: Path) -> bool:
    if path.suffix.lower() not in (".png", ".bmp", ".tif", ".tiff"):
        return False
    if path.stem.lower().endswith(_ENDINGS[:2]):
        return True
    return any(folder.lower() in _MASK_FOLDERS for folder in tree.folders(path))


def _key(tree: Tree, path: Path) -> tuple[str, str]:
    """The role and the name of a file without what is added to the names of masks."""
    stem = path.stem.lower()
    ending = next((one for one in _ENDINGS if stem.endswith(one)), "")
    return tree.role(path), stem.removesuffix(ending)


def _mask_of(tree: Tree, path: Path, masks: dict[tuple[str, str], Path]) -> Path | None:
    role, stem = tree.role(path), path.stem.lower()
    return masks.get((role, stem)) or masks.get(("", stem))


def _classes(tree: Tree, pairs: Sequence[MaskPair]) -> tuple[tuple[MaskClass, ...], str, str]:
    """The classes, the file that names them and the layout that this file stands for."""
    readers: tuple[tuple[str, str, Callable[[Path], tuple[MaskClass, ...]]], ...] = (
        ("_classes.csv", "Roboflow masks", _from_values),
        ("labelmap.txt", "segmentation masks of CVAT", _from_labelmap),
        ("class_dict.csv", "masks with class_dict.csv", _from_colours),
        ("label_colors.txt", "masks with label_colors.txt", _from_camvid),
    )
    for name, layout, read in readers:
        files = tree.named(name)
        if files and (classes := read(files[0])):
            return classes, name, layout
    if any(pair.mask.parent.name.lower() == "segmentationclass" for pair in pairs):
        names = ("background", *VOC_CLASSES)
        return tuple(MaskClass(name, value) for value, name in enumerate(names)), "VOC's list", "VOC masks"
    names_file = next(iter(tree.named("classes.txt", "labels.txt")), None)
    values = _values(pairs[:: max(1, len(pairs) // _SEEN)])
    if names_file is not None:
        lines = [line.strip() for line in read_text(names_file).splitlines() if line.strip()]
        return (
            tuple(MaskClass(name, value) for value, name in enumerate(lines)),
            names_file.name,
            "masks in folders",
        )
    others = sorted(values - {0})
    if len(others) == 1:
        return (
            (MaskClass("background", 0), MaskClass("object", others[0])),
            f"the masks, which hold 0 and {others[0]}",
            "masks in folders",
        )
    shown = ", ".join(map(str, sorted(values)[:12]))
    raise DataError(
        f"{tree.root}: label maps with the values {shown}, and no file names them; put classes.txt "
        "there with one name a line, the first for value 0 (or class_dict.csv with name,r,g,b for colours)"
    )


def _values(pairs: Sequence[MaskPair]) -> set[int]:
    found: set[int] = set()
    for pair in pairs:
        ids = read_mask(pair.mask, ())
        found |= {int(value) for value in np.unique(ids)}
    return found


def _from_values(path: Path) -> tuple[MaskClass, ...]:
    """Roboflow's ``Pixel Value, Class``."""
    rows = csv.reader(io.StringIO(read_text(path)), skipinitialspace=True)
    return tuple(
        MaskClass(row[1].strip(), int(row[0])) for row in rows if len(row) > 1 and row[0].isdecimal()
    )


def _from_labelmap(path: Path) -> tuple[MaskClass, ...]:
    """CVAT's ``label:r,g,b:parts:actions``."""
    found = []
    for line in read_text(path).splitlines():
        name, _, rest = line.strip().partition(":")
        colour = _rgb(rest.partition(":")[0].split(","))
        if name and not name.startswith("#") and colour is not None:
            found.append(MaskClass(name, None, colour))
    return tuple(found)


def _from_colours(path: Path) -> tuple[MaskClass, ...]:
    """``name,r,g,b`` with a head, as Kaggle's segmentation sets have it."""
    rows = csv.reader(io.StringIO(read_text(path)), skipinitialspace=True)
    found = ((row[0].strip(), _rgb(row[1:4])) for row in rows if len(row) > 3)
    return tuple(MaskClass(name, None, colour) for name, colour in found if colour is not None)


def _from_camvid(path: Path) -> tuple[MaskClass, ...]:
    """CamVid's ``r g b name``."""
    found = []
    for line in read_text(path).splitlines():
        words = line.split()
        colour = _rgb(words[:3]) if len(words) > 3 else None
        if colour is not None:
            found.append(MaskClass(" ".join(words[3:]), None, colour))
    return tuple(found)


def _rgb(words: Sequence[str]) -> tuple[int, int, int] | None:
    if len(words) != 3 or not all(word.strip().isdecimal() for word in words):
        return None
    red, green, blue = (int(word) for word in words)
    return red, green, blue


def read_mask(path: Path, classes: Sequence[MaskClass]) -> NDArray[np.uint8]:
    """A label map as positions in ``classes``, uint8 ``[H, W]``; 255 where no class fits.

    Args:
        path: a grey, palette or colour image.
        classes: by value or by colour; empty for the values as they are.

    Raises:
        DataError: it cannot be read, or has colours where values are named.
    """
    from PIL import Image as PillowImage

    try:
        with PillowImage.open(path) as image:
            has_values = image.mode in ("L", "P", "1", "I;16", "I")
            by_colour = bool(classes) and classes[0].rgb is not None
            # A palette's entries are values, or stand for colours.
            pixels = np.asarray(image.convert("RGB") if by_colour or not has_values else image)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"label map cannot be read: {path} ({error})") from error
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if not classes:
        return np.asarray(pixels if pixels.ndim == 2 else pixels.max(axis=2), np.uint8)
    found = np.full(pixels.shape[:2], IGNORE_ID, np.uint8)
    if by_colour:
        packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        for position, one in enumerate(classes):
            red, green, blue = one.rgb or (0, 0, 0)
            found[packed == red * 65536 + green * 256 + blue] = position
        return found
    if pixels.ndim != 2:
        if not (pixels[..., :1] == pixels).all():
            raise DataError(f"label map {path} has colours; expected values, one a class")
        pixels = pixels[..., 0]
    for position, one in enumerate(classes):
        found[pixels == one.value] = position
    return found


def write_segmentation(reading: MaskReading, splits: dict[str, list[MaskPair]], folder: Path) -> None:
    """Writes the layout that a segmenter's training reads: ids as PNG, links to the images, lists, classes.

    Args:
        reading: of the folder.
        splits: the images of each list, by its name.
        folder: made where it is missing; see :mod:`edgevision.data.segmentation.dataset`.

    Raises:
        DataError: a label map cannot be read.
        SinkError: a file cannot be written.
    """
    classes = reading.classes
    make_folder(folder, parents=True)
    write_class_file(folder / "classes.json", [one.name for one in classes], [one.rgb for one in classes])
    for split, pairs in splits.items():
        images, labels = folder / "images" / split, folder / "labels" / split
        make_folder(images, parents=True)
        make_folder(labels, parents=True)
        names: dict[str, None] = {}
        for pair in pairs:
            name = _free_name(pair.image.stem, names)
            names[name] = None
            target = images / f"{name}{pair.image.suffix}"
            if not target.is_symlink():
                target.symlink_to(pair.image.absolute())
            ids = read_mask(pair.mask, reading.classes)
            with atomic_path(labels / f"{name}.png") as partial:
                partial.write_bytes(cv2.imencode(".png", ids)[1].tobytes())
        with atomic_path(folder / f"{split}.txt") as partial:
            partial.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _free_name(stem: str, taken: dict[str, None]) -> str:
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name
