"""The end of a segmenter's graph: logits to the class map of the contract."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from edgevision.graph.builder import GraphBuilder


def add_class_map(g: GraphBuilder, logits: str, factor: int) -> None:
    """Adds enlargement, the choice of the best class, and the output ``class_map`` uint8 ``[N, H, W]``.

    Args:
        g: where the nodes go.
        logits: float ``[N, C, H / factor, W / factor]``.
        factor: bilinear enlargement, as torch's ``interpolate`` does without aligned corners.
    """
    if factor > 1:
        scales = g.constant([1, 1, factor, factor], np.float32)
        logits = g("Resize", logits, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    best = g("ArgMax", logits, axis=1, keepdims=0)
    # TensorRT makes uint8 from floating point only, and only at the borders of a network.
    g("Cast", g("Cast", best, to=TensorProto.FLOAT), to=TensorProto.UINT8, out="class_map")
