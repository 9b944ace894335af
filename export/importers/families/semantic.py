"""Segmenters: class scores for each pixel ``[1, C, h, w]``, of torchvision, smp, SegFormer and others."""

from __future__ import annotations

from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.reading import IMAGENET_STRETCH, RGB_UNIT, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.class_map import add_class_map

KINDS = ("segmenter",)
_SIZE = (512, 512)


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None.

    A second output of the same shape is an auxiliary head, which only training uses.
    """
    ids = _class_ids(core)
    if ids is not None:
        return ids
    shapes = [output.shape for output in core.outputs]
    if not shapes or len(shapes[0]) != 4 or any(shape != shapes[0] for shape in shapes) or len(shapes) > 2:
        return None
    _, classes, height, width = shapes[0]
    factor = core.height // height if height else 0
    if factor not in (1, 2, 4, 8) or (height * factor, width * factor) != (core.height, core.width):
        return None
    if (
        classes == 1
        or classes > 256
        or core.outputs[0].dtype.kind != "f"
        or notes.task(core) not in ("detect", "semantic")
    ):
        return None

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        add_class_map(g, decoding.as_float(g, core.outputs[0]), factor)
        return Candidates("", "", 0, classes=classes)

    shown = "the size of its input" if factor == 1 else f"a {factor}th of its input's size"
    return Reading(
        "segmenter",
        "a segmenter with a score for each class and pixel",
        f"its output [1, {classes}, {height}, {width}] has {shown}",
        IMAGENET_STRETCH,
        decode,
        "as torchvision, segmentation_models_pytorch and SegFormer train",
        classes=classes,
        size=_SIZE,
        task="segmentation",
        notes=(
            "what a segmenter takes cannot be read from its numbers: `colours`, `scale` and `resize` "
            "change it",
        ),
    )


def _class_ids(core: Core) -> Reading | None:
    """ultralytics' semantic export: class numbers, uint8 ``[1, H, W]``."""
    shape = core.outputs[0].shape
    if (
        len(core.outputs) != 1
        or shape[1:] != (core.height, core.width)
        or core.outputs[0].dtype.kind not in "iu"
    ):
        return None
    if notes.task(core) != "semantic":
        return None

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        as_float = g("Cast", core.outputs[0].name, to=1)
        g("Cast", as_float, to=2, out="class_map")
        return Candidates("", "", 0)

    return Reading(
        "segmenter",
        "ultralytics' semantic segmenter",
        "its notes name the task semantic, and its output is one class number a pixel",
        RGB_UNIT,
        decode,
        "as its notes say",
        classes=notes.name_count(core),
        task="segmentation",
    )
