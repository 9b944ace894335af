"""What is wrong with labelled data: every fault counted, with examples, before a training starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np

from edgevision.data.classes import map_classes
from edgevision.data.copies import find_copies, find_shared
from edgevision.data.formats.raw import RawImage, RawSet, large_enough
from edgevision.data.images import dark_peak, decode_image, image_size, is_there
from edgevision.errors import DataError, printable

EXAMPLES = 3
"""How many places a finding names."""

_FEW = 5  # boxes from which on their places say something about all

_TOLERANCE = 1.0  # pixels by which a box may leave its image: labels are rounded


class Fault(str, Enum):
    """What can be wrong. The value is what users read."""

    NO_IMAGES = "no images"
    MISSING = "missing images"
    UNREADABLE = "unreadable images"
    UNUSABLE = "unusable images or label maps"
    SIZE = "size differs from the labels"
    OUTSIDE = "boxes outside the image"
    EMPTY = "empty boxes"
    TINY = "boxes under 1 pixel"
    NOTHING = "no box to learn from"
    UNKNOWN_CLASS = "unknown classes"
    MALFORMED = "malformed labels"
    UNREADABLE_LABELS = "unreadable label files"
    AMBIGUOUS = "labels with two meanings"
    REPEATED = "labels that repeat one"
    ORPHAN = "labels of no image"
    LEAK = "images in two splits"
    DUPLICATE = "duplicate images"
    BARE = "images that show nothing"
    UNLABELLED = "images without a label file"
    CROWD = "boxes marked as crowd or difficult"
    CORNERS = "boxes that may be corners"
    DARK = "16-bit images that become dark"
    UNWANTED = "boxes of classes not trained"
    BOXLESS = "classes without a label"

    @property
    def breaks(self) -> bool:
        """Whether a set with this fault is broken; the others may be intended."""
        return self not in _INTENDED

    @property
    def remedy(self) -> str:
        """What a training does about single bad labels, which large sets hold; empty for the others."""
        return _REMEDIES.get(self, "")


_INTENDED = (
    Fault.DUPLICATE, Fault.BARE, Fault.UNWANTED, Fault.BOXLESS, Fault.REPEATED, Fault.UNLABELLED, Fault.CROWD,
    Fault.CORNERS, Fault.DARK,
)  # fmt: skip

_REMEDIES = {
    Fault.EMPTY: "left out",
    Fault.TINY: "left out",
    Fault.CROWD: "ignored: they teach nothing",
    Fault.UNLABELLED: "taken as showing nothing",
    Fault.OUTSIDE: "cut at the edge",
    Fault.MALFORMED: "left out",
    Fault.REPEATED: "counted once",
}


@dataclass(frozen=True, slots=True)
class DataFinding:
    """A fault, how often it was found, and where: at most three examples."""

    fault: Fault
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.fault.value}: {self.count} ({', '.join(self.examples)})"


@dataclass(frozen=True, slots=True)
class SetReport:
    """One set.

    Attributes:
        name: what users see.
        images: how many it has.
        counts: boxes (pixels, for segmentation) of each class that is wanted, without those to ignore.
        findings: faults inside the set.
        files: the image files that are there.
    """

    name: str
    images: int
    counts: Mapping[str, int]
    findings: tuple[DataFinding, ...]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class DataReport:
    """Several sets, and what is wrong between them."""

    sets: tuple[SetReport, ...]
    between: tuple[DataFinding, ...] = ()

    @property
    def broken(self) -> tuple[DataFinding, ...]:
        """The findings that a training should not start with."""
        inside = (finding for one in self.sets for finding in one.findings)
        return tuple(finding for finding in (*inside, *self.between) if finding.fault.breaks)

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each finding that a training goes on with, which it says before it starts."""
        mended = [
            f"{one.name}: {finding}; {finding.fault.remedy}"
            for one in self.sets
            for finding in one.findings
            if finding.fault.remedy
        ]
        return (*mended, *(str(finding) for finding in self.between))


_KINDS = {
    "class": Fault.UNKNOWN_CLASS,
    "orphan": Fault.ORPHAN,
    "malformed": Fault.MALFORMED,
    "unreadable": Fault.UNREADABLE_LABELS,
    "ambiguous": Fault.AMBIGUOUS,
}


