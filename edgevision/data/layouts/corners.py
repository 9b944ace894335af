"""Oriented boxes by their four corners: ``labelTxt`` of DOTA, which Roboflow exports for YOLOv5 OBB."""

from __future__ import annotations

import re
from pathlib import Path

from edgevision.data.formats.raw import LabelProblem, RawObject
from edgevision.data.formats.text import read_text
from edgevision.data.layouts.reading import Choices, Labelled, Reading, occurring, unlabelled_images
from edgevision.data.layouts.tree import Tree
from edgevision.errors import DataError

_LINE = re.compile(r"(-?[\d.]+\s+){8}\S.*")
_HEAD = re.compile(r"(imagesource|gsd|acquisition dates|difficulty)\s*:.*", re.IGNORECASE)


def read_layout(tree: Tree, choices: Choices) -> Reading | None:
    """Reads the folder, where its texts hold eight corner values, a class and perhaps ``difficult``."""
    contents = {}
    for path in tree.with_suffix(".txt"):
        lines = _lines(path)
        if lines and _LINE.fullmatch(lines[0]) and not _is_number(lines[0].split()[8]):
            contents[path] = lines
    if not contents:
        return None
    reading = Reading("oriented boxes (labelTxt)", [], (), "the label files")
    reading.notes.append("the boxes are oriented: each is taken as the upright box around its corners")
    by_stem: dict[str, list[Path]] = {}
    for image in tree.images:
        by_stem.setdefault(image.stem.lower(), []).append(image)
    for path, lines in contents.items():
        found = by_stem.get(path.stem.lower(), [])
        if len(found) > 1:
            found = [one for one in found if tree.role(one) == tree.role(path)]
        split = tree.role(path)
        objects = [one for line in lines if (one := _object(line, path, split, reading)) is not None]
        reading.images.append(Labelled(found[0] if found else path.with_suffix(".jpg"), split, objects))
        reading.used.add(path)
    for path in tree.with_suffix(".txt"):  # an empty file: the image shows nothing
        if path.parent in {one.parent for one in contents} and not _lines(path):
            reading.images += [
                Labelled(one, tree.role(one), []) for one in by_stem.get(path.stem.lower(), [])
            ]
            reading.used.add(path)
    reading.classes = occurring(reading.images)
    unlabelled_images(tree, reading, choices, leave_out=True, reason="no label file")
    return reading


def _object(line: str, path: Path, split: str, reading: Reading) -> RawObject | None:
    words = line.split()
    try:
        values = [float(word) for word in words[:8]]
        name = words[8]
    except (ValueError, IndexError):
        text = f"{path.name}: '{line[:40]}'; expected eight numbers and a class"
        reading.problems.append((split, LabelProblem("malformed", text)))
        return None
    xs, ys = values[::2], values[1::2]
    is_difficult = len(words) > 9 and words[9] == "1"
    return RawObject(name, [min(xs), min(ys), max(xs), max(ys)], is_difficult)


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except DataError:
        return []
    return [line for line in lines if line and not _HEAD.fullmatch(line)]


def _is_number(word: str) -> bool:
    return re.fullmatch(r"[-+]?[\d.]+", word) is not None
