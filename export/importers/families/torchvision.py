"""torchvision's detectors: an image ``[3, H, W]`` of any size in, ``boxes``, ``labels``, ``scores`` after "
"NMS out."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.numbers import are_probabilities, are_whole, inverted_share
from edgevision.export.importers.reading import IMAGENET_MEAN, LETTERBOX, Candidates, Choices, Pixels, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("torchvision",)
_SIZE = (720, 1280)
_KEPT = 300


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None.

    Names and order of the outputs are free; types and numbers say which is which. ImageNet's mean stands in
    the
    graph of torchvision's own models, so they take plain RGB; without it the user says what goes in.
    """
    outputs = list(enumerate(core.outputs))
    if core.layout != "CHW" or core.folded or len(outputs) < 3:
        return None
    boxes = [
        i
        for i, output in outputs
        if len(output.shape) == 2 and output.shape[1] == 4 and output.dtype.kind == "f"
    ]
    labels = [i for i, output in outputs if len(output.shape) == 1 and output.dtype.kind == "i"]
    scores = [i for i, output in outputs if len(output.shape) == 1 and output.dtype.kind == "f"]
    if len(boxes) != 1 or len(labels) != 1 or len(scores) < 1:
        return None
    if not are_probabilities(core.answers(scores[0])) or not are_whole(core.answers(labels[0])):
        return None
    if inverted_share(core.answers(boxes[0])) > 0.01:
        return None
    inside = _holds_mean(core)

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        return padded(
            g,
            decoding.as_float(g, core.outputs[boxes[0]]),
            decoding.as_float(g, core.outputs[scores[0]]),
            decoding.class_ids(g, core.outputs[labels[0]].name),
        )

    return Reading(
        "torchvision",
        "a detector of torchvision's, size and mean inside" if inside else "a detector in torchvision's form",
        f"it takes [3, H, W] and answers corners, whole labels and scores; ImageNet's mean is "
        f"{'' if inside else 'not '}in its graph",
        Pixels(LETTERBOX) if inside else None,
        decode,
        size=_SIZE,
        notes=("label 0 is the background, so the names begin with it",),
        coco_numbers=True,
        first_class=1,
        highest=int(core.answers(labels[0]).max(initial=-1)),
    )


def padded(g: GraphBuilder, boxes: str, scores: str, labels: str, kept: int = _KEPT) -> Candidates:
    """As many rows as a network finds, to at least ``kept``: ``[n, 4]``, ``[n]`` and ``[n]`` to a batch "
    "of one."""
    more = g.constant(np.zeros((kept, 4)), np.float32)
    none = g.constant(np.full(kept, -1.0), np.float32)
    zeros = g.constant(np.zeros(kept), np.int64)
    return Candidates(
        decoding.batched(g, g("Concat", boxes, more, axis=0)),
        decoding.batched(g, g("Concat", scores, none, axis=0)),
        kept,
        decoding.batched(g, g("Concat", labels, zeros, axis=0)),
    )


def _holds_mean(core: Core) -> bool:
    for constant in core.model.graph.initializer:
        if constant.data_type in (1, 10, 11) and np.prod(constant.dims, initial=1) == 3:
            values = numpy_helper.to_array(constant).ravel()
            if np.allclose(values, IMAGENET_MEAN, atol=2e-3):
                return True
    return False
