"""What a graph consists of: its tensors, and its nodes by operator and precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod

import msgspec
import onnx
from onnx import TensorProto, helper

from edgevision.graph.convolutions import CONVOLUTIONS, takes_int8
from edgevision.graph.lint import check_tensorrt
from edgevision.graph.network import PREPROCESSING, QDQ, core_nodes

PRECISIONS = ("int8", "fp16", "fp32", "other")
"""``other`` is integers, booleans, and what no type can be inferred for."""

_MULTIPLYING = (*CONVOLUTIONS, "Gemm", "MatMul")
_OUTSIDE = (PREPROCESSING, "post/")  # anchors and limits, which are not trained
_ON_INTEGERS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")


class TensorSummary(msgspec.Struct, frozen=True):
    """An input or output; sizes that are free are named, or None where they have no name."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype} [{sizes}]"


class OperatorSummary(msgspec.Struct, frozen=True):
    """How many nodes of an operator there are, in each precision that occurs."""

    operator: str
    nodes: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.nodes.values())


class GraphSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What :func:`summarise` found.

    Attributes:
        inputs, outputs: of the graph.
        opset, ir_version: of the file.
        producer: what wrote it.
        nodes: how many, by precision.
        network: how many of them lie between the normalised input and the heads, by precision; empty where
            the heads are not known. The others prepare frames and decode answers, in FP32.
        operators: the most frequent first.
        parameters: numbers in float and quantised constants; shapes, indices and anchors are left out.
        macs: multiplications with addition of all convolutions for one image, by precision; empty where
            their sizes cannot be inferred.
        problems: what TensorRT would refuse, as :func:`edgevision.graph.lint.check_tensorrt` says it.
    """

    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]
    opset: int
    ir_version: int
    producer: str
    nodes: dict[str, int]
    network: dict[str, int]
    operators: tuple[OperatorSummary, ...]
    parameters: int
    macs: dict[str, int]
    problems: tuple[str, ...]


def summarise(model: onnx.ModelProto, heads: Sequence[str] = ()) -> GraphSummary:
    """Summarises any model, ours or not; weights outside the file are not needed.

    Args:
        model: any ONNX model.
        heads: the tensors that feed the decoder, where its contract names them.
    """
    graph = model.graph
    values = _values(model)
    constants = {constant.name for constant in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    core = core_nodes(graph, heads) if set(heads) <= set(makers) else set()
    by_operator: dict[str, Counter[str]] = {}
    network: Counter[str] = Counter()
    for position, node in enumerate(graph.node):
        precision = node_precision(node, makers, values)
        by_operator.setdefault(node.op_type, Counter())[precision] += 1
        if position in core:
            network[precision] += 1
    operators = [OperatorSummary(name, _ordered(found)) for name, found in by_operator.items()]
    return GraphSummary(
        inputs=tuple(_tensor(value) for value in graph.input if value.name not in constants),
        outputs=tuple(_tensor(value) for value in graph.output),
        opset=next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0),
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        nodes=_ordered(sum(by_operator.values(), Counter())),
        network=_ordered(network),
        operators=tuple(sorted(operators, key=lambda entry: (-entry.total, entry.operator))),
        parameters=_parameters(graph),
        macs=_ordered(_macs(graph, makers, values)),
        problems=tuple(map(str, check_tensorrt(model))),
    )


def node_precision(
    node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], values: Mapping[str, onnx.TypeProto]
) -> str:
    """One of :data:`PRECISIONS`.

    Args:
        node: a node of the graph.
        makers: the node that makes each tensor.
        values: the type of each tensor.
    """
    if node.op_type in (*QDQ, *_ON_INTEGERS):
        return "int8"
    if node.op_type in _MULTIPLYING and takes_int8(node, makers):
        return "int8"
    kinds = [values[name].tensor_type.elem_type for name in node.output if name in values]
    if TensorProto.FLOAT16 in kinds:
        return "fp16"
    return "fp32" if TensorProto.FLOAT in kinds else "other"


def _values(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """Types as far as they can be inferred; constants have the type and shape that they have."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        graph = model.graph
    values = {value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)}
    for constant in graph.initializer:
        values[constant.name] = helper.make_tensor_type_proto(constant.data_type, list(constant.dims))
    return values


def _macs(
    graph: onnx.GraphProto, makers: Mapping[str, onnx.NodeProto], values: Mapping[str, onnx.TypeProto]
) -> Counter[str]:
    found: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type not in CONVOLUTIONS:
            continue
        weight = _sizes(values.get(node.input[1]))
        # A transposed convolution does its work once for each pixel that it reads.
        area = _sizes(values.get(node.output[0] if node.op_type == "Conv" else node.input[0]))[2:]
        if not weight or not area or None in (*weight, *area):
            return Counter()
        found[node_precision(node, makers, values)] += prod((*weight, *area))  # type: ignore[arg-type]
    return found


def _sizes(kind: onnx.TypeProto | None) -> tuple[int | None, ...]:
    if kind is None:
        return ()
    return tuple(size.dim_value or None for size in kind.tensor_type.shape.dim)


def _parameters(graph: onnx.GraphProto) -> int:
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    small = (TensorProto.INT8, TensorProto.UINT8)
    kinds = (*floats, *small)
    # Scales and zero points describe weights but are not weights.
    beside = {name for node in graph.node if node.op_type in QDQ for name in node.input[1:]}
    wanted = [
        constant
        for constant in graph.initializer
        if constant.data_type in kinds
        and constant.name not in beside
        and not constant.name.startswith(_OUTSIDE)
    ]
    return sum(prod(constant.dims) for constant in wanted)


def _tensor(value: onnx.ValueInfoProto) -> TensorSummary:
    kind = value.type.tensor_type
    name = TensorProto.DataType.Name(kind.elem_type).lower()
    dtype = {"float": "float32", "double": "float64"}.get(name, name)
    return TensorSummary(
        value.name, dtype, tuple(size.dim_value or size.dim_param or None for size in kind.shape.dim)
    )


def _ordered(found: Mapping[str, int]) -> dict[str, int]:
    return {name: found[name] for name in PRECISIONS if found.get(name)}
