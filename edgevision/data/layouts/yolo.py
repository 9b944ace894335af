"""YOLO text in every folder form: ultralytics, Roboflow, CVAT, Darknet, Label Studio, labelImg."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgevision.data.formats.raw import LabelProblem, RawObject
from edgevision.data.formats.text import is_number, read_text
from edgevision.data.formats.yolo import parse_line
from edgevision.data.images import image_size
from edgevision.data.layouts.names import ClassNames, find_data_yaml, find_names, read_yaml
from edgevision.data.layouts.reading import Choices, Labelled, Reading
from edgevision.data.layouts.tree import Tree, role_of
from edgevision.errors import DataError
from edgevision.suffixes import IMAGE_SUFFIXES

_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "data", "frames", "photos")
_LABEL_FOLDERS = ("labels", "label", "annotations", "txt", "yolo")
_LINE = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?(\s+[-+]?[\d.]+([eE][-+]?\d+)?){4,}\s*")
_PREFIX = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,3}[-_]", re.IGNORECASE)
_PIXELS = 2.0  # a share of the image is 1 at most
_DOCUMENTS = re.compile(r"readme.*|license.*|licence.*|requirements.*", re.IGNORECASE)


def read_layout(tree: Tree, choices: Choices) -> Reading | None:
    """Reads the folder, where its text files are YOLO's.

    Raises:
        DataError: it is YOLO's, and its names, its lists or the folders that its yaml names are missing.
    """
    texts = [path for path in tree.with_suffix(".txt") if not _DOCUMENTS.fullmatch(path.stem)]
    pairs, orphans, notes = _pair(tree, texts)
    contents = {path: _lines(path) for path in (*pairs.values(), *orphans)}
    if not any(_is_label(lines) for lines in contents.values()):
        return None
    names_yaml = choices.yaml or find_data_yaml(tree)
    names = find_names(tree, choices.yaml)
    labelled = set(pairs.values()) | {path for path in orphans if _is_label(contents[path])}
    if not names.names:
        ids = sorted(_class_ids(contents[path] for path in labelled))
        raise DataError(
            f"{tree.root}: YOLO text, and no file names its classes; its labels use "
            f"{', '.join(map(str, ids[:20])) or 'none'}: put classes.txt there, with one name a line"
            f"{f' ({ids[-1] + 1} lines, the first for class 0)' if ids else ''}"
        )
    document = read_yaml(names_yaml) if names_yaml is not None else {}
    splits = _Splits(tree, names_yaml, document, labelled | set(names.files))
    reading = Reading("YOLO text", [], names.names, names.origin)
    reading.layout += splits.form
    reading.notes += [*names.notes, *notes, *splits.notes, *_other_count(document, names)]
    reading.used = {*pairs.values(), *names.files, *splits.files, *tree.named("obj.data", "notes.json")}
    reading.used |= {path for path in texts if path.stem.lower().endswith(IMAGE_SUFFIXES)}
    reading.empty_splits = splits.empty
    points = _key_points(document)
    for path in tree.images:
        if not splits.of(path):
            reading.left_out[path] = splits.reason
            continue
        file = pairs.get(path)
        if file is None and choices.leaves_out(False):
            reading.left_out[path] = "no label file"
            continue
        lines = [] if file is None else contents[file]
        for split in splits.of(path):
            reading.images.append(_labelled(path, split, file, lines, names.names, reading, points))
    for path, split in splits.missing:
        reading.images.append(Labelled(path, split, []))
    unread = {path.stem.lower(): path for path in tree.unread}
    for path in orphans:
        found = contents[path]
        if path in splits.files or path in names.files or not (_is_label(found) or _in_labels(tree, path)):
            continue
        other = unread.get(path.stem.lower())
        why = "no image of that name"
        if other is not None:
            why = f"{other.name} is there, and {other.suffix} is not read; convert it to PNG or JPEG"
        problem = LabelProblem("orphan", f"{tree.shown(path)}: {why}", len(found or ()))
        reading.problems.append((tree.role(path), problem))
        reading.used.add(path)
    labels = [contents[path] for path in labelled]
    reading.notes += [*_count_from_one(labels, names), *_in_pixels(labels)]
    return reading


def count_labels(files: Iterable[Path]) -> int:
    """How many of the files are label files of YOLO's form."""
    return sum(_is_label(_lines(path)) for path in files if path.suffix.lower() == ".txt")


