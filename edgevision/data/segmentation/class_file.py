"""``classes.json`` of a segmentation data set: what the values of its label maps mean.

::

    {"ignore_index": 11, "classes": [{"id": 0, "name": "sky", "rgb": [128, 128, 128]}, ...]}

``ignore_index`` may be left out; the class with that id is not evaluated. ``rgb`` is optional.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgevision.errors import DataError
from edgevision.files import write_json
from edgevision.types import IGNORE_ID

Colour = tuple[int, int, int]


class NamedClass(msgspec.Struct, frozen=True, omit_defaults=True):
    """One class: the id in the label maps, its name, and the RGB that it is drawn in."""

    id: int
    name: str
    rgb: Colour | None = None


class ClassFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """The file as it is, see the head of this module."""

    classes: list[NamedClass]
    ignore_index: int | None = None


def read_class_file(path: Path) -> ClassFile:
    """Reads ``classes.json``.

    Raises:
        DataError: it is missing, cannot be read, or has ids that are none.
    """
    try:
        document = msgspec.json.decode(path.read_bytes(), type=ClassFile)
    except FileNotFoundError as error:
        raise DataError(
            f'class file not found: {path}; expected {{"classes": [{{"id": 0, "name": "road"}}, ...]}}'
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is not a class file ({error})") from error
    ids = [one.id for one in document.classes]
    wrong = [one for one in ids if not 0 <= one <= 255 or ids.count(one) > 1]
    if wrong or not ids:
        found = f"class id {wrong[0]}" if wrong else "no class"
        raise DataError(f"{path}: {found}; expected ids from 0 to 255, each once")
    return document


def write_class_file(path: Path, names: Sequence[str], colours: Sequence[Colour | None] = ()) -> None:
    """Writes ``classes.json`` of label maps that hold positions in ``names``, and 255 where nobody knows.

    Args:
        path: the file; one that exists is replaced.
        names: of the classes.
        colours: RGB of each, or None; empty where there are none.

    Raises:
        SinkError: it cannot be written.
    """
    known = colours or [None] * len(names)
    classes = [
        NamedClass(position, name, colour)
        for position, (name, colour) in enumerate(zip(names, known, strict=True))
    ]
    write_json(path, msgspec.to_builtins(ClassFile(classes, IGNORE_ID)))


def refuse_other_ids(path: Path, names: Sequence[str]) -> None:
    """Lets label maps with positions in ``names`` join a data set only if its file means the same by them.

    Args:
        path: the set's ``classes.json``; one that does not exist refuses nothing.
        names: of the classes.

    Raises:
        DataError: it gives other ids to the classes, or to pixels that nobody knows.
    """
    if not path.exists():
        return
    found = read_class_file(path)
    ids = {one.id: one.name for one in found.classes if one.id != found.ignore_index}
    meant = dict(enumerate(names))
    if ids != meant or found.ignore_index != IGNORE_ID:
        theirs, own = (
            ", ".join(f"{name} {one}" for one, name in sorted(each.items())) for each in (ids, meant)
        )
        ignored = "none" if found.ignore_index is None else found.ignore_index
        lacks = ids == meant and found.ignore_index is None
        raise DataError(
            f"{path} has {theirs}, ignore_index {ignored}; expected {own}, "
            f"ignore_index {IGNORE_ID}, as in the labels that would be added; "
            f"{'add it there, or ' if lacks else ''}choose another folder"
        )
