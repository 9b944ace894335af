"""What TensorRT's parser and builder refuse, reported before they run, with the node's name.

Each rule was checked against NVIDIA's own parser (TensorRT for RTX 1.7), whose messages name its source
lines instead of what is wrong with the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgevision.errors import ExportError
from edgevision.graph.network import QDQ

Flavour = Literal["tensorrt", "tensorrt-rtx"]

_INTEGER_OPERATORS = (
    "ConvInteger",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
)
_WIDE = (TensorProto.INT16, TensorProto.UINT16)
_TURING, _PRODUCTS = "7.5", ("MatMul", "Gemm", "Einsum")
# RTX has no layer whose output shape depends on its data.
_DATA_DEPENDENT = ("NonMaxSuppression", "NonZero")


@dataclass(frozen=True, slots=True)
class GraphProblem:
    """One node that TensorRT would refuse.

    Attributes:
        node: its name, or that of its output where it has none.
        operator: such as ``DequantizeLinear``.
        text: what was found, what TensorRT takes, and what to do.
    """

    node: str
    operator: str
    text: str

    def __str__(self) -> str:
        return f"{self.node} ({self.operator}): {self.text}"


def check_tensorrt(
    model: onnx.ModelProto, flavour: Flavour = "tensorrt-rtx", compute_capability: str = ""
) -> list[GraphProblem]:
    """Everything in a model that TensorRT would refuse, in the graph's order; empty where nothing is known.

    Args:
        model: any ONNX model.
        flavour: TensorRT for RTX refuses some operators that TensorRT takes.
        compute_capability: of the GPU that it is built for, such as ``7.5``; empty for what no GPU runs.
    """
    constants = _constants(model.graph)
    local = {function.domain for function in model.functions}
    rtx = _Rtx(model, compute_capability) if flavour == "tensorrt-rtx" else None
    problems = []
    for node in model.graph.node:
        texts = [*_operator(node, local), *_quantiser(node, constants)]
        if rtx is not None:
            texts += rtx.texts(node, constants)
        name = node.name or (node.output[0] if node.output else "?")
        problems += [GraphProblem(name, node.op_type, text) for text in texts]
    return problems


def require_tensorrt(
    model: onnx.ModelProto, origin: str, flavour: Flavour = "tensorrt-rtx", compute_capability: str = ""
) -> None:
    """Refuses a model that TensorRT would refuse.

    Args:
        model: any ONNX model.
        origin: the file it came from, for the message.
        flavour, compute_capability: as in :func:`check_tensorrt`.

    Raises:
        ExportError: one line with the first problem, and the number of others.
    """
    problems = check_tensorrt(model, flavour, compute_capability)
    if problems:
        lists = ": 'edgevision inspect' lists them" if check_tensorrt(model, flavour) == problems else ""
        others = f" (and {len(problems) - 1} more{lists})" if problems[1:] else ""
        raise ExportError(f"{origin}: TensorRT would refuse {problems[0]}{others}")


def _operator(node: onnx.NodeProto, local: set[str]) -> Iterator[str]:
    if node.op_type in _INTEGER_OPERATORS:
        yield (
            "an operator on integers; TensorRT takes int8 as QuantizeLinear and DequantizeLinear around "
            "float operators; quantise the float model with 'edgevision calibrate'"
        )
    elif node.domain not in ("", "ai.onnx", *local):
        yield (
            f"an operator of {node.domain}; TensorRT takes standard ONNX only; save the model before "
            "ONNX Runtime's optimiser"
        )


def _quantiser(node: onnx.NodeProto, constants: dict[str, NDArray[Any]]) -> Iterator[str]:
    if node.op_type not in QDQ:
        return
    data, scale, zero = (constants.get(name) for name in (*node.input, "", "")[:3])
    integers = [array.dtype for array in (data, zero) if array is not None and array.dtype.kind in "iu"]
    stated = next((entry.i for entry in node.attribute if entry.name == "output_dtype"), 0)
    if any(dtype.itemsize == 2 for dtype in integers) or stated in _WIDE:
        yield "16-bit integers; TensorRT quantises to int8; calibrate with QInt8"
    elif any(dtype.itemsize == 4 for dtype in integers):
        yield (
            "it dequantises int32, a quantised bias; TensorRT takes biases in float; calibrate without "
            "quantising them"
        )
    elif data is not None and data.dtype == np.uint8:
        yield "uint8 weights; TensorRT takes int8; calibrate with symmetric int8 weights"
    if zero is not None and zero.astype(np.int64).any():
        worst = zero.ravel()[np.abs(zero.astype(np.int64)).argmax()]
        yield f"a zero point of {worst}; TensorRT takes 0 only; calibrate symmetrically"
    if scale is not None and not (np.isfinite(scale) & (scale > 0)).all():
        wrong = scale.ravel()[~(np.isfinite(scale) & (scale > 0)).ravel()][0]
        yield f"a scale of {wrong:g}; TensorRT takes positive ones only; calibrate on frames that reach it"


class _Rtx:
    """What TensorRT for RTX refuses beyond TensorRT."""

    def __init__(self, model: onnx.ModelProto, compute_capability: str) -> None:
        self.model = model
        self.inferred: dict[str, onnx.NodeProto] | None = None
        self.floats = _floats(model) if compute_capability == _TURING else frozenset[str]()

    def texts(self, node: onnx.NodeProto, constants: dict[str, NDArray[Any]]) -> Iterator[str]:
        if node.op_type in _DATA_DEPENDENT:
            yield (
                "the size of its output depends on the data, which TensorRT for RTX cannot build; "
                "export with NMS of fixed size"
            )
        elif node.op_type == "RoiAlign":
            yield (
                "a plugin in TensorRT, which TensorRT for RTX comes without; pool regions with products of "
                "matrices, as the families faster-rcnn and mask-rcnn are exported"
            )
        elif node.op_type in _PRODUCTS and len(node.input) > 1 and node.input[0] in self.floats:
            yield (
                "a product of matrices in FP32, which TensorRT for RTX cannot build for RTX 20; give a file "
                "that has it in FP16 ('edgevision export' with `precision` fp16; what follows the network "
                "stays in FP32), build for RTX 30 or later, or run the ONNX file there"
            )
        elif node.op_type == "If" and node.input[0] not in constants and not self._ranks_agree(node):
            yield (
                "its branches have outputs of different or unknown rank and its condition is computed, which "
                "TensorRT for RTX cannot build; export without control flow"
            )

    def _ranks_agree(self, node: onnx.NodeProto) -> bool:
        if self.inferred is None:
            graph = onnx.shape_inference.infer_shapes(self.model).graph
            self.inferred = {other.output[0]: other for other in graph.node if other.op_type == "If"}
        branches = [entry.g for entry in self.inferred[node.output[0]].attribute if entry.HasField("g")]
        ranks = [[_rank(value) for value in branch.output] for branch in branches]
        return all(None not in found and found == ranks[0] for found in ranks)


def _floats(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the tensors in FP32, as far as they are known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    kinds = {one.name: one.type.tensor_type.elem_type for one in (*graph.input, *graph.value_info)}
    kinds |= {constant.name: constant.data_type for constant in graph.initializer}
    return frozenset(name for name, kind in kinds.items() if kind == TensorProto.FLOAT)


def _rank(value: onnx.ValueInfoProto) -> int | None:
    kind = value.type.tensor_type
    return len(kind.shape.dim) if kind.HasField("shape") else None


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Values of the initializers and Constant nodes that the rules look at: scales, zeros, weights."""
    wanted = {name for node in graph.node if node.op_type in (*QDQ, "If") for name in node.input}
    found = {
        constant.name: numpy_helper.to_array(constant)
        for constant in graph.initializer
        if constant.name in wanted and not constant.external_data
    }
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] in wanted and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found
