"""How a file of streams that is read again takes force: what did not change goes on as it was."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from edgevision.address import display
from edgevision.errors import EdgeVisionError
from edgevision.session.changes import StreamChanges, find_changes, free_name
from edgevision.session.running import RunningStreams
from edgevision.session.shared import Shared
from edgevision.session.spec import StreamSpec, read_streams
from edgevision.session.streams import load_layout, open_sources, zones_version
from edgevision.tracking import ZoneLayout
from edgevision.tracking.tracker import load_library
from edgevision.video import Source
from edgevision.video.sources.options import SourceOptions


def apply_file(streams: RunningStreams, file: Path) -> StreamChanges:
    """Takes a file of streams in force.

    Zones, thresholds and classes change in a stream that runs; for other settings, and another model under
    the same name, it begins again, with its counts. One that was refused before is tried again.

    Returns:
        What has changed.

    Raises:
        EdgeVisionError: the file, or what it names, has a fault; nothing is changed.
    """
    specs = read_streams(file, streams.shared.request.given)
    changes = find_changes(streams.specs, specs)
    with contextlib.ExitStack() as opening:
        try:
            layouts = _check(streams.shared, specs)
            ahead = _open_ahead(streams, changes, opening)
        except EdgeVisionError:
            streams.release()
            raise
        with streams.pipeline.held():
            _apply(streams, changes, layouts, ahead, opening)
    streams.release()
    return changes


def _check(shared: Shared, specs: Sequence[StreamSpec]) -> dict[int, tuple[ZoneLayout | None, str]]:
    """Refuses what could not run; the zones of each stream with their file's version, by its position."""
    request = dataclasses.replace(shared.request, streams=specs, append=True, overwrite=False)
    request.check_outputs(specs, shared.models.files(specs))
    if any(map(request.tracks, specs)):
        load_library()  # here, where no stream waits for it
    layouts: dict[int, tuple[ZoneLayout | None, str]] = {}
    for position, spec in enumerate(specs):
        models = shared.models.of(spec)
        if spec.save_masks is not None:
            models.segmenters()
        version = zones_version(spec)
        layouts[position] = load_layout(spec, models) if request.tracks(spec) else None, version
    return layouts


def _open_ahead(
    streams: RunningStreams, changes: StreamChanges, opening: contextlib.ExitStack
) -> dict[int, Source]:
    """The sources that are not in use now, by position; one that cannot be opened refuses the reload."""
    in_use = {spec.source for name, spec in streams.specs.items() if name not in streams.paused}
    ahead = [
        one
        for one in changes.streams
        if not one.spec.paused
        and one.spec.source not in in_use  # a camera is opened again once it is free
        and (one.before is None or one.begins_again)
    ]
    found = open_sources(
        [one.spec for one in ahead], streams.shared.budget, opening, SourceOptions(wait=True)
    )
    for source in found:
        if isinstance(source, EdgeVisionError):
            raise source
    return {one.position: source for one, source in zip(ahead, found, strict=True)}  # type: ignore[misc]


def _apply(
    streams: RunningStreams,
    changes: StreamChanges,
    layouts: dict[int, tuple[ZoneLayout | None, str]],
    ahead: dict[int, Source],
    opening: contextlib.ExitStack,
) -> None:
    for name in changes.removed:
        streams.leave(name, streams.drop)
    specs: dict[str, StreamSpec] = {}
    for one in changes.streams:
        source = ahead.get(one.position)
        name = one.name or free_name(one.spec.name or _source_name(one.spec, source), specs, streams.specs)
        specs[name] = one.spec
        if one.spec.paused:
            if name not in streams.paused:
                changes.paused.append(name)
                streams.leave(name, streams.end)
            streams.paused[name] = one.spec
        elif (
            one.before is None
            or one.begins_again
            or not streams.can_adjust(name, one.before, one.spec)
            or streams.has_other_files(name, one.spec)
        ):
            begun = changes.added if one.before is None else changes.restarted
            runs = streams.attempt(name, streams.begin, name, one.spec, source)
            (begun if runs else changes.refused).append(name)
        elif streams.adjust(name, one.spec, *layouts[one.position], one.before):
            changes.adjusted.append(name)
    for name in [name for name in streams.specs if name not in specs]:
        del streams.specs[name]
    for name, spec in specs.items():  # in the order of the file
        streams.specs.pop(name, None)
        streams.specs[name] = spec
    opening.pop_all()  # the pipeline closes sources at the ends of their streams


def _source_name(spec: StreamSpec, source: Source | None) -> str:
    return display(spec.source) if source is None else source.info.name
