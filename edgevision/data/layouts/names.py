"""The names of classes that only numbers stand for: every file that may hold them, and which one is used."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from edgevision.data.formats.text import is_number, read_text
from edgevision.data.formats.yolo import read_names
from edgevision.data.layouts.tree import Tree
from edgevision.errors import DataError

_TEXTS = (
    "obj.names", "classes.txt", "_darknet.labels", "classes.names", "labels.txt", "_classes.txt",
    "predefined_classes.txt", "names.txt", "label.txt", "class_names.txt", "coco.names", "voc.names",
)  # fmt: skip
"""In the order in which they are believed, after a yaml with ``names``."""

_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


class ClassNames(NamedTuple):
    """Names by number.

    Attributes:
        names: empty where no file holds any.
        origin: the file's name, for messages.
        files: all files that were looked at.
        notes: files that disagree.
    """

    names: tuple[str, ...]
    origin: str
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def is_data_yaml(path: Path) -> bool:
    """Whether a yaml names classes for a data set, rather than being a training configuration."""
    document = read_yaml(path)
    return "names" in document and "task" not in document


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys of a yaml with every value as it is written; empty for what is not one."""
    try:
        # BaseLoader leaves values as they are written: YAML 1.1 takes yes, off, 010 and null for others.
        document: Any = yaml.load(read_text(path), Loader=yaml.BaseLoader)
    except (OSError, DataError, yaml.YAMLError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def find_data_yaml(tree: Tree) -> Path | None:
    """The yaml of a folder: ``data.yaml``, else the first that names classes; the nearest to the root."""
    found = [path for path in tree.with_suffix(".yaml", ".yml") if is_data_yaml(path)]
    order = sorted(found, key=lambda path: (len(tree.folders(path)), path.name.lower() not in _YAMLS))
    return order[0] if order else None


def find_names(tree: Tree, named: Path | None = None) -> ClassNames:
    """Reads the names of the classes of a folder.

    Args:
        tree: the folder.
        named: a yaml that the user named, which is believed before all others.

    Raises:
        DataError: a file of names is malformed.
    """
    places = [named] if named is not None else []
    places += _candidates(tree)
    if not places:
        # A split's folder was given: names lie above it.
        above = tree.root.absolute().parent
        places = [path for path in sorted(above.glob("*.y*ml")) if is_data_yaml(path)]
        places += [above / name for name in _TEXTS if (above / name).is_file()]
    found: list[tuple[Path, tuple[str, ...]]] = []
    for path in dict.fromkeys(places):
        names = _notes_names(path) if path.suffix.lower() == ".json" else read_names(path)
        if names:
            found.append((path, names))
    if not found:
        return ClassNames((), "", ())
    first, names = found[0]
    return ClassNames(
        names,
        tree.shown(first) if first in tree.files else _shown_above(first, named),
        tuple(path for path, _ in found),
        tuple(
            f"two files of names differ: {first.name} ({', '.join(names)}) is used, and "
            f"{other.name} says {', '.join(others)}"
            for other, others in _others(found)
        ),
    )


def _shown_above(path: Path, named: Path | None) -> str:
    return str(path) if path == named else f"{path.name} in the folder above"


def _others(found: list[tuple[Path, tuple[str, ...]]]) -> Iterable[tuple[Path, tuple[str, ...]]]:
    """The files that name the classes otherwise than the first, each wording once."""
    seen = {found[0][1]}
    for path, names in found[1:]:
        if names not in seen:
            seen.add(names)
            yield path, names


def _candidates(tree: Tree) -> list[Path]:
    yamls = [path for path in tree.with_suffix(".yaml", ".yml") if is_data_yaml(path)]
    yamls.sort(key=lambda path: (len(tree.folders(path)), path.name.lower() not in _YAMLS))
    texts = sorted(
        (path for path in tree.named(*_TEXTS) if not _has_labels(path)),
        key=lambda path: (_TEXTS.index(path.name.lower()), len(tree.folders(path))),
    )
    others = [path for path in tree.with_suffix(".names") if path not in texts]
    return [*yamls, *texts, *others, *tree.named("notes.json")]


def _has_labels(path: Path) -> bool:
    """Whether a text that is called like a file of names holds labels: an image may be called ``labels``."""
    try:
        lines = read_text(path).split("\n", 1)
    except DataError:
        return False
    words = lines[0].split()
    return len(words) >= 5 and all(is_number(word) for word in words)


def _notes_names(path: Path) -> tuple[str, ...]:
    """Label Studio's ``notes.json``: categories with ids from 0."""
    try:
        entries = json.loads(read_text(path))["categories"]
        by_id = {int(entry["id"]): str(entry["name"]) for entry in entries}
    except (DataError, ValueError, KeyError, TypeError):
        return ()
    return tuple(by_id[number] for number in sorted(by_id)) if sorted(by_id) == [*range(len(by_id))] else ()
