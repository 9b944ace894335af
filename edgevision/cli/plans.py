"""Opening a model file where it may be a TensorRT plan that does not fit this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from edgevision.cli.console import say
from edgevision.engines import Engine, load_engine
from edgevision.errors import EngineMismatchError


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """What the user allows with plans.

    Attributes:
        trust: load one that was not built here.
        rebuild: build one that does not fit again.
    """

    trust: bool = False
    rebuild: bool = False


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
    return load_engine(path, engine, threads)
