"""mmdetection's and mmyolo's models by mmdeploy: ``dets [1, n, 5]`` and int64 ``labels [1, n]`` after NMS.

RTMDet, YOLOX, Faster R-CNN and others leave so; what they take is in their configuration, not in the file.
"""

from __future__ import annotations

from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.families.torchvision import padded
from edgevision.export.importers.numbers import are_probabilities, inverted_share
from edgevision.export.importers.reading import RTMDET_TOP_LEFT, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("mmdeploy", "rtmdet-mmdeploy")


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None; the kind rtmdet-mmdeploy says what goes in, too."""
    outputs = list(enumerate(core.outputs))
    dets = [
        i for i, one in outputs if one.dtype.kind == "f" and len(one.shape) in (2, 3) and one.shape[-1] == 5
    ]
    labels = [i for i, one in outputs if one.dtype.kind == "i" and len(one.shape) in (1, 2)]
    if len(outputs) != 2 or len(dets) != 1 or len(labels) != 1 or core.folded:
        return None
    rows, numbers = core.answers(dets[0]), core.answers(labels[0])
    if rows.shape[:-1] != numbers.shape or not rows.size:
        return None
    if not are_probabilities(rows[..., 4]) or inverted_share(rows[..., :4]) > 0.01:
        return None
    varies = core.outputs[dets[0]].varies

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        table = decoding.as_float(g, core.outputs[dets[0]])
        classes = decoding.class_ids(g, core.outputs[labels[0]].name)
        if not varies:
            boxes, scores = decoding.columns(g, table, 0, 4), decoding.column(g, table, 4)
            return Candidates(boxes, scores, core.outputs[dets[0]].shape[1], classes)
        table = decoding.batched(g, table)
        boxes = g("Squeeze", decoding.columns(g, table, 0, 4), g.ints(0))
        return padded(g, boxes, g("Squeeze", decoding.column(g, table, 4), g.ints(0)), classes)

    is_rtmdet = choices.kind == "rtmdet-mmdeploy"
    return Reading(
        choices.kind or "mmdeploy",
        "a detector of mmdetection or mmyolo, by mmdeploy",
        "its rows are corners and a score in 0..1, with an int64 label for each",
        RTMDET_TOP_LEFT if is_rtmdet else None,
        decode,
        "as RTMDet is trained",
        highest=int(numbers.max(initial=-1)),
    )