class _Splits:
    """Which image belongs to which split: by the yaml, by lists, else by the names of folders."""

    def __init__(self, tree: Tree, yaml: Path | None, document: Mapping[str, Any], taken: set[Path]) -> None:
        self._tree, self._yaml = tree, yaml
        self.notes: list[str] = []
        self.files: list[Path] = []
        self.missing: list[tuple[Path, str]] = []
        self.empty: dict[str, str] = {}
        self.form, self.reason = "", ""
        self._given: dict[Path, dict[str, None]] = {}
        self._has_list = self._guessed = False
        self._root = _yaml_root(yaml, document)
        tried: dict[str, list[str]] = {}
        for key in ("train", "val", "valid", "test"):
            value = document.get(key)
            for place in [value] if isinstance(value, str) else value or []:
                if not str(place).strip():
                    self.empty[key] = f"{yaml.name if yaml else ''} names none"
                    continue
                places = self._take(str(place), "val" if key == "valid" else key)
                if places:
                    tried[key] = places
        if yaml is not None and "train" in tried and not any("train" in one for one in self._given.values()):
            if not any(tree.role(path) == "train" for path in tree.images):
                raise DataError(
                    f"{yaml}: train is '{document['train']}', and there is no such folder; looked for "
                    f"{', '.join(tried['train'])}"
                )
            self._given = {}
            self.notes.append(
                f"{yaml.name}: train is '{document['train']}', and there is no such folder; the splits are "
                "taken from the names of the folders"
            )
        else:
            for key, places in tried.items():
                self.empty[key] = f"{yaml.name if yaml else ''} names a folder that is not there"
                self.notes.append(
                    f"{yaml.name if yaml else ''}: {key} is '{document[key]}', and there is no such folder; "
                    f"looked for {', '.join(places)}"
                )
        if not self._given:
            self._by_lists([path for path in tree.with_suffix(".txt") if path not in taken])
        if self._has_list:
            self.reason = "in no list"
            self.form = " with lists"
        elif self._given:
            self.reason = f"outside the folders that {yaml.name if yaml else ''} names"

    def of(self, path: Path) -> tuple[str, ...]:
        """The splits of an image; none for one that is outside all of them."""
        if self._given or self.missing:
            return tuple(self._given.get(path, ()))
        return (self._tree.role(path),)

    def _give(self, path: Path, split: str) -> None:
        self._given.setdefault(path, {})[split] = None

    def _take(self, place: str, split: str) -> list[str]:
        """Assigns the images of one entry; the places that were tried where there is none."""
        tried: list[str] = []
        for candidate in _candidates(place, self._root, self._yaml):
            if candidate.is_dir():
                self._take_folder(candidate, split, place)
                self._say_guess(candidate, place, split)
                return []
            if candidate.is_file() and candidate.suffix.lower() == ".txt":
                self._take_list(candidate, split)
                return []
            shown = self._tree.at(candidate)
            inside = [one for one in self._tree.images if _lower_parts(one, candidate)]
            if shown is not None and shown.suffix.lower() == ".txt":
                self._take_list(shown, split)
                return []
            if inside:
                for one in inside:
                    self._give(one, split)
                return []
            tried.append(str(candidate))
        return list(dict.fromkeys(tried))

    def _say_guess(self, folder: Path, place: str, split: str) -> None:
        """Notes where a folder was found that is not where the yaml says; the first one speaks for all."""
        written = self._root / place
        if self._yaml is None or self._guessed or (written.is_dir() and written.samefile(folder)):
            return
        self._guessed = True
        self.notes.append(f"{self._yaml.name}: {split} is '{place}', taken from {self._tree.shown(folder)}")

    def _take_folder(self, folder: Path, split: str, place: str) -> None:
        tree = self._tree
        inside = [path for path in tree.images if path.is_relative_to(folder)]
        if not inside and not folder.resolve().is_relative_to(tree.root.resolve()):
            above = folder
            while above.name.lower() in (*_IMAGE_FOLDERS, split) or role_of(above.name):
                above = above.parent
            tree.extend(above)
            inside = [path for path in tree.images if path.is_relative_to(folder)]
        if not inside:
            real = folder.resolve()
            inside = [path for path in tree.images if path.resolve().is_relative_to(real)]
        if not inside:
            self.empty[split] = f"{place} is empty"
        for path in inside:
            self._give(path, split)

    def _take_list(self, file: Path, split: str) -> None:
        self._has_list = True
        self.files.append(file)
        for line in read_text(file).splitlines():
            if not line.strip():
                continue
            found = self._listed(line.strip(), file)
            if found is None:
                self.missing.append((self._root / line.strip(), split))
            else:
                self._give(found, split)

    def _listed(self, line: str, file: Path) -> Path | None:
        for candidate in _candidates(line, file.parent, self._yaml):
            found = self._tree.at(candidate)
            if found is not None and found.suffix.lower() in IMAGE_SUFFIXES:
                return found
        return self._tree.find_image(line)

    def _by_lists(self, texts: Iterable[Path]) -> None:
        for path in texts:
            role = role_of(path.stem)
            if role and is_list(path):
                self._take_list(path, role)


