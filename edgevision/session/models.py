"""The models of a run: opened, checked against each other, and ready to answer."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from edgevision.contract.manifest import BOX_TASKS
from edgevision.engines import Engine, describe, load_engine
from edgevision.errors import UsageError, nearest
from edgevision.model import Model
from edgevision.pipeline.crops import SharedModel
from edgevision.session.request import PlanPolicy, RunRequest
from edgevision.tiling import TiledModel, Tiling
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
        models: every one runs on every frame.
        fallback: runs in their place where latency asks for it; empty where there is none.
        then: looks at what they found; None where nothing does.
    """

    models: list[Model]
    fallback: list[Model]
    then: SharedModel | None = None

    @property
    def classes(self) -> list[str]:
        """The class names of all models, each once."""
        return list(dict.fromkeys(name for one in self.models for name in one.manifest.classes))

    @property
    def all_classes(self) -> list[str]:
        """The class names of all models and of the second one, each once."""
        second = () if self.then is None else self.then.model.names
        return list(dict.fromkeys((*self.classes, *second)))

    @property
    def names(self) -> list[str]:
        return [one.manifest.name for one in self.models]

    def runs_below(self, conf_threshold: float) -> bool:
        """Whether the models give weaker detections than that, for a tracker."""
        return any(one.conf_threshold < conf_threshold for one in self.models)

    def segmenters(self) -> list[str]:
        """Names of the models that give class maps.

        Raises:
            UsageError: there are none.
        """
        found = [one.manifest.name for one in self.models if one.manifest.task == "segmentation"]
        if not found:
            raise UsageError(
                f"`save_masks` needs a segmentation model; {', '.join(self.names)} gives no class map"
            )
        return found

    def describe(self) -> list[str]:
        """A line for each model: what runs it, and why."""
        lines = [f"{one.manifest.name}: {describe(one.engine)}" for one in self.models]
        lines += [f"{one.manifest.name} (fallback): {describe(one.engine)}" for one in self.fallback]
        if self.then is not None:
            second = self.then.model
            lines.append(f"{second.name} (on what was found): {describe(second.engine)}")
        return lines


def find_models(request: RunRequest) -> tuple[list[Path | Model], Path | None, Path | Model | None]:
    """The files of the models, the fallback and the second model; a model that is open already as it is.

    Raises:
        ModelError: there is no such model.
    """
    then = request.then
    second = then if then is None or isinstance(then, Model) else find_model(then)
    models = [one if isinstance(one, Model) else find_model(one) for one in request.models]
    fallback = None if request.fallback_model is None else find_model(request.fallback_model)
    return models or [default_model("detection").path], fallback, second


def open_models(
    models: Sequence[Path | Model],
    fallback: Path | None,
    then: Path | Model | None,
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
        models, fallback, then: see :func:`find_models`.
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

    engines = [one.engine if isinstance(one, Model) else open_one(one, requests) for one in models]
    given: Sequence[Sequence[str] | None]
    if request.classes is None:
        given = [one.classes if isinstance(one, Model) else None for one in models]
    else:
        given = share_classes(engines, request.classes)
    running = [
        make_model(engine, conf_threshold, classes, request.tiles)
        for engine, classes in zip(engines, given, strict=True)
    ]
    second = None
    if then is not None:
        opened_then = then.engine if isinstance(then, Model) else open_one(then, 1)
        second = Model(
            opened_then,
            request.conf_threshold if not isinstance(then, Model) else then.conf_threshold,
            then.classes if isinstance(then, Model) else None,
        )
        check_second(second, running, request.on)
    refuse_same_name(running if second is None else [*running, second])
    shared = None if second is None else SharedModel(second)
    if fallback is None:
        return RunModels(running, [], shared)
    smaller = open_one(fallback, 1)
    _check_fallback(engines, smaller)
    stand_in = Model(smaller, conf_threshold, given[0])
    if stand_in.name == running[0].name:  # an INT8 file is called like its model
        stand_in.manifest = msgspec.structs.replace(stand_in.manifest, name=f"{stand_in.name}-fallback")
    return RunModels(running, [stand_in], shared)


def check_second(second: Model, models: Sequence[Model], on: Sequence[str] | None) -> None:
    """Refuses a second model that cannot look at what the first ones find.

    Raises:
        UsageError: it gives class maps, the first ones find no objects, or lack a class of ``on``.
    """
    if second.task == "segmentation":
        raise UsageError(
            f"`then` {second.name} gives class maps; expected a classifier or a model that finds objects"
        )
    finders = [one for one in models if one.task in BOX_TASKS]
    if not finders:
        raise UsageError(
            "`then` needs a first model that finds objects; "
            f"{', '.join(one.name for one in models)} finds none"
        )
    known = list(dict.fromkeys(name for one in finders for name in one.names))
    for name in on or ():
        if name not in known:
            hint = nearest(name, known) or f"; there are: {', '.join(known)}"
            raise UsageError(f"`on` '{name}': no model has this class{hint}")


def make_model(
    engine: Engine, conf_threshold: float, classes: Sequence[str] | None, tiling: Tiling | None
) -> Model:
    """A model on an engine; one that looks at tiles too where ``tiling`` is given and it detects.

    Raises:
        UsageError: the model lacks a class, or cannot look at tiles.
    """
    if tiling is None:
        return Model(engine, conf_threshold, classes)
    return TiledModel(engine, conf_threshold, classes, tiling=tiling)


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


def refuse_same_name(models: Sequence[Model]) -> None:
    """Raises :class:`UsageError` where two models have one name."""
    for name, count in Counter(one.name for one in models).items():
        if count > 1:
            raise UsageError(f"{count} models are called '{name}'; results could not be told apart")


def share_classes(engines: Sequence[Engine], classes: Sequence[str]) -> list[list[str] | None]:
    """Which of the classes each model keeps: those that it knows; None, for all, where it segments.

    A single model is asked for all of them, and says itself what it lacks.

    Raises:
        UsageError: no model has a class of that name, or a model has none of them.
    """
    if len(engines) == 1:
        return [list(classes)]
    finders = [engine for engine in engines if engine.manifest.task != "segmentation"]
    known = list(dict.fromkeys(name for engine in finders for name in engine.manifest.classes))
    for name in classes:
        if name not in known:
            raise UsageError(f"no model has the class '{name}'{nearest(name, known)}")
    return [_own_classes(engine, classes) if engine in finders else None for engine in engines]


def _own_classes(engine: Engine, classes: Sequence[str]) -> list[str]:
    own = [name for name in classes if name in engine.manifest.classes]
    if not own:
        raise UsageError(f"{engine.manifest.name} has none of the classes {', '.join(classes)}; leave it out")
    return own
