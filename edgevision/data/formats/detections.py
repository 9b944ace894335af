"""A teacher's answers as labels: COCO's results json, rows of image, category, box and score."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevision.data.classes import map_classes
from edgevision.data.formats.coco import CocoIds
from edgevision.data.formats.json_file import fault, load_json, shape
from edgevision.data.formats.raw import RawImage, RawObject, RawSet, raw_image
from edgevision.errors import DataError
from edgevision.files import atomic_path


class ResultsFile:
    """A COCO results json to add to, as :func:`add_detections` reads it."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def add(self, image_id: int, category_id: int, box: Sequence[float], score: float) -> None:
        """Adds a box, corners in pixels."""
        x1, y1, x2, y2 = box
        corner = [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
        row = {"image_id": image_id, "category_id": category_id, "bbox": corner, "score": score}
        self._rows.append(row)

    def write(self, path: Path) -> None:
        """Writes the rows, whole or not at all.

        Raises:
            SinkError: the file cannot be written.
        """
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(self._rows, separators=(",", ":")) + "\n", encoding="utf-8")


def add_detections(
    raw: RawSet,
    path: str | Path,
    ids: CocoIds,
    labelled: Iterable[str],
    learn_from: float,
    ignore_from: float,
) -> RawSet:
    """A set whose people label some classes, and a teacher the others.

    Args:
        raw: the set as people labelled it.
        path: the json file: a list of ``image_id``, ``category_id``, ``bbox`` and ``score``, such as
            detection programs write for COCO's server.
        ids: what the set's ids of images and categories mean.
        labelled: classes whose boxes in ``raw`` stay; all others come from the file.
        learn_from: rows of at least this score are objects, which carry the score.
        ignore_from: rows between this score and ``learn_from`` are regions to ignore; lower ones are left
            out.

    Raises:
        DataError: the file is missing, is no results json, or names an image or category that the set
            lacks.
    """
    path = Path(path)
    kept = set(map_classes(raw.classes, labelled))
    found: dict[int, list[RawObject]] = {image.image_id: [] for image in raw.images}
    rows = load_json(path, "COCO results", "file of detections")
    if not isinstance(rows, list):
        raise DataError(
            f"{path} is not COCO results json: found {shape(rows)}, expected a list of results rows "
            "(image_id, category_id, bbox, score)"
        )
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} is not COCO results json: an entry is no object")
    try:
        for row in rows:
            name, score = ids.categories[int(row["category_id"])], float(row["score"])
            left, top, width, height = map(float, row["bbox"])
            corners = [left, top, left + width, top + height]
            if not all(map(math.isfinite, (*corners, score))):
                raise ValueError(f"bbox {row['bbox']} with score {score}; expected finite numbers")
            objects = found[ids.same[int(row["image_id"])]]
            if name not in kept and score >= ignore_from:
                objects.append(RawObject(name, corners, score < learn_from, score))
    except KeyError as error:
        raise DataError(
            f"{path}: {error} is neither a key of COCO results json nor an image or category of {raw.name}"
        ) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{path} is not COCO results json: {fault(error)}") from error
    images = tuple(_joined(image, kept, found[image.image_id]) for image in raw.images)
    return RawSet(f"{raw.name} with {path.name}", images, raw.classes, raw.problems)


def _joined(image: RawImage, kept: set[str], found: list[RawObject]) -> RawImage:
    """The boxes of classes that people labelled, and then the teacher's."""
    size = None if image.width is None or image.height is None else (image.width, image.height)
    own = [
        RawObject(name, box.tolist(), bool(ignore), float(score))
        for name, box, ignore, score in zip(image.names, image.boxes, image.ignore, image.scores, strict=True)
        if name in kept
    ]
    if size is not None:  # a teacher's boxes may leave the image by more than rounding
        limits = np.array([*size, *size], np.float64)
        found = [one._replace(box=np.clip(one.box, 0, limits).tolist()) for one in found]
    return raw_image(image.path, image.image_id, size, [*own, *found])
