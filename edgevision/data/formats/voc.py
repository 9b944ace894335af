"""PASCAL VOC folders: ``Annotations/*.xml``, ``JPEGImages``, ``ImageSets/Main/NAME.txt``."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from xml.etree import ElementTree

from edgevision.data.formats.raw import FARTHEST, LabelProblem, RawImage, RawObject, RawSet, raw_image
from edgevision.data.formats.text import label_files, read_xml
from edgevision.data.images import is_there
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
    labels, problems = label_files((folder / "Annotations").iterdir(), ".xml")
    annotations = {path.stem: path for path in labels.values()}
    names = _listed(folder, split, annotations) if split else sorted(annotations)
    if not names:
        raise DataError(f"{folder}: {'list ' + split if split else 'Annotations'} is empty")
    files: dict[str, list[Path]] = {}
    for path in sorted((folder / "JPEGImages").iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            files.setdefault(path.stem, []).append(path)
    images = tuple(
        _read(folder, name, position, annotations.get(name), files, problems)
        for position, name in enumerate(names, start=1)
    )
    classes = tuple(sorted({name for image in images for name in image.names}))
    return RawSet(f"{folder} {split}".strip(), images, classes, tuple(problems))


def _listed(folder: Path, split: str, annotations: Container[str]) -> list[str]:
    lists = folder / "ImageSets" / "Main"
    try:
        lines = (lists / f"{split}.txt").read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{lists / split}.txt is not UTF-8 text ({error})") from error
    except OSError as error:
        known = [path.stem for path in lists.glob("*.txt")]
        hint = nearest(split, known) or f"; lists there: {', '.join(sorted(known)) or 'none'}"
        raise DataError(f"list not found: {lists / split}.txt{hint}") from error
    return [_name(annotations, line.strip()) for line in lines if line.strip()]


def _name(annotations: Container[str], line: str) -> str:
    """The name of a line; the lists of one class have a second column, -1 for images without that class."""
    if line in annotations:  # names may hold blanks
        return line
    name, _, column = line.rpartition(" ")
    return name.strip() if column in ("-1", "0", "1") and name else line


def _read(
    folder: Path,
    name: str,
    image_id: int,
    annotation: Path | None,
    files: dict[str, list[Path]],
    problems: list[LabelProblem],
) -> RawImage:
    file = annotation or folder / "Annotations" / f"{name}.xml"
    found, objects = files.get(name, []), []
    try:
        root = read_xml(file)
    except (OSError, DataError) as error:
        missing = isinstance(error, FileNotFoundError)
        text = "not found, though it is listed" if missing else str(error)
        problems.append(LabelProblem("unreadable", f"{file.name}: {text}"))
        return raw_image(found[0] if found else folder / "JPEGImages" / f"{name}.jpg", image_id, None, [])
    for entry in root.iter("object"):
        one = parse_object(entry)
        if isinstance(one, str):
            problems.append(LabelProblem("malformed", f"{file.name}: {one}"))
        else:
            objects.append(one)
    try:
        size = parse_size(root)
    except ValueError as error:
        problems.append(LabelProblem("malformed", f"{file.name}: {error}"))
        size = None
    path = _image(folder / "JPEGImages", name, found, root, problems)
    return raw_image(path, image_id, size, objects)


def _image(
    folder: Path, name: str, found: list[Path], root: ElementTree.Element, problems: list[LabelProblem]
) -> Path:
    """The image of that name, or the one that the XML names."""
    stated = (root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    if stated and len(found) != 1 and is_there(folder / stated):
        return folder / stated
    if len(found) > 1:
        text = f"{name}.xml: {found[0].name} and {found[1].name}, and <filename> names neither"
        problems.append(LabelProblem("ambiguous", text))
    return found[0] if found else folder / (stated or f"{name}.jpg")


def parse_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height that an XML states, or None; raises ValueError where they are no numbers."""
    size = root.find("size")
    if size is None or not (size.findtext("width") and size.findtext("height")):
        return None
    width, height = round(_number(size, "width")), round(_number(size, "height"))
    return (width, height) if width and height else None


def parse_object(entry: ElementTree.Element) -> RawObject | str:
    """An object, or what is wrong with it.

    VOC counts pixels from 1 and includes the last one, so ``xmin`` loses one and ``xmax`` stays.
    """
    box = entry.find("bndbox")
    name = (entry.findtext("name") or "").strip()
    if box is None or not name:
        return "an object without name or bndbox"
    try:
        left, top, right, bottom = (_number(box, key) for key in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError as error:
        return f"{name}: {error}"
    difficult = (entry.findtext("difficult") or "0").strip() == "1"
    return RawObject(name, [left - 1, top - 1, right, bottom], difficult)


def _number(parent: ElementTree.Element, key: str) -> float:
    text = parent.findtext(key)
    if text is None:
        raise ValueError(f"<{parent.tag}> without <{key}>")
    value = float(text)
    if not abs(value) <= FARTHEST:
        raise ValueError(f"<{key}> is {text.strip()}; expected a number of pixels")
    return value
