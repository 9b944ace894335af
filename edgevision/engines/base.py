"""What every inference engine looks like to the rest of the program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from numpy.typing import NDArray

from edgevision.errors import EngineError
from edgevision.manifest import Manifest
from edgevision.types import TensorSpec

Tensors = Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """A loaded model, used as a context manager.

    Attributes:
        name: what runs it, for people: ``"ONNX Runtime 1.31 (CPU)"``.
        manifest: the model's contract.
        inputs, outputs: the tensors, as the engine itself reports them.
    """

    name: str
    manifest: Manifest
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs one batch.

        Args:
            inputs: one array for each input, C-contiguous, of the shapes in ``inputs``.

        Returns:
            One array for each output, valid until the next call.

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
