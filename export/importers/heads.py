"""Which tensors of a foreign network are its heads: what FP16, calibration and parity compare.

Rows that a network sorts or suppresses itself cannot be compared one by one: two scores that are nearly equal
change places, and whole rows with them. So the heads of such a network are the dense tensors before that.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto

from edgevision.errors import ExportError
from edgevision.graph.network import element_types, reads

_SORTS = frozenset({"TopK", "NonMaxSuppression", "NonZero"})
_LEARNS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "QLinearConv"})
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def dense_heads(model: onnx.ModelProto, outputs: Sequence[str]) -> tuple[str, ...]:
    """The float tensors that the network computes before it sorts; else its outputs.

    Args:
        model: the network alone.
        outputs: names of its outputs.

    Returns:
        Names, in the order of the graph. The outputs themselves where weights are used after the first
        sorting, as by a transformer that chooses its queries.
    """
    after: set[str] = set()
    sorting = []
    for node in model.graph.node:
        if node.op_type in _SORTS or after.intersection(reads(node)):
            sorting.append(node)
            after.update(node.output)
    if not sorting or any(node.op_type in _LEARNS and _has_weights(model, node) for node in sorting):
        return tuple(outputs)
    try:
        types = element_types(model)
    except ExportError:
        return tuple(outputs)
    computed = _from_image(model) - after
    wanted = {name for node in sorting for name in reads(node)}
    heads = [
        name
        for node in model.graph.node
        for name in node.output
        if name in wanted and name in computed and types.get(name) in _FLOATS
    ]
    return tuple(dict.fromkeys(heads)) or tuple(outputs)


def _has_weights(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    constants = {constant.name for constant in model.graph.initializer}
    return bool(constants.intersection(node.input))


def _from_image(model: onnx.ModelProto) -> set[str]:
    """Tensors that depend on the image."""
    found = {entry.name for entry in model.graph.input}
    for node in model.graph.node:
        if found.intersection(reads(node)):
            found.update(node.output)
    return found
