"""COCO's instances json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgevision.boxes import xywh_to_xyxy
from edgevision.data.formats.json_file import INSTANCES, fault, load_json, shape
from edgevision.data.formats.raw import FARTHEST, LabelProblem, RawObject, RawSet, Shape, raw_image
from edgevision.data.images import image_size, is_there
from edgevision.errors import DataError, printable
from edgevision.files import atomic_path
from edgevision.types import FloatArray


def read_coco(annotations: str | Path, images: str | Path, *, shapes: bool = False) -> RawSet:
    """Reads a COCO instances json; crowds (``iscrowd``) are regions to ignore.

    A box may carry the ``score`` of the teacher that found it, as ``edgevision label`` writes it. Entries of
    one file are one image. A ``file_name`` may have folders that are not there, or Windows' separators.

    Args:
        annotations: the json file.
        images: folder that its ``file_name`` entries are relative to.
        shapes: read segmentations and key points too, for an evaluation.

    Raises:
        DataError: the file is missing or malformed, the folder is missing, or an id has two meanings.
    """
    annotations, images = Path(annotations), Path(images)
    parsed = parse_coco(_load(annotations), annotations, shapes=shapes)
    if not images.is_dir():
        raise DataError(f"image folder not found: {images}")
    paths = _find(images, [image.file for image in parsed.images])
    loaded = tuple(raw_image(paths[one.file], one.image_id, one.size, one.objects) for one in parsed.images)
    return RawSet(str(annotations), loaded, parsed.classes, parsed.problems, parsed.keypoints)


class CocoImage(NamedTuple):
    """One image of a document: its name, its id, the stated width and height or None, and its objects."""

    file: str
    image_id: int
    size: tuple[int, int] | None
    objects: list[RawObject]


class ParsedCoco(NamedTuple):
    """What a COCO document says, before its images are looked for.

    Attributes:
        images: each file once.
        classes: names of the categories.
        problems: labels that could not be used.
        keypoints: names of the key points that it labels; empty where it labels none.
    """

    images: list[CocoImage]
    classes: tuple[str, ...]
    problems: tuple[LabelProblem, ...]
    keypoints: tuple[str, ...]


def parse_coco(document: Any, path: Path, *, shapes: bool = False) -> ParsedCoco:
    """Reads a document that is in memory; see :func:`read_coco`.

    Args:
        document: with ``images``, ``annotations`` and ``categories``.
        path: of its file, for messages.
        shapes: read segmentations and key points too.

    Raises:
        DataError: it is malformed, or an id has two meanings.
    """
    _check_shape(document, path)
    try:
        categories, first, same = _ids(document, path)
        sizes = {int(entry["id"]): _size(entry) for entry in document["images"]}
        objects: dict[int, list[RawObject]] = {image_id: [] for image_id in first.values()}
        problems = [_collect(label, categories, same, objects, shapes) for label in document["annotations"]]
        named = next(filter(None, (entry.get("keypoints") for entry in document["categories"])), ())
        keypoints = tuple(map(str, named))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _malformed(path, error) from error
    found = [problem for problem in problems if problem]
    for name in dict.fromkeys(categories.values()):
        ids = [number for number, other in categories.items() if other == name]
        if len(ids) > 1:
            text = f"categories {ids[0]} and {ids[1]} are both '{name}'"
            found.append(LabelProblem("ambiguous", text, 0))
    images = [CocoImage(file, number, sizes[number], objects[number]) for file, number in first.items()]
    classes = tuple(dict.fromkeys(categories.values()))
    return ParsedCoco(images, classes, tuple(found), keypoints)


def _load(path: Path) -> Any:
    return load_json(path, "COCO instances", "annotation file")


def _check_shape(document: Any, path: Path) -> None:
    """Refuses what is json of another kind.

    Raises:
        DataError: it has not the lists of COCO instances, or an image or a category is no object.
    """
    if not isinstance(document, dict) or any(key not in document for key in INSTANCES):
        raise DataError(
            f"{path} is not COCO instances json: found {shape(document)}, expected COCO instances "
            f"({', '.join(INSTANCES)})"
        )
    for key in INSTANCES:
        entries = document[key]
        if not isinstance(entries, list):
            found = f"'{key}' is {shape(entries)}"
        elif key != "annotations" and not all(isinstance(entry, dict) for entry in entries):
            found = f"an entry of '{key}' is no object"
        else:
            continue
        raise DataError(f"{path} is not COCO instances json: {found}; expected a list of objects")


def _malformed(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is not COCO instances json: {fault(error)}")


class CocoIds(NamedTuple):
    """What the ids of a COCO json mean.

    Attributes:
        categories: names by id.
        first: id of the first entry of each file.
        same: the same for each image id: entries of one file are one image.
    """

    categories: dict[int, str]
    first: dict[str, int]
    same: dict[int, int]


def read_ids(annotations: str | Path) -> CocoIds:
    """The ids of a json that :func:`read_coco` has read."""
    annotations = Path(annotations)
    return _ids(_load(annotations), annotations)


def _ids(document: Any, annotations: Path) -> CocoIds:
    categories = _by_id(document["categories"], "name", "categories", annotations)
    files = _by_id(document["images"], "file_name", "images", annotations)
    first: dict[str, int] = {}
    same = {image_id: first.setdefault(file, image_id) for image_id, file in files.items()}
    return CocoIds(categories, first, same)


def _by_id(entries: Any, key: str, what: str, annotations: Path) -> dict[int, str]:
    """Names or files by their ids, each of which has one meaning."""
    found: dict[int, str] = {}
    for entry in entries:
        number, text = _id(entry["id"], what, annotations), str(entry[key])
        if what == "categories" and (entry[key] is None or not text.strip()):
            raise DataError(f"{annotations}: category {number} has no name; expected one")
        if what == "categories" and printable(text) != text:
            raise DataError(
                f"{annotations}: category {number} is named '{printable(text)}', which is no text; rename it"
            )
        if found.setdefault(number, text) != text:
            raise DataError(
                f"{annotations}: the {what} '{found[number]}' and '{text}' both have id {number}, so their "
                "labels cannot be told apart; expected an id for each"
            )
    return found


def _id(value: Any, what: str, annotations: Path) -> int:
    try:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError(value)
        return int(value)
    except ValueError as error:
        raise DataError(
            f"{annotations}: the {what} have ids such as '{value}'; expected whole numbers, as COCO has them"
        ) from error


def _collect(
    label: Any,
    categories: dict[int, str],
    same: dict[int, int],
    objects: dict[int, list[RawObject]],
    shapes: bool,
) -> LabelProblem | None:
    """Files one annotation under its image, or says what is wrong with it."""
    if not isinstance(label, dict):
        return LabelProblem("malformed", f"an annotation is {str(label)[:40]!r}; expected keys and values")
    name = f"annotation {label.get('id', '?')}"
    try:
        image_id, category = int(label["image_id"]), int(label["category_id"])
        left, top, width, height = (float(value) for value in label["bbox"])
        score = float(label.get("score", 1.0))
        ignore = bool(label.get("iscrowd", 0))
    except KeyError as error:
        return LabelProblem("malformed", f"{name}: no {error.args[0]}")
    except (ValueError, TypeError, OverflowError):
        keys = ("image_id", "category_id", "bbox", "score")
        shown = ", ".join(f"{key} {str(label[key])[:60]}" for key in keys if key in label)
        return LabelProblem("malformed", f"{name}: {shown}; expected numbers, four of them in bbox")
    if category not in categories:
        return LabelProblem("class", f"{name}: undefined category_id {category}")
    if image_id not in same:
        return LabelProblem("orphan", f"{name}: undefined image_id {image_id}")
    corners = [left, top, left + width, top + height]
    if not all(abs(value) <= FARTHEST for value in (*corners, score)):
        return LabelProblem("malformed", f"{name}: bbox {label['bbox']} or score is beyond any image")
    shape = None
    if shapes:
        try:
            shape = _shape(label)
        except (ValueError, TypeError, KeyError) as error:
            return LabelProblem("malformed", f"{name}: {error}")
    objects[same[image_id]].append(RawObject(categories[category], corners, ignore, score, shape))
    return None


def _shape(label: dict[str, Any]) -> Shape:
    """Segmentation, key points and area of an annotation.

    Raises:
        ValueError, TypeError, KeyError: one of them is malformed.
    """
    segmentation, points, area = (label.get(key) for key in ("segmentation", "keypoints", "area"))
    if isinstance(segmentation, list):
        if any(len(polygon) < 6 or len(polygon) % 2 for polygon in segmentation):
            raise ValueError("a polygon of its segmentation has fewer than three points, or half a point")
        segmentation = [[float(value) for value in polygon] for polygon in segmentation] or None
    elif segmentation is not None:
        height, width = (int(value) for value in segmentation["size"])
        segmentation = {"size": [height, width], "counts": segmentation["counts"]}
    keypoints = None
    if points:
        if len(points) % 3:
            raise ValueError(f"{len(points)} numbers in keypoints; expected x, y and visibility of each")
        keypoints = np.array(points, np.float64).reshape(-1, 3)
    return Shape(segmentation, keypoints, None if area is None else float(area))


def _size(entry: Any) -> tuple[int, int] | None:
    """Width and height; None where they are not stated, or stated as null or 0."""
    width, height = entry.get("width"), entry.get("height")
    return (int(width), int(height)) if width and height else None


def _find(folder: Path, files: list[str]) -> dict[str, Path]:
    """Where each file lies: as written, or without leading folders where that finds a file of its own."""
    paths = {file: folder / file for file in files}
    taken = {path for path in paths.values() if is_there(path)}
    guesses = {file: _without_folders(folder, file) for file in files if paths[file] not in taken}
    often = Counter(guesses.values())
    free = {file: path for file, path in guesses.items() if path not in taken and often[path] == 1}
    return {file: free.get(file) or path for file, path in paths.items()}


def _without_folders(folder: Path, file: str) -> Path | None:
    parts = file.replace("\\", "/").split("/")
    found = (folder.joinpath(*parts[start:]) for start in range(len(parts)) if parts[start])
    return next((path for path in found if is_there(path)), None)


class CocoDocument:
    """A set of labelled images to add to.

    Whatever an existing document holds is kept as it is: fields that are not known here, and the order.

    Args:
        existing: a json file to go on from, or None for an empty set.

    Raises:
        DataError: the file is missing or not COCO instances json.
    """

    def __init__(self, existing: Path | None = None) -> None:
        self._document: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
        if existing is not None:
            self._document = _read(existing)
        self._entries: dict[int, dict[str, Any]] = {int(e["id"]): e for e in self._document["images"]}
        self._images: dict[str, int] = {e["file_name"]: int(e["id"]) for e in self._document["images"]}
        self._categories: dict[str, int] = {
            str(e["name"]): int(e["id"]) for e in self._document["categories"]
        }
        self._by_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in self._document["annotations"]:
            self._by_image.setdefault(annotation["image_id"], []).append(annotation)
        self._next_image = 1 + max(self._images.values(), default=0)
        self._next_annotation = 1 + max((int(e["id"]) for e in self._document["annotations"]), default=0)

    @property
    def categories(self) -> tuple[str, ...]:
        """The names of all categories, as they are written."""
        return tuple(self._categories)

    @property
    def image_count(self) -> int:
        """How many image files are in the set."""
        return len(self._images)

    def category(self, name: str) -> int:
        """Id of the category of exactly that name, which is added where there is none."""
        if name not in self._categories:
            number = 1 + max(self._categories.values(), default=0)
            self._categories[name] = number
            self._document["categories"].append({"id": number, "name": name})
        return self._categories[name]

    def describe_category(self, category_id: int, fields: Mapping[str, Any]) -> None:
        """Gives a category further fields, such as the names of key points; those that it has are kept."""
        for entry in self._document["categories"]:
            if int(entry["id"]) == category_id:
                entry.update({name: value for name, value in fields.items() if name not in entry})

    def find_image(self, file_name: str) -> int | None:
        """Id of an image, or None where it is not in the set."""
        return self._images.get(file_name)

    def add_image(self, file_name: str, width: int, height: int) -> int:
        """Adds an image and returns its id."""
        number = self._next_image
        self._next_image += 1
        self._images[file_name] = number
        entry = {"id": number, "file_name": file_name, "width": width, "height": height}
        self._entries[number] = entry
        self._document["images"].append(entry)
        return number

    def image_size(self, image_id: int) -> tuple[int, int] | None:
        """Width and height as the document states them, or None."""
        return _size(self._entries[image_id])

    def boxes(self, image_id: int) -> tuple[FloatArray, list[str], list[bool]]:
        """Corners float32 ``[G, 4]``, class names and ignore flags of an image."""
        names = {int(entry["id"]): str(entry["name"]) for entry in self._document["categories"]}
        found = self._by_image.get(image_id, [])
        corners = xywh_to_xyxy(np.array([one["bbox"] for one in found], np.float32).reshape(-1, 4))
        crowds = [bool(one.get("iscrowd", 0)) for one in found]
        return corners, [names.get(int(one["category_id"]), "") for one in found], crowds

    def add_box(
        self,
        image_id: int,
        category_id: int,
        box: Sequence[float],
        *,
        ignore: bool,
        score: float,
        shape: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds a box, corners in pixels, with the score of the teacher that found it.

        Args:
            image_id, category_id: of this document.
            box: ``(x1, y1, x2, y2)``.
            ignore: a region to ignore, COCO's crowd.
            score: 0..1.
            shape: further fields, such as ``segmentation`` or ``keypoints``, and ``area`` where it is not the
                box's.
        """
        x1, y1, x2, y2 = box
        annotation = {
            "id": self._next_annotation,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
            "area": round((x2 - x1) * (y2 - y1), 2),
            "iscrowd": int(ignore),
            "score": score,
            **(shape or {}),
        }
        self._next_annotation += 1
        self._document["annotations"].append(annotation)
        self._by_image.setdefault(image_id, []).append(annotation)

    def write(self, path: Path) -> None:
        """Writes the document, whole or not at all.

        Raises:
            SinkError: the file cannot be written.
        """
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(self._document, separators=(",", ":")) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    document = _load(path)
    _check_shape(document, path)
    try:
        for key, fields in (
            ("images", ("id", "file_name")),
            ("annotations", ("id", "image_id", "category_id", "bbox")),
            ("categories", ("id", "name")),
        ):
            for entry in document[key]:
                for field in fields:
                    entry[field]
    except (KeyError, TypeError) as error:
        raise _malformed(path, error) from error
    return dict(document)


def to_coco(raw: RawSet, images: Path) -> CocoDocument:
    """The set as a COCO document; regions to ignore become crowds.

    Args:
        raw: the set.
        images: folder that its file names are to be relative to.

    Raises:
        DataError: labels could not be used, or an image that has labels cannot be opened.
    """
    if raw.problems:
        raise DataError(
            f"{raw.name}: {len(raw.problems)} labels cannot be converted, the first: {raw.problems[0].text}"
        )
    document = CocoDocument()
    for name in raw.classes:
        document.category(name)
    for image in raw.images:
        size = (image.width, image.height) if image.width and image.height else image_size(image.path)
        if size is None:
            raise DataError(f"image cannot be opened: {image.path}; 'edgevision data check' shows all")
        number = document.add_image(image.path.relative_to(images).as_posix(), *size)
        for box, name, ignore in zip(image.boxes.tolist(), image.names, image.ignore, strict=True):
            category = document.category(name)
            corners = [round(value, 2) for value in box]
            document.add_box(number, category, corners, ignore=bool(ignore), score=1.0)
    return document
