"""Streams with their outputs, opened for a run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgevision.drawing.overlay import Overlay
from edgevision.errors import EdgeVisionError, UsageError
from edgevision.pipeline import Stream, ThreadBudget
from edgevision.session.models import RunModels
from edgevision.session.outputs import OutputPlan, default_stem, make_folder, plan_outputs
from edgevision.session.spec import StreamSpec
from edgevision.session.watchers import open_watchers
from edgevision.tracking import load_zones
from edgevision.tracking.scene import Scene
from edgevision.video import Sink, Source, open_sink, open_source
from edgevision.video.sinks.images import is_pattern
from edgevision.video.sinks.masks import MaskSink


@dataclass(frozen=True, kw_only=True)
class Manner:
    """What holds for every stream of a run.

    Attributes:
        conf_threshold: what the user wants to see; the models run lower where somebody tracks.
        alpha: opacity of class maps.
        max_frames: of each stream.
        overwrite: outputs may be replaced.
        several: there is more than one stream, together or in turn.
        budget: threads.
    """

    conf_threshold: float
    alpha: float
    max_frames: int | None
    overwrite: bool
    several: bool
    budget: ThreadBudget
    taken: set[str] = field(default_factory=set)
    """Outputs that streams of this run write already."""

    def claim(self, place: str) -> bool:
        """Takes an output for a stream; False where another has it."""
        is_free = place not in self.taken
        self.taken.add(place)
        return is_free


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A stream that can run.

    Attributes:
        outputs: names of the files that it writes.
        total: frames to expect, or None where nobody knows.
        hint: a remark for people who watch.
    """

    stream: Stream
    outputs: list[str]
    total: int | None
    hint: str


def open_sources(
    specs: Sequence[StreamSpec], budget: ThreadBudget, opened: contextlib.ExitStack
) -> list[Source | EdgeVisionError]:
    """Opens all sources at the same time, for one that does not answer must not hold the others up.

    The threads are daemons: one that hangs in a driver does not hold up Ctrl-C or the end of the process.
    """
    found: dict[int, Source | Exception] = {}

    def attempt(position: int) -> None:
        try:
            found[position] = open_source(specs[position].source, threads=budget.decode)
        except Exception as error:
            found[position] = error

    threads = [threading.Thread(target=attempt, args=(i,), daemon=True) for i in range(len(specs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sources: list[Source | EdgeVisionError] = []
    for _, source in sorted(found.items()):
        if not isinstance(source, Exception):
            sources.append(opened.enter_context(source))
        elif isinstance(source, EdgeVisionError):
            sources.append(source)
        else:
            raise source
    return sources


def open_stream(
    spec: StreamSpec,
    source: Source,
    name: str,
    models: RunModels,
    manner: Manner,
    opened: contextlib.ExitStack,
) -> OpenedStream:
    """Makes the outputs of a source that is open.

    Args:
        spec: what the user wants of it.
        source: the source.
        name: unique in the run.
        models: what answers.
        manner: what holds for all.
        opened: closes the outputs.

    Raises:
        EdgeVisionError: an output cannot be made, or the request does not fit the source.
    """
    info = source.info
    if spec.max_latency is not None and not info.is_live:
        raise UsageError(
            f"--max-latency is for live sources, of which frames may be left out; {info.name} is a recording"
        )
    scene = _scene(spec, info.frame_rate, models, manner)
    output, save_json = spec.files().values()
    masks = None if spec.save_masks is None else Path(spec.save_masks)
    plan = plan_outputs(info, output, save_json, spec.display, masks, spec.name, spec.is_watched)
    sinks = _open_sinks(spec, plan, source, models, manner, opened)
    sinks += open_watchers(
        spec,
        info,
        models.classes,
        manner.conf_threshold,
        claim=manner.claim,
        several=manner.several,
        overwrite=manner.overwrite,
        threads=manner.budget.encode,
        opened=opened,
    )
    detectors = models.detectors
    is_drawn = bool(plan.pictures) or spec.record is not None
    stream = Stream(
        source=source,
        sinks=sinks,
        overlays=[Overlay(one.manifest, manner.alpha) for one in detectors] if is_drawn else [],
        name=name,
        scene=scene,
        min_score=manner.conf_threshold
        if scene is None and models.runs_below(manner.conf_threshold)
        else None,
        max_frames=manner.max_frames,
        max_latency_ms=spec.max_latency_ms,
        show_status=info.is_live,
    )
    expected = [count for count in (info.frame_count, manner.max_frames) if count is not None]
    total = min(expected) if expected and not (info.is_live and manner.max_frames is None) else None
    return OpenedStream(stream, [sink.name for sink in sinks if sink.name != "window"], total, plan.hint)


def _scene(spec: StreamSpec, frame_rate: float | None, models: RunModels, manner: Manner) -> Scene | None:
    if not spec.is_tracked:
        return None
    if all(one.manifest.task != "detection" for one in models.detectors):
        raise UsageError(
            f"--track, --zones and --events need a detection model; {', '.join(models.names)} is none"
        )
    classes = [name for names in models.classes for name in names]
    layout = None if spec.zones is None else load_zones(spec.zones, classes)
    return Scene(models.classes, manner.conf_threshold, frame_rate, layout)


def _open_sinks(
    spec: StreamSpec,
    plan: OutputPlan,
    source: Source,
    models: RunModels,
    manner: Manner,
    opened: contextlib.ExitStack,
) -> list[Sink]:
    info = source.info
    for picture in plan.pictures:
        if is_pattern(picture):
            make_folder(Path(picture).parent)
    addresses = [*plan.pictures, *filter(None, [plan.records])]
    for address in addresses:
        place = address if address == "window" else str(Path(address).resolve())
        if place != "window" and not manner.claim(place):
            raise UsageError(
                f"two streams write {address}; give them outputs of their own, or a name each in --streams"
            )
    # Who only watches wants the recording's own speed; who also records wants it done.
    alone = addresses == ["window"] and spec.save_masks is None and not spec.is_watched and not manner.several
    sinks = [
        opened.enter_context(
            open_sink(
                address,
                info=info,
                classes=models.classes,
                models=models.names,
                overwrite=manner.overwrite,
                encoder_threads=manner.budget.encode,
                paced=alone and not info.is_live,
            )
        )
        for address in addresses
    ]
    if spec.save_masks is not None:
        folder = Path(spec.save_masks)
        if manner.several:
            folder.mkdir(exist_ok=True)
            folder /= spec.name or default_stem(info)
        sink = MaskSink(folder, info, models.names, models.segmenters(), manner.overwrite)
        sinks.append(opened.enter_context(sink))
    return sinks
