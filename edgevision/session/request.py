"""What a run is asked to do, checked where it is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgevision.drawing.overlay import check_opacity
from edgevision.engines import check_engine_name
from edgevision.errors import ConfigError, UsageError
from edgevision.model import DEFAULT_CONF_THRESHOLD, Model, check_conf_threshold
from edgevision.service.service import Service
from edgevision.session.outputs import check_events, check_files, refuse_address
from edgevision.session.spec import StreamSpec, check_count, listed, read_streams
from edgevision.tiling import Tiling
from edgevision.video import expand_sources
from edgevision.video.sinks.masks import refuse_existing_folder
from edgevision.video.sinks.open import check_sink_address
from edgevision.zoo import check_precision

if TYPE_CHECKING:  # loaded only for a page
    from edgevision.web.settings import WebSettings


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """What the user allows with TensorRT plans.

    Attributes:
        trust: load one that was not built here.
        rebuild: build one that does not fit again.
    """

    trust: bool = False
    rebuild: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which models answer a stream, and how.

    Attributes:
        models: names or paths, or models that are open already; by default the first detector that ships.
        fallback: to hold a latency; None for none.
        then, on, every_track: a second model and what it looks at; see :class:`RunRequest`.
        engine: one of :data:`edgevision.engines.ENGINES`.
        precision: of models that ship, one of :data:`edgevision.zoo.PRECISIONS`.
        conf_threshold, classes, tiles: see :class:`RunRequest`.

    Raises:
        UsageError: a value is given without the one that it belongs to.
    """

    models: tuple[str | Model, ...] = ()
    fallback: str | None = None
    then: str | Model | None = None
    on: tuple[str, ...] | None = None
    every_track: bool = False
    engine: str = "auto"
    precision: str = "auto"
    conf_threshold: float = DEFAULT_CONF_THRESHOLD
    classes: tuple[str, ...] | None = None
    tiles: Tiling | None = None

    def __post_init__(self) -> None:
        if self.then is None and (self.on is not None or self.every_track):
            raise UsageError(f"`{'every_track' if self.on is None else 'on'}` needs `then`, a second model")
        check_precision(self.precision)
        if self.tiles is not None and self.fallback is not None:
            raise UsageError(
                "`tiles` and `fallback_model` do not go together; tiles take the time for detail"
            )


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A run: streams through models; the help of ``edgevision run`` says what each field means.

    What a stream says itself wins over what is said here for all: its models, engine, precision, threshold,
    classes, second model, tiles, opacity and number of frames.

    Attributes:
        streams: what runs together.
        models: names or paths, or models that are open already and stay so; by default the first detector
            that ships.
        precision: of models that ship; ``auto`` is the quickest here, see :mod:`edgevision.zoo.quickest`.
        conf_threshold: detections below this score are left out, 0..1.
        classes: only these; None for all, or what an open model was given.
        then: a second model, a classifier or one that finds objects, on what the first ones found.
        on: classes of the first models whose detections it looks at; None for all.
        every_track: it looks at each tracked object once, which makes every stream tracked.
        default_outputs: a stream that names no output gets one: a drawn file, or a window for a live source.
        tiles: look at tiles of each image too.
        stats: write the statistics of each stream here as JSON.
        overwrite: outputs that exist are replaced; otherwise they are refused.
        append: outputs that exist are continued (JSON lines, events, numbered images) or renamed with the
            time of their last change, as a service needs that starts again.
        service: how the run is watched from outside.
        web: serve a page that shows the run; None for none.
        is_kept_open: the run goes on after its streams have ended, and starts without those that are not
            there yet: a page adds streams. Needs ``web``.
        snapshots: one image of each stream goes into this folder, instead of all other outputs.
        streams_file: where the streams are kept that the page adds; None keeps them for this run only.
        reload_from: the file of streams, which can be read again while they run; None for none.
        watch: it is read again when it, or a file of zones, has changed; otherwise when that is asked for.
        given: settings of the command line, which hold for every stream of a file.

    Raises:
        UsageError: a value is not valid, or is given without the one that it belongs to.
    """

    streams: Sequence[StreamSpec]
    models: Sequence[str | Model] = ()
    fallback_model: str | None = None
    then: str | Model | None = None
    on: Sequence[str] | None = None
    every_track: bool = False
    engine: str = "auto"
    precision: str = "auto"
    plans: PlanPolicy = PlanPolicy()
    threads: int | None = None
    conf_threshold: float = DEFAULT_CONF_THRESHOLD
    classes: Sequence[str] | None = None
    alpha: float = 0.45
    max_frames: int | None = None
    tiles: Tiling | None = None
    stats: Path | None = None
    overwrite: bool = False
    append: bool = False
    default_outputs: bool = False
    service: Service = Service()  # noqa: RUF009  (frozen)
    web: WebSettings | None = None
    is_kept_open: bool = False
    streams_file: Path | None = None
    reload_from: Path | None = None
    watch: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)
    snapshots: Path | None = None

    def __post_init__(self) -> None:
        if not self.streams:
            raise UsageError("no source; expected at least one in `streams`")
        if self.is_kept_open and self.web is None:
            raise UsageError("`is_kept_open` needs `web`")
        if self.watch and self.reload_from is None:
            raise UsageError("`watch` needs `streams`, a file to be watched")
        check_conf_threshold(self.conf_threshold)
        check_engine_name(self.engine)
        check_opacity(self.alpha)
        if self.overwrite and self.append:
            raise UsageError("`overwrite` replaces what exists and `append` keeps it; give one of them")
        check_count("max_frames", self.max_frames)
        check_count("threads", self.threads)
        fallbacks = [self.fallback_model, *(spec.fallback_model for spec in self.streams)]
        if any(fallbacks) and all(spec.max_latency is None for spec in self.streams):
            raise UsageError("`fallback_model` is what `max_latency` may fall back on; give both")
        for spec in self.streams:
            self.choice(spec)

    def choice(self, spec: StreamSpec) -> ModelChoice:
        """The models of a stream: its own settings, else those of the run.

        Raises:
            UsageError: they do not go together.
        """
        on = self.on if spec.on is None else listed(spec.on)
        classes = self.classes if spec.classes is None else listed(spec.classes)
        fallback = spec.fallback_model or self.fallback_model
        return ModelChoice(
            models=tuple(spec.models or self.models),
            fallback=None if spec.max_latency is None else fallback,
            then=spec.then or self.then,
            on=None if on is None else tuple(on),
            every_track=spec.every_track or self.every_track,
            engine=spec.engine or self.engine,
            precision=spec.precision or self.precision,
            conf_threshold=self.conf_threshold if spec.conf is None else spec.conf,
            classes=None if classes is None else tuple(classes),
            tiles=self.tiles if spec.tiles is None else Tiling.parse(spec.tiles),
        )

    def tracks(self, spec: StreamSpec) -> bool:
        """Whether the objects of a stream get numbers."""
        if self.snapshots is not None:
            return False
        return spec.is_tracked or self.every_track or spec.every_track

    def is_of_file(self) -> bool:
        """Whether ``reload_from`` says what the streams ask for; False where it was saved since."""
        if self.reload_from is None:
            return True
        try:
            return read_streams(self.reload_from, self.given) == list(self.streams)
        except ConfigError:
            return False

    def groups(self) -> list[list[StreamSpec]]:
        """The streams that run together; the videos of a folder, alone, are groups that run in turn.

        Raises:
            SourceError: a folder or pattern holds nothing to show.
            UsageError: one of several sources is a folder of videos.
        """
        expanded = [expand_sources(spec.source) for spec in self.streams]
        if len(expanded) == 1:
            return [[msgspec.structs.replace(self.streams[0], source=uri)] for uri in expanded[0]]
        for spec, uris in zip(self.streams, expanded, strict=True):
            if len(uris) > 1:
                raise UsageError(f"{spec.source} is {len(uris)} videos; run a folder of videos by itself")
        return [list(self.streams)]

    def check_outputs(self, specs: Sequence[StreamSpec], models: Sequence[Path]) -> None:
        """Refuses what can be refused before anything is opened, and makes the folders that were named.

        Args:
            specs: every stream.
            models: files that no output may replace.

        Raises:
            UsageError: two outputs, or an output and an input, are the same file, or several streams share
                an output that takes one.
            OutputExistsError, SinkError: it exists, or cannot be made.
        """
        may_exist = self.overwrite or self.append
        for address, count in Counter(one for spec in specs for one in spec.events).items():
            check_events(address, count, may_exist)
        for spec in specs:
            for setting in ("save_masks", "event_pictures", "record"):
                refuse_address(setting, getattr(spec, setting) or "")
        for folder in {spec.save_masks for spec in specs if spec.save_masks is not None}:
            refuse_existing_folder(Path(folder), may_exist)
        for output in {spec.output for spec in specs if spec.output is not None}:
            check_sink_address(output)
        outputs = [output for spec in specs for output in spec.files().items()]
        if self.stats is not None:
            outputs.append(("stats", self.stats))
        check_files(outputs, [*(spec.source for spec in specs), *map(str, models)], may_exist)
