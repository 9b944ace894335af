"""PicoDet (Yu et al. 2021, arXiv:2111.00902), as PaddleDetection exports it without its postprocessing."""

from __future__ import annotations

import math

import numpy as np

from edgevision.contract.manifest import NmsLimits, Resize
from edgevision.export.importers import common
from edgevision.export.importers.core import Core
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.retinanet import add_detection_outputs
from edgevision.types import FloatArray

STRIDES = (8, 16, 32, 64)
IOU_THRESHOLD = 0.6
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def wrap(core: Core, name: str, classes: tuple[str, ...] | None, licence: str | None) -> common.Wrapping:
    """What goes before and after the network, and the contract.

    See :func:`edgevision.export.importers.import_model` for the arguments.

    Each cell predicts the distance from its centre to each side as a distribution over whole strides
    (generalised focal loss, Li et al. 2020, arXiv:2006.04388), and is given its best class only.
    """
    grids = [(math.ceil(core.height / stride), math.ceil(core.width / stride)) for stride in STRIDES]
    cells = [rows * columns for rows, columns in grids]
    count, bins = _check(core, cells)
    nms = NmsLimits("cluster", IOU_THRESHOLD, min(common.CANDIDATES, sum(cells)), common.ROUNDS)
    names = common.class_names(core, classes, count)
    manifest = common.detector_manifest(core, name, names, Resize("stretch"), nms, licence)

    before, g = GraphBuilder("pre/"), GraphBuilder("post/")
    common.add_input(before, core, _MEAN, _STD)
    levels = len(STRIDES)
    tensors = [common.as_float(g, output) for output in core.outputs]
    answers = np.concatenate(core.answers[:levels], axis=1)
    every, notes = common.as_probabilities(g, core, g("Concat", *tensors[:levels], axis=1), answers)
    scores, labels = common.add_best_class(g, every)
    sides = g("Reshape", g("Concat", *tensors[levels:], axis=1), g.ints(0, -1, 4, bins))
    expected = g("MatMul", g("Softmax", sides, axis=3), g.constant(np.arange(bins), np.float32))
    centres, strides = _cells(grids)
    near, far = g.many("Split", 2, g("Mul", expected, g.constant(strides, np.float32)), g.ints(2, 2), axis=2)
    middle = g.constant(centres, np.float32)
    boxes = common.add_cut(g, g("Sub", middle, near), g("Add", middle, far), core)
    add_detection_outputs(g, boxes, scores, labels, sum(cells), manifest)
    return common.Wrapping(before, g, manifest, notes)


def _check(core: Core, cells: list[int]) -> tuple[int, int]:
    """Number of classes and of bins a side.

    Raises:
        ExportError: the outputs are not scores of four levels and then their distributions.
    """
    expected = ", ".join([f"[1, {n}, C]" for n in cells] + [f"[1, {n}, 4 * bins]" for n in cells])
    shapes = [output.shape for output in core.outputs]
    if len(shapes) == 2 * len(cells) and all(len(shape) == 3 for shape in shapes):
        levels = len(cells)
        classes, sides = {shape[2] for shape in shapes[:levels]}, {shape[2] for shape in shapes[levels:]}
        rows = [shape[1] for shape in shapes]
        if rows == 2 * cells and len(classes) == len(sides) == 1 and min(sides) % 4 == 0:
            return classes.pop(), sides.pop() // 4
    raise core.refuse("PicoDet", expected)


def _cells(grids: list[tuple[int, int]]) -> tuple[FloatArray, FloatArray]:
    """Centres ``[1, M, 2]`` in input pixels and strides ``[1, M, 1]``, level by level, rows first."""
    centres, strides = [], []
    for (rows, columns), stride in zip(grids, STRIDES, strict=True):
        y, x = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
        centres.append(np.stack([x, y], axis=-1).reshape(-1, 2) * stride)
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(strides).astype(np.float32)
