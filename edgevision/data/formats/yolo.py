"""YOLO text: ``images/``, ``labels/*.txt`` with ``class cx cy width height`` in shares of the image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from edgevision.config import UniqueTextLoader
from edgevision.data.formats.raw import FARTHEST, LabelProblem, RawImage, RawObject, RawSet, raw_image
from edgevision.data.formats.text import label_files, read_text
from edgevision.data.images import image_size
from edgevision.errors import DataError
from edgevision.suffixes import IMAGE_SUFFIXES

_FLOAT = re.compile(r"[0-9]+\.?[0-9]*(e[+-]?[0-9]{1,2})?", re.IGNORECASE)
_NAME_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names", "classes.names")


def read_yolo(folder: str | Path, split: str = "", names: str | Path = "") -> RawSet:
    """Reads a YOLO folder; an image without a label file shows nothing, and a polygon becomes its box.

    Args:
        folder: holds ``images`` and ``labels``, or folders of splits that do.
        split: a folder inside both, such as ``train``, or around both; empty for all images.
        names: a text file with one class name a line, or a yaml with ``names``; looked for in the
            folder, among the labels and in the folder above where empty.

    Raises:
        DataError: the folders, the names or all images are missing.
    """
    folder = Path(folder)
    image_folder, label_folder = folder / "images" / split, folder / "labels" / split
    if split and not image_folder.is_dir() and (folder / split / "images").is_dir():
        image_folder, label_folder = folder / split / "images", folder / split / "labels"
    for part in (image_folder, label_folder):
        if not part.is_dir():
            raise DataError(f"{folder} is not a YOLO folder: it has no {part.relative_to(folder)} folder")
    classes = read_names(Path(names) if names else _find_names(folder, label_folder))
    images = sorted(path for path in image_folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DataError(f"{image_folder} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    labels, problems = label_files(label_folder.rglob("*"), ".txt")

    def label_of(stem: Path) -> Path:
        return labels.get(str(label_folder / stem), label_folder / f"{stem}.txt")

    loaded = tuple(
        _read(
            path,
            label_of(path.relative_to(image_folder).with_suffix("")),
            position,
            classes,
            problems,
        )
        for position, path in enumerate(images, start=1)
    )
    sharing: dict[Path, list[Path]] = {}
    for path in images:
        sharing.setdefault(path.relative_to(image_folder).with_suffix(""), []).append(path)
    problems += [
        LabelProblem("ambiguous", f"{same[0].name} and {same[1].name} share {same[0].stem}.txt")
        for stem, same in sharing.items()
        if len(same) > 1 and label_of(stem).is_file()
    ]
    stems = {path.relative_to(image_folder).with_suffix("") for path in images}
    problems += [
        LabelProblem("orphan", f"{file.name}: no image of that name")
        for file in sorted(labels.values())
        if file.relative_to(label_folder).with_suffix("") not in stems and file.name not in _NAME_FILES
    ]
    return RawSet(f"{folder} {split}".strip(), loaded, classes, tuple(problems))


def read_names(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line, or from ``names`` of a yaml: a list, or numbers to names.

    Raises:
        DataError: the file is missing or holds no names.
    """
    try:
        text = read_text(path)
        is_yaml = path.suffix.lower() in (".yaml", ".yml")
        found: Any = yaml.load(text, Loader=UniqueTextLoader) if is_yaml else text.rstrip().splitlines()
    except DataError as error:
        raise DataError(f"cannot read class names: {error}") from error
    except (OSError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"cannot read class names from {path}: {' '.join(str(error).split())}") from error
    if isinstance(found, dict):
        found = found.get("names")
    if isinstance(found, dict):
        if not all(number.isdecimal() for number in found) or sorted(map(int, found)) != list(
            range(len(found))
        ):
            numbers = ", ".join(map(str, found))
            raise DataError(f"{path}: names are numbered {numbers}; expected 0, 1, 2, ...")
        found = [name for _, name in sorted(found.items(), key=lambda item: int(item[0]))]
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found) or not found:
        raise DataError(f"{path} holds no class names; expected one a line, or 'names' in a yaml")
    names = tuple(name.strip() for name in found)
    for number, name in enumerate(names):
        if not name:
            raise DataError(
                f"{path}: class {number} has no name, and those after it would move up; expected a name"
            )
        if name in names[:number]:
            raise DataError(
                f"{path}: classes {names.index(name)} and {number} are both '{name}'; expected each name once"
            )
    return names


def _find_names(folder: Path, label_folder: Path) -> Path:
    places = (folder, folder / "labels", label_folder, label_folder.parent, folder.parent)
    for place in (place / name for place in places for name in _NAME_FILES):
        if place.is_file():
            return place
    raise DataError(f"no class names for {folder}; put classes.txt there, with one name a line")


