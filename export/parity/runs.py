"""What a model file is at each stage, in any engine: the file itself, and a variant that shows its inside."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.closeable import Closeable
from edgevision.contract.manifest import INPUT_NAME, Manifest
from edgevision.contract.model_file import read_manifest, write_manifest
from edgevision.engines.base import Engine
from edgevision.errors import ExportError
from edgevision.export.parity.compare import StageOutputs
from edgevision.graph.load import load_onnx
from edgevision.graph.network import WHOLE_PIXELS, is_preprocessing, reads
from edgevision.suffixes import ONNX_SUFFIX

OpenEngine = Callable[[Path], Engine]


class Run(Protocol):
    """One way to run a model, which shows its stages.

    Attributes:
        name: of the engine, for people.
        manifest: the model's contract.
    """

    name: str
    manifest: Manifest

    def stages(self, frames: NDArray[np.uint8]) -> StageOutputs:
        """The stages of ``frames`` uint8 ``[N, H, W, 3]``, BGR, letterboxed. The arrays are the caller's."""
        ...


class EngineRun(Closeable):
    """A model file in an engine, as a context manager.

    Two engines are opened with the same settings: one on the file as it is, for the answers, and one on a
    variant whose inner tensors are outputs too, for they change what an engine may fuse.

    Args:
        path: an ONNX file of the contract, or a plan, of which only the answers can be seen.
        open_engine: how to open it.

    Raises:
        EdgeVisionError: the engine cannot open it.
    """

    def __init__(self, path: Path, open_engine: OpenEngine) -> None:
        self._opened = ExitStack()
        with ExitStack() as opened:
            self._engine = opened.enter_context(open_engine(path))
            self.name, self.manifest = self._engine.name, self._engine.manifest
            self._inner: Engine | None = None
            self._input: str | None = None
            if path.suffix.lower() == ONNX_SUFFIX:
                # Not beside the user's file, and gone before anything runs: engines read it at once.
                with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
                    variant = Path(folder) / "marked.onnx"
                    self._input = write_marked(path, variant)
                    self._inner = opened.enter_context(open_engine(variant))
            self._opened = opened.pop_all()

    def stages(self, frames: NDArray[np.uint8]) -> StageOutputs:
        answers = {name: array.copy() for name, array in self._engine.infer({INPUT_NAME: frames}).items()}
        if self._inner is None:
            return StageOutputs(None, {}, answers)
        inner = self._inner.infer({INPUT_NAME: frames})
        heads = {name: inner[name].astype(np.float32) for name in self.manifest.heads}
        normalised = None if self._input is None else inner[self._input].astype(np.float32)
        return StageOutputs(normalised, heads, answers)

    def close(self) -> None:
        self._opened.close()


def write_marked(path: Path, variant: Path) -> str | None:
    """Writes a variant of a model whose normalised input and head maps are outputs too.

    Args:
        path: an ONNX file of the contract.
        variant: the file to write.

    Returns:
        Name of the normalised input; None where the file has none, see :func:`normalised_input`.

    Raises:
        ExportError: the graph lacks a head, or a start that was written by edgevision.
    """
    manifest = read_manifest(path)
    model = load_onnx(path)
    normalised = normalised_input(model.graph, str(path))
    inner = manifest.heads if normalised is None else (normalised, *manifest.heads)
    mark_outputs(model, inner, str(path))
    onnx.save(model, variant)
    write_manifest(variant, manifest)  # with the checksum of the variant
    return normalised


def normalised_input(graph: onnx.GraphProto, origin: str) -> str | None:
    """The tensor between preprocessing and network; None where the network reads whole pixels in its place.

    Raises:
        ExportError: there is not exactly one.
    """
    before = [node for node in graph.node if is_preprocessing(node)]
    made = {name for node in before for name in node.output if name}
    whole = {name for node in before if node.name.startswith(WHOLE_PIXELS) for name in node.output}
    used = made & {name for node in graph.node if not is_preprocessing(node) for name in reads(node)}
    normalised = used - whole
    if used and not normalised:
        return None
    if len(normalised) != 1:
        found = ", ".join(sorted(normalised)) or "none"
        raise ExportError(
            f"{origin}: expected one tensor between preprocessing and network, found {found}; "
            "export or import the model again"
        )
    return str(normalised.pop())


def mark_outputs(model: onnx.ModelProto, names: Sequence[str], origin: str) -> None:
    """Makes tensors outputs, in place; those that are outputs already stay so once.

    Raises:
        ExportError: a tensor is not in the graph.
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {value.name: value for value in inferred.graph.value_info}
    present = {value.name for value in model.graph.output}
    for name in dict.fromkeys(names):
        if name in present:
            continue
        if name not in known:
            raise ExportError(f"{origin}: the graph has no tensor {name}; export the model again")
        model.graph.output.append(known[name])
