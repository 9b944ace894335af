"""torchvision's detectors: an image ``[3, H, W]`` of any size in; boxes, labels and scores after NMS out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, numpy_helper

from edgevision.contract.manifest import MaskForm, Task
from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.ends import cut
from edgevision.export.importers.families.yolo_tasks import skeleton
from edgevision.export.importers.numbers import are_probabilities, are_whole, inverted_share
from edgevision.export.importers.reading import IMAGENET_MEAN, LETTERBOX, Candidates, Choices, Pixels, Reading
from edgevision.graph.builder import GraphBuilder

KINDS = ("torchvision",)
_SIZE = (720, 1280)
_KEPT = 300
_PASTING = 80
"""Nodes from the end among which the masks are pasted into the image."""


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
    further = _Further.of(core)

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        return padded(
            g,
            decoding.as_float(g, core.outputs[boxes[0]]),
            decoding.as_float(g, core.outputs[scores[0]]),
            decoding.class_ids(g, core.outputs[labels[0]].name),
            further=further.rows(g, core),
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
        task=further.task,
        masks=further.masks(core),
        skeleton=skeleton(further.points) if further.points else None,
    )


@dataclass(frozen=True, slots=True)
class _Further:
    """What stands beside the boxes: masks ``[n, 1, H, W]`` of the whole image, or key points ``[n, J, 3]``.

    Masks are taken as the network gives them, over their boxes, before the graph pastes them into the image;
    where that tensor is not found, those of the whole image at a quarter of the size. The score of a key
    point is the peak of its heat map through a sigmoid; torchvision itself leaves the peak as it is.

    Attributes:
        mask, point, peak: positions of the outputs.
        points: J.
        small: the tensor ``[n, 1, h, w]`` before pasting, and its h and w.
    """

    mask: int | None
    point: int | None
    peak: int | None
    points: int
    small: tuple[str, int, int] | None = None

    @classmethod
    def of(cls, core: Core) -> _Further:
        """What a network's outputs hold."""
        shapes = [output.shape for output in core.outputs]
        masks = [i for i, shape in enumerate(shapes) if len(shape) == 4 and shape[1] == 1]
        points = [i for i, shape in enumerate(shapes) if len(shape) == 3 and shape[2] == 3]
        known = [shapes[i][1] for i in points]
        peaks = [i for i, shape in enumerate(shapes) if len(shape) == 2 and shape[1:] == tuple(known[:1])]
        if not peaks:
            mask = masks[0] if masks else None
            return cls(mask, None, None, 0, None if mask is None else _before_pasting(core, mask))
        return cls(None, points[0], peaks[0], known[0])

    @property
    def task(self) -> Task:
        """The contract's task."""
        if self.points:
            return "pose"
        return "detection" if self.mask is None else "instance-segmentation"

    def masks(self, core: Core) -> MaskForm | None:
        """The contract's form of the masks."""
        if self.mask is None:
            return None
        if self.small is not None:
            return MaskForm(form="box", width=self.small[2], height=self.small[1], threshold=0.5)
        return MaskForm(form="input", width=core.width // 4, height=core.height // 4, threshold=0.5)

    def rows(self, g: GraphBuilder, core: Core) -> dict[str, str]:
        """Outputs of the contract, ``[n + kept, ...]``."""
        if self.point is not None and self.peak is not None:
            places = g(
                "Slice", decoding.as_float(g, core.outputs[self.point]), g.ints(0), g.ints(2), g.ints(2)
            )
            peaks = g("Sigmoid", decoding.as_float(g, core.outputs[self.peak]))
            return {"keypoints": _longer(g, g("Concat", places, g("Unsqueeze", peaks, g.ints(2)), axis=2))}
        if self.mask is None:
            return {}
        if self.small is not None:
            small = g("Cast", g("Squeeze", self.small[0], g.ints(1)), to=TensorProto.FLOAT)
            return {"masks": _longer(g, small)}
        whole = g("Squeeze", decoding.as_float(g, core.outputs[self.mask]), g.ints(1))
        height, width = core.height // 4, core.width // 4
        whole = g("Slice", whole, g.ints(0, 0), g.ints(4 * height, 4 * width), g.ints(1, 2))
        blocks = g("Reshape", whole, g.ints(-1, height, 4, width, 4))
        return {"masks": _longer(g, g("ReduceMean", blocks, g.ints(2, 4), keepdims=0))}


def _before_pasting(core: Core, mask: int) -> tuple[str, int, int] | None:
    """The masks over their boxes that those of the whole image are made of: name, height and width.

    Of the tensors ``[n, 1, h, w]`` that lead there, the last without padding whose values lie in 0..1 and
    that is smaller than the image; pasting interpolates, so the masks of the image reach no higher.
    """
    leading = cut(core.model, [core.outputs[mask].name]).graph.node
    ways = [node.output[0] for node in leading if node.op_type != "Pad"][::-1][:_PASTING]
    found = core.within("noise", ways)
    answer = core.probes["noise"][mask]
    rows, peak = len(answer), float(answer.max(initial=0))
    for name in ways:
        values = found[name]
        if values.ndim != 4 or values.shape[:2] != (rows, 1) or values.dtype.kind != "f":
            continue
        height, width = values.shape[2:]
        if max(height, width) < max(core.height, core.width) and are_probabilities(values):
            return (name, height, width) if peak <= float(values.max(initial=0)) + 1e-3 else None
    return None


def _longer(g: GraphBuilder, rows: str) -> str:
    """``[n, a, b]`` with ``kept`` rows of zeros more, as :func:`padded` adds to the boxes."""
    return g("Pad", rows, g.ints(0, 0, 0, _KEPT, 0, 0), g.constant(0.0, np.float32))


def padded(
    g: GraphBuilder, boxes: str, scores: str, labels: str, further: Mapping[str, str] | None = None
) -> Candidates:
    """As many rows as a network finds, and more: ``[n, 4]``, ``[n]`` and ``[n]`` to a batch of one.

    ``further`` has its rows added already.
    """
    kept = _KEPT
    more = g.constant(np.zeros((kept, 4)), np.float32)
    none = g.constant(np.full(kept, -1.0), np.float32)
    zeros = g.constant(np.zeros(kept), np.int64)
    return Candidates(
        decoding.batched(g, g("Concat", boxes, more, axis=0)),
        decoding.batched(g, g("Concat", scores, none, axis=0)),
        kept,
        decoding.batched(g, g("Concat", labels, zeros, axis=0)),
        further={name: decoding.batched(g, rows) for name, rows in (further or {}).items()},
    )


def _holds_mean(core: Core) -> bool:
    for constant in core.model.graph.initializer:
        if constant.data_type in (1, 10, 11) and np.prod(constant.dims, initial=1) == 3:
            values = numpy_helper.to_array(constant).ravel()
            if np.allclose(values, IMAGENET_MEAN, atol=2e-3):
                return True
    return False
