"""The start of every graph: frames as OpenCV gives them, to what the network sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from edgevision.graph.builder import GraphBuilder


def add_preprocessing(
    g: GraphBuilder, frames: str, out: str, mean: Sequence[float], std: Sequence[float], bgr: bool = False
) -> None:
    """uint8 ``[N, H, W, 3]`` BGR to float ``[N, 3, H, W]``: ``(x / 255 - mean) / std``.

    Args:
        g: where the nodes go.
        frames, out: names of the two tensors.
        mean, std: of the network's channels, in its own order.
        bgr: the network wants BGR; otherwise the channels are turned round to RGB.
    """
    # TensorRT takes uint8 at the borders of a network only, so the cast comes first.
    x = g("Cast", frames, to=TensorProto.FLOAT)
    x = g("Transpose", x, perm=[0, 3, 1, 2])
    if not bgr:
        x = g("Gather", x, g.ints(2, 1, 0), axis=1)
    shift = np.asarray(mean, np.float32).reshape(1, 3, 1, 1) * 255
    factor = 1 / (np.asarray(std, np.float64).reshape(1, 3, 1, 1) * 255)
    x = g("Sub", x, g.constant(shift, np.float32))
    g("Mul", x, g.constant(factor, np.float32), out=out)
