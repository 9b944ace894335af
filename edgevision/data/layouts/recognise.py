"""From a path to a data set: which layout it is, what it holds, and what of it is left out and why.

Images and boxes on disk equal those that are used plus those that are left out, each with a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from edgevision.data.formats.raw import RawSet, raw_image
from edgevision.data.images import is_there
from edgevision.data.layouts import (
    coco,
    corners,
    cvat,
    masks,
    one_file_for_all,
    one_json_each,
    voc,
    yolo,
)
from edgevision.data.layouts.documents import Documents
from edgevision.data.layouts.names import is_data_yaml
from edgevision.data.layouts.reading import Choices, Labelled, Reading
from edgevision.data.layouts.refused import refuse, refuse_several, unknown_document, unknown_folder
from edgevision.data.layouts.tree import Tree, role_of
from edgevision.errors import DataError
from edgevision.suffixes import IMAGE_SUFFIXES

_ROLES = ("train", "val", "test")
_EXAMPLES = 3

_Read = Callable[[Tree, Documents, Choices], Reading | None]

LAYOUTS: tuple[tuple[str, _Read], ...] = (
    ("", one_json_each.read_supervisely),
    (".xml", lambda tree, documents, choices: cvat.read_layout(tree, choices)),
    (".json", coco.read_layout),
    (".json", one_file_for_all.read_createml),
    (".json", one_json_each.read_labelme),
    (".json", one_file_for_all.read_via),
    (".csv", lambda tree, documents, choices: one_file_for_all.read_csv(tree, choices)),
    ("", lambda tree, documents, choices: one_file_for_all.read_keras(tree, choices)),
    ("", lambda tree, documents, choices: corners.read_layout(tree, choices)),
    ("", lambda tree, documents, choices: voc.read_layout(tree, choices)),
    ("", lambda tree, documents, choices: yolo.read_layout(tree, choices)),
)
"""Every layout with boxes, in the order of the search: those with a mark of their own first. The
suffix is that of a file that stands for the data by itself."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Images or boxes that are not used.

    Attributes:
        reason: why.
        count: how many.
        examples: at most three.
    """

    reason: str
    count: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = f": {', '.join(self.examples)}{', ...' if self.count > len(self.examples) else ''}"
        return f"{self.count} {self.reason}{shown if self.examples else ''}"


class FoundSplit(NamedTuple):
    """One split of a data set with boxes: its role, its name on disk, and what its labels say."""

    role: str
    name: str
    raw: RawSet


@dataclass(frozen=True, slots=True, eq=False)
class FoundData:
    """A data set.

    Attributes:
        path: as the user gave it.
        root: the folder that it is in.
        layout: the name of the layout.
        names_from: what names the classes.
        classes: names.
        splits: with boxes, train first; empty for a set of label maps.
        masks: a set of label maps.
        images_on_disk: every image file that was seen.
        left_out: images that are in no split.
        notes: what the user should know.
        missing_val: why there is no split to validate on; empty where there is one.
    """

    path: Path
    root: Path
    layout: str
    names_from: str
    classes: tuple[str, ...]
    splits: tuple[FoundSplit, ...]
    masks: masks.MaskReading | None
    images_on_disk: int
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    missing_val: str = ""

    def split(self, role: str) -> FoundSplit | None:
        """The split with a role; None where there is none."""
        return next((one for one in self.splits if one.role == role), None)


_INNER = (
    "images", "image", "img", "imgs", "jpegimages", "labels", "label", "annotations", "annotation", "ann",
)  # fmt: skip
"""Folders that are one part of a data set: the one above is meant."""


def recognise(path: Path, choices: Choices | None = None) -> FoundData:
    """Reads whatever data set lies at ``path``.

    Args:
        path: a folder, a ``data.yaml``, or a file of labels.
        choices: of the user.

    Raises:
        DataError: nothing is there, or it is none that is read; the message names what was seen and what to
            do.
    """
    choices = choices or Choices()
    if not path.exists():
        raise DataError(f"not found: {path}")
    root = path
    if path.is_file():
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            raise DataError(f"{path} is an image; give the folder of the images and their labels")
        if suffix in (".yaml", ".yml"):
            if not is_data_yaml(path):
                raise DataError(f"{path} names no classes; expected a data.yaml with names, train and val")
            root, choices = yolo.data_root(path), replace(choices, yaml=path)
        else:
            root, choices = _root_of(path, choices), replace(choices, file=path)
            if choices.images is not None:  # nothing else than the file is read beside them
                root, choices = choices.images, replace(choices, images=None)
    if path.is_dir() and path.name.lower() in _INNER and choices.images is None:
        try:
            return _read_folder(path, root, choices)
        except DataError as error:
            try:
                return _read_folder(path, path.parent, choices)
            except DataError:
                raise error from None
    return _read_folder(path, root, choices)


def _root_of(path: Path, choices: Choices) -> Path:
    """The folder that holds the images of a label file: its own, or the one above ``annotations``."""
    folder = path.parent
    if choices.images is not None:
        return folder
    if folder.name.lower() in ("annotations", "annotation", "labels", "label", "json", "coco"):
        return folder.parent
    return folder


def _read_folder(path: Path, root: Path, choices: Choices) -> FoundData:
    tree = Tree(root, choices.images)
    documents = Documents(tree, choices.file)
    if choices.file is None:
        refuse(tree, documents, path)
        if choices.yaml is None:
            refuse_several(tree, path)
    if choices.images is not None and not tree.images:
        raise DataError(f"{choices.images} holds no image")
    if tree.images and choices.file is None and masks.has_masks(tree) and not tree.with_suffix(".xml"):
        pairs = masks.read_layout(tree)
        if pairs is not None:
            return _found_masks(path, tree, pairs)
    if tree.images:
        for suffix, read in LAYOUTS:
            if choices.file is not None and choices.file.suffix.lower() != suffix:
                continue
            if choices.yaml is not None and suffix:  # only texts belong to a data.yaml
                continue
            reading = read(tree, documents, choices)
            if reading is not None:
                return _found(path, tree, reading, choices)
        pairs = None if choices.file is not None else masks.read_layout(tree)
        if pairs is not None:
            return _found_masks(path, tree, pairs)
    if choices.file is not None:
        if not tree.images and documents.mappings("images", "annotations", "categories"):
            raise DataError(
                f"{choices.file}: labels and no image beside them in {root}; name the folder of the images "
                "with `images`"
            )
        raise unknown_document(choices.file, documents)
    raise unknown_folder(tree, documents, path)


def _found(path: Path, tree: Tree, reading: Reading, choices: Choices) -> FoundData:
    classes, notes = _real_classes(reading)
    groups: dict[str, list[Labelled]] = {role: [] for role in _ROLES}
    names: dict[str, dict[str, None]] = {role: {} for role in _ROLES}
    has_roles = any(role_of(one.split) for one in reading.images)
    outside = 0
    for one in reading.images:
        role = role_of(one.split) or "train"
        outside += has_roles and not role_of(one.split)
        groups[role].append(one)
        names[role][_name_of(tree, one, role)] = None
    if outside:
        notes.append(f"{outside} images outside of the folders of splits are taken for training")
    splits = []
    for role in _ROLES:
        if not groups[role]:
            continue
        problems = tuple(
            problem for split, problem in reading.problems if (role_of(split) or "train") == role
        )
        images = tuple(
            raw_image(one.path, number, one.size, one.objects, one.unlabelled)
            for number, one in enumerate(groups[role], start=1)
        )
        name = next(iter(names[role])) if len(names[role]) == 1 else role
        raw = RawSet(f"{path} {name}".strip(), images, classes, problems)
        splits.append(FoundSplit(role, name, raw))
    if not splits:
        raise DataError(f"{path}: {reading.layout}, and no image of it is used: {_why(reading)}")
    lost = [problem for split, problem in reading.problems if not groups[role_of(split) or "train"]]
    if lost:  # of a split without images
        first = splits[0]
        raw = replace(first.raw, problems=(*first.raw.problems, *lost))
        splits[0] = first._replace(raw=raw)
    used = {one.path for one in reading.images}
    missing = "" if any(one.role == "val" for one in splits) else _missing_val(tree, reading, choices)
    if choices.file is not None:  # other files of the folder are no part of it
        tree.keep_folders({one.parent for one in used})
    left = _left_out(tree, reading.left_out, used)
    unread = [] if choices.file is not None else _unread_notes(tree, reading)
    return FoundData(
        path,
        tree.root,
        reading.layout,
        reading.names_from,
        classes,
        tuple(splits),
        None,
        len({one for one in used if is_there(one)}) + sum(one.count for one in left),
        left,
        (*reading.notes, *notes, *_case_notes(classes), *_unlabelled_note(reading), *unread),
        missing,
    )


def _why(reading: Reading) -> str:
    reasons = Counter(reading.left_out.values())
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "it holds none"


def _name_of(tree: Tree, one: Labelled, role: str) -> str:
    """What a split is called on disk; empty where the set has none."""
    if not one.split:
        return ""
    return next((folder for folder in tree.folders(one.path) if role_of(folder) == role), one.split)


def _real_classes(reading: Reading) -> tuple[tuple[str, ...], list[str]]:
    """The classes without a ``background`` that no box has."""
    notes: list[str] = []
    have = {one.name for image in reading.images for one in image.objects}
    classes = reading.classes
    first = classes[0] if classes else ""
    if (
        len(classes) > 1
        and first.lower() in ("background", "__background__", "_background_")
        and first not in have
    ):
        classes = classes[1:]
        notes.append(f"the class '{first}' has no box and is left out: a detector needs none")
    return classes, notes


def _case_notes(classes: Sequence[str]) -> list[str]:
    """Told where names differ in case only: two spellings of one class halve its boxes."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(name.casefold(), []).append(name)
    return [
        f"the classes {' and '.join(names)} differ in case only and are learnt as {len(names)} classes; if "
        "they are one, write its name in one way in the labels"
        for names in groups.values()
        if len(names) > 1
    ]


