"""YOLO text: ``images/``, ``labels/*.txt`` with ``class cx cy width height`` in shares of the image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from edgevision.data.formats.raw import LabelProblem, RawImage, RawObject, RawSet, raw_image
from edgevision.data.images import image_size
from edgevision.errors import DataError
from edgevision.suffixes import IMAGE_SUFFIXES

_NAME_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names", "classes.names")


def read_yolo(folder: str | Path, split: str = "", names: str | Path = "") -> RawSet:
    """Reads a YOLO folder; an image without a label file shows nothing, and a polygon becomes its box.

    Args:
        folder: holds ``images`` and ``labels``.
        split: a folder inside both, such as ``train``; empty for all images.
        names: a text file with one class name a line, or a yaml with ``names``; looked for in the
            folder and the one above where empty.

    Raises:
        DataError: the folders, the names or all images are missing.
    """
    folder = Path(folder)
    image_folder, label_folder = folder / "images" / split, folder / "labels" / split
    for part in (image_folder, label_folder):
        if not part.is_dir():
            raise DataError(f"{folder} is not a YOLO folder: it has no {part.relative_to(folder)} folder")
    classes = read_names(Path(names) if names else _find_names(folder))
    images = sorted(path for path in image_folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DataError(f"{image_folder} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    problems: list[LabelProblem] = []
    loaded = tuple(
        _read(
            path,
            label_folder / path.relative_to(image_folder).with_suffix(".txt"),
            position,
            classes,
            problems,
        )
        for position, path in enumerate(images, start=1)
    )
    stems = {path.relative_to(image_folder).with_suffix("") for path in images}
    problems += [
        LabelProblem("orphan", f"{file.name}: no image of that name")
        for file in sorted(label_folder.rglob("*.txt"))
        if file.relative_to(label_folder).with_suffix("") not in stems and file.name not in _NAME_FILES
    ]
    return RawSet(f"{folder} {split}".strip(), loaded, classes, tuple(problems))


def read_names(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line, or from ``names`` of a yaml: a list, or numbers to names.

    Raises:
        DataError: the file is missing or holds no names.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found: Any = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else text.splitlines()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot read class names from {path}: {' '.join(str(error).split())}") from error
    if isinstance(found, dict):
        found = found.get("names")
    if isinstance(found, dict):
        if sorted(found) != list(range(len(found))):
            raise DataError(f"{path}: names are numbered {sorted(found, key=str)}; expected 0, 1, 2, ...")
        found = [found[number] for number in range(len(found))]
    names = tuple(str(name).strip() for name in found or () if str(name).strip())
    if not names:
        raise DataError(f"{path} holds no class names; expected one a line, or 'names' in a yaml")
    return names


def _find_names(folder: Path) -> Path:
    places = [place / name for place in (folder, folder.parent) for name in _NAME_FILES]
    for place in places:
        if place.is_file():
            return place
    raise DataError(f"no class names for {folder}; put classes.txt there, with one name a line")


def _read(
    path: Path, file: Path, image_id: int, classes: tuple[str, ...], problems: list[LabelProblem]
) -> RawImage:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        problems.append(LabelProblem("malformed", f"{file.name}: {error}"))
        lines = []
    size = image_size(path)
    objects: list[RawObject] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or size is None:  # an image without a size is reported as unreadable
            continue
        try:
            label, box = _parse(line)
            objects.append(RawObject(classes[label], [v * size[i % 2] for i, v in enumerate(box)], False))
        except IndexError:
            undefined = f"{file.name}:{number}: undefined class {label} (of {len(classes)} names)"
            problems.append(LabelProblem("class", undefined))
        except ValueError as error:
            problems.append(LabelProblem("malformed", f"{file.name}:{number}: {error}"))
    return raw_image(path, image_id, size, objects)


def _parse(line: str) -> tuple[int, list[float]]:
    """Class and corners in shares of the image, from a box or a polygon."""
    first, *rest = line.split()
    label, values = int(first), [float(text) for text in rest]
    if label < 0 or not all(math.isfinite(value) for value in values):
        raise ValueError("a negative class, or a value that is not finite")
    if len(values) == 4:
        x, y, width, height = values
        return label, [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    if len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[::2], values[1::2]
        return label, [min(xs), min(ys), max(xs), max(ys)]
    raise ValueError(f"{len(values)} numbers after the class; expected 4, or the points of a polygon")
