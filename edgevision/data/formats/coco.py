"""COCO's instances json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevision.boxes import xywh_to_xyxy
from edgevision.data.classes import canonical
from edgevision.data.formats.raw import LabelProblem, RawObject, RawSet, raw_image
from edgevision.data.images import image_size
from edgevision.errors import DataError
from edgevision.files import atomic_path
from edgevision.types import FloatArray


def read_coco(annotations: str | Path, images: str | Path) -> RawSet:
    """Reads a COCO instances json; crowds (``iscrowd``) are regions to ignore.

    A box may carry the ``score`` of the teacher that found it, as ``edgevision label`` writes it.

    Args:
        annotations: the json file.
        images: folder that its ``file_name`` entries are relative to.

    Raises:
        DataError: the file is missing or malformed, or the folder is missing.
    """
    annotations, images = Path(annotations), Path(images)
    try:
        document = json.loads(annotations.read_bytes())
        categories = {int(entry["id"]): str(entry["name"]) for entry in document["categories"]}
        entries: dict[int, Any] = {int(entry["id"]): entry for entry in document["images"]}
        objects: dict[int, list[RawObject]] = {image_id: [] for image_id in entries}
        problems = [_collect(label, categories, objects) for label in document["annotations"]]
        loaded = tuple(
            raw_image(images / str(entry["file_name"]), image_id, _size(entry), objects[image_id])
            for image_id, entry in entries.items()
        )
    except FileNotFoundError as error:
        raise DataError(f"annotation file not found: {annotations}") from error
    except OSError as error:
        raise DataError(f"cannot read {annotations}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{annotations} is not COCO instances json ({type(error).__name__}: {error})"
        ) from error
    if not images.is_dir():
        raise DataError(f"image folder not found: {images}")
    found = tuple(problem for problem in problems if problem)
    return RawSet(str(annotations), loaded, tuple(categories.values()), found)


def _collect(
    label: Any, categories: dict[int, str], objects: dict[int, list[RawObject]]
) -> LabelProblem | None:
    """Files one annotation under its image, or says what is wrong with it."""
    image_id, category = int(label["image_id"]), int(label["category_id"])
    left, top, width, height = map(float, label["bbox"])
    if category not in categories:
        return LabelProblem("class", f"annotation {label.get('id', '?')}: undefined category_id {category}")
    if image_id not in objects:
        return LabelProblem("orphan", f"annotation {label.get('id', '?')}: undefined image_id {image_id}")
    corners = [left, top, left + width, top + height]
    ignore, score = bool(label.get("iscrowd", 0)), float(label.get("score", 1.0))
    objects[image_id].append(RawObject(categories[category], corners, ignore, score))
    return None


def _size(entry: Any) -> tuple[int, int] | None:
    return (int(entry["width"]), int(entry["height"])) if "width" in entry and "height" in entry else None


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
            canonical(e["name"]): int(e["id"]) for e in self._document["categories"]
        }
        self._by_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in self._document["annotations"]:
            self._by_image.setdefault(annotation["image_id"], []).append(annotation)
        self._next_image = 1 + max(self._images.values(), default=0)
        self._next_annotation = 1 + max((int(e["id"]) for e in self._document["annotations"]), default=0)

    def category(self, name: str) -> int:
        """Id of a category, which is added where there is none of that meaning."""
        key = canonical(name)
        if key not in self._categories:
            number = 1 + max(self._categories.values(), default=0)
            self._categories[key] = number
            self._document["categories"].append({"id": number, "name": name})
        return self._categories[key]

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
        entry = self._entries[image_id]
        return (int(entry["width"]), int(entry["height"])) if {"width", "height"} <= entry.keys() else None

    def boxes(self, image_id: int) -> tuple[FloatArray, list[str], list[bool]]:
        """Corners float32 ``[G, 4]``, class names and ignore flags of an image."""
        names = {int(entry["id"]): str(entry["name"]) for entry in self._document["categories"]}
        found = self._by_image.get(image_id, [])
        corners = xywh_to_xyxy(np.array([one["bbox"] for one in found], np.float32).reshape(-1, 4))
        crowds = [bool(one.get("iscrowd", 0)) for one in found]
        return corners, [names.get(int(one["category_id"]), "") for one in found], crowds

    def add_box(
        self, image_id: int, category_id: int, box: Sequence[float], *, ignore: bool, score: float
    ) -> None:
        """Adds a box, corners in pixels, with the score of the teacher that found it."""
        x1, y1, x2, y2 = box
        annotation = {
            "id": self._next_annotation,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
            "area": round((x2 - x1) * (y2 - y1), 2),
            "iscrowd": int(ignore),
            "score": score,
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
    try:
        document = json.loads(path.read_bytes())
        for key, fields in (
            ("images", ("id", "file_name")),
            ("annotations", ("id", "image_id", "category_id", "bbox")),
            ("categories", ("id", "name")),
        ):
            for entry in document[key]:
                for field in fields:
                    entry[field]
    except FileNotFoundError as error:
        raise DataError(f"annotation file not found: {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not COCO instances json ({type(error).__name__}: {error})") from error
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