def find_splits(path: Path) -> tuple[str, ...]:
    """Names of the splits of a folder that holds ``train/images``, ``train/labels`` and the like."""
    folders = sorted(path.iterdir()) if path.is_dir() else []
    splits = [one.name for one in folders if (one / "images").is_dir() and (one / "labels").is_dir()]
    return tuple(sorted(splits, key=lambda name: name != "train"))


def read_data_yaml(path: Path) -> tuple[RawSet, ...] | None:
    """The sets that ``train``, ``val`` and ``test`` of a YOLO ``data.yaml`` name; None for another yaml.

    Folders are relative to ``path`` in the yaml, or to the yaml itself. Roboflow writes ``../train/images``
    for ``train/images``, so that is looked for too.

    Raises:
        DataError: a folder that it names is missing, or is none of images beside one of labels.
    """
    try:
        document: Any = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return None  # whoever reads it next says so
    if not isinstance(document, dict) or "names" not in document or "task" in document:
        return None
    root = path.parent / str(document.get("path") or "")
    if not root.is_dir():
        root = path.parent
    found: list[RawSet] = []
    for key in ("train", "val", "test"):
        places = document.get(key) or []
        found += [
            read_yolo(*_split_of(path, root, key, str(place)), names=path)
            for place in ([places] if isinstance(places, str) else places)
        ]
    if not found:
        raise DataError(f"{path}: no folder of images; expected train or val, such as train: train/images")
    return tuple(found)


def _split_of(path: Path, root: Path, key: str, place: str) -> tuple[Path, str]:
    """The folder and the split, as :func:`read_yolo` takes them, of images that a yaml names."""
    stripped = place
    while stripped.startswith("../"):
        stripped = stripped.removeprefix("../")
    images = next((one for one in (root / place, path.parent / stripped) if one.is_dir()), None)
    if images is None:
        raise DataError(f"{path}: {key} is '{place}', and there is no folder {root / place}; expected one")
    if (images / "images").is_dir():
        return images, ""
    parts = images.parts
    if "images" not in parts:
        raise DataError(
            f"{path}: {key} is '{place}'; expected a folder called images, with one called labels beside it"
        )
    last = len(parts) - 1 - parts[::-1].index("images")
    return Path(*parts[:last]), "/".join(parts[last + 1 :])


def _read(
    path: Path, file: Path, image_id: int, classes: tuple[str, ...], problems: list[LabelProblem]
) -> RawImage:
    try:
        lines = read_text(file).splitlines()
    except FileNotFoundError:
        lines = []
    except DataError as error:
        problems.append(LabelProblem("unreadable", f"{file.name}: {error}"))
        lines = []
    size = image_size(path)
    objects: list[RawObject] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or size is None:  # an image without a size is reported as unreadable
            continue
        try:
            label, box = parse_line(line)
            objects.append(RawObject(classes[label], [v * size[i % 2] for i, v in enumerate(box)], False))
        except IndexError:
            undefined = f"{file.name}:{number}: undefined class {label} (of {len(classes)} names)"
            problems.append(LabelProblem("class", undefined))
        except ValueError as error:
            problems.append(LabelProblem("malformed", f"{file.name}:{number}: {error}"))
    return raw_image(path, image_id, size, objects)


def parse_line(line: str, points: int = 0) -> tuple[int, list[float]]:
    """Class and corners in shares of the image, from a box, a polygon, or a box with key points.

    Args:
        line: one line of a label file.
        points: numbers of key points that follow the four of the box.

    Raises:
        ValueError: with what is wrong.
    """
    first, *rest = line.split()
    label, values = _class_id(first), [float(text) for text in rest]
    if label < 0 or not all(abs(value) <= FARTHEST for value in values):
        raise ValueError("a negative class, or a value that is not finite")
    if len(values) == 4 or (points and len(values) == 4 + points):
        x, y, width, height = values[:4]
        return label, [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    if len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[::2], values[1::2]
        return label, [min(xs), min(ys), max(xs), max(ys)]
    hint = " (is the fifth a model's confidence? then these are its answers)" if len(values) == 5 else ""
    raise ValueError(f"{len(values)} numbers after the class; expected 4, or the points of a polygon{hint}")


def _class_id(text: str) -> int:
    """A whole number; ``np.savetxt`` writes 1 as ``1.000000000000000000e+00``."""
    try:
        return int(text)
    except ValueError:
        if not _FLOAT.fullmatch(text) or not float(text).is_integer():
            raise
        return int(float(text))