def _missing_val(tree: Tree, reading: Reading, choices: Choices) -> str:
    for key, why in reading.empty_splits.items():
        if role_of(key) == "val":
            return why
    for path in sorted(tree.root.rglob("*")) if choices.file is None else []:
        if path.is_dir() and role_of(path.name) == "val":
            return f"{path.relative_to(tree.root)} is empty"
    return "there is none"


def _left_out(tree: Tree, reasons: dict[Path, str], used: set[Path]) -> tuple[LeftOut, ...]:
    """Every image of the folder that no split has, by the reason."""
    found: dict[str, list[Path]] = {}
    for path in tree.images:
        if path not in used:
            is_map = path.parent.name.lower() in ("segmentationclass", "segmentationobject")
            other = "label maps of a segmenter" if is_map else "that no label file names"
            found.setdefault(reasons.get(path, other), []).append(path)
    for path in tree.unread:
        found.setdefault(f"of a kind that is not read ({path.suffix.lower()})", []).append(path)
    if tree.hidden:
        found["hidden, or left by a program"] = list(tree.hidden)
    return tuple(
        LeftOut(reason, len(paths), tuple(tree.shown(path) for path in paths[:_EXAMPLES]))
        for reason, paths in found.items()
    )


def _unlabelled_note(reading: Reading) -> list[str]:
    """Told where most images have no label file: the labelling may be half done."""
    count = sum(one.unlabelled for one in reading.images)
    if 2 * count <= len(reading.images):
        return []
    return [
        f"{count} of {len(reading.images)} images have no label file and are taken as showing nothing; if "
        "nobody has looked at them, `unlabelled` leave-out leaves them out"
    ]


