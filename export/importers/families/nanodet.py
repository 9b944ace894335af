"""NanoDet-Plus and NanoDet: ``[1, N, C + 4 * bins]``, class scores first, sides as logits over whole strides.

NanoDet-Plus counts from the top left corner of its cells, on four levels; NanoDet from their middle, on three
(both projects' own demos).
"""

from __future__ import annotations

import numpy as np

from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.grids import grids
from edgevision.export.importers.numbers import are_probabilities
from edgevision.export.importers.reading import RTMDET_STRETCH, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("nanodet",)
BINS = 8


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None."""
    if len(core.outputs) != 1 or len(core.outputs[0].shape) != 3 or notes.task(core) != "detect":
        return None
    total, width = core.outputs[0].shape[1:]
    classes = width - 4 * BINS
    count = notes.name_count(core)
    found = [
        grid
        for grid in grids(total, core.height, core.width)
        if grid.anchors == 1 and grid.strides in ((8, 16, 32, 64), (8, 16, 32))
    ]
    if classes < 1 or not found or (count is not None and count != classes):
        return None
    every = core.answers(0)
    sides = every[..., classes:]
    if not are_probabilities(every[..., :classes]) or are_probabilities(sides) or float(sides.min()) >= 0:
        return None
    if float(np.abs(sides).max()) > 100:
        return None  # pixels, not logits
    grid = found[0]
    plus = len(grid.strides) == 4
    points = grid.centres - grid.stride / 2 if plus else grid.centres

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.rows(g, core.outputs[0])
        logits = g("Reshape", decoding.columns(g, table, classes, width), g.ints(0, -1, 4, BINS))
        expected = g("MatMul", g("Softmax", logits, axis=3), g.constant(np.arange(BINS), np.float32))
        sides = g("Mul", expected, g.constant(grid.stride[None], np.float32))
        near, far = g.many("Split", 2, sides, g.ints(2, 2), axis=2)
        middle = g.constant(points[None], np.float32)
        boxes = g("Concat", g("Sub", middle, near), g("Add", middle, far), axis=2)
        return Candidates(boxes, decoding.columns(g, table, 0, classes), total, classes=classes)

    return Reading(
        "nanodet",
        "NanoDet-Plus" if plus else "NanoDet",
        f"{total} rows are {grid}; the first {classes} columns lie in 0..1, the last {4 * BINS} are logits "
        f"({sides.min():.3g} to {sides.max():.3g})",
        RTMDET_STRETCH,
        decode,
        classes=classes,
        iou=0.6,
    )
