"""Parts of a decoder in the graph: a foreign network's rows to boxes as corners, and scores."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from edgevision.export.importers.core import Core, Tensor
from edgevision.graph.builder import GraphBuilder


def as_float(g: GraphBuilder, tensor: Tensor) -> str:
    """A core's output as float32."""
    return tensor.name if tensor.dtype == np.float32 else g("Cast", tensor.name, to=TensorProto.FLOAT)


def rows(g: GraphBuilder, tensor: Tensor, *, columns_first: bool = False) -> str:
    """An output ``[N, M, R]``, or ``[N, R, M]`` with ``columns_first``, as float32 ``[N, M, R]``."""
    values = as_float(g, tensor)
    return g("Transpose", values, perm=[0, 2, 1]) if columns_first else values


def columns(g: GraphBuilder, values: str, start: int, stop: int) -> str:
    """``[N, M, R]`` to ``[N, M, stop - start]``."""
    return g("Slice", values, g.ints(start), g.ints(stop), g.ints(2))


def column(g: GraphBuilder, values: str, index: int) -> str:
    """``[N, M, R]`` to ``[N, M]``."""
    return g("Gather", values, g.constant(index, np.int64), axis=2)


def corners(g: GraphBuilder, centred: str) -> str:
    """Centre, width and height ``[N, M, 4]`` to corners ``[N, M, 4]``."""
    centre, size = g.many("Split", 2, centred, g.ints(2, 2), axis=2)
    half = g("Mul", size, g.constant(0.5, np.float32))
    return g("Concat", g("Sub", centre, half), g("Add", centre, half), axis=2)


def from_shares(g: GraphBuilder, core: Core, boxes: str) -> str:
    """Boxes ``[N, M, 4]`` as shares of the input, x and y in turn, to pixels."""
    return g("Mul", boxes, g.constant([core.width, core.height] * 2, np.float32))


def swapped(g: GraphBuilder, boxes: str) -> str:
    """``y1 x1 y2 x2`` to ``x1 y1 x2 y2``: ``[N, M, 4]``."""
    return g("Gather", boxes, g.ints(1, 0, 3, 2), axis=2)


def batched(g: GraphBuilder, values: str) -> str:
    """Puts the batch of one before a tensor that has none."""
    return g("Unsqueeze", values, g.ints(0))


def class_ids(g: GraphBuilder, values: str) -> str:
    """Class numbers of any type to int64."""
    return g("Cast", g("Round", g("Cast", values, to=TensorProto.FLOAT)), to=TensorProto.INT64)
