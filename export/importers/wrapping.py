"""What goes around a network that has been read: preprocessing, suppression, and the contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from onnx import helper

from edgevision.contract.manifest import BOX_TASKS, INPUT_NAME, Manifest, NmsLimits
from edgevision.data.classes import COCO_CLASSES
from edgevision.errors import ExportError, UsageError
from edgevision.export.importers import notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.heads import dense_heads
from edgevision.export.importers.inputs import Size
from edgevision.export.importers.reading import Candidates, Choices, Pixels, Reading
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.dense import best_pairs
from edgevision.graph.preprocessing import add_preprocessing
from edgevision.graph.retinanet import add_detection_outputs, add_final_outputs

MIN_SCORE, LEAST_SCORE = 0.01, 0.0001
MAX_DETECTIONS = 100
CANDIDATES = 300
ROUNDS = 16
UNKNOWN_CLASSES = 91
"""Names that a file gets which shows neither names nor their number; COCO's highest number is 90."""

COCO_NUMBERS = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""COCO's category numbers of its 80 classes, in the order of their names."""

_NO_LICENCE = "not stated by the imported file: ask where it came from before use"
_BACKGROUND = ("background", "__background__", "bg")


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What goes around a network.

    Attributes:
        before: nodes from ``frames`` to its input.
        after: nodes from its outputs to the contract's.
        manifest: the contract.
        notes: what the user should know beside the reading, one line each.
    """

    before: GraphBuilder
    after: GraphBuilder
    manifest: Manifest
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Names:
    """Class names, and where each class of the network goes.

    ``numbers[i]`` is the network's number of class i; None where they are the same.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...] | None = None
    note: tuple[str, ...] = ()


def wrap(core: Core, reading: Reading, pixels: Pixels, choices: Choices, inner: Size) -> Wrapping:
    """What goes before and after the network, and the contract.

    Args:
        core: the network.
        reading: what it means.
        pixels: what it takes, with the user's word.
        choices: what the user decides, the model's name included.
        inner: height and width of the resized image; the network's input less its padding.

    Raises:
        UsageError: the class names do not fit.
        ExportError: the network answers a class that has no name.
    """
    found = _class_names(core, reading, choices.classes)
    before, after = GraphBuilder("pre/"), GraphBuilder("post/")
    _add_input(before, core, pixels, inner)
    noted = core.metadata.get("license") or core.metadata.get("licence")
    manifest = Manifest(
        name=choices.name or Path(core.origin).stem,
        task=reading.task,
        classes=found.names,
        input_width=inner[1],
        input_height=inner[0],
        resize=pixels.resize,
        colours=_colours(len(found.names)) if reading.task == "segmentation" else (),
        masks=reading.masks,
        skeleton=reading.skeleton,
        multi_label=reading.multi_label,
        heads=dense_heads(core.model, [output.name for output in core.outputs]),
        training_data="not stated by the imported file",
        licence=choices.licence or noted or _NO_LICENCE,
        precision=core.precision,
    )
    candidates = reading.decode(after, core)
    if reading.task in BOX_TASKS:
        manifest = _add_detections(after, core, reading, choices, candidates, found, manifest, inner)
    return Wrapping(before, after, manifest, found.note)


def _add_detections(
    g: GraphBuilder,
    core: Core,
    reading: Reading,
    choices: Choices,
    found: Candidates,
    names: _Names,
    manifest: Manifest,
    inner: Size,
) -> Manifest:
    """Adds the choice of classes and suppression; returns the manifest with its limits."""
    boxes, scores, labels, total = found.boxes, found.scores, found.labels, found.total
    wanted = choices.candidates or CANDIDATES
    several = reading.several if choices.several is None else choices.several
    several = several and not found.further and reading.task == "detection"
    if not labels:
        classes = found.classes
        if names.numbers is not None:
            scores, classes = g("Gather", scores, g.ints(*names.numbers), axis=2), len(names.numbers)
        if several and classes > 1:
            most = max(wanted, MAX_DETECTIONS)
            boxes, scores, labels, total = best_pairs(g, boxes, scores, total, classes, most)
        else:
            labels = g("ArgMax", scores, axis=2, keepdims=0)
            scores = g("ReduceMax", scores, g.ints(2), keepdims=0)
    else:
        scores, labels = _named(g, scores, labels, names)
    rotated = reading.task == "obb"
    boxes = boxes if rotated else _cut(g, boxes, inner)
    floor = choices.min_score or max(reading.min_score or MIN_SCORE, LEAST_SCORE)
    iou = choices.iou if choices.iou is not None else reading.iou
    most = reading.most or MAX_DETECTIONS
    if iou is None:
        nms = NmsLimits("none", 1.0, most, 0)
    else:
        nms = NmsLimits("cluster", iou, wanted, ROUNDS, "probiou" if rotated else "iou")
    full = msgspec.structs.replace(manifest, score_threshold=floor, nms=nms, max_detections=most)
    full = full.within(total)
    if iou is None:
        strong = g("Greater", scores, g.constant(floor, np.float32))
        ranked = g("Where", strong, scores, g.constant(-1.0, np.float32))
        add_final_outputs(g, boxes, ranked, labels, full, found.further)
    else:
        add_detection_outputs(g, boxes, scores, labels, total, full, found.further)
    return full


