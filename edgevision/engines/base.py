"""What every inference engine looks like to the rest of the program."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from numpy.typing import NDArray

from edgevision.contract.manifest import Manifest, TensorSpec
from edgevision.errors import EngineError

Tensors = Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """A loaded model, used as a context manager.

    Attributes:
        name: what runs it, for people: ``"ONNX Runtime 1.31 (CPU)"``.
        reason: why this engine runs it, where ``load_engine`` chose it; empty where it was asked for.
        manifest: the model's contract.
        inputs, outputs: the tensors, as the engine itself reports them.
        requests: calls of :meth:`infer` that may run at the same time, from as many threads. More than one
            gives more frames a second; each of them takes longer.
    """

    name: str
    reason: str
    manifest: Manifest
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    requests: int

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs one batch.

        Args:
            inputs: one array for each input, C-contiguous, of the shapes in ``inputs``.

        Returns:
            One array for each output, valid until the next call; the caller's own where ``requests`` is
            more than one.

        Raises:
            EngineError: the engine failed, or an input does not fit.
        """
        ...

    def close(self) -> None:
        """Gives back what the engine holds; it cannot run afterwards."""
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def describe(engine: Engine) -> str:
    """What runs a model, and why: ``"OpenVINO 2026.4.1 (CPU): the model is INT8"``."""
    return f"{engine.name}: {engine.reason}" if engine.reason else engine.name


def check_inputs(inputs: Tensors, specs: Sequence[TensorSpec]) -> None:
    """Holds what an engine is given against what it takes.

    Raises:
        EngineError: naming the input that is missing, or of another type or shape.
    """
    for spec in specs:
        array = inputs.get(spec.name)
        if array is None:
            raise EngineError(f"expected input {spec}, found {', '.join(inputs) or 'none'}")
        fits = len(array.shape) == len(spec.shape) and all(
            wanted in (None, size) for wanted, size in zip(spec.shape, array.shape, strict=True)
        )
        if array.dtype != spec.dtype or not fits:
            raise EngineError(f"expected input {spec}, found {array.dtype} {list(array.shape)}")


def usable_cores() -> int:
    """Cores that this process may run on, which a container can limit below what the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_line(error: BaseException, limit: int = 200) -> str:
    """The message of a library's exception on one line, for they hold line breaks and their own sources."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
