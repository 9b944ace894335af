"""One file for all images of a folder: CreateML, VGG's VIA, CSV tables, Keras text."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgevision.data.formats.raw import LabelProblem, RawObject
from edgevision.data.formats.text import read_text
from edgevision.data.layouts.documents import Documents
from edgevision.data.layouts.reading import Choices, Labelled, Reading, occurring, unlabelled_images
from edgevision.data.layouts.tree import Tree
from edgevision.errors import DataError

_FILE = ("filename", "file_name", "image", "image_id", "image_name", "image_path", "path", "file", "img")
_CLASS = ("class", "label", "name", "category", "class_name", "label_name", "source")
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"), ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"), ("minx", "miny", "maxx", "maxy"),
)  # fmt: skip
_SIDES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"))
_KERAS_LINE = re.compile(r"(?P<file>.+?\.\w{3,5})(?P<boxes>(\s+-?[\d.]+,-?[\d.]+,-?[\d.]+,-?[\d.]+,\d+)*)\s*")
_PACKED = re.compile(r"\[?\s*" + r"\s*[,\s]\s*".join([r"(-?[\d.]+)"] * 4) + r"\s*\]?")
_VIA_CLASS = ("class", "label", "name", "type", "category", "object", "object_name")


def read_createml(tree: Tree, documents: Documents, choices: Choices) -> Reading | None:
    """Reads the folder or the file, where its JSON is CreateML's: boxes by their middle."""
    found = {
        path: entries
        for keys in (("image", "annotations"), ("imagefilename", "annotation"))
        for path, entries in documents.lists(*keys).items()
    }
    if not found:
        return None
    rows = _Rows(tree, "CreateML", "the JSON file")
    for path, entries in found.items():
        rows.begin(path)
        for entry in entries:
            name = str(entry.get("image") or entry.get("imagefilename"))
            rows.image(name)
            for label in entry.get("annotations") or entry.get("annotation") or ():
                _add_middle(rows, name, label)
    return rows.reading(choices, "no entry in the JSON")


def _add_middle(rows: _Rows, name: str, label: Any) -> None:
    try:
        middle = label["coordinates"]
        x, y, width, height = (float(middle[key]) for key in ("x", "y", "width", "height"))
        box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        rows.add(name, str(label["label"]), box)
    except (KeyError, TypeError, ValueError):
        rows.refuse(name, "an annotation without label or coordinates")


def read_via(tree: Tree, documents: Documents, choices: Choices) -> Reading | None:
    """Reads the folder or the file, where its JSON is that of VGG's image annotator, or its project."""
    found: dict[Path, Iterable[Any]] = {}
    for path, document in documents.mappings().items():
        inner = document.get("_via_img_metadata", document)
        values = list(inner.values()) if isinstance(inner, dict) else []
        if values and all(isinstance(one, dict) and {"filename", "regions"} <= set(one) for one in values):
            found[path] = values
    if not found:
        return None
    rows = _Rows(tree, "VGG Image Annotator (VIA)", "the attributes of its regions")
    for path, entries in found.items():
        rows.begin(path)
        entries = list(entries)
        key = _via_key(entries)
        for entry in entries:
            rows.image(str(entry["filename"]))
            for region in _regions(entry):
                _add_region(rows, str(entry["filename"]), region, key)
    return rows.reading(choices, "no entry in the JSON")


def _delimiter(text: str) -> str:
    """What stands most often between the words of the first line: a comma, a semicolon or a tabulator."""
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)


def read_csv(tree: Tree, choices: Choices) -> Reading | None:
    """Reads the folder or the file, where it has a table with a box a row.

    Roboflow's and TensorFlow's columns, corners or sides under other usual names, keras-retinanet's six
    columns without a head, and VIA's table are known.
    """
    files = tree.with_suffix(".csv") if choices.file is None else (choices.file,)
    rows = _Rows(tree, "CSV table", "the table")
    found = False
    for path in files:
        try:
            text = read_text(path)
            table = list(csv.reader(io.StringIO(text), delimiter=_delimiter(text), skipinitialspace=True))
        except (DataError, csv.Error):
            continue
        found |= _read_table(rows, path, [row for row in table if any(row)])
    return rows.reading(choices, "no row in the table") if found else None


