"""Non-maximum suppression with static shapes, for every engine.

ONNX's own ``NonMaxSuppression`` has a shape that depends on its data, which TensorRT for RTX cannot
build and CUDA graphs cannot capture. Greedy suppression is the fixed point of

    keep[j] = valid[j] and no i before j has keep[i] and iou[i, j] > threshold

with candidates sorted by score (Bolya et al. 2019, arXiv:1904.02689, made exact by repetition as in
cluster NMS, Zheng et al. 2020, arXiv:2005.03572). After r rounds every box whose chain of suppressors
is at most r long is decided, and a box decided once never changes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from onnx import TensorProto

from edgevision.graph.builder import GraphBuilder


def add_cluster_nms(
    g: GraphBuilder,
    boxes: str,
    scores: str,
    labels: str,
    candidates: int,
    iou_threshold: float,
    score_threshold: float,
    rounds: int,
    overlap: Literal["iou", "probiou"] = "iou",
) -> str:
    """Which candidates survive.

    Args:
        g: where the nodes go.
        boxes: float ``[N, K, 4]`` corners, or for ``probiou`` ``[N, K, 5]`` rotated boxes, sorted by score.
        scores: float ``[N, K]``, falling.
        labels: integer ``[N, K]``: boxes suppress those of their own class only. They are compared, not used
            to move classes apart as torchvision's ``batched_nms`` does: in FP32 such boxes lose the parts of
            pixels that decide an overlap, from label 79 on.
        candidates: K.
        iou_threshold: a box is suppressed by an overlap above this.
        score_threshold: candidates at or below this score are not valid.
        rounds: longest chain of suppressors that is resolved exactly.
        overlap: see :class:`~edgevision.contract.manifest.NmsLimits`.

    Returns:
        Name of a bool tensor ``[N, K]``.
    """
    rank = np.arange(candidates)
    later = g.constant((rank[:, None] < rank[None, :])[None], np.bool_)
    overlaps = _overlaps if overlap == "iou" else _similar
    over = g("And", overlaps(g, boxes, iou_threshold), g("And", _same_class(g, labels), later))
    over = g("Cast", over, to=TensorProto.FLOAT)
    valid = g("Cast", g("Greater", scores, g.constant(score_threshold, np.float32)), to=TensorProto.FLOAT)
    half = g.constant(0.5, np.float32)
    # Not a product of matrices, which is faster on a CPU: TensorRT for RTX has no FP32 one for Turing, and
    # beside one it computed the int8 convolutions of an INT8+FP16 detector in FP16 on Ampere.
    keep = valid
    for _ in range(rounds):
        hit = g("ReduceMax", g("Mul", over, g("Unsqueeze", keep, g.ints(2))), g.ints(1), keepdims=0)
        keep = g("Mul", valid, g("Cast", g("Less", hit, half), to=TensorProto.FLOAT))
    return g("Greater", keep, half)


def _same_class(g: GraphBuilder, labels: str) -> str:
    """bool ``[N, K, K]``."""
    kinds = g("Cast", labels, to=TensorProto.FLOAT)  # exact up to 2^24, and what every engine compares
    return g("Equal", g("Unsqueeze", kinds, g.ints(2)), g("Unsqueeze", kinds, g.ints(1)))


def _overlaps(g: GraphBuilder, boxes: str, iou_threshold: float) -> str:
    """bool ``[N, K, K]``: whether the IoU of two boxes is above the threshold, without a division."""
    corners = [g("Gather", boxes, g.constant(side, np.int64), axis=2) for side in range(4)]
    rows = [g("Unsqueeze", corner, g.ints(2)) for corner in corners]
    columns = [g("Unsqueeze", corner, g.ints(1)) for corner in corners]
    zero = g.constant(0.0, np.float32)
    width = g("Max", g("Sub", g("Min", rows[2], columns[2]), g("Max", rows[0], columns[0])), zero)
    height = g("Max", g("Sub", g("Min", rows[3], columns[3]), g("Max", rows[1], columns[1])), zero)
    shared = g("Mul", width, height)
    union = g("Sub", g("Add", _area(g, rows), _area(g, columns)), shared)
    return g("Greater", shared, g("Mul", union, g.constant(iou_threshold, np.float32)))


def _similar(g: GraphBuilder, boxes: str, threshold: float) -> str:
    """bool ``[N, K, K]``: whether the ProbIoU of two rotated boxes ``(cx, cy, w, h, angle)`` is above it.

    A box is taken as the normal distribution with the box's centre and the variances ``w^2 / 12`` and
    ``h^2 / 12`` along its sides; ProbIoU is 1 less the Hellinger distance of two (Llerena et al. 2021,
    arXiv:2106.06072, equations 3 to 9). That distance is ``sqrt(1 - exp(-d))`` for a Bhattacharyya distance
    d, so it is d that is compared. It has a closed form, unlike the area that two rectangles share. In FP32
    the determinant keeps three digits up to sides of 200 to 1. Written in the boxes' own axes it would keep
    all, but TensorRT for RTX 1.7 then builds for minutes.
    """
    x, y, width, height, angle = (g("Gather", boxes, g.constant(i, np.int64), axis=2) for i in range(5))
    twelfth = g.constant(1 / 12, np.float32)
    along, across = (g("Mul", g("Mul", side, side), twelfth) for side in (width, height))
    cosine, sine = g("Cos", angle), g("Sin", angle)
    cosine2, sine2 = g("Mul", cosine, cosine), g("Mul", sine, sine)
    # Covariance [[a, c], [c, b]] of each box.
    a = g("Add", g("Mul", along, cosine2), g("Mul", across, sine2))
    b = g("Add", g("Mul", along, sine2), g("Mul", across, cosine2))
    c = g("Mul", g("Sub", along, across), g("Mul", cosine, sine))
    tiny = g.constant(1e-6, np.float32)
    size = g("Add", g("Mul", along, across), tiny)  # the determinant, which a turn does not change
    columns = (x, y, a, b, c, size)
    pairs = [(g("Unsqueeze", one, g.ints(2)), g("Unsqueeze", one, g.ints(1))) for one in columns]
    dx, dy = (g("Sub", *pair) for pair in pairs[:2])
    sum_a, sum_b, sum_c = (g("Add", *pair) for pair in pairs[2:5])
    both = g("Add", g("Sub", g("Mul", sum_a, sum_b), g("Mul", sum_c, sum_c)), tiny)
    far = g("Add", g("Mul", sum_a, g("Mul", dy, dy)), g("Mul", sum_b, g("Mul", dx, dx)))
    far = g("Sub", far, g("Mul", g("Mul", sum_c, g.constant(2, np.float32)), g("Mul", dx, dy)))
    far = g("Mul", g("Div", far, both), g.constant(0.25, np.float32))
    root = g("Sqrt", g("Mul", *pairs[5]))
    unlike = g("Log", g("Div", both, g("Mul", root, g.constant(4, np.float32))))
    distance = g("Add", far, g("Mul", unlike, g.constant(0.5, np.float32)))
    most = -np.log(1 - (1 - threshold) ** 2) if threshold > 0 else np.inf
    return g("Less", distance, g.constant(most, np.float32))


def _area(g: GraphBuilder, corners: list[str]) -> str:
    return g("Mul", g("Sub", corners[2], corners[0]), g("Sub", corners[3], corners[1]))
