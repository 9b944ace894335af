"""Detection data sets in memory: paths and boxes, without pixels. COCO's json is the first form read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import xywh_to_xyxy
from edgevision.data.classes import map_classes
from edgevision.errors import DataError, nearest
from edgevision.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One picture and what is known to be in it.

    Attributes:
        path: the picture.
        image_id: its number in the data set.
        boxes: float32 ``[G, 4]``, corners in source pixels.
        labels: int64 ``[G]``, indices into the set's classes.
        ignore: bool ``[G]``: regions that count neither for nor against (COCO's ``iscrowd``).
    """

    path: Path
    image_id: int
    boxes: FloatArray
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class DetectionSet:
    """Labelled pictures with one list of classes.

    Attributes:
        images: in the order of the file.
        classes: names that the labels index.
        known: bool ``[C]``: classes that the set labels; nothing is to be learnt about the others.
    """

    images: tuple[LabelledImage, ...]
    classes: tuple[str, ...]
    known: NDArray[np.bool_]


def load_coco(annotations: str | Path, images: str | Path, classes: Sequence[str]) -> DetectionSet:
    """Reads a COCO instances json.

    Args:
        annotations: the json file.
        images: folder that its ``file_name`` entries are relative to.
        classes: names wanted; the file's categories are mapped to them by name and alias.

    Raises:
        DataError: the file is missing or malformed, or none of its categories is wanted.
    """
    annotations, images = Path(annotations), Path(images)
    try:
        document = json.loads(annotations.read_bytes())
        categories = {int(entry["id"]): str(entry["name"]) for entry in document["categories"]}
        entries = [(int(entry["id"]), str(entry["file_name"])) for entry in document["images"]]
        found: list[tuple[int, int, list[float], bool]] = [
            (
                int(a["image_id"]),
                int(a["category_id"]),
                list(map(float, a["bbox"])),
                bool(a.get("iscrowd", 0)),
            )
            for a in document["annotations"]
        ]
    except FileNotFoundError as error:
        raise DataError(f"annotation file not found: {annotations}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{annotations} is not COCO instances json ({type(error).__name__}: {error})"
        ) from error
    if not images.is_dir():
        raise DataError(f"image folder not found: {images}")
    index = map_classes(categories.values(), classes)
    if not index:
        raise DataError(
            f"{annotations}: none of its {len(categories)} categories is wanted"
            f"{nearest(classes[0], categories.values())}"
        )
    by_image: dict[int, list[tuple[int, list[float], bool]]] = {image_id: [] for image_id, _ in entries}
    for image_id, category, box, crowd in found:
        name = categories.get(category, "")
        if name in index and image_id in by_image and box[2] > 0 and box[3] > 0:
            by_image[image_id].append((index[name], box, crowd))
    known = np.zeros(len(classes), bool)
    known[list(index.values())] = True
    loaded = tuple(_labelled(images / name, image_id, by_image[image_id]) for image_id, name in entries)
    return DetectionSet(loaded, tuple(classes), known)


def _labelled(path: Path, image_id: int, objects: list[tuple[int, list[float], bool]]) -> LabelledImage:
    boxes = xywh_to_xyxy(np.array([box for _, box, _ in objects], np.float32).reshape(-1, 4))
    labels = np.array([label for label, _, _ in objects], np.int64)
    ignore = np.array([crowd for _, _, crowd in objects], bool)
    return LabelledImage(path, image_id, boxes, labels, ignore)
