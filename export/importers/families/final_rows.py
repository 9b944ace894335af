"""Rows after NMS, as many as there are: ``[n, 7]`` with the image's number first, of YOLOv7 and YOLO-NAS.

YOLOv7 writes class, then score; YOLO-NAS score, then class. The column of whole numbers is the class, where
some
score is below 1; a file that finds nothing in the probe images cannot be read so.
"""

from __future__ import annotations

import numpy as np

from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.families.torchvision import padded
from edgevision.export.importers.numbers import are_probabilities, are_whole, inverted_share
from edgevision.export.importers.reading import RGB_UNIT, Candidates, Choices, Pixels, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("yolov7-end2end", "yolonas-end2end")


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None; ``choices.kind`` is set where the user says so."""
    shape = core.outputs[0].shape
    if len(core.outputs) != 1 or len(shape) != 2 or shape[1] != 7:
        return None
    rows = core.answers(0)
    rows = rows[~(rows == -1).all(axis=1)]
    kind = choices.kind
    if len(rows):
        if not (rows[:, 0] == 0).all() or inverted_share(rows[:, 1:5]) > 0.01:
            return None
        whole = [are_whole(rows[:, i]) for i in (5, 6)]
        probable = [are_probabilities(rows[:, i]) for i in (5, 6)]
        fits = {
            "yolov7-end2end": whole[0] and probable[1],
            "yolonas-end2end": whole[1] and probable[0],
        }
        readings = [name for name, fit in fits.items() if fit]
        if kind is None and len(readings) != 1:
            return None
        kind = kind or readings[0]
        if not fits.get(kind):
            return None
        column = 5 if whole[0] else 6
        why = f"{len(rows)} rows on the probe images: the whole numbers of column {column} are classes"
    elif kind is None:
        return None
    else:
        why = "`kind` says so; it finds nothing in the probe images"
    class_first = kind == "yolov7-end2end"
    pixels = RGB_UNIT if class_first or core.dtype != np.uint8 else Pixels()

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.batched(g, decoding.as_float(g, core.outputs[0]))
        boxes = g("Squeeze", decoding.columns(g, table, 1, 5), g.ints(0))
        first, second = (g("Squeeze", decoding.column(g, table, i), g.ints(0)) for i in (5, 6))
        scores, labels = (second, first) if class_first else (first, second)
        return padded(g, boxes, scores, decoding.class_ids(g, labels))

    return Reading(
        kind,
        "YOLOv7 end to end (class, score)" if class_first else "YOLO-NAS end to end (score, class)",
        why,
        pixels,
        decode,
        highest=int(rows[:, 5 if class_first else 6].max(initial=-1)),
    )
