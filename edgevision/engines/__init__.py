"""Inference engines: one class each, and one function that opens the right one.

Example:
    >>> with load_engine("model.onnx") as engine:  # doctest: +SKIP
    ...     outputs = engine.infer({"frames": batch})
"""

from __future__ import annotations

import os
from pathlib import Path

from edgevision.engines.base import Engine, Tensors
from edgevision.engines.fake import FakeEngine
from edgevision.errors import EngineError, ModelError, UsageError, nearest

ENGINES = ("auto", "onnxruntime")
"""What ``load_engine`` and ``--engine`` accept."""

__all__ = ["ENGINES", "Engine", "FakeEngine", "Tensors", "check_engine_name", "load_engine"]


def check_engine_name(engine: str) -> None:
    """Raises :class:`UsageError`, which names the nearest engine, where ``engine`` does not exist."""
    if engine not in ENGINES:
        hint = nearest(engine, ENGINES) or f"; choose one of {', '.join(ENGINES)}"
        raise UsageError(f"unknown engine '{engine}'{hint}")


def load_engine(path: str | os.PathLike[str], engine: str = "auto", threads: int | None = None) -> Engine:
    """Opens a model file with an engine that can run it.

    Args:
        path: an ONNX file that follows the contract.
        engine: ``"onnxruntime"``, or ``"auto"`` to choose by what the file is.
        threads: CPU threads for one inference; None takes every core that this process may use.

    Raises:
        UsageError: there is no engine of that name, or ``threads`` is not positive.
        ModelError: the file is missing, unreadable, damaged, or not one of ours.
        EngineError: the engine cannot be loaded on this machine.
    """
    check_engine_name(engine)
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be 1 or more; found {threads}")
    path = Path(path)
    if path.suffix in (".engine", ".plan"):
        raise ModelError(f"{path}: no engine here runs TensorRT plans; give the ONNX file it was built from")
    try:
        # Imported here so that a machine without onnxruntime can still use every other engine.
        from edgevision.engines.onnxrt import OnnxRuntimeEngine
    except ImportError as error:
        raise EngineError(
            f"onnxruntime cannot be loaded ({error}); install it with 'pip install onnxruntime'"
        ) from error
    return OnnxRuntimeEngine(path, threads=threads)
