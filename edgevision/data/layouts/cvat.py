"""CVAT's own XML, "CVAT for images 1.1" and "for video": one file for all images."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from edgevision.data.formats.raw import LabelProblem, RawObject
from edgevision.data.formats.text import read_xml
from edgevision.data.layouts.reading import Choices, Labelled, Reading, occurring, unlabelled_images
from edgevision.data.layouts.tree import Tree
from edgevision.errors import DataError

_NO_BOX = ("polyline", "points", "skeleton", "cuboid")


def read_layout(tree: Tree, choices: Choices) -> Reading | None:
    """Reads the folder or the file, where its XML is CVAT's.

    Raises:
        DataError: it holds the tracks of a video whose frames are not there.
    """
    files = tree.with_suffix(".xml") if choices.file is None else (choices.file,)
    roots = {path: root for path in files if (root := _root(path)) is not None}
    if not roots:
        return None
    reading = Reading("CVAT XML", [], (), "the XML file")
    names: dict[str, None] = {}
    for path, root in roots.items():
        reading.used.add(path)
        names.update(dict.fromkeys(one.text or "" for one in root.findall("meta//labels/label/name")))
        for entry in root.findall("image"):
            reading.images.append(_labelled(tree, path, entry, reading))
        if root.find("track") is not None:
            _add_tracks(tree, path, root, reading)
    reading.classes = tuple(names) or occurring(reading.images)
    unlabelled_images(tree, reading, choices, leave_out=True, reason="no entry in the XML")
    return reading


def _root(path: Path) -> ElementTree.Element | None:
    try:
        root = read_xml(path)
    except (OSError, DataError):
        return None
    if root.tag != "annotations":
        return None
    return root if root.find("image") is not None or root.find("track") is not None else None


def _labelled(tree: Tree, path: Path, entry: ElementTree.Element, reading: Reading) -> Labelled:
    name = entry.get("name", "")
    split = entry.get("subset") or ""
    image = tree.find_image(name, path, split)
    split = split or ("" if image is None else tree.role(image))
    objects = list(_objects(entry, name, split, reading))
    size = (_whole(entry.get("width")), _whole(entry.get("height")))
    return Labelled(image or path.parent / name, split, objects, size if all(size) else None)


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _objects(entry: ElementTree.Element, name: str, split: str, reading: Reading) -> Iterator[RawObject]:
    for shape in entry:
        label = shape.get("label")
        if label is None:
            continue
        if shape.tag in _NO_BOX:
            text = f"{name}: a {shape.tag} of {label} has no box"
            reading.problems.append((split, LabelProblem("malformed", text)))
            continue
        try:
            box = shape_box(shape)
        except (KeyError, ValueError) as error:
            text = f"{name}: {shape.tag} of {label}: {error}"
            reading.problems.append((split, LabelProblem("malformed", text)))
            continue
        if box is not None:
            yield RawObject(label, box, False)


def shape_box(shape: ElementTree.Element) -> list[float] | None:
    """Corners around a box (perhaps rotated), polygon, mask or ellipse; None for anything else.

    Raises:
        KeyError, ValueError: an attribute is missing or no number.
    """
    get = shape.attrib
    if shape.tag == "box":
        x1, y1, x2, y2 = (float(get[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return _turned(x1, y1, x2, y2, float(get.get("rotation", 0)))
    if shape.tag == "polygon":
        points = [[float(value) for value in pair.split(",")] for pair in get["points"].split(";")]
        xs, ys = zip(*points, strict=True)
        return [min(xs), min(ys), max(xs), max(ys)]
    if shape.tag == "mask":
        left, top, width, height = (float(get[key]) for key in ("left", "top", "width", "height"))
        return [left, top, left + width, top + height]
    if shape.tag == "ellipse":
        cx, cy, rx, ry = (float(get[key]) for key in ("cx", "cy", "rx", "ry"))
        return _turned(cx - rx, cy - ry, cx + rx, cy + ry, float(get.get("rotation", 0)))
    return None


def _turned(x1: float, y1: float, x2: float, y2: float, degrees: float) -> list[float]:
    """The box around a box that is turned about its middle."""
    angle = math.radians(degrees)
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    x, y, width, height = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    half_x, half_y = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    return [x - half_x, y - half_y, x + half_x, y + half_y]


def _add_tracks(tree: Tree, path: Path, root: ElementTree.Element, reading: Reading) -> None:
    """The boxes of tracks by frame; the frames are files with the number of the frame in their name."""
    by_number = {}
    for image in tree.images:
        numbers = re.findall(r"\d+", image.stem)
        if numbers:
            by_number[int(numbers[-1])] = image
    if not by_number:
        raise DataError(
            f"{path}: CVAT for video, and the frames are not there; export with 'Save images', or as "
            "'COCO 1.0' or 'CVAT for images 1.1'"
        )
    found: dict[int, list[RawObject]] = {}
    for track in root.findall("track"):
        for shape in track:
            if shape.get("outside") == "1" or shape.get("frame") is None:
                continue
            box = None if shape.tag in _NO_BOX else shape_box(shape)
            if box is not None:
                found.setdefault(int(shape.get("frame", 0)), []).append(
                    RawObject(track.get("label", ""), box, False)
                )
    for frame, objects in sorted(found.items()):
        there = by_number.get(frame)
        missing = path.parent / f"frame_{frame:06d}.png"
        split = "" if there is None else tree.role(there)
        reading.images.append(Labelled(there or missing, split, objects))