def check_set(
    raw: RawSet,
    classes: Sequence[str] | None = None,
    read_images: bool = True,
    on_image: Callable[[int], None] = lambda done: None,
) -> SetReport:
    """Looks for every fault of one detection set.

    Args:
        raw: the set.
        classes: what a training wants to learn, if that is known.
        read_images: decode every image and compare contents; False reads headers alone.
        on_image: called with the number of images done.
    """
    found: dict[Fault, list[str]] = {fault: [] for fault in Fault}
    counts: Counter[str] = Counter(dict.fromkeys(raw.classes, 0))
    for problem in raw.problems:
        found[_KINDS[problem.kind]].append(problem.text)
    if not raw.images:
        found[Fault.NO_IMAGES].append(raw.name)
    crowds: Counter[str] = Counter()
    usable = 0
    for done, image in enumerate(raw.images, start=1):
        crowds.update(name for name, ignore in zip(image.names, image.ignore, strict=True) if ignore)
        counts.update(name for name, ignore in zip(image.names, image.ignore, strict=True) if not ignore)
        usable += int((~image.ignore & large_enough(image.boxes)).sum())
        if not image.names:
            found[Fault.UNLABELLED if image.unlabelled else Fault.BARE].append(image.path.name)
        if not is_there(image.path):
            found[Fault.MISSING].append(str(image.path))
        found[Fault.REPEATED] += [image.path.name] * image.repeated
        size = (_decoded_size if read_images else _header_size)(image, found)
        for fault, text in _box_faults(image, size):
            found[fault].append(text)
        on_image(done)
    wanted = None if classes is None else map_classes([*counts, *crowds], classes)
    for name, count in crowds.most_common():
        if wanted is None or name in wanted:
            found[Fault.CROWD] += [f"{name}: {count} of {count + counts[name]}"] * count
    if found[Fault.TINY] and not usable:
        found[Fault.TINY].insert(0, "every box is smaller than 1 pixel: shares instead of pixels?")
        found[Fault.TINY].pop()
    if raw.images and not usable:
        found[Fault.NOTHING].append(f"{len(raw.images)} images, {sum(crowds.values())} boxes to ignore")
    found[Fault.CORNERS] = _maybe_corners(raw)
    there = tuple(image.path for image in raw.images if is_there(image.path))
    if read_images:
        found[Fault.DUPLICATE] = [f"{copy.name} is {first.name}" for copy, first in find_copies(there)]
    if wanted is not None:
        for name in sorted(set(counts) - set(wanted)):
            found[Fault.UNWANTED] += [name] * counts.pop(name)
    return SetReport(raw.name, len(raw.images), dict(counts), _findings(found), there)


def check_sets(
    train: Sequence[SetReport], val: Sequence[SetReport], classes: Sequence[str] | None = None
) -> DataReport:
    """What is wrong between the splits of a training: shared images, and classes that nothing teaches.

    A training set in which every image is labelled as showing nothing is sound beside others with boxes: it
    teaches what is no object.
    """
    if any(sum(one.counts.values()) for one in train):
        train = [_as_background(one) for one in train]
    found: dict[Fault, list[str]] = {Fault.LEAK: [], Fault.BOXLESS: []}
    trained = [path for one in train for path in one.files]
    shared = find_shared([path for one in val for path in one.files], trained)
    for position, one in enumerate(val):
        shared += find_shared(one.files, [path for other in val[:position] for path in other.files])
    found[Fault.LEAK] = [f"{copy} is {first}" for copy, first in shared]
    if classes is not None:
        # Set by set: what two sets call by two names may be one class.
        have = [[name for name, count in one.counts.items() if count] for one in train]
        taught = {position for names in have for position in map_classes(names, classes).values()}
        boxless = [name for position, name in enumerate(classes) if position not in taught]
        found[Fault.BOXLESS] = boxless
    return DataReport((*train, *val), _findings(found))


def _as_background(one: SetReport) -> SetReport:
    bare = sum(finding.count for finding in one.findings if finding.fault is Fault.BARE)
    if bare < one.images:
        return one
    kept = tuple(finding for finding in one.findings if finding.fault is not Fault.NOTHING)
    return replace(one, findings=kept)


