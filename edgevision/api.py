"""What ``import edgevision`` offers to programs: a model, a loop over results, and the whole pipeline.

docs/guides/python.md shows each in use.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, overload

from edgevision.config import build_config
from edgevision.engines import load_engine
from edgevision.errors import EdgeVisionError, UsageError, nearest
from edgevision.model import DEFAULT_CONF_THRESHOLD, Model
from edgevision.pipeline import OnStatistics, StopRequest, StreamStatistics
from edgevision.pipeline.crops import CropReader, SharedModel
from edgevision.service.service import Service
from edgevision.session.models import RunModels, check_second, refuse_same_name
from edgevision.session.pull import pull_results
from edgevision.session.request import PlanPolicy, RunRequest
from edgevision.session.run import Session, SessionObserver, StreamOutcome
from edgevision.session.spec import StreamSpec, check_count, listed
from edgevision.session.streams import OpenedStream, make_scene
from edgevision.tiling import Tiling
from edgevision.tracking.tracker import RECOVER_THRESHOLD
from edgevision.types import FrameResult
from edgevision.video import Source, open_source
from edgevision.zoo import find_model
from edgevision.zoo.quickest import QuickestFile, quickest_file

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["load", "open_source", "run", "stream"]

_LOG = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]
AnyModel = str | os.PathLike[str] | Model
"""A name that ships, a path, or an open model."""
AnySource = str | os.PathLike[str] | int | StreamSpec
"""An address (docs/guides/cameras.md), a path, the number of a camera, or a stream with its own outputs."""


def load(
    model: PathLike,
    *,
    engine: str = "auto",
    precision: str = "auto",
    conf: float = DEFAULT_CONF_THRESHOLD,
    classes: str | Sequence[str] | None = None,
    threads: int | None = None,
    trust: bool = False,
) -> Model:
    """Opens a model; use it in a ``with`` block, or close it.

    Args:
        model: a name of ``edgevision models``, or the path of an ONNX file or a TensorRT plan.
        engine: one of :data:`edgevision.engines.ENGINES`; ``auto`` chooses by the file and the machine.
        precision: of a model that ships: ``fp32``, ``fp16`` or ``int8``; ``auto`` is the quickest here whose
            card says a drop of at most 0.005, which a second or two of measuring finds out once.
        conf: detections below this score are left out, 0..1.
        classes: only these, as ``["person", "car"]`` or ``"person,car"``; None for all.
        threads: CPU threads; None for all cores.
        trust: load a plan that was not built here; it holds machine code.

    Raises:
        UsageError: there is no such engine or class, or a number is out of range.
        ModelError: there is no such model, or the file is not one.
        EngineError: the engine cannot be loaded on this machine.

    Example:
        >>> with load("retinanet-light", conf=0.4) as model:  # doctest: +SKIP
        ...     for found in model(cv2.imread("street.jpg")):
        ...         print(found.name, found.score, found.box)
    """
    if not isinstance(model, (str, os.PathLike)):
        raise UsageError(f"a model is loaded by its name or path; found {type(model).__name__}")
    if precision == "auto":
        file = quickest_file(model, engine, threads)
    else:
        file = QuickestFile(find_model(model, precision))
    opened = load_engine(file.path, engine, threads, trust=trust)
    opened.reason = "; ".join(filter(None, [file.reason, opened.reason]))
    try:
        return Model(opened, conf, _names(classes))
    except EdgeVisionError:
        opened.close()
        raise


def stream(
    model: AnyModel | Sequence[AnyModel],
    source: PathLike | int | Source,
    *,
    track: bool = False,
    zones: PathLike | None = None,
    conf: float | None = None,
    every: int = 1,
    max_frames: int | None = None,
    then: AnyModel | None = None,
    on: str | Sequence[str] | None = None,
    every_track: bool = False,
) -> Generator[FrameResult, None, None]:
    """Yields the result of each frame of a source, as fast as they are taken.

    Of a file every frame comes. Of a live source the newest: frames that pass while the caller works are
    left out. The source, and a model that was given by name, are open while the loop runs; ``break``, an
    exception or ``close()`` of the generator ends both.

    Args:
        model: an open model, or a name or path as in :func:`load`; several give a result each.
        source: an address (docs/guides/cameras.md), a path, the number of a camera, or an open source.
        track: give objects numbers that stay with them. The model then runs down to the threshold that the
            tracker needs; what is yielded keeps to ``conf``.
        zones: YAML file of zones and lines to watch (docs/guides/zones.md); implies ``track``.
        conf: detections below this score are left out; by default the model's own threshold.
        every: only each frame whose index is a multiple of this.
        max_frames: end after this many results.
        then: a second model, a classifier or one that finds objects, on what the first found: its answers
            are the ``attributes`` of detections.
        on: classes of the first model that the second looks at, as ``["person"]`` or ``"person,car"``.
        every_track: the second looks at each tracked object once; implies ``track``.

    Raises:
        UsageError: a number is out of range, or the models do not go together.
        ConfigError: ``zones`` is not a valid file.
        SourceError, ModelError, EngineError: something cannot be opened, or failed.

    Example:
        >>> with load("retinanet-light") as model:  # doctest: +SKIP
        ...     for result in stream(model, "rtsp://gate/1", track=True):
        ...         for found in result.detections:
        ...             print(result.frame.time_s, found.name, found.track_id)
    """
    check_count("every", every)
    check_count("max_frames", max_frames)
    opened = None if isinstance(source, (str, os.PathLike, int)) or source is None else source
    address = _address(source) if opened is None else opened.info.name
    if then is None and (on is not None or every_track):
        raise UsageError(f"`{'every_track' if on is None else 'on'}` needs `then`, a second model")
    if then is not None:
        _listed_models(then)
    spec = StreamSpec(source=address, track=track or every_track, zones=_text(zones))
    second = _Second(then, _names(on), every_track)
    return _results(_listed_models(model), opened, spec, conf, every, max_frames, second)


class _Second(NamedTuple):
    """The second model, and what it looks at."""

    model: AnyModel | None
    on: list[str] | None
    every_track: bool


def _results(
    models: Sequence[AnyModel],
    source: Source | None,
    spec: StreamSpec,
    conf: float | None,
    every: int,
    max_frames: int | None,
    then: _Second,
) -> Generator[FrameResult, None, None]:
    with contextlib.ExitStack() as opened:
        given = [one if isinstance(one, Model) else opened.enter_context(load(one)) for one in models]
        refuse_same_name(given)
        wanted = _threshold(given, conf)
        lowest = min(wanted, RECOVER_THRESHOLD) if spec.is_tracked else wanted
        models_below = [one.with_threshold(lowest) for one in given]
        shared_second, crops = None, None
        if then.model is not None:
            second = opened.enter_context(_opened(then.model))
            check_second(second, models_below, then.on)
            shared_second = SharedModel(second)
            crops = CropReader(shared_second, then.on, then.every_track)
        running = RunModels(models_below, [], shared_second)
        frames = opened.enter_context(open_source(spec.source) if source is None else source)
        scene = make_scene(spec, frames.info.frame_rate, running, wanted) if spec.is_tracked else None
        yield from pull_results(
            frames, running.models, scene=scene, crops=crops, every=every, max_frames=max_frames
        )


def _opened(model: AnyModel) -> AbstractContextManager[Model]:
    """A model to use in a ``with`` block, which closes it where it was opened here."""
    return contextlib.nullcontext(model) if isinstance(model, Model) else load(model)


class RunSettings(TypedDict, total=False):
    """What :func:`run` takes beside model and source; the options of ``edgevision run`` by their names.

    The first group is of each stream, and is given in a :class:`~edgevision.session.spec.StreamSpec` where
    streams differ; the help of ``edgevision run`` says more about each.
    """

    output: PathLike | None
    save_json: PathLike | None
    save_masks: PathLike | None
    display: bool
    track: bool
    zones: PathLike | None
    max_latency: str | None
    every: str | int | None
    start: str | None
    end: str | None
    events: str | Sequence[str]
    event_classes: str | Sequence[str] | None
    event_pictures: PathLike | None
    record: PathLike | None
    rotate: str | None
    keep: str | None
    record_on: str | Sequence[str] | None
    pre: str | None
    post: str | None

    conf: float | None
    classes: str | Sequence[str] | None
    fallback_model: PathLike | None
    then: AnyModel | None
    on: str | Sequence[str] | None
    every_track: bool
    tiles: str | None
    engine: str
    precision: str
    threads: int | None
    trust: bool
    alpha: float
    max_frames: int | None
    stats: PathLike | None
    overwrite: bool
    append: bool
    metrics_port: int | None
    metrics_host: str

    on_frame: Callable[[FrameResult], object] | None
    on_statistics: OnStatistics | None
    stop: StopRequest | None


@overload
def run(  # type: ignore[overload-overlap]  # text is a sequence of texts to mypy, and one source here
    model: AnyModel | Sequence[AnyModel], source: AnySource, **settings: Unpack[RunSettings]
) -> StreamStatistics: ...


@overload
def run(
    model: AnyModel | Sequence[AnyModel], source: Sequence[AnySource], **settings: Unpack[RunSettings]
) -> list[StreamOutcome]: ...


def run(
    model: AnyModel | Sequence[AnyModel],
    source: AnySource | Sequence[AnySource],
    **settings: Unpack[RunSettings],
) -> StreamStatistics | list[StreamOutcome]:
    """Runs the whole pipeline to the end of the source, as ``edgevision run`` does.

    Nothing is written that was not named, and no signal is handled: Ctrl-C raises KeyboardInterrupt here,
    with the outputs finished. A model that is given by name is opened for throughput.

    Args:
        model: a name or path as in :func:`load`, or an open model; several give a result each.
        source: an address (docs/guides/cameras.md), a path, the number of a camera, or a
            :class:`~edgevision.session.spec.StreamSpec`. Those of a list run at the same time, and the videos
            of a folder in a list (``["clips/"]``) in turn.
        settings: see :class:`RunSettings`. ``on_frame`` is called with the result of each frame on a thread
            of its stream, never two at a time; where it raises, its stream ends with that error.
            ``on_statistics`` is called on this thread, five times a second; ``stop`` ends the run early.

    Returns:
        The statistics of the one source; of a list an outcome for each, with its statistics or its error.

    Raises:
        UsageError: the request cannot be carried out.
        EdgeVisionError: the one source failed, or no model could be opened.
        Exception: what ``on_frame`` raised, where one source was given; ``sys.exit()`` in it ends the run.

    Example:
        >>> statistics = run("retinanet-light", "street.mp4", output="boxes.mp4")  # doctest: +SKIP
        >>> print(statistics.written, statistics.detections)  # doctest: +SKIP
    """
    _refuse_unknown(settings)
    if not callable(settings.get("on_frame") or print):
        raise UsageError(f"`on_frame` is not a function; found {type(settings['on_frame']).__name__}")
    is_list = isinstance(source, Sequence) and not isinstance(source, str)
    sources: Sequence[AnySource] = source if is_list else [source]  # type: ignore[list-item, assignment]
    models = _listed_models(model)
    request = RunRequest(
        streams=_specs(sources, settings),
        models=[one if isinstance(one, Model) else os.fspath(one) for one in models],
        fallback_model=_text(settings.get("fallback_model")),
        then=_second(settings.get("then")),
        on=_names(settings.get("on")),
        plans=PlanPolicy(trust=settings.get("trust", False)),
        conf_threshold=_threshold([one for one in models if isinstance(one, Model)], settings.get("conf")),
        classes=_names(settings.get("classes")),
        tiles=None if settings.get("tiles") is None else Tiling.parse(str(settings["tiles"])),
        stats=_path(settings.get("stats")),
        service=Service(metrics_port=settings.get("metrics_port"), **_chosen(settings, "metrics_host")),
        **_chosen(
            settings,
            "engine",
            "precision",
            "threads",
            "alpha",
            "max_frames",
            "overwrite",
            "append",
            "every_track",
        ),
    )
    if not is_list and len(request.groups()) > 1:
        raise UsageError(f"{sources[0]} is several videos; give [{str(sources[0])!r}] to run them in turn")
    outcomes = Session(
        request,
        observer=_Callbacks(settings.get("on_statistics")),
        stop=settings.get("stop"),
        on_frame=settings.get("on_frame"),
        raises=not is_list,
    ).run()
    if is_list:
        return outcomes
    (outcome,) = outcomes
    if outcome.statistics is None:
        raise RuntimeError("a stream that ran has statistics")
    return outcome.statistics


class _Callbacks(SessionObserver):
    """Hands statistics to the caller's function, and tells the log of what a person should know."""

    def __init__(self, on_statistics: OnStatistics | None) -> None:
        self._on_statistics = on_statistics

    def note(self, text: str) -> None:
        _LOG.info("%s", text)

    def stream_refused(self, name: str, error: EdgeVisionError) -> None:
        _LOG.warning("%s does not run: %s", name, error)

    def while_running(self, streams: Sequence[OpenedStream]) -> AbstractContextManager[OnStatistics | None]:
        return contextlib.nullcontext(self._on_statistics)