def is_list(path: Path) -> bool:
    """Whether every line of a text names an image file."""
    lines = _lines(path) or []
    return bool(lines) and all(line.rpartition(".")[2].lower() in _ENDINGS for line in lines)


_ENDINGS = {suffix.lstrip(".") for suffix in IMAGE_SUFFIXES}


def _yaml_root(yaml: Path | None, document: Mapping[str, Any]) -> Path:
    """The folder that entries are relative to: ``path`` from the yaml, then from the working folder."""
    if yaml is None:
        return Path()
    stated = str(document.get("path") or "")
    if stated:
        for place in (yaml.parent / stated, Path(stated)):
            if place.is_dir():
                return place
    return yaml.parent


def data_root(yaml: Path) -> Path:
    """The folder that a ``data.yaml`` describes: where ``path`` leads, or the yaml's own."""
    return _yaml_root(yaml, read_yaml(yaml))


def _candidates(place: str, root: Path, yaml: Path | None) -> Iterable[Path]:
    """Where an entry may be: beside the yaml first (Roboflow's ``../``), as written, else by its end."""
    parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".")]
    inner = [part for part in parts if part != ".."]
    if parts[:1] == [".."]:
        yield root.joinpath(*inner)
    if not re.match(r"[A-Za-z]:", place):
        yield root / place
        if yaml is not None and yaml.parent != root:
            yield yaml.parent / place
    # A tail that names no split, such as images alone, would stand for all of them.
    named = [position for position, part in enumerate(inner) if role_of(Path(part).stem)]
    for start in range((named[-1] if named else len(inner) - 1) + 1):
        yield root.joinpath(*inner[start:])
        if yaml is not None and yaml.parent != root:
            yield yaml.parent.joinpath(*inner[start:])


def _lower_parts(path: Path, folder: Path) -> bool:
    """Whether a file lies below a folder, capitals apart."""
    return str(path).lower().startswith(f"{folder}/".lower())


def _pair(tree: Tree, texts: list[Path]) -> tuple[dict[Path, Path], list[Path], list[str]]:
    """The label file of each image, the texts that belong to none, and what was guessed."""
    by_key: dict[tuple[str, ...], Path] = {}
    for path in texts:
        by_key.setdefault(_key(tree, path), path)
    pairs: dict[Path, Path] = {}
    notes: list[str] = []
    for image in tree.images:
        for key in _label_keys(tree, image):
            if key in by_key:
                pairs[image] = by_key[key]
                break
    used = set(pairs.values())
    open_images = [image for image in tree.images if image not in pairs]
    open_texts = [path for path in texts if path not in used]
    for text, image, why in _by_name(open_images, open_texts):
        pairs[image] = text
        used.add(text)
        if why:
            notes.append(why)
    notes = [f"{notes[0]}{f' (so are {len(notes) - 1} others)' if len(notes) > 1 else ''}"] if notes else []
    doubled = [path for path in open_texts if path not in used and path.stem.lower().endswith(IMAGE_SUFFIXES)]
    notes += [f"{path.name}: named after an image with its suffix, and not read" for path in doubled[:1]]
    return pairs, [path for path in texts if path not in used and path not in doubled], notes


def _key(tree: Tree, path: Path) -> tuple[str, ...]:
    return (*(part.lower() for part in tree.folders(path)), path.stem.lower())


def _label_keys(tree: Tree, image: Path) -> Iterable[tuple[str, ...]]:
    """Where the label file of an image may lie: ``labels`` for ``images``, the last first; or beside it."""
    *folders, stem = _key(tree, image)
    for position in range(len(folders) - 1, -1, -1):
        if folders[position] in _IMAGE_FOLDERS:
            for name in _LABEL_FOLDERS:
                yield (*folders[:position], name, *folders[position + 1 :], stem)
    yield (*folders, stem)
    for name in _LABEL_FOLDERS:
        yield (*folders, name, stem)
        yield (*folders[:-1], name, stem)
        yield (*folders[:-1], name, *folders[-1:], stem)


