"""Runs models through every engine on the same frames, and says where they diverge.

Every file is first run as it is written, by ONNX Runtime without optimisation. That run is compared with the
reference (the checkpoint, else the first file), which shows what the file's precision costs, and every engine
on the file is compared with that run, which shows what the engine changes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.closeable import Closeable
from edgevision.contract.manifest import Manifest, Precision
from edgevision.engines import load_engine
from edgevision.engines.onnxrt import OnnxRuntimeEngine, installed_providers
from edgevision.errors import EngineError, UsageError
from edgevision.export.parity.compare import Comparing, Comparison, tolerances_for
from edgevision.export.parity.runs import EngineRun, OpenEngine, Run
from edgevision.suffixes import ONNX_SUFFIX


class ParityReport(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        frames: how many were compared.
        comparisons: each run with its reference.
        missing: engines that are installed but could not run a file, and why.
    """

    frames: int
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return all(one.agrees for one in self.comparisons)


class _Pair:
    """Two runs that are compared."""

    def __init__(self, run: int, reference: int, precision: Precision, same_file: bool) -> None:
        self.run, self.reference = run, reference
        self.comparing = Comparing(tolerances_for(precision, same_file))


class Parity(Closeable):
    """The runs of some models, as a context manager.

    Args:
        models: ONNX files and plans of one network; the first is the reference where there is no other.
        reference: what all are compared with: a checkpoint.
        open_plan: how plans are opened; by default those that were built here are.

    Raises:
        UsageError: the models take other inputs or give other answers than the reference.
        EdgeVisionError: a file cannot be opened.
    """

    def __init__(
        self, models: Sequence[Path], reference: Run | None = None, open_plan: OpenEngine | None = None
    ) -> None:
        self._open_plan = open_plan or partial(load_engine, engine="tensorrt")
        self._names: list[str] = []
        self._runs: list[Run] = []
        self._pairs: list[_Pair] = []
        self._missing: list[str] = []
        if reference is not None:
            self._keep("checkpoint", reference)
        with ExitStack() as opened:
            for path in models:
                self._add_file(path, opened)
            self._opened = opened.pop_all()
        if not self._pairs:
            raise UsageError("there is only one run and nothing to compare it with; give a second model")

    @property
    def manifest(self) -> Manifest:
        """The contract that all share."""
        return self._runs[0].manifest

    def compare(self, batches: Iterable[NDArray[np.uint8]]) -> ParityReport:
        """Compares on ``batches`` of frames, uint8 ``[N, H, W, 3]``, BGR, letterboxed.

        Raises:
            UsageError: there is no frame.
            EngineError: an engine failed.
        """
        frames = 0
        for batch in batches:
            frames += len(batch)
            outputs = [run.stages(batch) for run in self._runs]
            for pair in self._pairs:
                pair.comparing.add(outputs[pair.reference], outputs[pair.run])
        if not frames:
            raise UsageError("the source has no frame; there is nothing to compare")
        comparisons = tuple(
            pair.comparing.result(self._names[pair.run], self._names[pair.reference]) for pair in self._pairs
        )
        return ParityReport(frames, comparisons, tuple(self._missing))

    def _add_file(self, path: Path, opened: ExitStack) -> None:
        if path.suffix.lower() != ONNX_SUFFIX:
            plan = opened.enter_context(EngineRun(path, self._open_plan))
            if not self._runs:
                raise UsageError(f"{path}: a plan needs an ONNX file or a `checkpoint` to be compared with")
            self._compare(self._keep(path.name, plan), 0, same_file=False)
            return
        as_written = opened.enter_context(EngineRun(path, partial(OnnxRuntimeEngine, optimise=False)))
        own = self._keep(path.name, as_written)
        if own:
            self._compare(own, 0, same_file=False)
        for engine in engines_here():
            run = _open_run(path, engine)
            if isinstance(run, EngineError):
                self._missing.append(f"{path.name} in {engine}: {run}")
            else:
                self._compare(self._keep(path.name, opened.enter_context(run)), own, same_file=True)

    def _compare(self, run: int, reference: int, same_file: bool) -> None:
        self._pairs.append(_Pair(run, reference, self._runs[run].manifest.precision, same_file))

    def _keep(self, text: str, run: Run) -> int:
        if self._runs:
            _require_alike(run.manifest, self.manifest, text)
        self._runs.append(run)
        self._names.append(f"{text} in {run.name}")
        return len(self._runs) - 1

    def close(self) -> None:
        self._opened.close()


def engines_here() -> Iterator[str]:
    """The engines for ONNX files that are installed; one may still fail to load."""
    yield "onnxruntime"
    if "cuda" in installed_providers():
        yield "onnxruntime-cuda"
    if importlib.util.find_spec("openvino") is not None:
        yield "openvino"


def _open_run(path: Path, engine: str) -> EngineRun | EngineError:
    try:
        return EngineRun(path, partial(load_engine, engine=engine))
    except EngineError as error:
        return error


def _require_alike(found: Manifest, expected: Manifest, text: str) -> None:
    for what in ("task", "classes", "input_width", "input_height", "resize", "max_detections"):
        ours, theirs = getattr(found, what), getattr(expected, what)
        if ours != theirs:
            raise UsageError(
                f"{text}: its {what} is {ours}, that of the reference {theirs}; "
                "expected files of one network, with its own checkpoint"
            )
