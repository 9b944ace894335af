"""PASCAL VOC's XML in every folder form: VOCdevkit, Kaggle, Roboflow, labelImg, FiftyOne, Label Studio."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from edgevision.data.formats.raw import LabelProblem
from edgevision.data.formats.text import read_text, read_xml
from edgevision.data.formats.voc import parse_object, parse_size
from edgevision.data.layouts.reading import Choices, Labelled, Reading, occurring, unlabelled_images
from edgevision.data.layouts.tree import Tree, role_of
from edgevision.errors import DataError


def read_layout(tree: Tree, choices: Choices) -> Reading | None:
    """Reads the folder, where its XML files are VOC's."""
    roots: dict[Path, ElementTree.Element] = {}
    broken: dict[Path, str] = {}
    for path in tree.with_suffix(".xml"):
        try:
            root = read_xml(path)
        except (OSError, DataError) as error:
            broken[path] = str(error)
            continue
        if root.tag == "annotation" and (root.find("object") is not None or root.findtext("filename")):
            roots[path] = root
    if not roots:
        return None
    splits = image_sets(tree, "main")
    reading = Reading("PASCAL VOC" + (" with lists" if splits else ""), [], (), "the XML files")
    reading.used = {*roots, *(file for _, file in splits.values())}
    by_stem = _images_by_stem(tree)
    taken: dict[Path, Path] = {}
    unlisted = 0
    for path, root in roots.items():
        split = splits[path.stem][0] if path.stem in splits else tree.role(path)
        image = _image(tree, path, root, by_stem)
        if splits and path.stem not in splits:
            unlisted += 1
            if image is not None:
                reading.left_out[image] = "in no list"
            continue
        if image in taken:
            text = f"{path.name} and {taken[image].name} both describe {image.name}"
            reading.problems.append((split, LabelProblem("ambiguous", text)))
            continue
        reading.images.append(_labelled(path, root, image, split, reading))
        if image is not None:
            taken[image] = path
    if unlisted:
        reading.notes.append(f"{unlisted} XML files are in no list of ImageSets/Main and are left out")
    for path, why in broken.items():
        reading.problems.append((tree.role(path), LabelProblem("unreadable", f"{path.name}: {why}", 0)))
        for image in by_stem.get(path.stem.lower(), [])[:1]:
            reading.left_out.setdefault(image, "its XML cannot be read")
    unlabelled_images(tree, reading, choices, leave_out=True, reason="no XML")
    reading.classes = occurring(reading.images)
    return reading


def image_sets(tree: Tree, kind: str) -> dict[str, tuple[str, Path]]:
    """The split of each name in the lists of ImageSets; ``trainval`` counts where there is no ``train``.

    Args:
        tree: the folder.
        kind: the folder of the lists, in lower case: ``main`` for boxes, ``segmentation`` for masks.

    Returns:
        Role and list of each name; empty where no list is of training.
    """
    files = {
        path.stem: path
        for path in tree.with_suffix(".txt")
        if path.parent.name.lower() == kind and path.parent.parent.name.lower() == "imagesets"
    }
    wanted = [name for name in files if role_of(name) and name.lower() != "trainval"]
    if not any(role_of(name) == "train" for name in wanted):
        wanted += [name for name in files if name.lower() == "trainval"]
    if not any(role_of(name) == "train" for name in wanted):
        return {}
    found: dict[str, tuple[str, Path]] = {}
    for name in sorted(wanted, key=lambda one: role_of(one) != "train"):
        for line in read_text(files[name]).splitlines():
            if line.strip():
                found[line.strip()] = (role_of(name), files[name])
    return found


def _images_by_stem(tree: Tree) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in tree.images:
        found.setdefault(path.stem.lower(), []).append(path)
    return found


def _image(tree: Tree, file: Path, root: ElementTree.Element, by_stem: dict[str, list[Path]]) -> Path | None:
    """The image of an XML: of its name, beside it, in its split; else the one that it names."""
    found = by_stem.get(file.stem.lower(), [])
    for closer in (_beside, _alike):
        if len(found) > 1:
            found = [path for path in found if closer(tree, path, file)] or found
    stated = (root.findtext("filename") or "").strip()
    if len(found) > 1:
        named = stated.replace("\\", "/").rpartition("/")[2].lower()
        found = [path for path in found if path.name.lower() == named]
    if len(found) == 1:
        return found[0]
    return tree.find_image(stated, file, tree.role(file)) if stated else None


def _beside(tree: Tree, path: Path, file: Path) -> bool:
    return path.parent == file.parent


def _alike(tree: Tree, path: Path, file: Path) -> bool:
    """Whether two files lie in folders that differ in one name: ``a/images/x`` and ``a/labels/x``."""
    one, other = tree.folders(path), tree.folders(file)
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1


def _labelled(
    file: Path, root: ElementTree.Element, image: Path | None, split: str, reading: Reading
) -> Labelled:
    objects = []
    for entry in root.iter("object"):
        one = parse_object(entry)
        if isinstance(one, str):
            reading.problems.append((split, LabelProblem("malformed", f"{file.name}: {one}")))
        else:
            objects.append(one)
    size = None
    try:
        size = parse_size(root)
    except ValueError as error:
        reading.problems.append((split, LabelProblem("malformed", f"{file.name}: {error}", 0)))
    return Labelled(image or file.with_name(root.findtext("filename") or file.name), split, objects, size)


def count_files(files: Iterable[Path]) -> int:
    """How many of the files are VOC's XML with objects."""
    found = 0
    for path in files:
        try:
            root = read_xml(path)
        except (OSError, DataError):
            continue
        found += root.tag == "annotation" and root.find("object") is not None
    return found
