"""What a run is asked to do, checked where it is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgevision.drawing.overlay import check_opacity
from edgevision.engines import check_engine_name
from edgevision.errors import UsageError
from edgevision.model import DEFAULT_CONF_THRESHOLD, Model, check_conf_threshold
from edgevision.service.service import Service
from edgevision.session.outputs import check_events, check_files, refuse_address
from edgevision.session.spec import StreamSpec
from edgevision.tiling import Tiling
from edgevision.video import expand_sources
from edgevision.video.sinks.masks import refuse_existing_folder
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


def check_count(setting: str, number: int | None) -> None:
    """Raises :class:`UsageError` unless ``number`` is a whole number from 1, or None."""
    if number is not None and (not isinstance(number, int) or number < 1):
        raise UsageError(f"`{setting}` {number!r} is not valid; expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A run: streams through models; the help of ``edgevision run`` says what each field means.

    Attributes:
        streams: what runs together.
        models: names or paths, or models that are open already and stay so; by default the first detector
            that ships.
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
        streams_file: where the streams are kept that the page adds; None keeps them for this run only.

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

    def __post_init__(self) -> None:
        if not self.streams:
            raise UsageError("no source; expected at least one in `streams`")
        if self.is_kept_open and self.web is None:
            raise UsageError("`is_kept_open` needs `web`")
        check_conf_threshold(self.conf_threshold)
        check_engine_name(self.engine)
        check_opacity(self.alpha)
        if self.overwrite and self.append:
            raise UsageError("`overwrite` replaces what exists and `append` keeps it; give one of them")
        check_count("max_frames", self.max_frames)
        check_count("threads", self.threads)
        if self.then is None and (self.on is not None or self.every_track):
            raise UsageError(f"`{'every_track' if self.on is None else 'on'}` needs `then`, a second model")
        if self.tiles is not None and self.fallback_model is not None:
            raise UsageError(
                "`tiles` and `fallback_model` do not go together; tiles take the time for detail"
            )
        if self.fallback_model is not None and all(spec.max_latency is None for spec in self.streams):
            raise UsageError("`fallback_model` is what `max_latency` may fall back on; give both")

    def tracks(self, spec: StreamSpec) -> bool:
        """Whether the objects of a stream get numbers."""
        return spec.is_tracked or self.every_track

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
        outputs = [output for spec in specs for output in spec.files().items()]
        if self.stats is not None:
            outputs.append(("stats", self.stats))
        check_files(outputs, [*(spec.source for spec in specs), *map(str, models)], may_exist)
