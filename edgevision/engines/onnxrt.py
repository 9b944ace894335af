"""ONNX Runtime on the CPU: the engine that runs everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from edgevision.engines.base import Tensors, check_inputs
from edgevision.errors import EngineError, ModelError
from edgevision.manifest import check_contract, content_sha256, read_manifest
from edgevision.types import TensorSpec

# ONNX Runtime's exceptions share no base class below Exception.
_FAILURES = (
    errors.EPFail,
    errors.EngineError,
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoModel,
    errors.NoSuchFile,
    errors.NotImplemented,
    errors.RuntimeException,
)

_DTYPES = {
    "tensor(bool)": np.bool_,
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
}


class OnnxRuntimeEngine:
    """A model in ONNX Runtime's CPU provider.

    Its threads sleep between operators instead of spinning: spinning threads take the cores that
    decoding and encoding need, and cost the whole program more than they save one inference.

    Args:
        path: an ONNX file that follows the contract.
        threads: CPU threads for one inference; None takes every core that this process may use.
        spin: let idle threads spin; only sensible where nothing else runs.

    Raises:
        ModelError: the file is missing, damaged, not loadable, or breaks the contract.
    """

    def __init__(
        self, path: str | os.PathLike[str], threads: int | None = None, *, spin: bool = False
    ) -> None:
        path = Path(path)
        self.manifest = read_manifest(path)
        if self.manifest.sha256 and content_sha256(path) != self.manifest.sha256:
            raise ModelError(
                f"{path}: its content differs from the checksum in its metadata, so it is damaged or was "
                "edited; copy or export it again"
            )
        self.threads = threads or usable_cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised, so it need not be printed too
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except _FAILURES as error:
            raise ModelError(
                f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({_one_line(error)}); "
                "export it again"
            ) from error
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_spec(node) for node in session.get_outputs())
        check_contract(self.manifest, self.inputs, self.outputs, str(path))
        self.name = f"ONNX Runtime {onnxruntime.__version__} (CPU)"
        self._output_names = [spec.name for spec in self.outputs]
        self._session = session

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs one batch; see :meth:`edgevision.engines.base.Engine.infer`."""
        if self._session is None:
            raise EngineError("the engine is closed; open the model again")
        check_inputs(inputs, self.inputs)
        try:
            outputs: Sequence[NDArray[Any]] = self._session.run(self._output_names, dict(inputs))
        except _FAILURES as error:
            raise EngineError(f"ONNX Runtime failed while running the model ({_one_line(error)})") from error
        return dict(zip(self._output_names, outputs, strict=True))

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OnnxRuntimeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def usable_cores() -> int:
    """Cores that this process may run on, which a container can limit below what the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _spec(node: Any) -> TensorSpec:
    dtype = np.dtype(_DTYPES.get(node.type, np.object_))
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, dtype, shape)


def _one_line(error: BaseException, limit: int = 200) -> str:
    """ONNX Runtime's messages hold file names of its own sources and line breaks."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
