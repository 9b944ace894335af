"""Segmenters: class scores for each pixel ``[1, C, h, w]``, of torchvision, smp, SegFormer and others."""

from __future__ import annotations

import numpy as np

from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.probing import probe_images
from edgevision.export.importers.reading import IMAGENET_STRETCH, RGB_UNIT, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.class_map import add_class_map

KINDS = ("segmenter",)
_SIZE = (512, 512)
_FOLLOWS = 0.5
"""Correlation of three maps with the three channels of noise above which they are an image."""
_HEAT_FACTOR, _KEY_POINTS = 4, (17, 133)
"""Heat maps of COCO's key points, and of those of whole bodies, at a quarter of the input."""


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
    if choices.kind is None and notes.maker(core) is None and _may_be_something_else(core, factor):
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


def _may_be_something_else(core: Core, factor: int) -> bool:
    """Whether the maps may be an image made of the input, or heat maps of a person's key points."""
    maps = core.noise(0)
    if factor == _HEAT_FACTOR and len(maps) in _KEY_POINTS:
        return True
    if factor != 1 or len(maps) != 3:
        return False
    images = probe_images(core.layout, (1, core.height, core.width), core.dtype)["noise"]
    plain = images.astype(np.float64).reshape(images.shape[-3:] if images.ndim > 3 else images.shape)
    plain = plain.transpose(2, 0, 1) if core.layout in ("NHWC", "HWC") else plain
    pairs = zip(maps.reshape(3, -1), plain.reshape(3, -1), strict=True)
    return all(float(np.std(one)) > 0 and abs(np.corrcoef(one, two)[0, 1]) > _FOLLOWS for one, two in pairs)


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