def _unread_notes(tree: Tree, reading: Reading) -> list[str]:
    """Label files that nothing was read from."""
    unread = [
        path
        for path in tree.with_suffix(".txt", ".xml", ".json", ".csv")
        if path not in reading.used and not path.name.lower().startswith(("readme", "license", "licence"))
    ]
    if not unread:
        return []
    shown = ", ".join(tree.shown(path) for path in unread[:_EXAMPLES])
    more = ", ..." if len(unread) > _EXAMPLES else ""
    texts = yolo.count_labels(unread)
    among = f"{texts} of them {'is' if texts == 1 else 'are'}" if len(unread) > 1 else "it is"
    other = f"; {among} YOLO text: name its data.yaml to read that instead" if texts else ""
    count = "1 text file holds" if len(unread) == 1 else f"{len(unread)} text files hold"
    are = "is" if len(unread) == 1 else "are"
    return [f"{count} no labels of this layout and {are} not read: {shown}{more}{other}"]


def _found_masks(path: Path, tree: Tree, reading: masks.MaskReading) -> FoundData:
    maps = {pair.mask for pair in reading.pairs} | reading.spare
    used = {pair.image for pair in reading.pairs} | maps
    left = _left_out(tree, reading.left_out, used)
    has_val = any(role_of(pair.split) == "val" for pair in reading.pairs)
    return FoundData(
        path,
        tree.root,
        reading.layout,
        reading.names_from,
        tuple(one.name for one in reading.classes),
        (),
        reading,
        len(used) - len(maps) + sum(one.count for one in left),
        left,
        (*reading.notes, *_case_notes([one.name for one in reading.classes])),
        "" if has_val else "there is none",
    )


def mask_splits(pairs: Sequence[masks.MaskPair]) -> dict[str, list[masks.MaskPair]]:
    """The label maps of each role, train first."""
    found: dict[str, list[masks.MaskPair]] = {}
    for role in _ROLES:
        ours = [pair for pair in pairs if (role_of(pair.split) or "train") == role]
        if ours:
            found[role] = ours
    return found