def read_keras(tree: Tree, choices: Choices) -> Reading | None:
    """Reads the folder, where it has YOLO Keras text: ``file x1,y1,x2,y2,class ...`` a line."""
    files = {}
    for path in tree.with_suffix(".txt"):
        lines = _text_lines(path)
        if (
            lines
            and all(_KERAS_LINE.fullmatch(line) for line in lines)
            and any("," in line for line in lines)
        ):
            files[path] = lines
    if not files:
        return None
    rows = _Rows(tree, "YOLO Keras text", "")
    for path, lines in files.items():
        rows.begin(path)
        names_file = next(
            (one for one in (path.with_name("_classes.txt"), path.with_name("classes.txt")) if one.is_file()),
            None,
        )
        if names_file is None:
            raise DataError(
                f"{path}: YOLO Keras text, and no _classes.txt beside it; put one name a line there"
            )
        names = tuple(_text_lines(names_file))
        rows.declare(names, names_file)
        for line in lines:
            match = _KERAS_LINE.fullmatch(line)
            name = match["file"] if match else line
            rows.image(name)
            for text in (match["boxes"] if match else "").split():
                *corners, number = text.split(",")
                if int(number) < len(names):
                    rows.add(name, names[int(number)], [float(value) for value in corners])
                else:
                    rows.undefined(name, f"undefined class {number} (of {len(names)} names)")
    return rows.reading(choices, "no line in the text")


class _Rows:
    """Gathers boxes by the name of their image, as tables give them."""

    def __init__(self, tree: Tree, layout: str, names_from: str) -> None:
        self._tree = tree
        self._reading = Reading(layout, [], (), names_from)
        self._names: dict[str, None] = {}
        self._file = tree.root
        self._objects: dict[tuple[Path, str], list[RawObject]] = {}
        self._sizes: dict[tuple[Path, str], tuple[int, int]] = {}

    def begin(self, file: Path) -> None:
        self._file = file
        self._reading.used.add(file)

    def declare(self, names: Sequence[str], file: Path) -> None:
        self._names.update(dict.fromkeys(names))
        self._reading.names_from = file.name
        self._reading.used.add(file)

    def note(self, text: str) -> None:
        self._reading.notes.append(text)

    def image(self, name: str, size: tuple[int, int] | None = None) -> None:
        self._objects.setdefault((self._file, name), [])
        if size is not None:
            self._sizes[self._file, name] = size

    def add(self, name: str, label: str, box: list[float]) -> None:
        if not all(map(math.isfinite, box)):
            self.refuse(name, f"a box of {label} is not finite")
            return
        self.image(name)
        self._objects[self._file, name].append(RawObject(label, box, False))

    def refuse(self, name: str, why: str) -> None:
        self._reading.problems.append(
            (self._tree.role(self._file), LabelProblem("malformed", f"{self._file.name}: {name}: {why}"))
        )

    def undefined(self, name: str, why: str) -> None:
        self._reading.problems.append(
            (self._tree.role(self._file), LabelProblem("class", f"{self._file.name}: {name}: {why}"))
        )

    def reading(self, choices: Choices, reason: str) -> Reading:
        tree, reading = self._tree, self._reading
        for (file, name), objects in self._objects.items():
            role = tree.role(file)
            image = tree.find_image(name, file, role)
            if image is None and "." not in name.rpartition("/")[2]:
                image = next(
                    (one for one in tree.images if one.stem == name.replace("\\", "/").rpartition("/")[2]),
                    None,
                )
            split = role or ("" if image is None else tree.role(image))
            shown = image or file.parent / name
            reading.images.append(Labelled(shown, split, objects, self._sizes.get((file, name))))
        reading.classes = tuple(self._names) or occurring(reading.images)
        unlabelled_images(tree, reading, choices, leave_out=True, reason=reason)
        return reading


def _read_table(rows: _Rows, path: Path, table: list[list[str]]) -> bool:
    """Reads one table; False where it is none of boxes."""
    if not table:
        return False
    head = [cell.strip().lower() for cell in table[0]]
    if "region_shape_attributes" in head:
        return _read_via_table(rows, path, head, table[1:])
    file, name = _column(head, _FILE), _column(head, _CLASS)
    corners = next((found for keys in _CORNERS if (found := _columns(head, keys))), None)
    sides = None if corners else next((found for keys in _SIDES if (found := _columns(head, keys))), None)
    body = table[1:]
    if file is not None and not corners and not sides and "bbox" in head:
        return _read_packed(rows, path, head, body)
    if file is None or name is None or not (corners or sides):
        if not all(len(row) == 6 and _is_keras_row(row) for row in table[:20]):
            return False
        file, corners, sides, name, body = 0, [1, 2, 3, 4], None, 5, table
    places = corners or sides or []
    size = _columns(head, ("width", "height")) if corners else None
    rows.begin(path)
    for number, row in enumerate(body, start=2):
        if len(row) <= max(file, name, *places):
            rows.refuse(row[0], f"line {number} has {len(row)} columns")
            continue
        try:
            stated = tuple(round(float(row[place])) for place in size) if size else ()
            rows.image(row[file], (stated[0], stated[1]) if stated and all(stated) else None)
            if not any(row[place].strip() for place in places):
                continue  # an image without objects
            box = [float(row[place]) for place in places]
        except ValueError:
            rows.refuse(row[file], f"line {number} holds no numbers where the box belongs")
            continue
        if not corners:
            box = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
        rows.add(row[file], row[name].strip(), box)
    return True


