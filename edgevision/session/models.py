"""The models of a run: opened, checked against each other, and ready to answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from edgevision.closeable import Closeable
from edgevision.contract.manifest import BOX_TASKS
from edgevision.engines import Engine, describe, load_engine
from edgevision.errors import UsageError, nearest
from edgevision.model import Model
from edgevision.pipeline.crops import SharedModel
from edgevision.session.request import ModelChoice, PlanPolicy, RunRequest
from edgevision.session.spec import StreamSpec
from edgevision.tiling import TiledModel, Tiling
from edgevision.tracking.tracker import RECOVER_THRESHOLD
from edgevision.zoo import default_model, find_model
from edgevision.zoo.quickest import is_brief, quickest_file


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
    def attributes(self) -> tuple[str, ...]:
        """What the second model can say of an object; empty where there is none."""
        return () if self.then is None else self.then.model.names

    @property
    def names(self) -> list[str]:
        return [one.manifest.name for one in self.models]

    @property
    def engines(self) -> list[Engine]:
        """What the models run on."""
        second = [] if self.then is None else [self.then.model]
        return [one.engine for one in (*self.models, *self.fallback, *second)]

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


def find_models(
    choice: ModelChoice, find: Callable[[str, str], Path] = find_model
) -> tuple[list[Path | Model], Path | None, Path | Model | None]:
    """The files of the models, the fallback and the second model; a model that is open already as it is.

    Args:
        choice: names, paths and open models.
        find: from a name or path and a precision to a file; by default ``auto`` is the most exact one.

    Raises:
        ModelError: there is no such model.
        UsageError: a model is not there in the precision that was asked for.
    """
    then = choice.then
    second = then if then is None or isinstance(then, Model) else find(then, "auto")
    named = choice.models or (default_model("detection").name,)
    models = [
        _as_precise(one, choice) if isinstance(one, Model) else find(one, choice.precision) for one in named
    ]
    fallback = None if choice.fallback is None else find_model(choice.fallback)
    return models, fallback, second


def _as_precise(model: Model, choice: ModelChoice) -> Model:
    """An open model, which has the precision that it was opened in."""
    if choice.precision not in ("auto", model.manifest.precision):
        raise UsageError(
            f"{model.name} is open in {model.manifest.precision}; found `precision` {choice.precision}: "
            "leave it out, or give the model by its name"
        )
    return model


FileVersion = tuple[int, int, int]


def version_of(path: Path) -> FileVersion:
    """What tells a file from another that takes its place: inode, size, time; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


class ModelPool(Closeable):
    """The engines of a session, each opened once however many streams name it; a context manager.

    A file that takes the place of another under the same name is another model.

    Args:
        request: what the run is asked to do; streams that say nothing else have its models.
        open_engine: opens a file.
        threads: of each engine on a CPU; None for all cores.
        requests: inferences in flight at the same time.
    """

    def __init__(
        self, request: RunRequest, open_engine: OpenEngine, *, threads: int | None = None, requests: int = 1
    ) -> None:
        self._request, self._open_engine = request, open_engine
        self._threads, self._requests = threads, requests
        self._engines: dict[tuple[Path, FileVersion, str, bool], Engine] = {}
        self._second: dict[int, SharedModel] = {}
        self._reasons: dict[Path, str] = {}
        self._lock = threading.RLock()

    def files(self, specs: Iterable[StreamSpec]) -> list[Path]:
        """The model files of streams.

        Raises:
            ModelError: there is no such model.
        """
        found = [find_models(self._request.choice(spec)) for spec in specs]
        several = (one for models, fallback, then in found for one in (*models, fallback, then))
        return list(dict.fromkeys(one for one in several if isinstance(one, Path)))

    def of(self, spec: StreamSpec) -> RunModels:
        """What answers a stream. Streams with the same model files share the engines.

        Raises:
            UsageError: the models do not go together, or lack a class.
            ModelError, EngineError: one cannot be opened.
        """
        choice = self._request.choice(spec)
        threshold = choice.conf_threshold
        if self._request.tracks(spec):
            threshold = min(threshold, RECOVER_THRESHOLD)
        with self._lock:
            return self._models(choice, threshold)

    def _models(self, choice: ModelChoice, conf_threshold: float) -> RunModels:
        models, fallback, then = find_models(choice, partial(self._find, choice.engine))
        engines = [self._engine_of(one, choice.engine) for one in models]
        given: Sequence[Sequence[str] | None]
        if choice.classes is None:
            given = [one.classes if isinstance(one, Model) else None for one in models]
        else:
            given = share_classes(engines, choice.classes)
        running = [
            make_model(engine, conf_threshold, classes, choice.tiles)
            for engine, classes in zip(engines, given, strict=True)
        ]
        second = None if then is None else self._second_model(then, choice)
        if second is not None:
            check_second(second.model, running, choice.on)
        refuse_same_name(running if second is None else [*running, second.model])
        if fallback is None:
            return RunModels(running, [], second)
        smaller = self._engine_of(fallback, choice.engine)
        _check_fallback(engines, smaller)
        stand_in = Model(smaller, conf_threshold, given[0])
        if stand_in.name == running[0].name:  # an INT8 file is called like its model
            stand_in.manifest = msgspec.structs.replace(stand_in.manifest, name=f"{stand_in.name}-fallback")
        return RunModels(running, [stand_in], second)

    def _find(self, engine: str, model: str, precision: str) -> Path:
        """The file of a name or path; the quickest one where no precision was asked for."""
        if precision != "auto":
            return find_model(model, precision)
        request = self._request
        streams = [] if request.web is not None else request.streams
        brief = request.snapshots is not None or is_brief(
            [one.source for one in streams], [one.max_frames for one in streams]
        )
        found = quickest_file(model, engine, self._threads, is_brief=brief)
        self._reasons[found.path] = found.reason
        return found.path

    def _engine_of(self, model: Path | Model, engine: str, *, is_second: bool = False) -> Engine:
        if isinstance(model, Model):
            return model.engine
        key = model.resolve(), version_of(model), engine, is_second
        if key not in self._engines:
            opened = self._open_engine(
                model, engine, self._request.plans, self._threads, 1 if is_second else self._requests
            )
            opened.reason = "; ".join(filter(None, [self._reasons.get(model), opened.reason]))
            self._engines[key] = opened
        return self._engines[key]

    def _second_model(self, then: Path | Model, choice: ModelChoice) -> SharedModel:
        engine = self._engine_of(then, choice.engine, is_second=True)
        if isinstance(then, Model):
            model = Model(engine, then.conf_threshold, then.classes)
        else:
            model = Model(engine, choice.conf_threshold)
        first = self._second.get(id(engine))
        if first is None:
            first = self._second[id(engine)] = SharedModel(model)
        return first if first.model.conf_threshold == model.conf_threshold else first.with_model(model)

    def close_unused(self, used: Iterable[RunModels]) -> None:
        """Closes the engines that no stream has any more.

        Args:
            used: what the streams have.
        """
        kept = {id(engine) for one in used for engine in one.engines}
        with self._lock:
            for key, engine in list(self._engines.items()):
                if id(engine) not in kept:
                    del self._engines[key]
                    self._second.pop(id(engine), None)
                    engine.close()

    def close(self) -> None:
        """Closes the engines that were opened here; safe to call twice."""
        self.close_unused(())


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
