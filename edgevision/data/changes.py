"""Data sets divided anew, and several made one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgevision.data.formats.raw import LabelProblem, RawImage, RawSet
from edgevision.data.layouts.recognise import FoundData, FoundSplit
from edgevision.data.splitting import divide, group_images
from edgevision.errors import DataError, UsageError, nearest
from edgevision.progress import OnDone


def divide_data(
    found: FoundData, val: float, test: float, seed: int, again: bool, on_image: OnDone = lambda done: None
) -> FoundData:
    """The data with validation and test splits drawn from the training images; near-equal ones stay together.

    Args:
        found: the data, with boxes.
        val, test: shares of the images; 0 for no such split.
        seed: of the draw.
        again: draw anew from the images of all splits.
        on_image: called with the number of images looked at.

    Raises:
        UsageError: the shares leave nothing to train on, or there is such a split and ``again`` is False.
        DataError: there are too few images.
    """
    if not 0 <= val < 1 or not 0 <= test < 1 or not 0 < val + test < 1:
        raise UsageError(
            f"`val` {val:g} and `test` {test:g}; expected shares that leave some images to train on"
        )
    there = [one.role for one in found.splits if one.role != "train"]
    wanted = [role for role, share in (("val", val), ("test", test)) if share]
    both = [role for role in wanted if role in there]
    if both and not again:
        raise UsageError(
            f"{found.path} has a split '{both[0]}'; `again` draws anew from all images, and 'edgevision data "
            "convert' writes it as it is"
        )
    taken = found.splits if again else tuple(one for one in found.splits if one.role == "train")
    images = [image for one in taken for image in one.raw.images]
    problems = tuple(problem for one in taken for problem in one.raw.problems)
    groups = group_images([image.path for image in images], on_image)
    left = list(range(len(images)))
    parts: dict[str, list[int]] = {}
    for role, share in (("test", test), ("val", val)):
        if share:
            of_left = share * len(images) / len(left)
            drawn = divide(
                [_counted(images[one]) for one in left], [groups[one] for one in left], of_left, seed
            )
            parts[role] = [left[one] for one in drawn.val]
            left = [left[one] for one in drawn.train]
    parts["train"] = left
    splits = [
        _split(found, role, [images[one] for one in parts[role]], problems if role == "train" else ())
        for role in ("train", "val", "test")
        if role in parts
    ]
    kept = [] if again else [one for one in found.splits if one.role not in ("train", *wanted)]
    note = f"drawn with seed {seed}; the {len(set(groups))} groups of near-equal images stay whole"
    return replace(found, splits=(*splits, *kept), notes=(*found.notes, note), missing_val="")


def merge_data(several: Sequence[FoundData], renamed: Mapping[str, str], path: Path) -> FoundData:
    """Several data sets as one, split by split.

    Args:
        several: each with boxes.
        renamed: what a class is called afterwards, by its name now; an empty name leaves its boxes out.
        path: what the whole is called.

    Raises:
        UsageError: ``renamed`` names a class that no set has.
        DataError: a set holds label maps.
    """
    known = dict.fromkeys(name for found in several for name in found.classes)
    for name in renamed:
        if name not in known:
            raise UsageError(f"`rename`: no set has the class '{name}'{nearest(name, known)}")
    if any(found.masks is not None for found in several):
        raise DataError("label maps cannot be merged; expected sets with boxes")
    classes = tuple(dict.fromkeys(new for name in known if (new := renamed.get(name, name))))
    notes = [f"{found.path}: {note}" for found in several for note in found.notes]
    for found in several:
        own = {renamed.get(name, name) for name in found.classes}
        absent = [name for name in classes if name not in own]
        if absent:
            notes.append(
                f"{found.path} does not label {', '.join(absent)}: where its images show some, they teach "
                "that there is none; label them, or train with `labelled` for each source"
            )
    splits = []
    for role in ("train", "val", "test"):
        raws = [split.raw for found in several if (split := found.split(role)) is not None]
        images = [_renamed(image, renamed) for raw in raws for image in raw.images]
        if images:
            problems = tuple(problem for raw in raws for problem in raw.problems)
            splits.append(FoundSplit(role, role, RawSet(f"{path} {role}", tuple(images), classes, problems)))
    return replace(
        several[0],
        path=path,
        layout=" and ".join(dict.fromkeys(found.layout for found in several)),
        names_from="all sets",
        classes=classes,
        splits=tuple(splits),
        images_on_disk=sum(found.images_on_disk for found in several),
        left_out=tuple(one for found in several for one in found.left_out),
        notes=tuple(notes),
        missing_val="" if any(one.role == "val" for one in splits) else "there is none",
    )


def class_table(several: Sequence[FoundData], renamed: Mapping[str, str]) -> list[tuple[str, ...]]:
    """For each class its name afterwards, and its boxes in each set: rows of text."""
    known = dict.fromkeys(name for found in several for name in found.classes)
    counts = [
        Counter(name for split in found.splits for image in split.raw.images for name in image.names)
        for found in several
    ]
    return [
        (name, renamed.get(name, name) or "left out", *(str(count[name]) for count in counts))
        for name in known
    ]


def _renamed(image: RawImage, renamed: Mapping[str, str]) -> RawImage:
    names = [renamed.get(name, name) for name in image.names]
    kept = [position for position, name in enumerate(names) if name]
    return replace(
        image,
        boxes=image.boxes[kept],
        names=tuple(names[position] for position in kept),
        ignore=image.ignore[kept],
        scores=image.scores[kept],
    )


def _split(
    found: FoundData, role: str, images: Sequence[RawImage], problems: tuple[LabelProblem, ...]
) -> FoundSplit:
    raw = RawSet(f"{found.path} {role}", tuple(images), found.classes, problems)
    return FoundSplit(role, role, raw)


def _counted(image: RawImage) -> Counter[str]:
    return Counter(name for name, ignore in zip(image.names, image.ignore, strict=True) if not ignore)