def _read_packed(rows: _Rows, path: Path, head: list[str], body: list[list[str]]) -> bool:
    """Kaggle's tables with one column ``bbox`` that holds ``[x, y, width, height]``; perhaps no class."""
    file, packed = _column(head, _FILE), head.index("bbox")
    name = _column(head, [one for one in _CLASS if one != "source"])  # where an image comes from, here
    size = _columns(head, ("width", "height"))
    if file is None:
        return False
    rows.begin(path)
    if name is None:
        rows.note(f"{path.name} names no class: every box is taken as 'object'")
    for number, row in enumerate(body, start=2):
        if len(row) <= max(file, packed, name or 0, *(size or ())):
            rows.refuse(row[0], f"line {number} has {len(row)} columns")
            continue
        stated = [row[place].strip() for place in size] if size else []
        is_sized = len(stated) == 2 and all(side.isdecimal() and int(side) for side in stated)
        rows.image(row[file], (int(stated[0]), int(stated[1])) if is_sized else None)
        if not row[packed].strip():
            continue  # an image without objects
        numbers = _PACKED.fullmatch(row[packed].strip())
        try:
            x, y, width, height = map(float, numbers.groups() if numbers else ())
        except ValueError:
            rows.refuse(row[file], f"line {number} holds no four numbers where the box belongs")
            continue
        label = "object" if name is None else row[name].strip()
        rows.add(row[file], label, [x, y, x + width, y + height])
    return True


def _is_keras_row(row: list[str]) -> bool:
    """A row of keras-retinanet: file, four numbers or nothing, class."""
    return all(re.fullmatch(r"\s*-?[\d.]*\s*", cell) for cell in row[1:5]) and "." in row[0]


def _column(head: list[str], names: Sequence[str]) -> int | None:
    return next((head.index(name) for name in names if name in head), None)


def _columns(head: list[str], names: Sequence[str]) -> list[int] | None:
    return [head.index(name) for name in names] if all(name in head for name in names) else None


def _read_via_table(rows: _Rows, path: Path, head: list[str], body: list[list[str]]) -> bool:
    entries: dict[str, dict[str, Any]] = {}
    file = _column(head, _FILE)
    shape, traits = head.index("region_shape_attributes"), head.index("region_attributes")
    if file is None:
        return False
    for row in body:
        if len(row) <= max(file, shape, traits):
            continue
        regions = entries.setdefault(row[file], {"filename": row[file], "regions": []})["regions"]
        try:
            region = {
                "shape_attributes": json.loads(row[shape]),
                "region_attributes": json.loads(row[traits]),
            }
        except ValueError:
            continue
        if region["shape_attributes"]:
            regions.append(region)
    rows.begin(path)
    key = _via_key(list(entries.values()))
    for name, entry in entries.items():
        rows.image(name)
        for region in entry["regions"]:
            _add_region(rows, name, region, key)
    return True


def _regions(entry: Any) -> Iterable[Any]:
    regions = entry["regions"]
    return regions.values() if isinstance(regions, dict) else regions


def _via_key(entries: Iterable[Any]) -> str:
    """The attribute that holds the class: one with a usual name, else the first that occurs."""
    keys = dict.fromkeys(
        key
        for entry in entries
        for region in _regions(entry)
        if isinstance(region, dict)
        for key in region.get("region_attributes") or {}
    )
    return next((key for key in keys if key.lower() in _VIA_CLASS), next(iter(keys), ""))


def _add_region(rows: _Rows, file: str, region: Any, key: str) -> None:
    try:
        shape, value = region["shape_attributes"], (region.get("region_attributes") or {}).get(key)
        if isinstance(value, dict):
            value = next((name for name, chosen in value.items() if chosen), None)
        if not value:
            rows.refuse(file, f"a region without {key or 'an attribute for its class'}")
            return
        rows.add(file, str(value), _region_box(shape))
    except (KeyError, TypeError, ValueError) as error:
        rows.refuse(file, str(error) if isinstance(error, ValueError) else "a region without a shape")


def _region_box(shape: Any) -> list[float]:
    kind = shape["name"]
    if kind == "rect":
        x, y, width, height = (float(shape[side]) for side in ("x", "y", "width", "height"))
        return [x, y, x + width, y + height]
    if kind == "polygon":
        xs, ys = [float(x) for x in shape["all_points_x"]], [float(y) for y in shape["all_points_y"]]
        return [min(xs), min(ys), max(xs), max(ys)]
    if kind == "circle":
        x, y, radius = (float(shape[side]) for side in ("cx", "cy", "r"))
        return [x - radius, y - radius, x + radius, y + radius]
    if kind == "ellipse" and not shape.get("theta"):
        x, y, rx, ry = (float(shape[side]) for side in ("cx", "cy", "rx", "ry"))
        return [x - rx, y - ry, x + rx, y + ry]
    raise ValueError(f"a {kind} has no box")


def _text_lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except DataError:
        return []
