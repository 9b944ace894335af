"""What the reader of a layout gives back: each labelled image with its split, and all that was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from edgevision.data.formats.raw import LabelProblem, RawObject
from edgevision.data.layouts.tree import Tree

UNLABELLED = ("auto", "empty", "leave-out")
"""What can be done about images without a label file."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user chose about a data set, beside its place.

    Attributes:
        images: the folder of the images, where it is not the one of the labels.
        yaml: the ``data.yaml`` that was named.
        file: the label file that was named; None for the whole folder.
        unlabelled: ``empty`` takes an image without a label file as one that shows nothing, ``leave-out``
            leaves it out, ``auto`` does what the layout means by it: YOLO has no file where nothing is to be
            seen, VOC has one for each image.
        crowds_are_objects: boxes that are marked as crowds are objects (CVAT marks every mask so).
    """

    images: Path | None = None
    yaml: Path | None = None
    file: Path | None = None
    unlabelled: str = "auto"
    crowds_are_objects: bool = False

    def leaves_out(self, auto: bool) -> bool:
        """Whether images without a label file are left out; ``auto`` is what the layout means by it."""
        return auto if self.unlabelled == "auto" else self.unlabelled == "leave-out"


class Labelled(NamedTuple):
    """One image and what its labels say.

    Attributes:
        path: the image; it may be missing.
        split: as it is called on disk; empty where there is none.
        objects: in pixels.
        size: width and height as the labels state them, or None.
        unlabelled: no label file speaks of it.
    """

    path: Path
    split: str
    objects: Sequence[RawObject]
    size: tuple[int, int] | None = None
    unlabelled: bool = False


@dataclass(slots=True)
class Reading:
    """A layout as it was read.

    Attributes:
        layout: its name, for the first line.
        images: every image of the set.
        classes: in the order of their ids, or sorted where labels hold names.
        names_from: what gave the names of the classes.
        problems: labels that could not be used, with the split of each.
        left_out: images that the reader knows of and leaves out, and why.
        used: the label files that were read.
        notes: what the user should know.
        empty_splits: splits that are named and hold no image, with the reason.
    """

    layout: str
    images: list[Labelled]
    classes: tuple[str, ...]
    names_from: str
    problems: list[tuple[str, LabelProblem]] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)
    used: set[Path] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    empty_splits: dict[str, str] = field(default_factory=dict)


def occurring(images: Sequence[Labelled]) -> tuple[str, ...]:
    """The classes of formats that write names at each box, sorted."""
    return tuple(sorted({one.name for image in images for one in image.objects}))


def unlabelled_images(
    tree: Tree, reading: Reading, choices: Choices, *, leave_out: bool, reason: str
) -> None:
    """Files the images that no label speaks of: left out with a reason, or taken as showing nothing.

    Args:
        tree: of the set.
        reading: added to.
        choices: of the user.
        leave_out: what the layout means by an image without labels.
        reason: why such an image is left out, such as ``no XML``.
    """
    taken = {one.path for one in reading.images}
    folders = {path.parent for path in taken}
    count = 0
    for path in tree.images:
        if path in taken or path in reading.left_out or (choices.file and path.parent not in folders):
            continue
        if choices.leaves_out(leave_out) or path.parent not in folders:
            reading.left_out[path] = reason
            count += path.parent in folders
        else:
            reading.images.append(Labelled(path, tree.role(path), [], None, True))
    if count and choices.unlabelled == "auto":
        reading.notes.append(
            f"{count} images {'has' if count == 1 else 'have'} {reason} and are left out; `unlabelled` empty "
            "takes them as showing nothing"
        )
