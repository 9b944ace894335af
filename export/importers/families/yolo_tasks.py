"""The other tasks of ultralytics' YOLO: masks, poses and rotated boxes, raw or as final rows.

Behind the columns of a detector stand 32 coefficients of prototypes, three numbers for each key point, or
an angle in radians. Masks show themselves by a second output; poses and angles by the notes or the user.
"""

from __future__ import annotations

import ast

import numpy as np

from edgevision.contract.manifest import MaskForm, Task
from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.grids import box_form
from edgevision.export.importers.numbers import are_probabilities, are_whole, falls, inverted_share
from edgevision.export.importers.reading import RGB_UNIT, Candidates, Choices, Decode, Reading
from edgevision.graph.builder import GraphBuilder
from edgevision.types import Skeleton

KINDS = ("yolo-seg", "yolo-pose", "yolo-obb")
IOU = 0.7
_ANGLE = 0.1
"""Median of an angle on noise from which a last column is none of class scores (.8 measured)."""

_TASKS: dict[str, tuple[str, Task]] = {
    "yolo-seg": ("segment", "instance-segmentation"),
    "yolo-pose": ("pose", "pose"),
    "yolo-obb": ("obb", "obb"),
}
_COCO_POINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
_COCO_BONES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12),
    (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip


def skeleton(count: int) -> Skeleton:
    """COCO's person for 17 key points, else numbered points without bones."""
    if count == len(_COCO_POINTS):
        return Skeleton(_COCO_POINTS, _COCO_BONES)
    return Skeleton(tuple(f"point_{i}" for i in range(count)))


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None; ``choices.kind`` is set where the user says so."""
    if not core.outputs or len(core.outputs[0].shape) != 3 or notes.maker(core) == "libreyolo":
        return None
    kind = choices.kind or _kind(core)
    if kind is None or (core.metadata.get("task") or _TASKS[kind][0]) != _TASKS[kind][0]:
        return None
    if len(core.outputs) != (2 if kind == "yolo-seg" else 1):
        return None
    extra = _extra(core, kind)
    if extra is None:
        return None
    return _final(core, kind, *extra) or _raw(core, kind, *extra)


def _kind(core: Core) -> str | None:
    """The kind that the notes name; masks are seen without."""
    task = core.metadata.get("task")
    for kind, (name, _) in _TASKS.items():
        if task == name:
            return kind
    is_seg = task is None and len(core.outputs) == 2 and len(core.outputs[1].shape) == 4
    return "yolo-seg" if is_seg else None


def _extra(core: Core, kind: str) -> tuple[int, int] | None:
    """How many numbers stand behind the classes of a row, and how many of them are one key point's."""
    if kind == "yolo-obb":
        return 1, 0
    if kind == "yolo-seg":
        shape = core.outputs[1].shape
        fits = len(shape) == 4 and shape[2] * 4 == core.height and shape[3] * 4 == core.width
        return (shape[1], 0) if fits else None
    try:
        points, each = ast.literal_eval(core.metadata.get("kpt_shape", ""))
    except (ValueError, SyntaxError, TypeError):
        width, count = core.outputs[0].shape[1], notes.name_count(core) or 1
        return (width - 4 - count, 3) if width > 4 + count and (width - 4 - count) % 3 == 0 else None
    known = isinstance(points, int) and each in (2, 3) and points > 0
    return (points * each, each) if known else None


def _raw(core: Core, kind: str, extra: int, each: int) -> Reading | None:
    _, width, total = core.outputs[0].shape
    classes = width - 4 - extra
    count = notes.name_count(core)
    if classes < 1 or (count is not None and classes != count):
        return None
    every = core.answers(0)
    form = box_form(core.noise(0)[:4].T, core.height, core.width)
    if form is None or form.form != "centre" or not are_probabilities(every[:, 4 : 4 + classes]):
        return None
    rest = every[:, 4 + classes :]
    if kind in ("yolo-seg", "yolo-pose") and are_probabilities(rest):
        return None  # class scores, not coefficients or pixels
    if kind == "yolo-obb" and "task" not in core.metadata and float(np.median(np.abs(rest))) < _ANGLE:
        return None

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0], columns_first=True)
        boxes = decoding.columns(g, table, 0, 4)
        rest = decoding.columns(g, table, 4 + classes, width)
        if kind == "yolo-obb":
            boxes, further = g("Concat", boxes, rest, axis=2), {}
        else:
            boxes, further = decoding.corners(g, boxes), _further(g, core, kind, rest, extra, each)
        scores = decoding.columns(g, table, 4, 4 + classes)
        return Candidates(boxes, scores, total, classes=classes, further=further)

    return _reading(core, kind, "raw", f"{form}", decode, classes, IOU, extra, each)


def _final(core: Core, kind: str, extra: int, each: int) -> Reading | None:
    _, total, width = core.outputs[0].shape
    every = core.answers(0)
    if width != 6 + extra or total > 1000 or not are_whole(every[..., 5]) or not falls(every[..., 4]):
        return None
    if not are_probabilities(every[..., 4]):
        return None
    rotated = kind == "yolo-obb"
    if not rotated and inverted_share(every[..., :4]) > 0.01:
        return None

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0])
        boxes = decoding.columns(g, table, 0, 4)
        rest = decoding.columns(g, table, 6, width)
        boxes = g("Concat", boxes, rest, axis=2) if rotated else boxes
        further = {} if rotated else _further(g, core, kind, rest, extra, each)
        labels = decoding.class_ids(g, decoding.column(g, table, 5))
        return Candidates(boxes, decoding.column(g, table, 4), total, labels, further=further)

    why = "its rows are sorted by score and their classes are whole numbers"
    highest = int(every[..., 5].max(initial=-1))
    return _reading(core, kind, "final rows", why, decode, None, None, extra, each, highest)


def _further(g: GraphBuilder, core: Core, kind: str, rest: str, extra: int, each: int) -> dict[str, str]:
    """The contract's outputs of the numbers behind the classes."""
    if kind == "yolo-seg":
        g("Identity", decoding.as_float(g, core.outputs[1]), out="prototypes")
        return {"coefficients": rest}
    points = g("Reshape", rest, g.ints(0, 0, extra // each, each))
    if each == 2:  # no visibility: each point counts as seen
        points = g("Pad", points, g.ints(0, 0, 0, 0, 0, 0, 0, 1), g.constant(1.0, "float32"))
    return {"keypoints": points}


def _reading(
    core: Core,
    kind: str,
    shown: str,
    why: str,
    decode: Decode,
    classes: int | None,
    iou: float | None,
    extra: int,
    each: int,
    highest: int = -1,
) -> Reading:
    masks = None
    if kind == "yolo-seg":
        channels, height, width = core.outputs[1].shape[1:]
        masks = MaskForm(form="prototypes", width=width, height=height, channels=channels)
    return Reading(
        kind,
        f"YOLO of ultralytics, {_TASKS[kind][1]}, {shown}",
        why,
        RGB_UNIT,
        decode,
        "as its notes say" if notes.maker(core) == "ultralytics" else "as ultralytics exports",
        classes=classes,
        iou=iou,
        task=_TASKS[kind][1],
        masks=masks,
        skeleton=skeleton(extra // each) if kind == "yolo-pose" else None,
        highest=highest,
    )