def unmeasured_note(names: Sequence[str]) -> str:
    """What a training says of classes that no validation box is of."""
    return f"no validation box of {', '.join(names)}: nobody knows how good the model is at it"


def require_sound(report: DataReport, strict: bool = False) -> None:
    """Stops a training whose data are broken.

    Images in two splits do not: a test whether a model can learn at all validates on its training
    data. Nor do single bad labels, which are left out or cut (COCO's train2017 holds some). Both are among
    the report's notes.

    Args:
        report: of the data.
        strict: stop at single bad labels too.

    Raises:
        DataError: with the first faults in one line.
    """
    broken = [
        finding
        for finding in report.broken
        if finding.fault is not Fault.LEAK and (strict or not finding.fault.remedy)
    ]
    if not broken:
        return
    shown = "; ".join(str(finding) for finding in broken[:EXAMPLES])
    more = f"; and {len(broken) - EXAMPLES} other faults" if len(broken) > EXAMPLES else ""
    raise DataError(f"the data are broken: {shown}{more}; run 'edgevision data check CONFIG' for details")


def _decoded_size(image: RawImage, found: dict[Fault, list[str]]) -> tuple[int, int] | None:
    """Decodes an image; its true size, or the stated one where it cannot be read."""
    if not is_there(image.path):
        return _stated_size(image)
    try:
        pixels = decode_image(image.path)
    except DataError:
        found[Fault.UNREADABLE].append(image.path.name)
        return _stated_size(image)
    peak = dark_peak(image.path)
    if peak is not None:
        text = f"{image.path.name}: brightest value {peak:,} of 65,535, {peak // 256} of 255 once it is read"
        found[Fault.DARK].append(text)
    return _compared(image, (pixels.shape[1], pixels.shape[0]), found)


def _header_size(image: RawImage, found: dict[Fault, list[str]]) -> tuple[int, int] | None:
    """The size in the header; an image that cannot be read is for the training to skip and report."""
    size = image_size(image.path)
    return _stated_size(image) if size is None else _compared(image, size, found)


def _compared(image: RawImage, size: tuple[int, int], found: dict[Fault, list[str]]) -> tuple[int, int]:
    stated = _stated_size(image)
    if stated and stated != size:
        found[Fault.SIZE].append(
            f"{image.path.name} is {size[0]}x{size[1]}, labelled {stated[0]}x{stated[1]}"
        )
    return size


def _stated_size(image: RawImage) -> tuple[int, int] | None:
    return (image.width, image.height) if image.width and image.height else None


def _box_faults(image: RawImage, size: tuple[int, int] | None) -> Iterator[tuple[Fault, str]]:
    limits = np.array([*size, *size], np.float64) + _TOLERANCE if size else np.full(4, np.inf)
    large = large_enough(image.boxes)
    for box, name, is_large in zip(image.boxes, image.names, large, strict=True):
        text = f"{image.path.name}: {name} at {', '.join(f'{value:g}' for value in box)}"
        if not (box[2:] > box[:2]).all():
            yield Fault.EMPTY, text
        elif not is_large and (box[2:] > 0).all():
            yield Fault.TINY, text
        elif (box < -_TOLERANCE).any() or (box > limits).any():
            yield Fault.OUTSIDE, text


def _maybe_corners(raw: RawSet) -> list[str]:
    """One line where widths and heights look like right and lower edges.

    Then each is larger than the left or upper edge beside it, which boxes all over an image are not.
    """
    boxes = np.concatenate([image.boxes for image in raw.images] or [np.zeros((0, 4), np.float32)])
    sides = boxes[:, 2:] - boxes[:, :2]
    if len(boxes) < _FEW or not (sides > boxes[:, :2]).all() or not (boxes[:, :2] >= 1).all():
        return []
    return [
        "each of them is wider than its distance from the left edge and taller than that from the top: are "
        "these corners (x1, y1, x2, y2) where width and height belong?"
    ]


def _findings(found: Mapping[Fault, list[str]]) -> tuple[DataFinding, ...]:
    return tuple(
        DataFinding(fault, len(texts), tuple(map(printable, dict.fromkeys(texts)))[:EXAMPLES])
        for fault, texts in found.items()
        if texts
    )
