"""YOLO as ultralytics exports it: raw ``[1, 4 + C, N]``, or final rows ``[1, N, 6]``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.grids import BoxForm, box_form
from edgevision.export.importers.numbers import (
    are_probabilities,
    are_whole,
    boxes_are_shares,
    check_final_scores,
    class_scores,
    falls,
    inverted_share,
    score_kind,
)
from edgevision.export.importers.reading import RGB_UNIT, RGB_UNIT_TOP_LEFT, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("yolo",)
IOU = 0.7
_INVERTED = 0.01
"""Share of inverted boxes up to which four numbers can be corners; a network's own have none."""
_CENTRED = 0.05
"""Share of boxes that would be inverted corners, below which they are no centres and sizes (.91 measured)."""
_LOGITS = 40.0
"""Class logits stay below; key points and coefficients among the columns do not."""
_FINAL_ROWS = 1000


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None; ``choices.kind`` is set where the user says so.

    Raw outputs are centre, size and a probability for each class, in pixels of the input. Final rows are
    corners, score and class, sorted, with nothing left to suppress. Boxes that are shares of the input are
    scaled, and logits go through a sigmoid; notes say so.
    """
    kind = choices.kind
    if notes.task(core) != "detect" or len(core.outputs[0].shape) != 3:
        return None
    if notes.maker(core) == "libreyolo":
        return _libreyolo_final(core)
    if len(core.outputs) != 1:
        return None
    return _final(core, kind) or _raw(core, kind)


def _told_by(core: Core) -> str:
    return "as its notes say" if notes.maker(core) == "ultralytics" else "as ultralytics exports"


def _raw(core: Core, kind: str | None) -> Reading | None:
    _, width, total = core.outputs[0].shape
    count = notes.name_count(core)
    if width < 5 or (width >= total and (count is None or width != 4 + count)):
        return None
    certain = kind is not None or notes.maker(core) == "ultralytics"
    if count is not None and width != 4 + count and not certain:
        return None
    every = core.answers(0)
    shares = boxes_are_shares(every[:, :4], (core.height, core.width))
    form = _raw_form(core, shares)
    if form is not None and form.form == "corners":
        return None
    if form is None and not certain:
        return None
    classes = every[:, 4:].transpose(0, 2, 1)
    scores = class_scores(classes)
    if kind is not None and scores is None and float(classes.min()) < 0 and float(classes.max()) > _LOGITS:
        return None
    if kind is not None and scores is None:
        scores = score_kind(classes, core.origin)
    if scores is None or (not certain and _last_is_angle(classes)):
        return None
    if form is None and inverted_share(every[:, :4].transpose(0, 2, 1)) < _CENTRED:
        return None
    said = []
    if shares:
        said.append(
            f"its boxes are shares of the input (up to {float(every[:, :4].max()):.3g} on the probe images): "
            f"scaled to {core.width}x{core.height} pixels"
        )
    if scores == "logits":
        said.append(
            f"its class scores are logits ({classes.min():.3g} to {classes.max():.3g} on the probe "
            "images): a "
            "sigmoid is applied"
        )

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0], columns_first=True)
        boxes = decoding.corners(g, decoding.columns(g, table, 0, 4))
        boxes = decoding.from_shares(g, core, boxes) if shares else boxes
        found = decoding.columns(g, table, 4, width)
        found = g("Sigmoid", found) if scores == "logits" else found
        return Candidates(boxes, found, total, classes=width - 4)

    why = "its notes name ultralytics" if notes.maker(core) == "ultralytics" else "`kind` says so"
    return Reading(
        "yolo",
        "YOLO in ultralytics' raw form [1, 4 + C, N]",
        f"{form}" if form is not None else why,
        RGB_UNIT,
        decode,
        _told_by(core),
        classes=width - 4,
        iou=IOU,
        notes=tuple(said),
    )


def _raw_form(core: Core, shares: bool) -> BoxForm | None:
    boxes = core.noise(0)[:4].T
    if shares:
        boxes = boxes * np.array([core.width, core.height] * 2)
    return box_form(boxes, core.height, core.width)


def _last_is_angle(classes: NDArray[Any]) -> bool:
    """Whether the last of the class columns is an angle: far from 0 on noise while the others are near it."""
    if classes.shape[-1] < 2:
        return False
    medians = np.abs(np.median(classes.reshape(-1, classes.shape[-1]), axis=0))
    return bool(medians[-1] > 0.3 and medians[:-1].max() < 0.1)


def _final(core: Core, kind: str | None) -> Reading | None:
    _, total, width = core.outputs[0].shape
    if width != 6 or total > _FINAL_ROWS:
        return None
    every = core.answers(0)
    if not are_whole(every[..., 5]) or (kind is None and not falls(every[..., 4])):
        return None
    if kind is not None:
        check_final_scores(every[..., 4], core.origin)
    elif not are_probabilities(every[..., 4]):
        return None
    if inverted_share(every[..., :4]) > _INVERTED:
        return None
    certain = kind is not None or notes.maker(core) == "ultralytics"
    if not certain and not np.abs(every).any():
        return None  # rows of nothing only: the numbers say nothing
    shares = boxes_are_shares(every[..., :4], (core.height, core.width))
    said: tuple[str, ...] = ()
    if shares:
        said = (
            f"its boxes are shares of the input (up to {float(every[..., :4].max()):.3g} on the probe "
            "images): "
            f"scaled to {core.width}x{core.height} pixels",
        )
    return Reading(
        "yolo",
        "YOLO's final rows [1, N, 6]",
        "its rows are sorted by score, their corners are never inverted and their classes are whole numbers",
        RGB_UNIT,
        _decode_final(0, total, shares),
        _told_by(core),
        notes=said,
        highest=int(every[..., 5].max(initial=-1)),
    )


def _decode_final(output: int, total: int, shares: bool) -> Any:
    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[output])
        boxes = decoding.columns(g, table, 0, 4)
        boxes = decoding.from_shares(g, core, boxes) if shares else boxes
        labels = decoding.class_ids(g, decoding.column(g, table, 5))
        return Candidates(boxes, decoding.column(g, table, 4), total, labels)

    return decode


def _libreyolo_final(core: Core) -> Reading | None:
    """libreyolo's ``nms=True``: final rows, and the raw output after them."""
    total, width = core.outputs[0].shape[1:]
    every = core.answers(0)
    if len(core.outputs) != 2 or width != 6 or total > _FINAL_ROWS or not notes.family(core):
        return None
    known = {"yolo9": RGB_UNIT_TOP_LEFT, "yolo9_e2e": RGB_UNIT_TOP_LEFT, "yolo7": RGB_UNIT_TOP_LEFT}
    if inverted_share(every[..., :4]) > _INVERTED or not are_whole(every[..., 5]):
        return None
    return Reading(
        "yolo",
        f"libreyolo's {notes.family(core)} with NMS inside",
        "its notes name libreyolo, and its rows are corners, a score and a whole class number",
        known.get(notes.family(core) or ""),
        _decode_final(0, total, shares=False),
        "as its notes say",
        highest=int(every[..., 5].max(initial=-1)),
    )
