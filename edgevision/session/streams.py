"""Streams with their outputs, opened for a run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgevision.address import display, redact
from edgevision.contract.manifest import BOX_TASKS
from edgevision.drawing.overlay import Overlay
from edgevision.errors import EdgeVisionError, SourceError, UsageError
from edgevision.events import EventObserver, EventSink
from edgevision.events.sink import jpeg_keeper
from edgevision.files import content_version, make_folder, safe_name, set_aside
from edgevision.pipeline import Stream, ThreadBudget
from edgevision.pipeline.crops import CropReader
from edgevision.plugins import scheme_of
from edgevision.session.models import RunModels
from edgevision.session.outputs import WINDOW, OutputPlan, default_stem, plan_outputs
from edgevision.session.shared import CallbackSink, Shared
from edgevision.session.snapshots import snapshot_stream
from edgevision.session.spec import StreamSpec, listed
from edgevision.session.watchers import open_watchers
from edgevision.tracking import ZoneLayout, load_zones
from edgevision.tracking.naming import problem_of
from edgevision.tracking.scene import LateScene, Scene
from edgevision.video import Sink, Source, SourceInfo, open_sink, open_source
from edgevision.video.selection import SelectedSource, Selection
from edgevision.video.sinks.images import is_pattern
from edgevision.video.sinks.masks import MaskSink
from edgevision.video.sinks.network import PIPES
from edgevision.video.sources.options import SourceOptions
from edgevision.video.sources.pipe import ADDRESS as PIPE
from edgevision.video.sources.pipe import READ_TWICE

if TYPE_CHECKING:  # loaded only for a page
    from edgevision.web.hub import StreamView


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A stream that can run.

    Attributes:
        stream: for the pipeline.
        models: what answers it.
        sinks: those of its sinks that write or send something.
        total: frames to expect, or None where nobody knows.
        has_window: it is shown to a person.
        no_window: why it is not, where it would be by default; else empty.
        claims: its outputs, and what they are called, which no other stream may have.
    """

    stream: Stream
    models: RunModels
    sinks: tuple[Sink, ...]
    total: int | None
    has_window: bool
    no_window: str
    claims: frozenset[str] = frozenset()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What was written until now, and where, for people."""
        return tuple(sink.written() for sink in self.sinks)


def open_sources(
    specs: Sequence[StreamSpec],
    budget: ThreadBudget,
    opened: contextlib.ExitStack,
    options: SourceOptions = SourceOptions(),  # noqa: B008  (frozen)
) -> list[Source | EdgeVisionError]:
    """Opens all sources at the same time, for one that does not answer must not hold the others up.

    The threads are daemons: one that hangs in a driver does not hold up Ctrl-C or the end of the process.
    Interrupted, it closes what is open, and each source that opens later closes itself.
    """
    found: dict[int, Source | EdgeVisionError] = {}
    lock = threading.Lock()
    is_abandoned = False
    piped = next((position for position, spec in enumerate(specs) if spec.source == PIPE), None)

    def attempt(position: int) -> None:
        try:
            if specs[position].source == PIPE and position != piped:
                raise SourceError(READ_TWICE)
            source = open_source(specs[position].source, options, threads=budget.decode)
            chosen = selected(source, specs[position].selection)
            with lock:
                if not is_abandoned:
                    found[position] = chosen
                    return
            chosen.close()
        except EdgeVisionError as error:
            found[position] = error
        except Exception as error:  # of a library, at this one source: the other streams run
            address = specs[position].source
            reason = redact(" ".join(str(error).split()), address)
            found[position] = SourceError(
                f"cannot open {redact(address)}: {type(error).__name__}: {reason}"
            ).with_traceback(error.__traceback__)

    threads = [threading.Thread(target=attempt, args=(i,), daemon=True) for i in range(len(specs))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        with lock:
            is_abandoned = True
        for source in list(found.values()):
            if not isinstance(source, EdgeVisionError):
                source.close()
        raise
    return [
        source if isinstance(source, EdgeVisionError) else opened.enter_context(source)
        for _, source in sorted(found.items())
    ]


def selected(source: Source, selection: Selection) -> Source:
    """The frames of a source that a stream asks for; where it cannot have them, the source is closed.

    Raises:
        EdgeVisionError: the source has none of these frames.
    """
    if selection.is_everything:
        return source
    try:
        return SelectedSource(source, selection)
    except EdgeVisionError:
        source.close()
        raise


def open_stream(
    spec: StreamSpec, source: Source, name: str, shared: Shared, opened: contextlib.ExitStack
) -> OpenedStream:
    """Makes the outputs of a source that is open.

    Args:
        spec: what the user wants of it.
        source: the source.
        name: unique in the run.
        shared: what all streams have in common.
        opened: closes the outputs.

    Raises:
        EdgeVisionError: an output cannot be made, or the request does not fit the source.
    """
    info, request = source.info, shared.request
    claimed = shared.claimed
    models, choice = shared.models.of(spec), request.choice(spec)
    if spec.max_latency is not None and not info.is_live:
        raise UsageError(
            f"`max_latency` is for live sources, of which frames may be left out; {info.name} is a recording"
        )
    if request.snapshots is not None:
        stream = snapshot_stream(spec, source, name, request.snapshots, models, shared)
        opened.enter_context(stream.sinks[0])
        return OpenedStream(stream, models, tuple(stream.sinks), None, has_window=False, no_window="")
    view = None if shared.hub is None else shared.hub.open_view(name, info, models.models)
    if view is not None:
        view.attributes = models.attributes
    if view is not None and spec.zones is None and view.zones_file is not None and view.zones_file.is_file():
        spec = msgspec.structs.replace(spec, zones=str(view.zones_file))
    version = "none" if view is None else zones_version(spec)
    scene = None
    if request.tracks(spec):
        scene = make_scene(spec, info.frame_rate, models, choice.conf_threshold)
    crops = None if models.then is None else CropReader(models.then, choice.on, choice.every_track)
    plan = plan_outputs(spec, info, request.default_outputs)
    sinks = _open_sinks(spec, plan, source, shared, models, opened)
    running: Scene | LateScene | None = scene
    if scene is None and request.reload_from is not None:
        running = late_scene(models, choice.conf_threshold, info)
    if view is not None:
        running = _scene_of_page(spec, view, scene, models, choice.conf_threshold, info, version)
    sinks += open_watchers(spec, info, shared, models, opened, view, running)
    written = tuple(sink for sink in sinks if sink.name != WINDOW)
    if view is not None:
        view.tile.is_paced = not written and not plan.images and shared.on_frame is None and not info.is_live
        sinks += [opened.enter_context(sink) for sink in (*_page_events(view, shared), view.tile)]
    if shared.on_frame is not None:
        sinks.append(CallbackSink(shared.on_frame))
    is_drawn = bool(plan.images) or (spec.recording is not None and spec.recording.is_drawn)
    alpha = request.alpha if spec.alpha is None else spec.alpha
    max_frames = request.max_frames if spec.max_frames is None else spec.max_frames
    stream = Stream(
        source=source,
        models=models.models,
        fallback=models.fallback,
        sinks=sinks,
        overlays=[Overlay(one.manifest, alpha) for one in models.models] if is_drawn else [],
        name=name,
        scene=running,
        crops=crops,
        max_frames=max_frames,
        max_latency_ms=spec.max_latency_ms,
        show_status=info.is_live,
    )
    expected = [count for count in (info.frame_count, max_frames) if count is not None]
    return OpenedStream(
        stream,
        models,
        sinks=written,
        total=min(expected) if expected and not (info.is_live and max_frames is None) else None,
        has_window=WINDOW in plan.images,
        no_window=plan.no_window,
        claims=shared.claimed - claimed,
    )


def late_scene(models: RunModels, conf_threshold: float, info: SourceInfo) -> LateScene | None:
    """For a stream that is not tracked and may get zones; None where no model detects."""
    if all(one.manifest.task not in BOX_TASKS for one in models.models):
        return None
    return LateScene(lambda threshold: Scene(len(models.models), threshold, info.frame_rate), conf_threshold)


def _scene_of_page(
    spec: StreamSpec,
    view: StreamView,
    scene: Scene | None,
    models: RunModels,
    conf_threshold: float,
    info: SourceInfo,
    version: str,
) -> Scene | LateScene | None:
    """A scene whose zones the page can change; None where no model detects."""
    running: Scene | LateScene | None = scene
    if scene is None:
        running = late_scene(models, conf_threshold, info)
    view.is_tracked = scene is not None
    if spec.zones is not None:
        view.zones_file = Path(spec.zones)
    if running is not None:
        view.set_layout = running.change_layout
        view.change_layout(running.layout, version)
    return running


def _page_events(view: StreamView, shared: Shared) -> list[Sink]:
    """What keeps the stream's events for the page; nothing where no model detects."""
    store = None if shared.hub is None else shared.hub.store
    if store is None or view.set_layout is None:
        return []
    from edgevision.web.outlet import StoreOutlet

    observer = EventObserver(jpeg_keeper(store.database.images))
    return [EventSink([StoreOutlet(store, view.name)], observer)]