def _named(g: GraphBuilder, scores: str, labels: str, names: _Names) -> tuple[str, str]:
    """Class numbers as the contract has them; what has no name gets the score -1."""
    count = len(names.names)
    if names.numbers is not None:
        table = np.full(max(names.numbers) + 2, -1)
        table[list(names.numbers)] = np.arange(count)
        last = g.constant(len(table) - 1, np.int64)
        inside = g("Min", g("Max", labels, g.constant(0, np.int64)), last)
        labels = g("Gather", g.constant(table, np.int64), inside, axis=0)
    zero = g.constant(0, np.int64)
    known = g("And", g("GreaterOrEqual", labels, zero), g("Less", labels, g.constant(count, np.int64)))
    return g("Where", known, scores, g.constant(-1.0, np.float32)), g("Max", labels, zero)


def _cut(g: GraphBuilder, boxes: str, inner: Size) -> str:
    """Corners ``[N, M, 4]`` inside the image, never inverted."""
    limits = g.constant([inner[1], inner[0]], np.float32)
    zero = g.constant(0.0, np.float32)
    low, high = g.many("Split", 2, boxes, g.ints(2, 2), axis=2)
    low = g("Min", g("Max", low, zero), limits)
    return g("Concat", low, g("Max", g("Min", high, limits), low), axis=2)


def _add_input(g: GraphBuilder, core: Core, pixels: Pixels, inner: Size) -> None:
    """From ``frames`` to the core's input, in its own layout and type."""
    ready = f"{g.prefix}ready"
    plain = core.layout == "NCHW" and core.dtype == np.float32 and inner == (core.height, core.width)
    add_preprocessing(g, INPUT_NAME, core.input if plain else ready, pixels.mean, pixels.std, pixels.bgr)
    if plain:
        return
    x = ready
    if inner != (core.height, core.width):
        below, right = core.height - inner[0], core.width - inner[1]
        x = g("Pad", x, g.ints(0, 0, 0, 0, 0, 0, below, right), g.constant(0.0, np.float32))
    if core.layout in ("NHWC", "HWC"):
        x = g("Transpose", x, perm=[0, 2, 3, 1])
    if "N" not in core.layout:
        x = g("Squeeze", x, g.ints(0))
    if core.dtype == np.uint8:
        x = g("Round", x)
    kind = helper.np_dtype_to_tensor_dtype(core.dtype)
    g("Cast" if core.dtype != np.float32 else "Identity", x, out=core.input, **_to(kind, core.dtype))


def _to(kind: int, dtype: np.dtype) -> dict[str, int]:
    return {} if dtype == np.float32 else {"to": kind}


def _class_names(core: Core, reading: Reading, wanted: tuple[str, ...] | None) -> _Names:
    """The names of the classes: as given, else as the file notes them, else numbered.

    Raises:
        UsageError: their number does not fit.
        ExportError: the network answers a class that has no name.
    """
    count = reading.classes
    noted = notes.names(core) if wanted is None else None
    names, source = (wanted, "`classes`") if wanted is not None else (noted, "the file's own list")
    if names is None:
        shown = count or max(UNKNOWN_CLASSES, reading.highest + 1)
        said = f"it has no class names, so they are class_0 to class_{shown - 1}; `classes` names them"
        if count is None:
            said += f". It does not show how many there are: a class above {shown - 1} would be left out"
        return _Names(tuple(f"class_{i}" for i in range(shown)), note=(said,))
    if reading.coco_numbers and names == COCO_CLASSES and count in (None, 91):
        return _Names(names, COCO_NUMBERS, ("classes are found by COCO's category numbers, 1 to 90",))
    if reading.first_class and names[0].lower() not in _BACKGROUND and wanted is not None:
        return _Names(names, tuple(range(1, len(names) + 1)))
    if count and len(names) != count:
        raise UsageError(f"{core.origin} has {count} classes, but {source} has {len(names)} names")
    if reading.highest >= len(names):
        raise ExportError(
            f"{core.origin} answers class {reading.highest} on a probe image, but there are {len(names)} "
            "class "
            "names (0 is the first); pass `classes` with all of them"
        )
    return _Names(names)


def _colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """A colour for each class: those of PASCAL VOC (its development kit's bit pattern), black first."""
    found = []
    for number in range(count):
        colour = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                colour[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        found.append((colour[0], colour[1], colour[2]))
    return tuple(found)
