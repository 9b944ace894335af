"""Opens any model: one that ships, an ONNX file, a plan, or a training checkpoint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rich.console import Console

from edgevision.cli.console import say
from edgevision.engines import Engine, check_engine_name, load_engine
from edgevision.errors import EngineMismatchError, ModelError, UsageError
from edgevision.extras import needs_extra
from edgevision.session.request import PlanPolicy
from edgevision.suffixes import CHECKPOINT_SUFFIXES
from edgevision.zoo import find_model


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model that is ready to run, as a context manager.

    Attributes:
        text: the name or path that the user gave.
        sha256: of the file; of an ONNX file with its metadata cleared.
        engine: that runs it.
    """

    text: str
    sha256: str
    engine: Engine

    def __enter__(self) -> OpenModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.close()


def open_model(text: str, engine: str, plans: PlanPolicy | None = None) -> OpenModel:
    """Opens a model by name or path.

    Args:
        text: a name that ships, or a path; ``.pt`` is a checkpoint of ``edgevision train``.
        engine: as in :func:`edgevision.engines.load_engine`; a checkpoint knows PyTorch only.
        plans: what the user allows with TensorRT plans.

    Raises:
        UsageError: there is no such engine, or a checkpoint is to run in another one than PyTorch.
        ModelError, EngineError, CheckpointError: the model cannot be opened.
    """
    check_engine_name(engine)
    if Path(text).suffix.lower() in CHECKPOINT_SUFFIXES:
        if engine != "auto":
            raise UsageError(
                f"{text} is a checkpoint, which runs in PyTorch; leave --engine out, or export it first"
            )
        loaded = _open_checkpoint(Path(text))
        return OpenModel(text, _sha256(Path(text)), loaded)
    path = find_model(text)
    loaded = open_engine(path, engine, plans or PlanPolicy())
    return OpenModel(text, loaded.manifest.sha256 or _sha256(path), loaded)


def open_engine(
    path: Path, engine: str, policy: PlanPolicy, threads: int | None = None, requests: int = 1
) -> Engine:
    """:func:`edgevision.engines.load_engine`, and a plan that does not fit is built again if allowed.

    Raises:
        EngineMismatchError: the plan does not fit, and is not to be built again or cannot be.
        EdgeVisionError: whatever opening or building raises.
    """
    try:
        return load_engine(path, engine, threads, requests=requests, trust=policy.trust)
    except EngineMismatchError as error:
        if not policy.rebuild:
            raise
        console = Console(stderr=True)
        say(console, f"note: {error.found}; building it again, which can take minutes")
    from edgevision.export.plans.compile import rebuild_plan

    # Where the plan was not built here, its bytes must not pass as up to date.
    compiled = rebuild_plan(path)
    for note in compiled.notes:
        say(console, f"note: {note}")
    say(console, f"{path}: {compiled.info.describe()}")
    return load_engine(path, engine, threads, requests=requests)


def _open_checkpoint(path: Path) -> Engine:
    with needs_extra("train"):
        from edgevision.training.checkpoint import load_checkpoint
        from edgevision.training.networks import checkpoint_engine
    return checkpoint_engine(load_checkpoint(path))


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
