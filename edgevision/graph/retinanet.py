"""The end of a RetinaNet graph: head maps to final detections, as the contract wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import TensorProto

from edgevision.contract.manifest import Manifest
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.nms import add_cluster_nms
from edgevision.models.anchors import MAX_LOG_SIZE
from edgevision.types import FloatArray


def add_retinanet_decoder(
    g: GraphBuilder,
    logits: Sequence[str],
    deltas: Sequence[str],
    anchors: Sequence[FloatArray],
    manifest: Manifest,
    level_candidates: int,
    per_cell: int,
) -> None:
    """Adds decoding, suppression and the four outputs of the contract.

    Of the anchors of a cell, only the best for each class is a candidate: the others are boxes of the same
    object, which would crowd small objects out of the limits.

    Args:
        g: where the nodes go.
        logits: float ``[N, A * C, H, W]`` for each level.
        deltas: float ``[N, A * 4, H, W]`` for each level.
        anchors: float32 ``[H * W * A, 4]`` for each level, in input pixels.
        manifest: classes, input size, thresholds and limits.
        level_candidates: best predictions of each level that are decoded.
        per_cell: A, anchors of a cell.
    """
    classes = len(manifest.classes)
    parts = [
        _level(g, logit, delta, grid, classes, level_candidates, per_cell)
        for logit, delta, grid in zip(logits, deltas, anchors, strict=True)
    ]
    scores, labels, boxes = (g("Concat", *column, axis=1) for column in zip(*parts, strict=True))
    limits = np.array([manifest.input_width, manifest.input_height] * 2, np.float32)
    boxes = g("Min", g("Max", boxes, g.constant(0.0, np.float32)), g.constant(limits, np.float32))
    total = sum(min(level_candidates, len(grid) // per_cell * classes) for grid in anchors)
    add_detection_outputs(g, boxes, scores, labels, total, manifest)


def add_detection_outputs(
    g: GraphBuilder,
    boxes: str,
    scores: str,
    labels: str,
    total: int,
    manifest: Manifest,
    further: Mapping[str, str] | None = None,
) -> None:
    """Sorts, suppresses and pads decoded predictions into ``boxes``, ``scores``, ``labels`` and ``count``.

    Args:
        g: where the nodes go.
        boxes: float ``[N, M, 4]`` corners in input pixels, cut to the input; for ``obb`` ``[N, M, 5]``, as
            :mod:`edgevision.rotated` has them, which become ``rotated_boxes``.
        scores: float ``[N, M]``.
        labels: int64 ``[N, M]``.
        total: M.
        manifest: thresholds and limits that M rows can fulfil, see
            :meth:`~edgevision.contract.manifest.Manifest.within`.
        further: outputs of the contract with a row for each prediction, by name, such as ``coefficients``:
            float ``[N, M, ...]`` with the sizes that the contract has for them. Their rows follow the boxes.

    Raises:
        ValueError: the manifest states no limits, or more than M rows can fulfil.
    """
    if manifest.nms is None or manifest.score_threshold is None or manifest.within(total) != manifest:
        raise ValueError(f"expected a score threshold, and limits that {total} predictions can fulfil")
    count = manifest.nms.candidates
    scores, order = g.many("TopK", 2, scores, g.ints(count), axis=1, largest=1, sorted=1)
    boxes = _gather_rows(g, boxes, order, 5 if manifest.task == "obb" else 4)
    labels = g("GatherElements", labels, order, axis=1)
    keep = add_cluster_nms(
        g,
        boxes,
        scores,
        labels,
        count,
        manifest.nms.iou_threshold,
        manifest.score_threshold,
        manifest.nms.rounds,
        manifest.nms.overlap,
    )
    ranked = g("Where", keep, scores, g.constant(-1.0, np.float32))
    _add_outputs(g, boxes, ranked, labels, manifest, further or {}, order)


def add_final_outputs(
    g: GraphBuilder,
    boxes: str,
    ranked: str,
    labels: str,
    manifest: Manifest,
    further: Mapping[str, str] | None = None,
) -> None:
    """Sorts and pads what is left into ``boxes``, ``scores``, ``labels`` and ``count``.

    Args:
        g: where the nodes go.
        boxes: float ``[N, M, 4]`` corners in input pixels, cut to the input; rotated boxes for ``obb``.
        ranked: float ``[N, M]``: the score, or -1 for what is not to be an answer.
        labels: int64 ``[N, M]``.
        manifest: its ``max_detections``, at most M, is the length of the outputs.
        further: as in :func:`add_detection_outputs`.
    """
    _add_outputs(g, boxes, ranked, labels, manifest, further or {}, None)


def _add_outputs(
    g: GraphBuilder,
    boxes: str,
    ranked: str,
    labels: str,
    manifest: Manifest,
    further: Mapping[str, str],
    before: str | None,
) -> None:
    """As :func:`add_final_outputs`; ``before``, int64 ``[N, M]``: which rows of ``further`` are meant."""
    is_rotated = manifest.task == "obb"
    kept = manifest.max_detections or 0
    final, order = g.many("TopK", 2, ranked, g.ints(kept), axis=1, largest=1, sorted=1)
    valid = g("Greater", final, g.constant(0.0, np.float32))
    zero = g.constant(0.0, np.float32)
    picked = g("Cast", g("GatherElements", labels, order, axis=1), to=TensorProto.INT32)
    chosen = _gather_rows(g, boxes, order, 5 if is_rotated else 4)
    where = g("Unsqueeze", valid, g.ints(2))
    g("Where", where, chosen, zero, out="rotated_boxes" if is_rotated else "boxes")
    g("Where", valid, final, zero, out="scores")
    g("Where", valid, picked, g.constant(-1, np.int32), out="labels")
    # Summed as floats, which are exact here: NVIDIA's parsers list floats only for ReduceSum.
    summed = g("ReduceSum", g("Cast", valid, to=TensorProto.FLOAT), g.ints(1), keepdims=0)
    g("Cast", summed, to=TensorProto.INT32, out="count")
    sizes = {spec.name: [int(size or 0) for size in spec.shape[2:]] for spec in manifest.output_specs()}
    rows = order if before is None else g("GatherElements", before, order, axis=1)
    for name, tensor in further.items():
        width = int(np.prod(sizes[name]))
        flat = g("Reshape", tensor, g.ints(0, 0, width)) if len(sizes[name]) > 1 else tensor
        flat = g("Where", where, _gather_rows(g, flat, rows, width), zero)
        shape = g.ints(0, 0, *sizes[name])
        g("Reshape", flat, shape, out=name)


def _level(
    g: GraphBuilder,
    logits: str,
    deltas: str,
    anchors: FloatArray,
    classes: int,
    candidates: int,
    per_cell: int,
) -> tuple[str, str, str]:
    """Scores ``[N, k]``, labels ``[N, k]`` and boxes ``[N, k, 4]`` of one level's best predictions."""
    cells = len(anchors) // per_cell
    k = min(candidates, cells * classes)
    by_anchor = g("Reshape", logits, g.ints(0, per_cell, classes * cells))
    of_cell = g("ReduceMax", by_anchor, g.ints(1), keepdims=0)
    which = g("ArgMax", by_anchor, axis=1, keepdims=0)
    best, index = g.many("TopK", 2, of_cell, g.ints(k), axis=1, largest=1, sorted=1)
    per_class = g.constant(cells, np.int64)
    labels = g("Div", index, per_class)
    cell = g("Sub", index, g("Mul", labels, per_class))
    first = g("Mul", cell, g.constant(per_cell, np.int64))
    anchor = g("Add", first, g("GatherElements", which, index, axis=1))
    offsets = g("Reshape", g("Transpose", deltas, perm=[0, 2, 3, 1]), g.ints(0, -1, 4))
    return g("Sigmoid", best), labels, _decode(g, _gather_rows(g, offsets, anchor, 4), anchor, anchors)