def make_scene(spec: StreamSpec, frame_rate: float | None, models: RunModels, conf_threshold: float) -> Scene:
    """The tracker of a stream, and its zones where it has some.

    Args:
        spec: the stream.
        frame_rate: of its source; None where unknown.
        models: what answers, down to :data:`~edgevision.tracking.tracker.RECOVER_THRESHOLD`.
        conf_threshold: what the user wants to see.

    Raises:
        UsageError: no model detects, a class of ``event_classes`` does not exist, or the tracker library is
            not installed.
        ConfigError: the file of zones is not valid.
    """
    layout = load_layout(spec, models)
    return Scene(len(models.models), conf_threshold, frame_rate, layout)


def load_layout(spec: StreamSpec, models: RunModels) -> ZoneLayout | None:
    """The zones of a stream that is tracked; None where it has none.

    Raises:
        UsageError: no model detects.
        ConfigError: the file of zones is not valid.
    """
    if all(one.manifest.task not in BOX_TASKS for one in models.models):
        raise UsageError(
            "`track`, `zones` and `events` need a model that finds objects; "
            f"{', '.join(models.names)} finds none"
        )
    if spec.event_classes is not None:
        _check_event_classes(listed(spec.event_classes), models)
    return None if spec.zones is None else load_zones(spec.zones, models.classes, models.attributes)


