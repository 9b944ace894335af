"""COCO's instances json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgevision.data.formats.raw import Problem, RawObject, RawSet, raw_image
from edgevision.errors import DataError


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


def _collect(label: Any, categories: dict[int, str], objects: dict[int, list[RawObject]]) -> Problem | None:
    """Files one annotation under its picture, or says what is wrong with it."""
    image_id, category = int(label["image_id"]), int(label["category_id"])
    left, top, width, height = map(float, label["bbox"])
    if category not in categories:
        return Problem("class", f"annotation {label.get('id', '?')}: undefined category_id {category}")
    if image_id not in objects:
        return Problem("orphan", f"annotation {label.get('id', '?')}: undefined image_id {image_id}")
    corners = [left, top, left + width, top + height]
    ignore, score = bool(label.get("iscrowd", 0)), float(label.get("score", 1.0))
    objects[image_id].append(RawObject(categories[category], corners, ignore, score))
    return None


def _size(entry: Any) -> tuple[int, int] | None:
    return (int(entry["width"]), int(entry["height"])) if "width" in entry and "height" in entry else None