def _decode(g: GraphBuilder, offsets: str, anchor: str, anchors: FloatArray) -> str:
    """The graph's form of :func:`edgevision.models.anchors.decode_boxes`: ``[N, k, 4]`` corners."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre_size = np.concatenate([anchors[:, :2] + size / 2, size], axis=1)
    chosen = g("Gather", g.constant(centre_size, np.float32), anchor, axis=0)
    halves = g.ints(2, 2)
    shift, log_size = g.many("Split", 2, offsets, halves, axis=2)
    anchor_centre, anchor_size = g.many("Split", 2, chosen, halves, axis=2)
    centre = g("Add", g("Mul", shift, anchor_size), anchor_centre)
    growth = g("Exp", g("Min", log_size, g.constant(MAX_LOG_SIZE, np.float32)))
    half = g("Mul", g("Mul", growth, anchor_size), g.constant(0.5, np.float32))
    return g("Concat", g("Sub", centre, half), g("Add", centre, half), axis=2)


def _gather_rows(g: GraphBuilder, table: str, index: str, width: int) -> str:
    """``table[n, index[n, k]]``: ``[N, M, width]`` and ``[N, k]`` to ``[N, k, width]``."""
    wide = g("Expand", g("Unsqueeze", index, g.ints(2)), g.ints(1, 1, width))
    return g("GatherElements", table, wide, axis=1)
