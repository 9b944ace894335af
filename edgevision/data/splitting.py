"""A validation split from training images: seeded, and no two images of one origin on both sides."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgevision.data.formats.raw import RawImage, RawSet
from edgevision.data.images import decode_image
from edgevision.data.layouts.recognise import FoundData, FoundSplit
from edgevision.data.perceptual import NEAR_IDENTICAL, bit_distances, perceptual_hash
from edgevision.errors import DataError
from edgevision.progress import OnDone

SHARE = 0.2
"""Of the images that validate, where the data have no split for it."""

_ROBOFLOW = re.compile(r"(.+)_(?:jpe?g|png|bmp|webp)\.rf\.[0-9a-zA-Z]+$", re.IGNORECASE)
_BANDS = 4  # of 16 bits: two hashes that differ in 3 bits or fewer are equal in one of them


class Divided(NamedTuple):
    """Positions of images on both sides, and how many groups of near-equal images there are."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    groups: int


def with_validation(
    found: FoundData, share: float = SHARE, seed: int = 0, on_image: OnDone = lambda done: None
) -> FoundData:
    """The data with a validation split made of their training images; as they are where they have one.

    Raises:
        DataError: there are fewer than two training images.
    """
    train = found.split("train")
    if found.split("val") is not None or train is None:
        return found
    images = train.raw.images
    groups = group_images([image.path for image in images], on_image)
    divided = divide([_weight(image) for image in images], groups, share, seed)
    name = str(found.path)
    parts = (
        FoundSplit("train", "train", _part(train.raw, divided.train, f"{name} train", train.raw.problems)),
        FoundSplit("val", "val", _part(train.raw, divided.val, f"{name} val", ())),
    )
    rest = tuple(one for one in found.splits if one.role not in ("train", "val"))
    note = (
        f"no validation split ({found.missing_val}): {len(divided.val)} of {len(images)} training images are "
        f"taken for it, drawn with seed {seed}; the {divided.groups} groups of near-equal images stay whole"
    )
    return replace(found, splits=(*parts, *rest), notes=(*found.notes, note), missing_val="")


def group_images(paths: Sequence[Path], on_image: OnDone = lambda done: None) -> list[int]:
    """A number for each image, equal for those of one origin.

    That are near-equal images by their perceptual hash, such as neighbouring frames of a video, and the
    augmented copies that Roboflow names after one file. An image that cannot be read is alone.
    """
    parent = list(range(len(paths)))

    def find(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    origins: dict[str, int] = {}
    codes = np.zeros(len(paths), np.uint64)
    readable = []
    for position, path in enumerate(paths):
        match = _ROBOFLOW.fullmatch(path.stem)
        if match:
            parent[find(position)] = find(origins.setdefault(match[1], position))
        try:
            codes[position] = perceptual_hash(decode_image(path))
            readable.append(position)
        except DataError:
            pass  # whoever reads the set next names it
        on_image(position + 1)
    for one, other in near_pairs(codes, readable):
        parent[find(one)] = find(other)
    return [find(position) for position in range(len(paths))]


def near_pairs(codes: NDArray[np.uint64], among: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of positions whose hashes differ in at most ``NEAR_IDENTICAL`` bits."""
    found: dict[tuple[int, int], None] = {}
    for band in range(_BANDS):
        buckets: dict[int, list[int]] = defaultdict(list)
        for position in among:
            buckets[(int(codes[position]) >> (16 * band)) & 0xFFFF].append(position)
        for bucket in buckets.values():
            members = np.array(bucket)
            for place, position in enumerate(bucket[:-1]):
                rest = members[place + 1 :]
                near = rest[bit_distances(int(codes[position]), codes[rest]) <= NEAR_IDENTICAL]
                found.update(dict.fromkeys((position, int(other)) for other in near))
    return list(found)


def divide(classes: Sequence[Counter[str]], groups: Sequence[int], share: float, seed: int) -> Divided:
    """Draws whole groups for validation until it has ``share`` of the images and, if possible, each class.

    Args:
        classes: how many objects of each class an image has.
        groups: of each image, equal for those that stay together.
        share: of the images for validation, between 0 and 1.
        seed: of the order in which groups are drawn.

    Raises:
        DataError: there are fewer than two images.
    """
    if len(classes) < 2:
        raise DataError(f"{len(classes)} training image cannot be divided; expected two or more")
    members: dict[int, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    if len(members) == 1:  # frames of one scene: the last ones, which are the farthest from the first
        count = max(1, round(share * len(classes)))
        return Divided(
            tuple(range(len(classes) - count)), tuple(range(len(classes) - count, len(classes))), 1
        )
    order = [*members]
    np.random.default_rng(seed).shuffle(order)
    in_groups = {group: sum((classes[one] for one in members[group]), Counter()) for group in order}
    having = Counter(name for counted in in_groups.values() for name in counted)
    target = max(1, round(share * len(classes)))
    chosen: dict[int, None] = {}

    def size() -> int:
        return sum(len(members[group]) for group in chosen)

    def take(group: int) -> None:
        # Each class keeps a group to learn from.
        left = Counter(
            name for other in order if other not in chosen and other != group for name in in_groups[other]
        )
        if all(left[name] for name in in_groups[group]) and size() + len(members[group]) < len(classes):
            chosen[group] = None

    for name, count in sorted(having.items(), key=lambda item: item[1]):
        if count > 1 and not any(in_groups[group][name] for group in chosen):
            for group in sorted(
                (one for one in order if in_groups[one][name]), key=lambda g: len(members[g])
            ):
                take(group)
                if group in chosen:
                    break
    for group in order:
        if size() >= target:
            break
        if group not in chosen and size() + len(members[group]) <= max(target, 2 * target - size()):
            take(group)
    if not chosen:
        chosen[min(order, key=lambda group: len(members[group]))] = None
    val = sorted(one for group in chosen for one in members[group])
    taken = set(val)
    return Divided(tuple(one for one in range(len(classes)) if one not in taken), tuple(val), len(members))


def _weight(image: RawImage) -> Counter[str]:
    return Counter(name for name, ignore in zip(image.names, image.ignore, strict=True) if not ignore)


def _part(raw: RawSet, positions: Sequence[int], name: str, problems: Sequence[object]) -> RawSet:
    images = tuple(raw.images[position] for position in positions)
    return replace(raw, name=name, images=images, problems=raw.problems if problems else ())
