"""A model's core in FP16, its borders and everything outside in FP32.

TensorRT 11 takes precision from the graph alone, so FP16 is written into it: the weights, and one cast
at each border. onnxconverter-common converts a whole graph and then blocks operators by name, which casts
around every Resize and may write FP16 ``scales`` that ONNX forbids. Here the operators' own schemas say
which of their tensors may be FP16, so no list is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import ExportError
from edgevision.graph.network import QDQ, TYPED_BY_ATTRIBUTE, core_nodes, element_types, set_output_type

LARGEST = float(np.finfo(np.float16).max)
SMALLEST = float(np.finfo(np.float16).smallest_subnormal)

_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16
_HALF_TEXT = "tensor(float16)"
_SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)
# Weights and biases that vanish change a sum by next to nothing; a vanished divisor or factor changes all.
_SUMMING = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def to_half(
    model: onnx.ModelProto, heads: Sequence[str], peaks: Mapping[str, float] | None = None
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """A copy of a model whose core computes in FP16.

    Quantised convolutions stay so: their scales become FP16, which needs opset 19, and below it casts
    stand around them.

    Args:
        model: a model of the contract, its core in FP32 or with Q/DQ nodes.
        heads: the tensors that feed the decoder; they become FP16 and are cast behind.
        peaks: greatest magnitudes that tensors of the core are known to reach.

    Returns:
        The new model, and one line for each node of the core that stays in FP32.

    Raises:
        ExportError: a head is missing, the core holds a control-flow operator, or nothing in it is FP32.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    core = core_nodes(half.graph, heads)
    _refuse_subgraphs(half.graph, core)
    types = element_types(half)
    if not any(types.get(name) == _FLOAT for i in core for name in half.graph.node[i].output):
        raise ExportError("the model's core holds no FP32 tensor, so it is FP16 already")
    rewriter = _Rewriter(half, core, types, peaks or {})
    half_scales(half.graph, core)
    rewriter.run()
    half.graph.ClearField("value_info")
    return half, tuple(rewriter.notes)


class _Rewriter:
    """Walks through the nodes in their order and gives each its inputs in the type that it takes."""

    def __init__(
        self, model: onnx.ModelProto, core: set[int], types: Mapping[str, int], peaks: Mapping[str, float]
    ) -> None:
        self.graph, self.core, self.peaks = model.graph, core, peaks
        self.opset = {entry.domain: entry.version for entry in model.opset_import}
        self.float32 = {name for name, kind in types.items() if kind == _FLOAT}
        self.outputs = {value.name for value in model.graph.output}
        self.constants = {constant.name: constant for constant in model.graph.initializer}
        self.now_half: set[str] = set()  # tensors that nodes now make in FP16 under their old name
        self.used: dict[str, set[int]] = {}  # in which types constants are wanted
        self.casts: dict[tuple[str, int], str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.notes: list[str] = []

    def run(self) -> None:
        for position, node in enumerate(list(self.graph.node)):
            if position in self.core and node.op_type == "Constant" and node.output[0] in self.float32:
                self._make_initializer(node)
                continue
            takes, makes = self._half_slots(position, node)
            for slot, name in enumerate(node.input):
                if name in self.float32:
                    node.input[slot] = self._as(name, _HALF if takes[slot] else _FLOAT)
            for slot, name in enumerate(node.output):
                if name in self.float32 and makes[slot]:
                    self.now_half.add(name)
                    set_output_type(node, _HALF)
            self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        self._store_constants()

    def _half_slots(self, position: int, node: onnx.NodeProto) -> tuple[list[bool], list[bool]]:
        """Which inputs and outputs of a node are to be FP16."""
        nothing = [False] * len(node.input), [False] * len(node.output)
        if position not in self.core or self.outputs.intersection(node.output):
            return nothing
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opset.get(node.domain, 1), node.domain)
        except onnx.defs.SchemaError:
            self.notes.append(f"{node.name} ({node.op_type}) stays in FP32: it is not a standard operator")
            return nothing
        takes = [_HALF_TEXT in _formal(schema.inputs, slot).types for slot in range(len(node.input))]
        bound = {
            _formal(schema.inputs, slot).type_str
            for slot, name in enumerate(node.input)
            if name in self.float32 and takes[slot]
        }
        made = [_formal(schema.outputs, slot) for slot in range(len(node.output))]
        makes = [kind.type_str in bound or node.op_type in TYPED_BY_ATTRIBUTE for kind in made]
        reason = self._outside(node, takes)
        if reason:
            self.notes.append(f"{node.name} ({node.op_type}) stays in FP32: {reason}")
            return nothing
        return takes, makes

    def _outside(self, node: onnx.NodeProto, takes: list[bool]) -> str | None:
        """Why a node's numbers do not fit into FP16, or None."""
        for slot, name in enumerate(node.input):
            if name in self.constants and name in self.float32 and takes[slot]:
                values = np.abs(numpy_helper.to_array(self.constants[name]))
                finite = values[np.isfinite(values)]
                peak = float(finite.max(initial=0))
                is_bound = node.op_type == "Clip" and slot > 0  # cutting at FP16's own limit is the same
                if peak > LARGEST and not is_bound:
                    return f"{name} holds {peak:.4g}, beyond FP16's {LARGEST:.0f}"
                if 0 < peak <= SMALLEST / 2 and node.op_type not in _SUMMING:
                    return f"{name} holds {peak:.4g}, which FP16 rounds to zero"
        for name in (*node.input, *node.output):
            if self.peaks.get(name, 0.0) > LARGEST / 2:  # half: real frames may reach beyond the probe's
                return f"{name} reaches {self.peaks[name]:.4g}, too near to FP16's {LARGEST:.0f}"
        return None

    def _as(self, name: str, kind: int) -> str:
        """The tensor in this type, by a cast where it is of the other."""
        if name in self.constants:
            self.used.setdefault(name, set()).add(kind)
            return name if kind == _FLOAT else _half_name(name)
        if (name in self.now_half) == (kind == _HALF):
            return name
        if (name, kind) not in self.casts:
            label = _half_name(name) if kind == _HALF else f"{name}/float32"
            self.nodes.append(helper.make_node("Cast", [name], [label], name=f"{label}/Cast", to=kind))
            self.casts[name, kind] = label
        return self.casts[name, kind]

    def _make_initializer(self, node: onnx.NodeProto) -> None:
        attribute = node.attribute[0]
        value = helper.get_attribute_value(attribute)
        array = numpy_helper.to_array(value) if attribute.name == "value" else np.asarray(value, np.float32)
        self.constants[node.output[0]] = numpy_helper.from_array(array, node.output[0])

    def _store_constants(self) -> None:
        """Constants that are wanted in both types get a second name for FP16; the others keep their own."""
        own_name = {_half_name(name): name for name, kinds in self.used.items() if kinds == {_HALF}}
        for node in self.graph.node:
            for slot, name in enumerate(node.input):
                node.input[slot] = own_name.get(name, name)
        stored = []
        for name, constant in self.constants.items():
            kinds = self.used.get(name, {_FLOAT})
            if _FLOAT in kinds:
                stored.append(constant)
            if _HALF in kinds:
                label = _half_name(name)
                values = _rounded(numpy_helper.to_array(constant))
                stored.append(numpy_helper.from_array(values, own_name.get(label, label)))
        del self.graph.initializer[:]
        self.graph.initializer.extend(stored)


