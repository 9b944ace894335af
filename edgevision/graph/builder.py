"""A small writer of ONNX nodes: each call adds one node and returns the name of its output."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class GraphBuilder:
    """Collects nodes and constants under one name prefix.

    Args:
        prefix: put before every name, so that parts written by different builders never clash.

    Example:
        >>> g = GraphBuilder("post/")
        >>> g("Add", "x", g.constant(1.0, np.float32), out="y")
        'y'
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: Any) -> str:
        """Adds an initializer and returns its name."""
        array: NDArray[Any] = np.ascontiguousarray(np.asarray(value, dtype))
        name = f"{self.prefix}const_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array.reshape(np.shape(value)), name))
        return name

    def ints(self, *values: int) -> str:
        """An int64 vector, as axes and shapes are."""
        return self.constant(values, np.int64)

    def __call__(self, op: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Adds a node with one output."""
        return self.many(op, 1, *inputs, names=None if out is None else [out], **attributes)[0]

    def many(
        self, op: str, outputs: int, *inputs: str, names: list[str] | None = None, **attributes: Any
    ) -> list[str]:
        """Adds a node with several outputs."""
        label = f"{self.prefix}{op}_{len(self.nodes)}"
        names = names or [label if outputs == 1 else f"{label}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=label, **attributes))
        return names
