"""COCO's instances json in every folder form: as published, Roboflow, CVAT, FiftyOne, Label Studio, VIA."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from edgevision.data.formats.coco import parse_coco
from edgevision.data.formats.raw import LabelProblem, RawObject
from edgevision.data.layouts.documents import Documents
from edgevision.data.layouts.reading import Choices, Labelled, Reading, unlabelled_images
from edgevision.data.layouts.tree import Tree, role_of


def read_layout(tree: Tree, documents: Documents, choices: Choices) -> Reading | None:
    """Reads the folder or the file, where its JSON is COCO's."""
    found = {
        path: document
        for path, document in documents.mappings("images", "annotations", "categories").items()
        if _has_boxes(document)
    }
    if not found:
        return None
    reading = Reading("COCO instances", [], (), "the categories")
    chosen = _without_repeats(tree, found, reading)
    names: dict[str, None] = {}
    for path, document in chosen.items():
        outlined = _add_boxes(document)
        if outlined:
            reading.notes.append(
                f"{tree.shown(path)}: {outlined} annotations have an outline and no box, made from it"
            )
        _read(tree, path, document, reading, names, choices)
        reading.used.add(path)
    for path in documents.mappings("annotations"):
        if path not in found:
            reading.notes.append(f"{tree.shown(path)}: no boxes in it, not read")
            reading.used.add(path)
    _drop_empty_root(chosen, names, reading)
    reading.classes = tuple(names)
    unlabelled_images(tree, reading, choices, leave_out=True, reason="no entry in the JSON")
    return reading


def _has_boxes(document: dict[str, Any]) -> bool:
    """Whether annotations have boxes: captions and panoptic segments have none."""
    annotations = document["annotations"]
    if not isinstance(annotations, list) or not isinstance(document["images"], list):
        return False
    return not annotations or any(
        isinstance(one, dict) and ("bbox" in one or _outline_box(one) is not None) for one in annotations
    )


def _add_boxes(document: dict[str, Any]) -> int:
    """Gives annotations with polygons alone the box around them; how many."""
    count = 0
    for one in document["annotations"]:
        if isinstance(one, dict) and "bbox" not in one:
            box = _outline_box(one)
            if box is not None:
                one["bbox"] = box
                count += 1
    return count


def _outline_box(annotation: dict[str, Any]) -> list[float] | None:
    """``[x, y, width, height]`` around the polygons of an annotation of one image; None where it has none."""
    polygons = annotation.get("segmentation")
    if "image_id" not in annotation or "category_id" not in annotation or not isinstance(polygons, list):
        return None
    values = [value for one in polygons if isinstance(one, list) for value in one]
    if len(values) < 6 or len(values) % 2 or not all(isinstance(value, int | float) for value in values):
        return None
    xs, ys = values[::2], values[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _without_repeats(
    tree: Tree, found: dict[Path, dict[str, Any]], reading: Reading
) -> dict[Path, dict[str, Any]]:
    """COCO publishes key points of the same images beside the instances: one of them counts."""
    order = sorted(found, key=lambda path: (not path.stem.lower().startswith("instances"), str(path)))
    kept: dict[Path, dict[str, Any]] = {}
    for path in order:
        files, role = _files(found[path]), _role(tree, path)
        twin = next(
            (
                one
                for one in kept
                if files
                and one.parent == path.parent
                and role == _role(tree, one)
                and files == _files(kept[one])
            ),
            None,
        )
        if twin is not None:
            reading.notes.append(f"{path.name}: the same images as {twin.name}, which is read instead")
            reading.used.add(path)
        else:
            kept[path] = found[path]
    return dict(sorted(kept.items()))


def _files(document: dict[str, Any]) -> set[str]:
    return {str(one.get("file_name")) for one in document["images"] if isinstance(one, dict)}


def _read(
    tree: Tree,
    path: Path,
    document: dict[str, Any],
    reading: Reading,
    names: dict[str, None],
    choices: Choices,
) -> None:
    parsed = parse_coco(document, path)
    role = _role(tree, path)
    names.update(dict.fromkeys(parsed.classes))
    reading.problems += [(role, problem) for problem in parsed.problems]
    taken: dict[Path, str] = {}
    for file, _, size, objects in parsed.images:
        image = tree.find_image(file, path, role)
        if image is not None and image in taken:
            text = f"{path.name}: '{file}' and '{taken[image]}' both lead to {tree.shown(image)}"
            reading.problems.append((role, LabelProblem("ambiguous", text)))
            continue
        if image is not None:
            taken[image] = file
        split = role or ("" if image is None else tree.role(image))
        shown = image or tree.root / file.replace("\\", "/")
        reading.images.append(Labelled(shown, split, _crowds(objects, choices), size))
    boxes = [one for _, _, _, objects in parsed.images for one in objects]
    crowds = sum(one.ignore for one in boxes)
    if crowds * 2 > len(boxes) and not choices.crowds_are_objects:
        reading.notes.append(
            f"{path.name}: {crowds} of {len(boxes)} boxes are marked as crowds and teach nothing; "
            "`crowds_are_objects` takes them as objects"
        )


def _crowds(objects: list[RawObject], choices: Choices) -> list[RawObject]:
    if not choices.crowds_are_objects:
        return objects
    return [one._replace(ignore=False) for one in objects]


def _role(tree: Tree, path: Path) -> str:
    """The split of a json: the folder that it lies in, else a word of its name (``instances_train2017``)."""
    words = path.stem.replace("-", "_").replace(".", "_").split("_")
    return tree.role(path) or next((role for role in map(role_of, words) if role), "")


def _drop_empty_root(found: dict[Path, dict[str, Any]], names: dict[str, None], reading: Reading) -> None:
    """Leaves out the category that Roboflow puts above all others: it owns no box and others name it."""
    counts = Counter(one.name for image in reading.images for one in image.objects)
    above = {
        str(entry.get("supercategory"))
        for document in found.values()
        for entry in document["categories"]
        if isinstance(entry, dict)
    }
    for document in found.values():
        for entry in document["categories"]:
            name = str(entry.get("name")) if isinstance(entry, dict) else ""
            is_first = (
                isinstance(entry, dict) and entry.get("id") == 0 and "_annotations" in str(next(iter(found)))
            )
            if name in names and not counts[name] and len(names) > 1 and (name in above or is_first):
                del names[name]
                reading.notes.append(
                    f"the category '{name}' has no box and stands above the others: left out"
                )
