"""What a graph computes, as written: ONNX Runtime with everything off that rewrites it.

With its rewriting on, ONNX Runtime runs Q/DQ in int8 kernels of its own, which saturate on CPUs without VNNI:
24 dB where TensorRT's arithmetic has 48. As written, Q and DQ round and cut as TensorRT does, and the
convolutions between them sum the same products in FP32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edgevision.closeable import Closeable
from edgevision.contract.manifest import INPUT_NAME, Manifest, TensorSpec
from edgevision.engines.base import Tensors, check_inputs, usable_cores


class Simulation:
    """A graph on the CPU.

    Args:
        model: takes ``frames``.
        outputs: names of the outputs to return.
        rewrite: let ONNX Runtime optimise; right for a graph without Q/DQ only.
    """

    def __init__(self, model: onnx.ModelProto, outputs: Sequence[str], rewrite: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = usable_cores()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if rewrite else levels.ORT_DISABLE_ALL
        self._outputs = list(outputs)
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, frames: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """uint8 ``[N, H, W, 3]`` to the outputs, in order."""
        arrays: list[NDArray[Any]] = self._session.run(self._outputs, {INPUT_NAME: frames})
        return arrays


class SimulatedEngine(Closeable):
    """A whole model of the contract, computed as written; see :class:`edgevision.engines.base.Engine`.

    Args:
        model: the graph.
        manifest: its contract.
    """

    def __init__(self, model: onnx.ModelProto, manifest: Manifest) -> None:
        self.manifest = manifest
        self.name = f"ONNX Runtime {onnxruntime.__version__} (CPU, graph as written)"
        self.reason = ""
        self.requests = 1
        self.inputs: tuple[TensorSpec, ...] = (manifest.input_spec(),)
        self.outputs = manifest.output_specs()
        self._names = [spec.name for spec in self.outputs]
        self._run = Simulation(model, self._names)

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs one batch."""
        check_inputs(inputs, self.inputs)
        return dict(zip(self._names, self._run(inputs[INPUT_NAME]), strict=True))

    def close(self) -> None:
        """Nothing to give back."""
