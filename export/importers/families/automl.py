"""EfficientDet of Google's automl: uint8 ``[1, H, W, 3]`` in, ``detections [1, 100, 7]`` after NMS out.

Rows are the image's number, four corners in pixels of the image, score, and a class that begins at 1. The
older code writes y first, that for TensorFlow 2 x first, which only an input that is not square may show.
"""

from __future__ import annotations

import numpy as np

from edgevision.errors import UsageError
from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.numbers import are_probabilities, are_whole, falls, inverted_share
from edgevision.export.importers.reading import LETTERBOX, RAW_STD, Candidates, Choices, Pixels, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("automl", "automl-tf2")


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None.

    Raises:
        UsageError: it is of this form, and neither numbers nor the user say whether y or x comes first.
    """
    shape = core.outputs[0].shape
    if core.layout != "NHWC" or core.dtype != np.uint8 or len(core.outputs) != 1:
        return None
    if len(shape) != 3 or shape[2] != 7 or core.outputs[0].varies:
        return None
    rows = core.answers(0)
    boxes, scores, labels = rows[..., 1:5], rows[..., 5], rows[..., 6]
    if not are_whole(labels) or not are_whole(rows[..., 0]) or not are_probabilities(scores):
        return None
    if not falls(scores) or inverted_share(boxes) > 0.01 or float(np.ptp(rows[..., 0], axis=-1).max()) > 0:
        return None
    kind = choices.kind or _order(core, boxes)
    if kind is None:
        raise UsageError(
            f"{core.origin} holds rows of EfficientDet of Google's automl (image, box, score, class), and "
            f"its input of {core.width}x{core.height} does not show whether boxes begin with y or x: pass "
            "`kind` automl (y first, the code for TensorFlow 1) or automl-tf2 (x first)"
        )
    shown = _order(core, boxes)
    if shown not in (None, kind):
        return None
    total = shape[1]

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0])
        found = decoding.columns(g, table, 1, 5)
        found = decoding.swapped(g, found) if kind == "automl" else found
        return Candidates(
            found, decoding.column(g, table, 5), total, decoding.class_ids(g, decoding.column(g, table, 6))
        )

    order = "y" if kind == "automl" else "x"
    return Reading(
        kind,
        "EfficientDet of Google's automl",
        "its rows are a number, corners, a falling score and a whole class; "
        + (f"their reach shows {order} first" if shown else f"`kind` says {order} first"),
        Pixels(LETTERBOX, std=RAW_STD),
        decode,
        "as automl exports; it resizes inside",
        size=(720, 1280),
        notes=("label 0 is the background, so the names begin with it",),
        coco_numbers=True,
        first_class=1,
        highest=int(labels.max(initial=-1)),
    )


def _order(core: Core, boxes: np.ndarray) -> str | None:
    """The kind whose order the boxes' reach shows: only those of the longer side pass the shorter one."""
    if core.height == core.width:
        return None
    reach = boxes.reshape(-1, 4).max(axis=0, initial=0)
    passing = reach > min(core.height, core.width) + 1
    first, second = bool(passing[[0, 2]].any()), bool(passing[[1, 3]].any())
    if first == second:
        return None
    long_is_x = core.width > core.height
    return "automl-tf2" if first == long_is_x else "automl"
