"""Inference engines: one class each, and :func:`load_engine`, which opens the right one.

Example:
    >>> with load_engine("model.onnx") as engine:  # doctest: +SKIP
    ...     outputs = engine.infer({"frames": batch})
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

from edgevision.contract.model_file import read_manifest
from edgevision.engines.base import Engine, Tensors, describe
from edgevision.engines.choose import EngineName, FileFacts, choose_engines, machine_facts
from edgevision.errors import EngineError, UsageError, nearest
from edgevision.extras import local_command, needs_extra
from edgevision.suffixes import PLAN_SUFFIXES

ENGINES: tuple[str, ...] = ("auto", *get_args(EngineName))
"""Names that :func:`load_engine` accepts."""

__all__ = ["ENGINES", "Engine", "Tensors", "check_engine_name", "describe", "load_engine"]


def check_engine_name(engine: str) -> None:
    """Raises :class:`UsageError`, which names the nearest engine, if ``engine`` does not exist."""
    if engine not in ENGINES:
        hint = nearest(engine, ENGINES) or f"; choose one of {', '.join(ENGINES)}"
        raise UsageError(f"unknown engine '{engine}'{hint}")


def load_engine(
    path: str | os.PathLike[str],
    engine: str = "auto",
    threads: int | None = None,
    *,
    requests: int = 1,
    trust: bool = False,
) -> Engine:
    """Opens a model file with an engine that can run it.

    Args:
        path: an ONNX file that follows the contract, or a TensorRT plan.
        engine: one of :data:`ENGINES`. ``auto`` chooses by the type of the file and the hardware, and falls
            back to the next best engine if one does not load; the engine's ``reason`` reports both. An
            engine given by name has no fallback.
        threads: total number of CPU threads; None uses every core available to this process.
        requests: number of inferences that can run concurrently on a CPU, sharing the threads. More than
            one favours throughput over latency. Ignored by GPU engines.
        trust: load a plan that was not built by this user's edgevision; a plan contains machine code.

    Raises:
        UsageError: the engine is unknown or does not run such files, or ``threads`` or ``requests`` is not
            positive.
        ModelError: the file is missing, unreadable, damaged, or does not follow the contract.
        EngineMismatchError: a plan does not match this machine, this library, or the model beside it.
        EngineError: the engine cannot be loaded on this machine.
    """
    check_engine_name(engine)
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be 1 or more; found {threads}")
    if requests < 1:
        raise UsageError(f"requests must be 1 or more; found {requests}")
    path = Path(path)
    is_plan = path.suffix.lower() in PLAN_SUFFIXES
    if engine != "auto":
        if is_plan != (engine == "tensorrt"):
            if is_plan:
                raise UsageError(f"{path} is a TensorRT plan; engine '{engine}' runs ONNX files")
            raise UsageError(f"{path} is not a TensorRT plan; build one with 'edgevision compile'")
        return _open(path, engine, threads, requests, trust)
    file = FileFacts(None if is_plan else read_manifest(path).precision)
    failures: list[EngineError] = []
    for choice in choose_engines(machine_facts(), file):
        opened = _attempt(path, choice.engine, threads, requests, trust)
        if not isinstance(opened, EngineError):
            opened.reason = "; ".join(filter(None, [choice.reason, *map(str, failures), opened.reason]))
            return opened
        failures.append(opened)
    raise failures[-1]


def _attempt(
    path: Path, engine: EngineName, threads: int | None, requests: int, trust: bool
) -> Engine | EngineError:
    try:
        return _open(path, engine, threads, requests, trust)
    except EngineError as error:
        return error


def _open(path: Path, engine: str, threads: int | None, requests: int, trust: bool) -> Engine:
    # Imported here so that no engine needs the packages of another.
    if engine == "tensorrt":
        from edgevision.engines.trt.engine import TensorRtEngine

        return TensorRtEngine(path, trust=trust)
    if engine == "openvino":
        with needs_extra("openvino", "the engine openvino", EngineError):
            from edgevision.engines.ov import OpenVinoEngine
        return OpenVinoEngine(path, threads, requests=requests)
    try:
        from edgevision.engines.onnxrt import OnnxRuntimeEngine
    except ImportError as error:
        command = local_command("pip install onnxruntime")
        raise EngineError(f"ONNX Runtime cannot be loaded ({error}); install it with: {command}") from error
    if engine == "onnxruntime-cuda":
        return OnnxRuntimeEngine(path, threads, "cuda")
    return OnnxRuntimeEngine(path, threads, requests=requests)
