"""Classifiers: one score for each class, ``[1, C]``."""

from __future__ import annotations

import numpy as np

from edgevision.contract.manifest import Resize
from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.numbers import are_probabilities
from edgevision.export.importers.reading import Candidates, Choices, Pixels, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("classifier",)


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None.

    Probabilities that sum to 1 have gone through a softmax; other numbers go through one here, unless all lie
    in 0..1, which is a probability for each class by itself. ultralytics' classifiers take the middle of the
    image (measured); of others nothing tells what they take.
    """
    shape = core.outputs[0].shape
    if len(core.outputs) != 1 or len(shape) != 2 or shape[1] < 2 or core.outputs[0].varies:
        return None
    count = notes.name_count(core)
    if core.metadata.get("task", "classify") != "classify" or core.outputs[0].dtype.kind != "f":
        return None
    if count is not None and count != shape[1]:
        return None
    every = core.answers(0)
    done = are_probabilities(every)
    sums = bool(np.abs(every.sum(axis=1) - 1).max() < 5e-3) if done else False
    how = "sum to 1" if sums else "lie in 0..1 each" if done else "are logits: a softmax is applied"

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        values = decoding.as_float(g, core.outputs[0])
        g("Identity", values, out="probabilities") if done else g(
            "Softmax", values, axis=1, out="probabilities"
        )
        return Candidates("", "", 0, classes=shape[1])

    told = notes.maker(core) == "ultralytics"
    return Reading(
        "classifier",
        "a classifier",
        f"its one output [1, {shape[1]}] holds numbers that {how}",
        Pixels(Resize("crop")) if told else None,
        decode,
        "as its notes say (ultralytics)",
        classes=shape[1],
        task="classification",
        multi_label=done and not sums,
    )
