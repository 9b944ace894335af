"""Which tensors of a foreign network are its heads: what FP16, calibration and parity compare.

Rows that a network sorts or suppresses itself cannot be compared one by one: two scores that are nearly equal
change places, and whole rows with them. So the heads of such a network are the dense tensors before that. Of
a transformer that chooses its queries by score, they lie before the choice: FP16 moves scores by more than
the 300th and the 301st are apart. Its decoder, small beside what comes before, then stays in FP32.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto

from edgevision.errors import ExportError
from edgevision.graph.network import element_types, reads

_SORTS = frozenset({"TopK", "NonMaxSuppression", "NonZero"})
_MEASURES = frozenset({"Shape", "Size"})
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def dense_heads(model: onnx.ModelProto, outputs: Sequence[str]) -> tuple[str, ...]:
    """The float tensors that the network computes before it sorts; else its outputs.

    Args:
        model: the network alone.
        outputs: names of its outputs.

    Returns:
        Names, in the order of the graph; outputs that are not float are left out where others are.
    """
    try:
        types = element_types(model)
    except ExportError:
        return tuple(outputs)
    after: set[str] = set()
    sorting = []
    for node in model.graph.node:
        if node.op_type in _SORTS or after.intersection(reads(node)):
            sorting.append(node)
            after.update(node.output)
    own = tuple(name for name in outputs if types.get(name) in _FLOATS) or tuple(outputs)
    if not sorting:
        return own
    computed = _from_image(model) - after
    wanted = {name for node in sorting for name in reads(node)}
    heads = [
        name
        for node in model.graph.node
        for name in node.output
        if name in wanted and name in computed and types.get(name) in _FLOATS
    ]
    return tuple(dict.fromkeys(heads)) or own


def _from_image(model: onnx.ModelProto) -> set[str]:
    """Tensors that depend on what the image shows; its size alone is a constant."""
    found = {entry.name for entry in model.graph.input}
    for node in model.graph.node:
        if node.op_type not in _MEASURES and found.intersection(reads(node)):
            found.update(node.output)
    return found
