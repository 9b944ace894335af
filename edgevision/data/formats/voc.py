"""PASCAL VOC folders: ``Annotations/*.xml``, ``JPEGImages``, ``ImageSets/Main/NAME.txt``."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from edgevision.data.formats.raw import LabelProblem, RawImage, RawObject, RawSet, raw_image
from edgevision.errors import DataError, nearest
from edgevision.suffixes import IMAGE_SUFFIXES


def read_voc(folder: str | Path, split: str = "") -> RawSet:
    """Reads a PASCAL VOC folder; objects marked ``difficult`` are regions to ignore.

    Args:
        folder: holds ``Annotations`` and ``JPEGImages``.
        split: a list in ``ImageSets/Main``, such as ``trainval``; empty for every XML file.

    Raises:
        DataError: a folder or the list is missing, or nothing is in it.
    """
    folder = Path(folder)
    for part in ("Annotations", "JPEGImages"):
        if not (folder / part).is_dir():
            raise DataError(f"{folder} is not a PASCAL VOC folder: it has no {part} folder")
    names = (
        _listed(folder, split) if split else sorted(p.stem for p in (folder / "Annotations").glob("*.xml"))
    )
    if not names:
        raise DataError(f"{folder}: {'list ' + split if split else 'Annotations'} is empty")
    problems: list[LabelProblem] = []
    images = tuple(_read(folder, name, position, problems) for position, name in enumerate(names, start=1))
    classes = tuple(sorted({name for image in images for name in image.names}))
    return RawSet(f"{folder} {split}".strip(), images, classes, tuple(problems))


def _listed(folder: Path, split: str) -> list[str]:
    lists = folder / "ImageSets" / "Main"
    try:
        lines = (lists / f"{split}.txt").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        known = [path.stem for path in lists.glob("*.txt")]
        hint = nearest(split, known) or f"; lists there: {', '.join(sorted(known)) or 'none'}"
        raise DataError(f"list not found: {lists / split}.txt{hint}") from error
    # The lists of one class have a second column: -1 marks images without that class.
    return [line.split()[0] for line in lines if line.strip()]


def _read(folder: Path, name: str, image_id: int, problems: list[LabelProblem]) -> RawImage:
    file = folder / "Annotations" / f"{name}.xml"
    image = _image(folder / "JPEGImages", name)
    try:
        root = ElementTree.parse(file).getroot()
        size = root.find("size")
        stated = (_number(size, "width"), _number(size, "height")) if size is not None else None
        objects = [_object(entry) for entry in root.iter("object")]
    except FileNotFoundError:
        problems.append(LabelProblem("malformed", f"{file.name}: not found, though it is listed"))
        return raw_image(image, image_id, None, [])
    except (ElementTree.ParseError, ValueError, OSError) as error:
        problems.append(LabelProblem("malformed", f"{file.name}: {error}"))
        return raw_image(image, image_id, None, [])
    whole = stated and (round(stated[0]), round(stated[1]))
    return raw_image(image, image_id, whole if whole and all(whole) else None, objects)


def _image(folder: Path, name: str) -> Path:
    found = (folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES)
    return next((path for path in found if path.is_file()), folder / f"{name}.jpg")


def _object(entry: ElementTree.Element) -> RawObject:
    """VOC counts pixels from 1 and includes the last one, so ``xmin`` loses one and ``xmax`` stays."""
    box = entry.find("bndbox")
    name = (entry.findtext("name") or "").strip()
    if box is None or not name:
        raise ValueError("an object without name or bndbox")
    left, top, right, bottom = (_number(box, key) for key in ("xmin", "ymin", "xmax", "ymax"))
    difficult = (entry.findtext("difficult") or "0").strip() == "1"
    return RawObject(name, [left - 1, top - 1, right, bottom], difficult)


def _number(parent: ElementTree.Element, key: str) -> float:
    text = parent.findtext(key)
    if text is None:
        raise ValueError(f"<{parent.tag}> without <{key}>")
    return float(text)
