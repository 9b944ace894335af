"""How close a derived file's core stays to that of its source, and how far its values reach.

Both are measured on frames made by a seed, so that an export needs no data. ONNX Runtime runs without its
optimiser here, which is wrong with FP16 Q/DQ nodes. On a CPU it computes FP16 operators in FP32 and leaves
out the rounding between neighbours, so :func:`with_rounding` writes it into the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.contract.manifest import INPUT_NAME, Manifest
from edgevision.engines.base import one_line, usable_cores
from edgevision.errors import ExportError
from edgevision.graph.network import core_nodes, element_types, set_output_type
from edgevision.graph.units import units_apart
from edgevision.types import FloatArray

_SEED = 0
_CELLS = (4, 16, 64)  # of the coarse noise that becomes a frame: from large areas to fine texture


@dataclass(frozen=True, slots=True, eq=False)
class CoreRun:
    """What a model's core computed over some frames.

    Attributes:
        heads: values of each head tensor ``[n, ...]``.
        peaks: greatest magnitude of each tensor that was asked for.
    """

    heads: dict[str, FloatArray]
    peaks: dict[str, float]


def probe_frames(manifest: Manifest, batch: int = 1) -> NDArray[np.uint8]:
    """Frames uint8 ``[n, H, W, 3]`` of colours in areas of several sizes, and of plain noise.

    Args:
        manifest: for the input's size.
        batch: n is a multiple of this, for models that take one batch size only.
    """
    rng = np.random.default_rng(_SEED)
    size = (manifest.input_width, manifest.input_height)
    coarse = [rng.integers(0, 256, (cells, cells, 3), np.uint8) for cells in _CELLS]
    frames = [cv2.resize(noise, size, interpolation=cv2.INTER_LINEAR) for noise in coarse]
    frames.append(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
    return np.stack([frames[i % len(frames)] for i in range(-(-len(frames) // batch) * batch)])


def fixed_batch(model: onnx.ModelProto) -> int:
    """The batch size that a model is bound to, or 1 where it takes any."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value) or 1


def core_floats(model: onnx.ModelProto, heads: Sequence[str]) -> tuple[str, ...]:
    """The float32 tensors that a model's core reads and makes, weights left out, in the graph's order.

    Raises:
        ExportError: a head is missing.
    """
    types = element_types(model)
    fixed = {constant.name for constant in model.graph.initializer}
    nodes = [model.graph.node[i] for i in sorted(core_nodes(model.graph, heads))]
    names = dict.fromkeys(name for node in nodes for name in (*node.input, *node.output))
    return tuple(name for name in names if types.get(name) == TensorProto.FLOAT and name not in fixed)


def run_core(
    model: onnx.ModelProto, heads: Sequence[str], frames: NDArray[np.uint8], watched: Sequence[str] = ()
) -> CoreRun:
    """Runs a model and looks inside.

    Args:
        model: of the contract.
        heads: its head tensors.
        frames: uint8 ``[n, H, W, 3]``.
        watched: float tensors whose greatest magnitude is wanted.

    Raises:
        ExportError: ONNX Runtime cannot run the model.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    for i, name in enumerate(watched):
        probe.graph.node.append(helper.make_node("Abs", [name], [f"magnitude/{i}"]))
        probe.graph.node.append(helper.make_node("ReduceMax", [f"magnitude/{i}"], [f"peak/{i}"], keepdims=0))
    wanted = [*heads, *(f"peak/{i}" for i in range(len(watched)))]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = usable_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    batch = fixed_batch(model)
    batches = [frames[start : start + batch] for start in range(0, len(frames), batch)]
    try:
        session = onnxruntime.InferenceSession(
            probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        answers = [session.run(wanted, {INPUT_NAME: part}) for part in batches]
    except Exception as error:  # ONNX Runtime's errors share no base class below Exception
        raise ExportError(f"ONNX Runtime cannot run the model ({one_line(error)})") from error
    columns = list(zip(*answers, strict=True))
    return CoreRun(
        {name: np.concatenate(column) for name, column in zip(heads, columns, strict=False)},
        {name: float(max(column)) for name, column in zip(watched, columns[len(heads) :], strict=True)},
    )


def with_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in FP32 and rounds to FP16 after every node that makes FP16, as a GPU does.

    Args:
        model: its FP16 tensors are neither inputs nor outputs of it.
    """
    types = element_types(model)
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    graph = rounded.graph
    for constant in graph.initializer:
        if constant.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(constant).astype(np.float32)
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for slot, name in enumerate(node.output):
            if types.get(name) != TensorProto.FLOAT16:
                continue
            exact, half = f"{name}/exact", f"{name}/rounded"
            node.output[slot] = exact
            nodes.append(helper.make_node("Cast", [exact], [half], to=TensorProto.FLOAT16))
            nodes.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
            set_output_type(node, TensorProto.FLOAT)
    del graph.node[:]
    graph.node.extend(nodes)
    return rounded


def agreement_db(wanted: Mapping[str, FloatArray], found: Mapping[str, FloatArray]) -> float:
    """Power of each tensor over that of its error, in dB, for the worst of them; ``inf`` where all are equal.

    Boxes and scores in one tensor count as two: see :mod:`edgevision.graph.units`.

    Raises:
        ExportError: a value that was found is not finite.
    """
    worst = np.inf
    for name, reference in wanted.items():
        if not np.isfinite(found[name]).all():
            raise ExportError(
                f"head {name} is not finite at the new precision; keep the model at its present one"
            )
        for axis, places in units_apart(reference):
            wanted_part, part = (np.take(one, places, axis) for one in (reference, found[name]))
            error = np.square(np.subtract(part, wanted_part, dtype=np.float64)).sum()
            if error > 0:
                power = np.square(wanted_part, dtype=np.float64).sum()
                worst = min(worst, 10 * np.log10(max(power, np.finfo(np.float64).tiny) / error))
    return float(worst)
