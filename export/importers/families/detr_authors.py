"""RT-DETR, D-FINE, DEIM of their authors: ``labels, boxes, scores``, with ``orig_target_sizes``."""

from __future__ import annotations

import numpy as np

from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.numbers import are_probabilities, are_whole, inverted_share
from edgevision.export.importers.reading import RGB_UNIT_STRETCH, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("dfine",)
_SIZES = "orig_target_sizes"


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None.

    That doubling the first of the two sizes doubles x, and y stays, shows that they are width and height; the
    graph then answers pixels of its own input.
    """
    shapes = [output.shape for output in core.outputs]
    if _SIZES not in core.folded or len(shapes) != 3 or sorted(map(len, shapes)) != [2, 2, 3]:
        return None
    (boxes_at,) = (i for i, shape in enumerate(shapes) if len(shape) == 3)
    labels_at = [i for i, output in enumerate(core.outputs) if output.dtype.kind == "i" and i != boxes_at]
    if shapes[boxes_at][2] != 4 or len(labels_at) != 1:
        return None
    scores_at = 3 - boxes_at - labels_at[0]
    if not are_probabilities(core.answers(scores_at)) or not are_whole(core.answers(labels_at[0])):
        return None
    if inverted_share(core.answers(boxes_at)) > 0.01:
        return None
    wider = core.with_folded(_SIZES, core.folded[_SIZES] * np.array([2, 1], core.folded[_SIZES].dtype))
    before, after = core.noise(boxes_at), np.asarray(wider[boxes_at], np.float64)[0]
    factors = np.array([2, 1, 2, 1])
    turned = not np.allclose(after, before * factors, rtol=1e-3, atol=0.05)
    if turned and not np.allclose(after, before * factors[::-1], rtol=1e-3, atol=0.05):
        return None
    if turned and core.height != core.width:
        return None  # height comes first there, which no known exporter writes
    total = shapes[boxes_at][1]

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        labels = decoding.class_ids(g, core.outputs[labels_at[0]].name)
        scores = decoding.as_float(g, core.outputs[scores_at])
        return Candidates(decoding.as_float(g, core.outputs[boxes_at]), scores, total, labels)

    return Reading(
        "dfine",
        "RT-DETR, D-FINE or DEIM of their authors",
        f"its boxes follow {_SIZES}: doubling the first number doubles {'y' if turned else 'x'} only",
        RGB_UNIT_STRETCH,
        decode,
        "as their training does (D-FINE's own ONNX demo letterboxes instead)",
        highest=int(core.answers(labels_at[0]).max(initial=-1)),
        coco_numbers=True,
    )
