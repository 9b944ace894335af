"""The models of a run: opened, checked against each other, and ready to answer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from edgevision.engines import Engine, describe, load_engine
from edgevision.errors import UsageError, nearest
from edgevision.model import Model
from edgevision.session.request import PlanPolicy, RunRequest
from edgevision.zoo import default_model, find_model


class OpenEngine(Protocol):
    """Opens a model file; whoever can build a plan again hands in a function that does."""

    def __call__(
        self, path: Path, engine: str, policy: PlanPolicy, threads: int | None = None, requests: int = 1
    ) -> Engine: ...


def load_as_it_is(
    path: Path, engine: str, policy: PlanPolicy, threads: int | None = None, requests: int = 1
) -> Engine:
    """:func:`edgevision.engines.load_engine`; a plan that does not fit is refused."""
    return load_engine(path, engine, threads, requests=requests, trust=policy.trust)


@dataclass(frozen=True, slots=True)
class RunModels:
    """What answers the frames.

    Attributes:
        detectors: every one runs on every frame.
        fallback: runs in their place where latency asks for it; empty where there is none.
    """

    detectors: list[Model]
    fallback: list[Model]

    @property
    def classes(self) -> list[str]:
        """The class names of all models, each once."""
        return list(dict.fromkeys(name for one in self.detectors for name in one.manifest.classes))

    @property
    def names(self) -> list[str]:
        return [detector.manifest.name for detector in self.detectors]

    def runs_below(self, conf_threshold: float) -> bool:
        """Whether the models give weaker detections than that, for a tracker."""
        return any(one.conf_threshold < conf_threshold for one in self.detectors)

    def segmenters(self) -> list[str]:
        """Names of the models that give class maps.

        Raises:
            UsageError: there are none.
        """
        found = [one.manifest.name for one in self.detectors if one.manifest.task == "segmentation"]
        if not found:
            raise UsageError(
                f"`save_masks` needs a segmentation model; {', '.join(self.names)} only detects boxes"
            )
        return found

    def describe(self) -> list[str]:
        """A line for each model: what runs it, and why."""
        lines = [f"{one.manifest.name}: {describe(one.engine)}" for one in self.detectors]
        return lines + [f"{one.manifest.name} (fallback): {describe(one.engine)}" for one in self.fallback]


def model_files(request: RunRequest) -> tuple[list[Path], Path | None]:
    """The files of the models, and of the fallback.

    Raises:
        ModelError: there is no such model.
    """
    models = [find_model(name) for name in request.models] or [default_model("detection").path]
    return models, None if request.fallback_model is None else find_model(request.fallback_model)


def open_models(
    models: Sequence[Path],
    fallback: Path | None,
    request: RunRequest,
    open_engine: OpenEngine,
    *,
    threads: int | None,
    requests: int,
    conf_threshold: float,
    opened: contextlib.ExitStack,
) -> RunModels:
    """Opens the models.

    Args:
        models, fallback: see :func:`model_files`.
        request: with which engine and which classes.
        open_engine: opens a file.
        threads: of each engine on a CPU; None for all cores.
        requests: inferences in flight at the same time.
        conf_threshold: the models give nothing weaker.
        opened: closes what is opened here.

    Raises:
        UsageError: they do not go together, or lack a class.
        ModelError, EngineError: one cannot be opened.
    """

    def open_one(path: Path, requests: int) -> Engine:
        return opened.enter_context(open_engine(path, request.engine, request.plans, threads, requests))

    engines = [open_one(path, requests) for path in models]
    detectors = make_detectors(engines, conf_threshold, request.classes)
    if fallback is None:
        return RunModels(detectors, [])
    smaller = open_one(fallback, 1)
    _check_fallback(engines, smaller)
    stand_ins = make_detectors([smaller], conf_threshold, request.classes)
    for one in stand_ins:
        if one.manifest.name == detectors[0].manifest.name:  # an INT8 file is called like its model
            one.manifest = msgspec.structs.replace(one.manifest, name=f"{one.manifest.name}-fallback")
    return RunModels(detectors, stand_ins)


def _check_fallback(engines: Sequence[Engine], fallback: Engine) -> None:
    if len(engines) > 1:
        raise UsageError(f"`fallback_model` takes the place of one model; found {len(engines)}")
    main, other = engines[0].manifest, fallback.manifest
    if main.task != other.task or main.classes != other.classes:
        raise UsageError(
            f"{other.name} cannot stand in for {main.name}: it has other classes or another task; "
            "`fallback_model` needs the same ones in the same order"
        )
    if main.sha256 and main.sha256 == other.sha256:
        raise UsageError(f"`fallback_model` is {other.name} itself; give a faster model with its classes")


def make_detectors(
    engines: Sequence[Engine], conf_threshold: float, classes: Sequence[str] | None
) -> list[Model]:
    """One detector for each engine; of ``classes`` each takes those that it knows.

    Raises:
        UsageError: no model has a class of that name, or two models have one name.
    """
    names = [engine.manifest.name for engine in engines]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two models are called '{name}'; results could not be told apart")
    if classes is None or len(engines) == 1:
        return [Model(engine, conf_threshold, classes) for engine in engines]
    finders = [engine for engine in engines if engine.manifest.task == "detection"]
    known = list(dict.fromkeys(name for engine in finders for name in engine.manifest.classes))
    for name in classes:
        if name not in known:
            raise UsageError(f"no model has the class '{name}'{nearest(name, known)}")
    return [
        Model(engine, conf_threshold, _own_classes(engine, classes) if engine in finders else None)
        for engine in engines
    ]


def _own_classes(engine: Engine, classes: Sequence[str]) -> list[str]:
    own = [name for name in classes if name in engine.manifest.classes]
    if not own:
        raise UsageError(f"{engine.manifest.name} has none of the classes {', '.join(classes)}; leave it out")
    return own
