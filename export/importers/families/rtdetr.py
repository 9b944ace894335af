"""RT-DETR of ultralytics: ``[1, Q, 6]`` or, older, ``[1, Q, 4 + C]``; centre and size as shares."""

from __future__ import annotations

import numpy as np

from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.grids import box_form
from edgevision.export.importers.numbers import are_probabilities, are_whole, inverted_share
from edgevision.export.importers.reading import RGB_UNIT_STRETCH, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("rtdetr",)
_INVERTED = 0.2
"""Share of boxes that would be inverted corners, from which they are centre and size."""


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None. It stretches, as no other model of ultralytics does."""
    if len(core.outputs) != 1 or len(core.outputs[0].shape) != 3 or notes.task(core) != "detect":
        return None
    if notes.maker(core) == "libreyolo":
        return None
    total, width = core.outputs[0].shape[1:]
    count = notes.name_count(core)
    every = core.answers(0)
    boxes = every[..., :4]
    if width < 5 or float(np.abs(boxes).max(initial=0)) > 1.1 or float(boxes.min(initial=0)) < -0.1:
        return None
    if inverted_share(boxes) < _INVERTED or not boxes.any():
        return None
    final = width == 6 and are_whole(every[..., 5]) and count != 2
    if not final and (not are_probabilities(every[..., 4:]) or (count is not None and count != width - 4)):
        return None
    if not are_probabilities(every[..., 4]):
        return None
    scaled = core.noise(0)[:, :4] * np.array([core.width, core.height] * 2)
    if box_form(scaled, core.height, core.width) is not None:
        return None  # a dense detector whose boxes are shares
    if not final and choices.kind is None and notes.maker(core) is None:
        return None  # nothing says that these are queries

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0])
        boxes = decoding.corners(g, decoding.columns(g, table, 0, 4))
        boxes = decoding.from_shares(g, core, boxes)
        if final:
            labels = decoding.class_ids(g, decoding.column(g, table, 5))
            return Candidates(boxes, decoding.column(g, table, 4), total, labels)
        return Candidates(boxes, decoding.columns(g, table, 4, width), total, classes=width - 4)

    share = inverted_share(boxes)
    return Reading(
        "rtdetr",
        "RT-DETR in ultralytics' form",
        f"its boxes lie in 0..1, and {share:.0%} of them would be inverted if they were corners",
        RGB_UNIT_STRETCH,
        decode,
        "as ultralytics exports RT-DETR",
        classes=None if final else width - 4,
        several=not final,
        highest=int(every[..., 5].max(initial=-1)) if final else -1,
    )
