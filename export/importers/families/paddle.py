"""PaddleDetection's models with NMS inside: rows ``[n, 6]`` of class, score, corners; ``scale_factor``."""

from __future__ import annotations

import numpy as np

from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.families.torchvision import padded
from edgevision.export.importers.numbers import are_probabilities, are_whole, inverted_share
from edgevision.export.importers.reading import Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("paddle",)


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None.

    Corners follow ``scale_factor``: half the factors make them twice as large, which shows that they are
    pixels
    of the image and not of the input.
    """
    tables = [i for i, one in enumerate(core.outputs) if len(one.shape) == 2 and one.shape[1] == 6]
    if "scale_factor" not in core.folded or len(tables) != 1:
        return None
    (at,) = tables
    rows = core.answers(at)
    real = rows[rows[:, 0] >= 0]
    if not len(real) or not are_whole(real[:, 0]) or not are_probabilities(real[:, 1]):
        return None
    if inverted_share(real[:, 2:]) > 0.01:
        return None
    factors = core.folded["scale_factor"]
    halved = np.asarray(core.with_folded("scale_factor", factors / 2)[at], np.float64)
    before = np.asarray(core.probes["noise"][at], np.float64)
    if halved.shape != before.shape or not np.allclose(halved[:, 2:], 2 * before[:, 2:], rtol=0.02, atol=2):
        return None

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.batched(g, decoding.as_float(g, core.outputs[at]))
        boxes = g("Squeeze", decoding.columns(g, table, 2, 6), g.ints(0))
        labels, scores = (g("Squeeze", decoding.column(g, table, i), g.ints(0)) for i in (0, 1))
        return padded(g, boxes, scores, decoding.class_ids(g, labels))

    return Reading(
        "paddle",
        "a detector of PaddleDetection with NMS inside",
        "its rows are a whole class, a score and corners, which follow scale_factor",
        None,
        decode,
        notes=("PP-YOLOE and PicoDet take RGB, ImageNet's mean, stretch; PP-YOLOE+ RGB, 0..1, stretch",),
        highest=int(real[:, 0].max()),
    )