def zones_version(spec: StreamSpec) -> str:
    """The version of a stream's file of zones, to be taken before they are loaded; ``none`` without one."""
    return "none" if spec.zones is None else content_version(Path(spec.zones))


def _check_event_classes(names: Sequence[str], models: RunModels) -> None:
    """Raises :class:`UsageError` where there is no name, or one can choose nothing."""
    if not names:
        raise UsageError("`event_classes` names no class; leave it out for events of all")
    for name in names:
        problem = problem_of(name, models.classes, models.attributes)
        if problem:
            raise UsageError(f"`event_classes`: {problem}")


def place_of(output: str) -> str:
    """What two outputs have in common that would write the same file, address or standard output."""
    if output in PIPES:
        return PIPE
    return output if scheme_of(output) else str(Path(output).resolve())


def _open_sinks(
    spec: StreamSpec,
    plan: OutputPlan,
    source: Source,
    shared: Shared,
    models: RunModels,
    opened: contextlib.ExitStack,
) -> list[Sink]:
    info = source.info
    for image in plan.images:
        if is_pattern(image) and not scheme_of(image):
            make_folder(Path(image).parent)
    addresses = [*plan.images, *filter(None, [plan.records])]
    for address in addresses:
        if address != WINDOW and not shared.claim(place_of(address)):
            raise UsageError(
                f"two streams write {display(address)}; give them outputs of their own, "
                "or a name each in `streams`"
            )
    # Who only watches wants the recording's own speed; who also records wants it done.
    is_only_watched = addresses == [WINDOW] and spec.save_masks is None and not spec.is_watched
    sinks = [
        opened.enter_context(
            open_sink(
                address,
                info=info,
                overwrite=shared.request.overwrite,
                append=shared.request.append,
                encoder_threads=shared.budget.encode,
                single=1 in (spec.max_frames, shared.request.max_frames),
                paced=is_only_watched and not shared.several and not info.is_live,
            )
        )
        for address in addresses
    ]
    if spec.save_masks is not None:
        folder = Path(spec.save_masks)
        if shared.several:
            make_folder(folder)
            folder /= safe_name(spec.name or default_stem(info))
            if not shared.claim(str(folder.resolve())):
                raise UsageError(f"two streams write masks to {folder}; give them a name each in `streams`")
        if shared.request.append:
            set_aside(folder)
        sink = MaskSink(folder, info, models.segmenters(), shared.request.overwrite)
        sinks.append(opened.enter_context(sink))
    return sinks
