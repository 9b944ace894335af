"""OpenVINO on the CPU: the fastest engine for INT8 on PCs."""

from __future__ import annotations

import os
import queue
from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from edgevision.closeable import Closeable
from edgevision.contract.manifest import INPUT_NAME, TensorSpec, check_contract
from edgevision.contract.model_file import read_sound_manifest
from edgevision.engines.base import Tensors, check_inputs, one_line, usable_cores
from edgevision.engines.ov_core import shared_core
from edgevision.errors import EngineError


class OpenVinoEngine(Closeable):
    """A model in OpenVINO's CPU plugin, tuned for latency, or with several requests for throughput.

    Args:
        path: an ONNX file that follows the contract.
        threads: total number of CPU threads; None uses every core available to this process.
        requests: number of calls that can run concurrently, sharing the threads; further calls wait.

    Raises:
        ModelError: the file is missing, damaged, or breaks the contract.
        EngineError: OpenVINO cannot compile it.
    """

    def __init__(
        self, path: str | os.PathLike[str], threads: int | None = None, *, requests: int = 1
    ) -> None:
        path = Path(path)
        self.manifest = read_sound_manifest(path)
        self.threads = threads or usable_cores()
        self.requests = requests
        version = openvino.__version__.partition("-")[0]
        try:
            core = shared_core()
            compiled = core.compile_model(core.read_model(path), "CPU", _settings(self.threads, requests))
        except RuntimeError as error:
            raise EngineError(f"OpenVINO {version} cannot compile {path} ({_cause(error)})") from error
        known = {INPUT_NAME, *(spec.name for spec in self.manifest.output_specs())}
        self.inputs = tuple(_spec(port, known) for port in compiled.inputs)
        self.outputs = tuple(_spec(port, known) for port in compiled.outputs)
        check_contract(self.manifest, self.inputs, self.outputs, str(path))
        self.name = f"OpenVINO {version} (CPU)"
        self.reason = ""
        self._idle: queue.SimpleQueue[Any] | None = queue.SimpleQueue()
        for _ in range(requests):
            self._idle.put(compiled.create_infer_request())

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs one batch; see :meth:`edgevision.engines.base.Engine.infer`. The caller owns the arrays."""
        if self._idle is None:
            raise EngineError("the engine is closed; open the model again")
        check_inputs(inputs, self.inputs)
        idle = self._idle
        request = idle.get()
        try:
            outputs = request.infer(dict(inputs), share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed while running the model ({_cause(error)})") from error
        finally:
            idle.put(request)
        return {spec.name: outputs[i] for i, spec in enumerate(self.outputs)}

    def close(self) -> None:
        self._idle = None


def _settings(threads: int, requests: int) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY" if requests == 1 else "THROUGHPUT",
        "NUM_STREAMS": str(min(requests, threads)),
        "INFERENCE_NUM_THREADS": threads,
        # Pinned threads would wait for cores that decoding and encoding occupy.
        "ENABLE_CPU_PINNING": False,
        # On processors with BF16 the default is to round FP32 models to it, which changes the results.
        # INT8 layers stay INT8.
        "INFERENCE_PRECISION_HINT": "f32",
    }


def _spec(port: Any, known: Set[str]) -> TensorSpec:
    """A port by its name in the contract: after simplification a port has the names of several tensors."""
    names = sorted(port.get_names())
    name = next((name for name in names if name in known), names[0])
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    return TensorSpec(name, np.dtype(port.element_type.to_dtype()), shape)


def _cause(error: RuntimeError) -> str:
    """The last line with text: earlier ones name OpenVINO's own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(RuntimeError(lines[-1] if lines else "no message"))
