"""Labelled data of any layout, written as a training reads them; what is left out is counted by reason."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgevision.data.classes import map_classes
from edgevision.data.copies import find_shared
from edgevision.data.detection.check import unmeasured_note
from edgevision.data.detection.sources import CocoSource
from edgevision.data.formats.coco import CocoDocument
from edgevision.data.formats.raw import RawImage, RawSet, large_enough
from edgevision.data.images import image_size
from edgevision.data.layouts.ledger import Account, account_boxes, account_images
from edgevision.data.layouts.masks import MaskClass, write_segmentation
from edgevision.data.layouts.recognise import FoundData, mask_splits
from edgevision.data.segmentation.dataset import SegmentationSource
from edgevision.data.splitting import SHARE, divide, group_images, with_validation
from edgevision.errors import DataError
from edgevision.files import make_folder
from edgevision.progress import OnDone
from edgevision.types import FloatArray

FEW = 10
"""Boxes of a class below which its figures and its detections are not to be relied on."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Data that a training can read.

    Attributes:
        task: ``detection`` or ``segmentation``.
        headline: one line: the layout, the splits, the classes with their boxes.
        classes: names.
        colours: RGB of each class of a segmenter, or empty.
        train, val: where they were written.
        train_images, val_images: how many.
        sides: float32 ``[G]``: the square root of the area of each training box, as a share of its image's
            longer side.
        shapes: float32 ``[N, 2]``: width and height of each training image.
        counts: boxes of each class in training and in validation; None for label maps.
        accounts: of images and boxes.
        notes: what the user should know, ``lacking`` included.
        lacking: what cannot be learnt or measured for want of labels.
    """

    task: str
    headline: str
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    train: CocoSource | SegmentationSource
    val: CocoSource | SegmentationSource
    train_images: int
    val_images: int
    sides: FloatArray
    shapes: FloatArray
    counts: dict[str, tuple[int, int]] | None
    accounts: tuple[Account, ...]
    notes: tuple[str, ...]
    lacking: tuple[str, ...] = ()


def prepare(found: FoundData, folder: Path, seed: int = 0, on_image: OnDone = lambda done: None) -> Prepared:
    """Writes training and validation labels into ``folder``; images stay where they are.

    A validation split is made of the training images where there is none. Test images are never used.

    Args:
        found: the data.
        folder: made where it is missing.
        seed: of the validation split.
        on_image: called with the number of images looked at.

    Raises:
        DataError: the labels cannot be right (undefined classes, sizes that differ), or nothing can be
            learnt from them.
        SinkError: a file cannot be written.
    """
    make_folder(folder, parents=True)
    if found.masks is not None:
        return _prepare_masks(found, folder, seed, on_image)
    return _prepare_boxes(with_validation(found, seed=seed, on_image=on_image), folder)


def _prepare_boxes(found: FoundData, folder: Path) -> Prepared:
    train, val = found.split("train"), found.split("val")
    if train is None or val is None:
        raise DataError(
            f"{found.path}: no training images; it has {', '.join(one.role for one in found.splits)}"
        )
    _refuse_wrong(found, (train.raw, val.raw))
    lost: Counter[str] = Counter()
    notes = list(found.notes)
    kept = {"train": _usable(train.raw, lost, notes), "val": _usable(val.raw, lost, notes)}
    shared = {one for one, _ in find_shared([i.path for i in kept["train"]], [i.path for i in kept["val"]])}
    if shared:
        notes.append(
            f"{len(shared)} training images are validation images too and are left out of the training, such "
            f"as {min(shared)}"
        )
        lost["in the validation split too"] += len(shared)
        kept["train"] = [one for one in kept["train"] if one.path not in shared]
    counts = {split: _count(images) for split, images in kept.items()}
    classes = tuple(name for name in found.classes if counts["train"][name])
    if not classes:
        raise DataError(
            f"{found.path}: no box to learn from in {len(train.raw.images)} training images; "
            f"{account_boxes([one.raw for one in found.splits])}"
        )
    if not any(counts["val"][name] for name in classes):
        raise DataError(
            f"{found.path}: the validation split has {len(kept['val'])} images and no box of "
            f"{', '.join(classes)}; expected some, to choose the best model"
        )
    lacking = _lacking(found.classes, classes, counts)
    notes += lacking
    root = Path(os.path.commonpath([str(one.path.parent) for images in kept.values() for one in images]))
    sources = {
        split: _write(folder / f"{split}.json", images, root, classes) for split, images in kept.items()
    }
    usable = [_trained(raw, images) for raw, images in ((train.raw, kept["train"]), (val.raw, kept["val"]))]
    others = [one.raw for one in found.splits if one.role == "test"]
    return Prepared(
        "detection",
        _headline(found, counts, {split: len(images) for split, images in kept.items()}),
        classes,
        (),
        sources["train"],
        sources["val"],
        len(kept["train"]),
        len(kept["val"]),
        _sides(kept["train"]),
        np.array([[one.width or 1, one.height or 1] for one in kept["train"]], np.float32),
        {name: (counts["train"][name], counts["val"][name]) for name in classes},
        (_images_account(found, lost, others), _boxes_account(usable, others, classes, lost)),
        tuple(notes),
        tuple(lacking),
    )


def _refuse_wrong(found: FoundData, sets: Sequence[RawSet]) -> None:
    """Stops at labels that say something else than people meant: leaving them out would hide it."""
    for raw in sets:
        undefined = [one for one in raw.problems if one.kind in ("class", "ambiguous")]
        if undefined:
            raise DataError(
                f"{found.path}: {len(undefined)} labels cannot be right, the first: {undefined[0].text}"
                f"{''.join(f'; {note}' for note in found.notes if 'count from 1' in note)}; run "
                f"'edgevision data check {found.path}' for all"
            )


def _usable(raw: RawSet, lost: Counter[str], notes: list[str]) -> list[RawImage]:
    """The images that are there and can be opened, with their true sizes."""
    kept, differing = [], []
    for image in raw.images:
        if not image.path.is_file():
            notes.append(f"{image.path} is named and not there")
            lost["named and not there"] += 1
            continue
        size = image_size(image.path)
        if size is None:
            lost["that cannot be opened"] += 1
            notes.append(f"{image.path} cannot be opened and is left out")
            continue
        if image.width and (image.width, image.height) != size:
            differing.append(
                f"{image.path.name} is {size[0]}x{size[1]}, labelled {image.width}x{image.height}"
            )
        kept.append(replace(image, width=size[0], height=size[1]))
    if differing:
        raise DataError(
            f"{raw.name}: {len(differing)} images are of another size than their labels say, the first: "
            f"{differing[0]}; were they turned or scaled after the labelling?"
        )
    return kept


def _count(images: Sequence[RawImage]) -> Counter[str]:
    found: Counter[str] = Counter()
    for image in images:
        usable = large_enough(image.boxes) & ~image.ignore
        found.update(name for name, good in zip(image.names, usable, strict=True) if good)
    return found


def _lacking(declared: Sequence[str], classes: Sequence[str], counts: dict[str, Counter[str]]) -> list[str]:
    """One line for each class that cannot be learnt, or not be measured."""
    notes = []
    without = [name for name in declared if name not in classes]
    if without:
        notes.append(f"no training box of {', '.join(without)}: left out of the model")
    few = [f"{name} {counts['train'][name]}" for name in classes if counts["train"][name] < FEW]
    if few:
        notes.append(f"classes with fewer than {FEW} training boxes: {', '.join(few)}; label more of them")
    unmeasured = [name for name in classes if not counts["val"][name]]
    if unmeasured:
        notes.append(unmeasured_note(unmeasured))
    return notes


def _write(path: Path, images: Sequence[RawImage], root: Path, classes: Sequence[str]) -> CocoSource:
    document = CocoDocument()
    for name in classes:
        document.category(name)
    index = map_classes(classes, classes)
    for image in images:
        size = (image.width or 1, image.height or 1)
        number = document.add_image(image.path.relative_to(root).as_posix(), *size)
        large = large_enough(image.boxes)
        limits = np.array([*size, *size], np.float32)
        boxes = np.clip(image.boxes, 0, limits)
        for box, name, ignore, good in zip(boxes.tolist(), image.names, image.ignore, large, strict=True):
            if good and name in index and box[2] > box[0] and box[3] > box[1]:
                corners = [round(value, 2) for value in box]
                document.add_box(number, document.category(name), corners, ignore=bool(ignore), score=1.0)
    document.write(path)
    return CocoSource(str(path), str(root))


def _sides(images: Sequence[RawImage]) -> FloatArray:
    found = []
    for image in images:
        sizes = image.boxes[:, 2:] - image.boxes[:, :2]
        good = large_enough(image.boxes) & ~image.ignore
        found.append(np.sqrt(sizes[good].prod(axis=1)) / max(image.width or 1, image.height or 1))
    return np.concatenate(found).astype(np.float32)


def _trained(raw: RawSet, images: Sequence[RawImage]) -> RawSet:
    return replace(raw, images=tuple(images))


def _images_account(found: FoundData, lost: Counter[str], others: Sequence[RawSet]) -> Account:
    before = account_images(found)
    left = {
        **before.left_out,
        **{reason: count for reason, count in lost.items() if reason != "named and not there"},
    }
    tests = sum(len(raw.images) for raw in others)
    if tests:
        left["of the test split, which no training uses"] = tests
    return Account("images", before.on_disk, before.on_disk - sum(left.values()), left, before.examples)


def _boxes_account(
    usable: Sequence[RawSet], others: Sequence[RawSet], classes: Sequence[str], lost: Counter[str]
) -> Account:
    account = account_boxes(usable)
    left = dict(account.left_out)
    unwanted = sum(
        int((large_enough(image.boxes) & ~image.ignore).sum())
        - sum(count for name, count in _count([image]).items() if name in classes)
        for raw in usable
        for image in raw.images
    )
    if unwanted:
        left["of classes without a training box"] = unwanted
    tests = account_boxes(others)
    if tests.on_disk:
        left["of the test split"] = tests.on_disk
    return Account("boxes", account.on_disk + tests.on_disk, account.used - unwanted, left)


def _headline(found: FoundData, counts: dict[str, Counter[str]], images: dict[str, int]) -> str:
    parts = [
        f"{split} {images[split]} images "
        f"({', '.join(f'{name} {counts[split][name]}' for name in found.classes)})"
        for split in ("train", "val")
    ]
    return f"{found.path}: {found.layout}; {', '.join(parts)}; names from {found.names_from}"


def _prepare_masks(found: FoundData, folder: Path, seed: int, on_image: OnDone) -> Prepared:
    reading = found.masks
    if reading is None:
        raise DataError(f"{found.path} holds no label maps")
    splits = mask_splits(reading.pairs)
    notes = list(found.notes)
    if "train" not in splits:
        raise DataError(f"{found.path}: no training images; it has {', '.join(splits)}")
    if "val" not in splits:
        pairs = splits["train"]
        groups = group_images([pair.image for pair in pairs], on_image)
        divided = divide([Counter() for _ in pairs], groups, SHARE, seed)
        splits = {
            "train": [pairs[one] for one in divided.train],
            "val": [pairs[one] for one in divided.val],
            **{role: rest for role, rest in splits.items() if role != "train"},
        }
        notes.append(
            f"no validation split: {len(divided.val)} of {len(pairs)} training images are taken for it, "
            f"drawn with seed {seed}; near-equal images stay together"
        )
    used = {split: splits[split] for split in ("train", "val")}
    write_segmentation(reading, used, folder)
    train, val = (SegmentationSource(str(folder), split) for split in ("train", "val"))
    sizes = [size for pair in used["train"] if (size := image_size(pair.image)) is not None]
    images = account_images(found)
    tests = len(splits.get("test", ()))
    left = {**images.left_out, **({"of the test split, which no training uses": tests} if tests else {})}
    return Prepared(
        "segmentation",
        f"{found.path}: {found.layout}; train {len(used['train'])} images, val {len(used['val'])} images, "
        f"classes {', '.join(found.classes)}; names from {found.names_from}",
        found.classes,
        _colours(reading.classes),
        train,
        val,
        len(used["train"]),
        len(used["val"]),
        np.zeros(0, np.float32),
        np.array(sizes, np.float32).reshape(-1, 2),
        None,
        (Account("images", images.on_disk, images.on_disk - sum(left.values()), left, images.examples),),
        tuple(notes),
    )


def _colours(classes: Sequence[MaskClass]) -> tuple[tuple[int, int, int], ...]:
    found = tuple(one.rgb for one in classes if one.rgb is not None)
    return found if len(found) == len(classes) else ()
