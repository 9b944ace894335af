"""Dense rows of corners and class probabilities, of several families.

``[1, 4 + C, N]``: YOLOv9, v7, v4, v3 and SSD of libreyolo. ``[1, N, 4 + C]``: RTMDet, PicoDet, RetinaNet,
PP-YOLOE and again SSD. One form, many ways to prepare the image, which no number tells: the notes do, or the
user.
"""

from __future__ import annotations

import numpy as np

from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.families import libreyolo
from edgevision.export.importers.grids import BoxForm, box_form, grids
from edgevision.export.importers.numbers import are_probabilities, are_whole, inverted_share
from edgevision.export.importers.reading import Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = (
    "yolo9",
    "yolo9_e2e",
    "yolo7",
    "yolo4",
    "yolo3",
    "rtmdet",
    "picodet-rows",
    "ppyoloe-rows",
    "ssd",
    "retinanet",
)

_IOU = {"yolo9_e2e": None, "rtmdet": 0.65, "picodet-rows": 0.6, "ppyoloe-rows": 0.7}
_SSD_ROWS = 8732
_FAMILY = {"picodet-rows": "picodet", "ppyoloe-rows": "ppyoloe"}
"""Kinds whose family has another name."""


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None; ``choices.kind`` is set where the user says so."""
    kind = choices.kind
    if len(core.outputs) != 1 or len(core.outputs[0].shape) != 3 or notes.task(core) != "detect":
        return None
    if notes.maker(core) == "ultralytics":
        return None
    for first in (True, False):
        found = _read(core, kind, columns_first=first)
        if found is not None:
            return found
    return None


def _read(core: Core, kind: str | None, *, columns_first: bool) -> Reading | None:
    shape = core.outputs[0].shape
    total, width = (shape[2], shape[1]) if columns_first else (shape[1], shape[2])
    count = notes.name_count(core)
    if width < 5 or (count is not None and width != 4 + count) or (count is None and width >= total):
        return None
    every = core.answers(0)
    every = every.transpose(0, 2, 1) if columns_first else every
    boxes, scores = every[..., :4], every[..., 4:]
    if width == 6 and are_whole(scores[..., 1]):
        return None  # a class number, not a score
    if not are_probabilities(scores) or inverted_share(boxes) > 0.01:
        return None
    noise = core.noise(0)
    noise = (noise.T if columns_first else noise)[:, :4]
    form = box_form(noise, core.height, core.width)
    family, why = _family(core, kind, total, scores, noise, form, columns_first=columns_first)
    if not why:
        return None
    is_retinanet = family == "retinanet"
    short = core.metadata.get("imgsz_h", core.metadata.get("imgsz", "800"))

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0], columns_first=columns_first)
        boxes = decoding.columns(g, table, 0, 4)
        return Candidates(boxes, decoding.columns(g, table, 4, width), total, classes=width - 4)

    own = _FAMILY.get(family or "", family)
    told = notes.family(core)
    taken = libreyolo.pixels(core) if told else libreyolo.PIXELS.get(own or "")
    return Reading(
        family or "yolo9",
        f"{family or 'a detector'} in rows of corners and class scores",
        why,
        taken,
        decode,
        libreyolo.TOLD_BY if told else "as libreyolo exports it",
        classes=width - 4,
        iou=_IOU.get(family or "", 0.5 if is_retinanet or family == "ssd" else 0.45),
        size=short_side_size(short) if is_retinanet else None,
        pad=32 if is_retinanet else 1,
    )


def short_side_size(text: str) -> tuple[int, int]:
    """Height and width for a wide image (16:9): short side ``text`` pixels, long side at most 5/3 of it.

    torchvision's rule is 800 and at most 1333, whatever the ratio; the contract has one size, that of video.
    """
    short = int(text) if text.isdecimal() and int(text) else 800
    longest = short * 1333 // 800
    return round(longest * 9 / 16), longest


def _family(
    core: Core,
    kind: str | None,
    total: int,
    scores: np.ndarray,
    noise: np.ndarray,
    form: BoxForm | None,
    *,
    columns_first: bool,
) -> tuple[str | None, str]:
    """The kind, None where the user must say it, and why; an empty reason where the numbers deny the form."""
    told = notes.family(core)
    is_ssd = total == _SSD_ROWS and bool((scores.sum(axis=-1) <= 1.01).all())
    is_anchors = any(grid.anchors == 9 for grid in grids(total, core.height, core.width))
    if form is not None and form.form == "centre":
        return None, ""
    around = form is not None
    if told is not None:
        names = {_FAMILY.get(name, name): name for name in KINDS}
        if told not in names or kind not in (None, names[told]):
            return None, ""
        if told in ("ssd", "retinanet") or around or told in ("yolo3", "yolo4", "yolo7"):
            shown = str(form) if form else "its corners are never inverted"
            return names[told], f"its notes name libreyolo's {told}; {shown}"
        return None, ""
    if kind is not None:
        anchored = kind in ("ssd", "retinanet", "yolo3", "yolo4", "yolo7")
        right = {"ssd": is_ssd, "retinanet": is_anchors}.get(kind, around or anchored)
        return (kind, str(form) if form else "`kind` says so") if right else (None, "")
    if not around:
        return None, ""
    return (
        None,
        f"{form}, but {'YOLOv9, v7, v4' if columns_first else 'RTMDet, PP-YOLOE, PicoDet'} and others "
        "share this form",
    )
