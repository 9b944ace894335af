"""The interface of an inference engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from edgevision.closeable import Closeable
from edgevision.contract.manifest import Manifest, TensorSpec
from edgevision.errors import EngineError

Tensors = Mapping[str, NDArray[Any]]


class Engine(Closeable, Protocol):
    """A loaded model, used as a context manager.

    Attributes:
        name: display name: ``"ONNX Runtime 1.31 (CPU)"``.
        reason: why ``load_engine`` chose this engine; empty if it was requested by name.
        manifest: the model's contract.
        inputs, outputs: the tensors, as the engine itself reports them.
        requests: number of calls of :meth:`infer` that can run concurrently, each on its own thread. More
            than one gives more frames per second at a higher latency per frame.
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
            inputs: one C-contiguous array per input, of the shapes in ``inputs``.

        Returns:
            One array per output, valid until the next call; if ``requests`` is more than one, they belong
            to the caller.

        Raises:
            EngineError: the engine failed, or an input has the wrong type or shape.
        """
        ...

    def close(self) -> None:
        """Releases the engine's resources; it cannot run afterwards."""
        ...


def describe(engine: Engine) -> str:
    """An engine's name and the reason for it: ``"OpenVINO 2026.4.1 (CPU): the model is INT8"``."""
    return f"{engine.name}: {engine.reason}" if engine.reason else engine.name


def check_inputs(inputs: Tensors, specs: Sequence[TensorSpec]) -> None:
    """Checks arrays against an engine's input specifications.

    Raises:
        EngineError: an input is missing, or has another type or shape; the message names it.
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
    """Number of cores available to this process; a container may have fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_MOST_REQUESTS = 4  # each holds the memory of an inference


def requests_of(threads: int, *, for_throughput: bool) -> int:
    """Inferences that run at the same time on so many threads; see ``ThreadBudget`` of the pipeline."""
    return min(_MOST_REQUESTS, threads) if for_throughput else 1


def one_line(error: BaseException, limit: int = 200) -> str:
    """The message of a library's exception, which may span several lines, on one line of limited length."""
    return one_line_text(str(error), limit)


def one_line_text(text: str, limit: int = 200) -> str:
    """A text on one line of at most ``limit`` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