_OF_THE_RUN = frozenset(
    {
        "fallback_model",
        "then",
        "on",
        "every_track",
        "engine",
        "precision",
        "conf",
        "classes",
        "tiles",
        "alpha",
        "max_frames",
    }
)
"""Settings that :func:`run` takes for all sources; a :class:`StreamSpec` that has its own keeps it."""


def _specs(sources: Sequence[AnySource], settings: Mapping[str, Any]) -> list[StreamSpec]:
    shared = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in _chosen(settings, *StreamSpec.__struct_fields__).items()
        if name not in _OF_THE_RUN
    }
    if isinstance(shared.get("events"), str):
        shared["events"] = [shared["events"]]
    for name in ("record_on", "event_classes"):
        if isinstance(shared.get(name), (list, tuple)):
            shared[name] = ",".join(shared[name])
    specs = []
    for one in sources:
        if not isinstance(one, StreamSpec):
            specs.append(build_config({"source": _address(one), **shared}, StreamSpec, "run"))
        elif shared:
            raise UsageError(f"`{next(iter(shared))}` belongs into each StreamSpec; found it beside them")
        else:
            specs.append(one)
    return specs


def _refuse_unknown(settings: Mapping[str, Any]) -> None:
    known = RunSettings.__annotations__
    for name in settings:
        if name not in known:
            hint = nearest(name, known) or f"; there are: {', '.join(known)}"
            raise UsageError(f"unknown setting '{name}'{hint}")


