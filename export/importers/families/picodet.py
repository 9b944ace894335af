"""PicoDet (Yu et al. 2021, arXiv:2111.00902), as PaddleDetection exports it without its postprocessing."""

from __future__ import annotations

import math

import numpy as np

from edgevision.export.importers import decoding
from edgevision.export.importers.core import Core
from edgevision.export.importers.numbers import class_scores, score_kind
from edgevision.export.importers.reading import IMAGENET_STRETCH, Candidates, Choices, Reading
from edgevision.graph.builder import GraphBuilder
from edgevision.types import FloatArray

KINDS = ("picodet",)
STRIDES = (8, 16, 32, 64)
IOU = 0.6


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None; ``choices.kind`` is set where the user says so.

    Each cell predicts the distance from its centre to each side as a distribution over whole strides
    (generalised focal loss, Li et al. 2020, arXiv:2006.04388).
    """
    grids = [(math.ceil(core.height / stride), math.ceil(core.width / stride)) for stride in STRIDES]
    cells = [rows * columns for rows, columns in grids]
    expected = ", ".join([f"[1, {n}, C]" for n in cells] + [f"[1, {n}, 4 * bins]" for n in cells])
    levels = len(STRIDES)
    shapes = [output.shape for output in core.outputs]
    classes, sides = (
        {shape[-1] for shape in part if len(shape) == 3} for part in (shapes[:levels], shapes[levels:])
    )
    fits = (
        len(shapes) == 2 * levels
        and [shape[1] for shape in shapes if len(shape) == 3] == 2 * cells
        and len(classes) == len(sides) == 1
        and min(sides) % 4 == 0
    )
    if not fits:
        if choices.kind is not None:
            raise core.refuse("picodet", expected)
        return None
    bins = sides.pop() // 4
    answers = np.concatenate([core.answers(i) for i in range(levels)], axis=1)
    scores = class_scores(answers) if choices.kind is None else score_kind(answers, core.origin)
    if scores is None:
        return None
    said: tuple[str, ...] = ()
    if scores == "logits":
        said = (
            f"its class scores are logits ({answers.min():.3g} to {answers.max():.3g} on the probe "
            "images): a "
            "sigmoid is applied",
        )

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        tensors = [decoding.as_float(g, output) for output in core.outputs]
        every = g("Concat", *tensors[:levels], axis=1)
        every = g("Sigmoid", every) if scores == "logits" else every
        logits = g("Reshape", g("Concat", *tensors[levels:], axis=1), g.ints(0, -1, 4, bins))
        distances = g("MatMul", g("Softmax", logits, axis=3), g.constant(np.arange(bins), np.float32))
        centres, strides = _cells(grids)
        near, far = g.many(
            "Split", 2, g("Mul", distances, g.constant(strides, np.float32)), g.ints(2, 2), axis=2
        )
        middle = g.constant(centres, np.float32)
        boxes = g("Concat", g("Sub", middle, near), g("Add", middle, far), axis=2)
        return Candidates(boxes, every, sum(cells), classes=classes.copy().pop())

    return Reading(
        "picodet",
        "PicoDet without its postprocessing",
        "its eight outputs are class scores and side distributions of the cells of strides 8, 16, 32, 64",
        IMAGENET_STRETCH,
        decode,
        classes=min(classes),
        iou=IOU,
        several=True,  # as its own postprocessing; on 222 photographs AP 0.470 where the best class has 0.464
        notes=said,
    )


def _cells(grids: list[tuple[int, int]]) -> tuple[FloatArray, FloatArray]:
    """Centres ``[1, M, 2]`` in input pixels and strides ``[1, M, 1]``, level by level, rows first."""
    centres, strides = [], []
    for (rows, columns), stride in zip(grids, STRIDES, strict=True):
        y, x = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
        centres.append(np.stack([x, y], axis=-1).reshape(-1, 2) * stride)
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(strides).astype(np.float32)
