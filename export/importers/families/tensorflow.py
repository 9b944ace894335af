"""TensorFlow's detection API through tf2onnx: uint8 ``[N, H, W, 3]`` in, ``detection_boxes`` and others out.

Boxes are ``y1 x1 y2 x2`` as shares of the image, classes are floats that begin at 1 (the API's own
documentation).
The model resizes inside.
"""

from __future__ import annotations

import numpy as np

from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.numbers import are_probabilities, are_whole, falls, inverted_share
from edgevision.export.importers.reading import LETTERBOX, Candidates, Choices, Pixels, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("tensorflow",)
_NAMES = ("detection_boxes", "detection_scores", "detection_classes")


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None. Names find the outputs, and their numbers must agree."""
    if core.layout != "NHWC" or core.dtype != np.uint8:
        return None
    at = {name: [i for i, one in enumerate(core.outputs) if name in one.original] for name in _NAMES}
    if any(len(found) != 1 for found in at.values()):
        return None
    boxes, scores, classes = (at[name][0] for name in _NAMES)
    shapes = [core.outputs[i].shape for i in (boxes, scores, classes)]
    if [len(shape) for shape in shapes] != [3, 2, 2] or shapes[0][2] != 4 or core.outputs[boxes].varies:
        return None
    numbers = core.answers(classes)
    if not are_probabilities(core.answers(boxes)) or inverted_share(core.answers(boxes)) > 0.01:
        return None
    values = core.answers(scores)
    if not are_whole(numbers) or not are_probabilities(values) or not falls(values):
        return None
    total = shapes[0][1]

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        found = decoding.swapped(g, decoding.as_float(g, core.outputs[boxes]))
        found = decoding.from_shares(g, core, found)
        labels = decoding.class_ids(g, core.outputs[classes].name)
        return Candidates(found, decoding.as_float(g, core.outputs[scores]), total, labels)

    return Reading(
        "tensorflow",
        "a detector of TensorFlow's detection API",
        "it takes uint8 [N, H, W, 3]; boxes lie in 0..1, scores fall, classes are whole numbers",
        Pixels(LETTERBOX, std=(1 / 255,) * 3),
        decode,
        "as the detection API has it; it resizes inside",
        size=(720, 1280),
        notes=("label 0 is the background, so the names begin with it",),
        coco_numbers=True,
        first_class=1,
        highest=int(numbers.max(initial=-1)),
    )