def _half_name(name: str) -> str:
    return f"{name}/float16"


def _rounded(values: NDArray[Any]) -> NDArray[np.float16]:
    """FP16 values; what is finite stays so, which matters for the bounds of a Clip only."""
    cut = np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), values)
    return np.asarray(cut, np.float16).reshape(values.shape)


def _formal(parameters: Any, slot: int) -> Any:
    """The schema's entry for an input or output; the last may stand for any number."""
    return parameters[min(slot, len(parameters) - 1)]


def _refuse_subgraphs(graph: onnx.GraphProto, core: Iterable[int]) -> None:
    for position in sorted(core):
        node = graph.node[position]
        if any(entry.HasField("g") or entry.graphs for entry in node.attribute):
            raise ExportError(
                f"{node.name} ({node.op_type}) holds graphs of its own, which cannot become FP16; "
                "export the model without control flow"
            )


def half_scales(graph: onnx.GraphProto, nodes: Iterable[int]) -> None:
    """Replaces float32 scales of Q/DQ nodes that are too small for FP16, in place.

    Args:
        graph: holds the nodes and their constants.
        nodes: positions of the nodes to look at.
    """
    constants = {constant.name: constant for constant in graph.initializer}
    quantisers = [graph.node[i] for i in sorted(nodes) if graph.node[i].op_type in QDQ]
    raised: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    for node in quantisers:
        name = node.input[1]
        if name not in constants or name in raised:
            continue
        old = numpy_helper.to_array(constants[name])
        small = (old > 0) & (old < _SMALLEST_NORMAL)
        if old.dtype == np.float32 and small.any():
            raised[name] = old, np.where(small, _rounded_up(old), old)
    done: set[str] = set()
    for node in quantisers:
        name, data = node.input[1], node.input[0]
        if name in raised and data in constants and data not in done:
            done.add(data)
            axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
            _requantise(constants[data], *raised[name], axis)
    for name, (_, new) in raised.items():
        constants[name].CopyFrom(numpy_helper.from_array(new, name))


def _rounded_up(values: NDArray[Any]) -> NDArray[Any]:
    """The next float16 that is not smaller, as float32."""
    with np.errstate(over="ignore", under="ignore"):
        nearest = values.astype(np.float16)
    upper = np.where(nearest.astype(np.float32) < values, np.nextafter(nearest, np.float16(np.inf)), nearest)
    return upper.astype(np.float32)


def _requantise(data: onnx.TensorProto, old: NDArray[Any], new: NDArray[Any], axis: int) -> None:
    """The same weights in steps of ``new`` instead of ``old``; zero points are 0."""
    steps = numpy_helper.to_array(data)
    factor = np.asarray(old, np.float64) / np.where(new > 0, new, 1)
    if factor.ndim:
        shape = [1] * steps.ndim
        shape[axis] = -1
        factor = factor.reshape(shape)
    # The new scale is never smaller, so nothing leaves the range.
    data.CopyFrom(numpy_helper.from_array(np.rint(steps * factor).astype(steps.dtype), data.name))
