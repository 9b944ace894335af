"""Data sets written as other tools read them: YOLO, COCO and PASCAL VOC, with their images."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import yaml

from edgevision.data.formats.coco import CocoDocument
from edgevision.data.formats.raw import RawImage, large_enough
from edgevision.data.images import image_size
from edgevision.data.layouts.recognise import FoundData, FoundSplit
from edgevision.errors import DataError, OutputExistsError, SinkError
from edgevision.progress import OnDone
from edgevision.types import FloatArray

FORMATS = ("yolo", "coco", "voc")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        images, boxes: how many.
        left_out: boxes that are not in it, by the reason.
    """

    images: int
    boxes: int
    left_out: dict[str, int]


def write_data(found: FoundData, out: Path, form: str, on_image: OnDone = lambda done: None) -> Written:
    """Writes a whole data set into a new folder, images copied; all of it or nothing.

    Args:
        found: the data.
        out: must not exist, or be empty.
        form: one of :data:`FORMATS`.
        on_image: called with the number of images done.

    Raises:
        OutputExistsError: ``out`` holds something.
        DataError: the data have label maps, or an image cannot be opened.
        SinkError: ``out`` cannot be written.
    """
    if found.masks is not None:
        raise DataError(f"{found.path}: {found.layout} hold label maps and no boxes, which cannot be written")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(f"output exists: {out}; choose another folder")
    if not out.parent.is_dir():
        raise SinkError(f"output folder does not exist: {out.parent}; create it first")
    writers: dict[str, Callable[[FoundData, Path, _Names], None]] = {
        "yolo": _write_yolo,
        "coco": _write_coco,
        "voc": _write_voc,
    }
    try:
        with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=out.parent) as folder:
            made = Path(folder) / "data"
            made.mkdir()
            names = _Names(found.splits, on_image, once=form == "voc")
            writers[form](found, made, names)
            if out.is_dir():
                out.rmdir()
            made.rename(out)
    except OSError as error:
        raise SinkError(f"cannot write {out}: {error.strerror or error}") from error
    return Written(
        names.done, names.boxes, {reason: count for reason, count in names.left_out.items() if count}
    )


class _Names:
    """A name of its own for each image of a split, or of all splits, and the account of what was written."""

    def __init__(self, splits: Sequence[FoundSplit], on_image: OnDone, once: bool) -> None:
        self._once, self._on_image = once, on_image
        self._taken: set[tuple[str, str]] = set()
        self.done = self.boxes = 0
        self.left_out = {"empty or under 1 pixel": 0, "marked as crowd": 0}

    def take(self, image: RawImage, split: str) -> str:
        """The name of an image, with its suffix in lower case."""
        key = "" if self._once else split
        number, stem = 1, image.path.stem
        while (key, stem.lower()) in self._taken:
            number += 1
            stem = f"{image.path.stem}-{number}"
        self._taken.add((key, stem.lower()))
        self.done += 1
        self._on_image(self.done)
        return f"{stem}{image.path.suffix.lower()}"

    def usable(
        self, image: RawImage, *, crowds: bool
    ) -> tuple[FloatArray, list[str], list[bool], tuple[int, int]]:
        """Boxes inside the image, their names and crowd flags, and the image's size."""
        size = image_size(image.path)
        if size is None:
            raise DataError(f"image cannot be opened: {image.path}; 'edgevision data check' shows all")
        large = large_enough(image.boxes)
        kept = large if crowds else large & ~image.ignore
        self.left_out["empty or under 1 pixel"] += int((~large).sum())
        self.left_out["marked as crowd"] += int((large & ~kept).sum())
        self.boxes += int(kept.sum())
        boxes = np.clip(image.boxes[kept], 0, np.array([*size, *size], np.float32))
        names = [name for name, good in zip(image.names, kept, strict=True) if good]
        return boxes, names, image.ignore[kept].tolist(), size


def _write_yolo(found: FoundData, out: Path, names: _Names) -> None:
    index = {name: number for number, name in enumerate(found.classes)}
    for split in found.splits:
        images, labels = out / "images" / split.role, out / "labels" / split.role
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for image in split.raw.images:
            name = names.take(image, split.role)
            shutil.copyfile(image.path, images / name)
            boxes, classes, _, (width, height) = names.usable(image, crowds=False)
            if image.unlabelled:
                continue
            lines = (
                f"{index[label]} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
                f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
                for (x1, y1, x2, y2), label in zip(boxes.tolist(), classes, strict=True)
            )
            (labels / Path(name).with_suffix(".txt")).write_text("".join(lines), encoding="utf-8")
    document = {split.role: f"images/{split.role}" for split in found.splits}
    document |= {"nc": len(found.classes), "names": dict(enumerate(found.classes))}  # type: ignore[dict-item]
    (out / "data.yaml").write_text(
        yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


def _write_coco(found: FoundData, out: Path, names: _Names) -> None:
    (out / "annotations").mkdir()
    for split in found.splits:
        images = out / split.role
        images.mkdir()
        document = CocoDocument()
        for name in found.classes:
            document.category(name)
        for image in split.raw.images:
            name = names.take(image, split.role)
            shutil.copyfile(image.path, images / name)
            boxes, classes, crowds, size = names.usable(image, crowds=True)
            number = document.add_image(name, *size)
            for box, label, crowd in zip(boxes.tolist(), classes, crowds, strict=True):
                corners = [round(value, 2) for value in box]
                document.add_box(number, document.category(label), corners, ignore=crowd, score=1.0)
        document.write(out / "annotations" / f"instances_{split.role}.json")


def _write_voc(found: FoundData, out: Path, names: _Names) -> None:
    images, annotations, lists = out / "JPEGImages", out / "Annotations", out / "ImageSets" / "Main"
    for folder in (images, annotations, lists):
        folder.mkdir(parents=True)
    for split in found.splits:
        stems = []
        for image in split.raw.images:
            name = names.take(image, split.role)
            shutil.copyfile(image.path, images / name)
            boxes, classes, crowds, size = names.usable(image, crowds=True)
            root = ElementTree.Element("annotation")
            ElementTree.SubElement(root, "filename").text = name
            stated = ElementTree.SubElement(root, "size")
            for key, value in (("width", size[0]), ("height", size[1]), ("depth", 3)):
                ElementTree.SubElement(stated, key).text = str(value)
            for box, label, crowd in zip(boxes.tolist(), classes, crowds, strict=True):
                entry = ElementTree.SubElement(root, "object")
                ElementTree.SubElement(entry, "name").text = label
                ElementTree.SubElement(entry, "difficult").text = str(int(crowd))
                corners = ElementTree.SubElement(entry, "bndbox")
                # VOC counts pixels from 1 and includes the last one.
                for key, number in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
                    shift = 1 if key.endswith("min") else 0
                    ElementTree.SubElement(corners, key).text = f"{number + shift:.2f}"
            stem = Path(name).stem
            stems.append(stem)
            ElementTree.ElementTree(root).write(annotations / f"{stem}.xml", encoding="utf-8")
        (lists / f"{split.role}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