def _chosen(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The settings of these names that were given; the others keep their defaults."""
    return {name: settings[name] for name in names if name in settings}


def _threshold(models: Sequence[Model], conf: float | None) -> float:
    """What the user wants to see: ``conf``, else the threshold that the open models have."""
    if conf is not None:
        return conf
    found = {one.conf_threshold for one in models}
    if len(found) > 1:
        shown = " and ".join(f"{one:g}" for one in sorted(found))
        raise UsageError(f"the models have thresholds of {shown}; say which holds with `conf`")
    return found.pop() if found else DEFAULT_CONF_THRESHOLD


def _second(model: AnyModel | None) -> str | Model | None:
    if model is None or isinstance(model, Model):
        return model
    _listed_models(model)
    return os.fspath(model)


def _listed_models(model: object) -> list[AnyModel]:
    several = model if isinstance(model, (list, tuple)) else [model]
    for one in several:
        if not isinstance(one, (str, os.PathLike, Model)):
            raise UsageError(f"a model is a name, a path or what load() gave; found {type(one).__name__}")
    if not several:
        raise UsageError("no model; expected a name, a path or what load() gave")
    return list(several)


def _address(source: object) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, int) and not isinstance(source, bool):
        return str(source)
    found = type(source).__name__
    raise UsageError(f"a source is an address, a path or the number of a camera; found {found}")


def _names(classes: str | Sequence[str] | None) -> list[str] | None:
    if classes is None:
        return None
    return listed(classes) if isinstance(classes, str) else list(classes)


def _text(path: PathLike | None) -> str | None:
    return None if path is None else os.fspath(path)


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)