def _by_name(images: list[Path], texts: list[Path]) -> Iterable[tuple[Path, Path, str]]:
    """Pairs by a name that one text and one image have: trees of other depths, prefixes, ``a.jpg.txt``."""
    by_stem, by_name = defaultdict(list), defaultdict(list)
    for image in images:
        by_stem[image.stem.lower()].append(image)
        by_name[image.name.lower()].append(image)
    wanted: dict[Path, list[tuple[Path, str]]] = defaultdict(list)
    for text in texts:
        stem = text.stem.lower()
        short = _PREFIX.sub("", stem, count=1)
        for found, why in (
            (by_stem.get(stem, []), ""),
            (by_name.get(stem, []), f"{text.name}: taken for the labels of {text.stem}"),
            (by_stem.get(short, []), f"{text.name}: taken for the labels of {short}, without its prefix"),
        ):
            if len(found) > 1:
                found = [image for image in found if role_of_path(image) == role_of_path(text)]
            if len(found) == 1:
                wanted[found[0]].append((text, why))
                break
    for image, found_texts in wanted.items():
        if len(found_texts) == 1:
            yield found_texts[0][0], image, found_texts[0][1]


def role_of_path(path: Path) -> str:
    """The role of the last folder above a file that is called like a split."""
    return next((role for role in map(role_of, reversed(path.parts[:-1])) if role), "")


def _lines(path: Path) -> list[str] | None:
    """The lines of a label file that hold something; None where it is no text."""
    try:
        return [line for line in read_text(path).splitlines() if line.strip()]
    except (DataError, FileNotFoundError):
        return None


def _is_label(lines: list[str] | None) -> bool:
    return bool(lines) and _LINE.fullmatch((lines or [""])[0].strip()) is not None


def _in_labels(tree: Tree, path: Path) -> bool:
    return any(folder.lower() in _LABEL_FOLDERS for folder in tree.folders(path))


def _class_ids(contents: Iterable[list[str] | None]) -> set[int]:
    found = set()
    for lines in contents:
        words = (line.split(maxsplit=1)[0] for line in lines or ())
        found |= {int(float(word)) for word in words if re.fullmatch(r"\d+(\.0*)?", word)}
    return found


def _labelled(
    path: Path,
    split: str,
    file: Path | None,
    lines: list[str] | None,
    names: tuple[str, ...],
    reading: Reading,
    points: int,
) -> Labelled:
    if lines is None:
        problem = LabelProblem("unreadable", f"{file.name if file else ''}: no text; save it as UTF-8", 0)
        reading.problems.append((split, problem))
        return Labelled(path, split, [])
    size = image_size(path) if lines else None
    objects = []
    for number, line in enumerate(lines, start=1):
        where = f"{file.name if file else ''}:{number}"
        try:
            label, box = parse_line(line, points)
        except ValueError as error:
            reading.problems.append((split, LabelProblem("malformed", f"{where}: {error}")))
            continue
        if label >= len(names):
            text = f"{where}: undefined class {label} (of {len(names)} names)"
            reading.problems.append((split, LabelProblem("class", text)))
        elif size is None:
            text = f"{where}: the image cannot be opened, and the box is a share of it"
            reading.problems.append((split, LabelProblem("malformed", text)))
        else:
            objects.append(RawObject(names[label], [v * size[i % 2] for i, v in enumerate(box)], False))
    return Labelled(path, split, objects, size, file is None)


def _key_points(document: Mapping[str, Any]) -> int:
    shape = document.get("kpt_shape")
    try:
        return int(shape[0]) * int(shape[1]) if isinstance(shape, list) else 0
    except (ValueError, IndexError):
        return 0


def _other_count(document: Mapping[str, Any], names: ClassNames) -> list[str]:
    stated = str(document.get("nc") or "")
    if not stated.isdecimal() or int(stated) == len(names.names):
        return []
    return [f"nc is {stated}, and there are {len(names.names)} names; the names count"]


def _in_pixels(contents: Iterable[list[str] | None]) -> list[str]:
    """Told where most lines hold values that no share can have."""
    lines = [line.split() for one in contents for line in one or ()]
    large = sum(any(_is_above(word, _PIXELS) for word in words[1:5]) for words in lines)
    if 2 * large <= len(lines):
        return []
    return [f"{large} of {len(lines)} boxes have values above {_PIXELS:g}: pixels instead of shares?"]


def _is_above(word: str, limit: float) -> bool:
    return is_number(word) and float(word) > limit


def _count_from_one(contents: Iterable[list[str] | None], names: ClassNames) -> list[str]:
    ids = _class_ids(contents)
    if not ids or min(ids) != 1 or max(ids) != len(names.names):
        return []
    return [
        f"no label has class 0 and the highest is {max(ids)} of {len(names.names)} names: they seem to count "
        "from 1; the first name is for class 0"
    ]
