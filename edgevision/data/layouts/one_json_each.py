"""One JSON for each image: labelme (also AnyLabeling) and Supervisely."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image as PillowImage

from edgevision.data.formats.raw import LabelProblem, RawObject
from edgevision.data.layouts.documents import Documents
from edgevision.data.layouts.reading import Choices, Labelled, Reading, occurring, unlabelled_images
from edgevision.data.layouts.tree import Tree
from edgevision.suffixes import IMAGE_SUFFIXES


def read_labelme(tree: Tree, documents: Documents, choices: Choices) -> Reading | None:
    """Reads the folder, where its JSON files are labelme's."""
    found = documents.mappings("shapes", "imagePath")
    if not found:
        return None
    reading = Reading("labelme", [], (), "the JSON files")
    for path, document in found.items():
        image = tree.find_image(str(document["imagePath"]), path, tree.role(path)) or _same_name(tree, path)
        name = path.name
        if image is None and document.get("imageData"):
            text = f"{name}: its image is inside the JSON alone; save the image beside it"
            reading.problems.append((tree.role(path), LabelProblem("orphan", text, len(document["shapes"]))))
            reading.used.add(path)
            continue
        _add(tree, path, image, document["shapes"], _labelme_shape, reading)
        size = (document.get("imageWidth"), document.get("imageHeight"))
        if all(isinstance(side, int) and side > 0 for side in size):
            reading.images[-1] = reading.images[-1]._replace(size=(int(size[0] or 0), int(size[1] or 0)))
    reading.classes = occurring(reading.images)
    unlabelled_images(tree, reading, choices, leave_out=True, reason="no JSON")
    return reading


def read_supervisely(tree: Tree, documents: Documents, choices: Choices) -> Reading | None:
    """Reads the folder, where it has Supervisely's ``meta.json``, or its folders ``img`` and ``ann``."""
    found = {
        path: document
        for path, document in documents.mappings("size", "objects").items()
        if path.stem.lower().endswith(IMAGE_SUFFIXES) or path.parent.name.lower() == "ann"
    }
    if not found:
        return None
    reading = Reading("Supervisely", [], (), "the JSON files")
    for path, document in found.items():
        image = tree.find_image(path.stem, path.parent.parent / "img" / path.name, tree.role(path))
        _add(tree, path, image, document["objects"], _supervisely_shape, reading)
    reading.used |= set(documents.mappings("classes"))
    names = [
        str(entry.get("title"))
        for document in documents.mappings("classes").values()
        if isinstance(document["classes"], list)
        for entry in document["classes"]
        if isinstance(entry, dict)
    ]
    reading.classes = tuple(dict.fromkeys(names)) or occurring(reading.images)
    unlabelled_images(tree, reading, choices, leave_out=True, reason="no JSON")
    return reading


def _same_name(tree: Tree, path: Path) -> Path | None:
    found = (tree.at(path.with_suffix(suffix)) for suffix in IMAGE_SUFFIXES)
    return next((one for one in found if one is not None), None)


def _add(
    tree: Tree,
    path: Path,
    image: Path | None,
    shapes: Any,
    read: Callable[[Any], RawObject],
    reading: Reading,
) -> None:
    split = tree.role(path if image is None else image)
    objects = []
    for one in (_read_shape(shape, read) for shape in shapes):
        if isinstance(one, str):
            reading.problems.append((split, LabelProblem("malformed", f"{path.name}: {one}")))
        else:
            objects.append(one)
    reading.used.add(path)
    reading.images.append(Labelled(image or path.with_suffix(".jpg"), split, objects))


def _read_shape(shape: Any, read: Callable[[Any], RawObject]) -> RawObject | str:
    """An object, or what is wrong with it."""
    try:
        return read(shape)
    except (KeyError, TypeError, ValueError, IndexError, OSError, zlib.error) as error:
        return str(error) if isinstance(error, ValueError) else "a shape without points"


def _labelme_shape(shape: Any) -> RawObject:
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "circle":
        (x, y), (edge_x, edge_y) = points
        radius = ((edge_x - x) ** 2 + (edge_y - y) ** 2) ** 0.5
        points = [(x - radius, y - radius), (x + radius, y + radius)]
    elif kind not in ("rectangle", "polygon", "mask", "rotation"):
        raise ValueError(f"a {kind} of {shape['label']} has no box")
    return RawObject(str(shape["label"]), _around(points), False)


def _supervisely_shape(shape: Any) -> RawObject:
    name, kind = str(shape["classTitle"]), shape.get("geometryType")
    if kind == "bitmap":
        content = zlib.decompress(base64.b64decode(shape["bitmap"]["data"]))
        with PillowImage.open(io.BytesIO(content)) as mask:
            width, height = mask.size
        x, y = (float(value) for value in shape["bitmap"]["origin"])
        return RawObject(name, [x, y, x + width, y + height], False)
    if kind not in ("rectangle", "polygon"):
        raise ValueError(f"a {kind} of {name} has no box")
    return RawObject(name, _around([(float(x), float(y)) for x, y in shape["points"]["exterior"]]), False)


def _around(points: list[tuple[float, float]]) -> list[float]:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return [min(xs), min(ys), max(xs), max(ys)]
