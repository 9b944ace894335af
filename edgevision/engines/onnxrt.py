"""ONNX Runtime: runs on every machine, on the CPU or through its provider for CUDA.

Its provider for TensorRT is left out: it builds an engine at every start, which takes minutes, needs the
TensorRT release that it was itself built with, and takes precision as options beside the file.
``edgevision compile`` builds a plan once, for the TensorRT that is there, in the file's own precision.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from edgevision.closeable import Closeable
from edgevision.contract.manifest import TensorSpec, check_contract
from edgevision.contract.model_file import read_sound_manifest
from edgevision.engines.base import Tensors, check_inputs, one_line, one_line_text, usable_cores
from edgevision.errors import EngineError, ModelError

Provider = Literal["cpu", "cuda"]

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

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_SHORT = {_CPU: "CPU", _CUDA: "CUDA"}
# TF32 rounds FP32 to 10 bits of mantissa. An FP32 file must give the same results on every engine; for speed
# there is the FP16 file.
_CUDA_OPTIONS = {"use_tf32": "0"}
# Operators that a provider lacks run on the next one.
_PROVIDERS: dict[Provider, tuple[tuple[str, dict[str, str]], ...]] = {
    "cpu": ((_CPU, {}),),
    "cuda": ((_CUDA, _CUDA_OPTIONS), (_CPU, {})),
}

# An ONNX file of one node, y = -x, as protobuf: whether a session opens needs no package that writes ONNX.
_ONE_NODE = bytes.fromhex(
    "080812003a320a0b0a017812017922034e65671201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a080801"
    "12040a02080142040a00100d"
)


class OnnxRuntimeEngine(Closeable):
    """A model in ONNX Runtime.

    On the CPU its threads sleep between operators instead of spinning: spinning threads occupy the cores
    that decoding and encoding need, and cost the whole program more than they save in inference.

    INT8 files keep their Q/DQ nodes and compute in float between them. The integer kernels that ONNX Runtime
    would substitute saturate on processors without VNNI and misread FP16 scales; with VNNI they add half as
    much error again to the shipped detector's heads, without a gain in speed. OpenVINO is the engine that
    runs INT8 fast.

    Args:
        path: an ONNX file that follows the contract.
        threads: total number of CPU threads; None uses every core available to this process.
        provider: the execution provider; operators that it lacks run on the CPU.
        requests: number of calls that can run concurrently, sharing the threads.
        optimise: False runs the graph as it is written: slow, and the reference for all other engines.
        spin: let idle threads spin; only sensible if nothing else runs.

    Attributes:
        providers: the providers in use, by ONNX Runtime's names, in order of preference.

    Raises:
        EngineError: this ONNX Runtime lacks the provider, or cannot load it on this machine.
        ModelError: the file is missing, damaged, not loadable, or breaks the contract.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int | None = None,
        provider: Provider = "cpu",
        *,
        requests: int = 1,
        optimise: bool = True,
        spin: bool = False,
    ) -> None:
        path = Path(path)
        self.manifest = read_sound_manifest(path)
        self.threads = threads or usable_cores()
        self.requests = requests
        options = _options(max(1, self.threads // requests), spin)
        if self.manifest.precision.startswith("int8"):
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = _open_session(path, options, provider)
        self.providers = tuple(self._session.get_providers())
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        check_contract(self.manifest, self.inputs, self.outputs, str(path))
        where = _SHORT[self.providers[0]] + ("" if optimise else ", unoptimised")
        self.name = f"ONNX Runtime {onnxruntime.__version__} ({where})"
        self.reason = ""
        self._output_names = [spec.name for spec in self.outputs]

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs one batch; see :meth:`edgevision.engines.base.Engine.infer`."""
        if self._session is None:
            raise EngineError("the engine is closed; open the model again")
        check_inputs(inputs, self.inputs)
        try:
            outputs: Sequence[NDArray[Any]] = self._session.run(self._output_names, dict(inputs))
        except _FAILURES as error:
            raise EngineError(f"ONNX Runtime failed while running the model ({one_line(error)})") from error
        return dict(zip(self._output_names, outputs, strict=True))

    def close(self) -> None:
        self._session = None


def installed_providers() -> tuple[str, ...]:
    """The providers in this ONNX Runtime, such as ``("cuda", "cpu")``; they may still fail to load."""
    known = {_CPU: "cpu", _CUDA: "cuda"}
    return tuple(known[name] for name in onnxruntime.get_available_providers() if name in known)


def _options(threads: int, spin: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, so they need not be printed too
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    return options


def preload_cuda() -> str:
    """Loads the CUDA and cuDNN libraries that came as Python packages, which no loader would find otherwise.

    Returns:
        What could not be loaded, on one line; ``""`` where all was, or where this ONNX Runtime needs none.
    """
    preload = getattr(onnxruntime, "preload_dlls", None)  # since 1.21
    if preload is None:
        return ""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints what is missing
        preload()
    return one_line_text(said.getvalue())


def cuda_advice() -> str:
    """How ONNX Runtime comes to its provider for CUDA on this kind of machine."""
    if platform.machine() == "aarch64":
        return (
            "there is none for a Jetson on PyPI: build a plan with 'edgevision compile', which is faster too"
        )
    return "run: pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"


def _open_session(path: Path, options: Any, provider: Provider) -> Any:
    missing = preload_cuda() if provider == "cuda" else ""
    if provider not in installed_providers():
        raise EngineError(
            f"ONNX Runtime {onnxruntime.__version__} is installed without its {_short(provider)} provider; "
            f"{cuda_advice()}"
        )
    wanted = [(name, values) for name, values in _PROVIDERS[provider] if name in _available()]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted, enable_fallback=0)
    except _FAILURES as error:
        if provider != "cpu":
            raise EngineError(
                f"ONNX Runtime's {_short(provider)} provider cannot run {path.name} ({one_line(error)})"
            ) from error
        raise ModelError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({one_line(error)}); "
            "export it again"
        ) from error
    if _passes_over(session, provider):
        reason = f" ({missing})" if missing else ""
        raise EngineError(
            f"ONNX Runtime's {_short(provider)} provider does not load on this machine{reason}; it needs an "
            f"NVIDIA driver, CUDA and cuDNN of the versions that onnxruntime.ai names: {cuda_advice()}"
        )
    return session


def cuda_problem() -> str:
    """Why a session of ONNX Runtime does not run on CUDA here; ``""`` where it does, on one line.

    That the provider is built in says little: what it needs is loaded when a session is opened.
    """
    missing = preload_cuda()
    try:
        session = onnxruntime.InferenceSession(
            _ONE_NODE, _options(1, False), providers=list(_PROVIDERS["cuda"]), enable_fallback=0
        )
    except _FAILURES as error:
        return one_line(error)
    if _passes_over(session, "cuda"):
        return missing or "a library of CUDA or cuDNN is missing, or of another version"
    return ""


def _passes_over(session: Any, provider: Provider) -> bool:
    """ONNX Runtime silently skips a provider whose libraries are missing."""
    return bool(session.get_providers()[0] != _PROVIDERS[provider][0][0])


def _available() -> list[str]:
    found: list[str] = onnxruntime.get_available_providers()
    return found


def _short(provider: Provider) -> str:
    return _SHORT[_PROVIDERS[provider][0][0]]


def _spec(node: Any) -> TensorSpec:
    dtype = np.dtype(_DTYPES.get(node.type, np.object_))
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, dtype, shape)
