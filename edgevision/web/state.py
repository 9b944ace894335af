"""The state of a run as the page shows it: numbers, and what is wrong in words."""

from __future__ import annotations

import zlib

import msgspec

from edgevision import __version__
from edgevision.pipeline import LedgerEntry, StreamState, StreamStatistics, Times
from edgevision.pipeline.ledger import MODEL_FAILED, DropReason
from edgevision.types import ZoneReport
from edgevision.video.base import Delivery, FailReason
from edgevision.web.history import Curves, History
from edgevision.web.hub import Hub, StreamView

_DROPPED = {
    DropReason.NEWER_FRAME.value: "replaced by a newer frame",
    DropReason.LATENCY.value: "skipped to hold the latency",
    DropReason.SHUTDOWN.value: "read and not processed at the end",
}
_FAILED = {
    FailReason.UNDECODABLE.value: "could not be decoded",
    FailReason.INCOMPLETE.value: "arrived incomplete",
    FailReason.NO_KEY_FRAME.value: "came before the first key frame",
    MODEL_FAILED: "made a model fail",
}


class Remark(msgspec.Struct, frozen=True):
    """One line for people.

    Attributes:
        level: ``error``, ``warning`` or ``note``.
        text: the line.
    """

    level: str
    text: str


class StreamSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One stream; see :class:`~edgevision.pipeline.StreamStatistics` for the numbers.

    Attributes:
        id: part of its addresses; empty where it cannot be looked at.
        state: as there, or ``paused``.
        width, height: of its frames, in pixels; None before the first.
        classes: class names with their colours.
        is_tracked, has_zones, is_recorded: what it has.
        zones_version: changes with where its zones lie; 0 where it has none.
        can_have_zones: zones can be drawn.
        zone_counts: for each zone and line, what it has counted, in words.
        viewers: who looks now.
        remarks: what is wrong, and what was lost.
        curves: the last ten minutes; None where they were not asked for.
    """

    name: str
    id: str
    source: str
    is_live: bool
    state: str
    models: dict[str, str]
    frames: LedgerEntry | None = None
    written: int = 0
    seconds: float = 0.0
    frames_per_second: float = 0.0
    latency: Times | None = None
    last_latency_ms: float = 0.0
    reconnects: int = 0
    failed_attempts: int = 0
    detections: dict[str, int] = {}
    deliveries: tuple[Delivery, ...] = ()
    width: int | None = None
    height: int | None = None
    classes: dict[str, str] = {}
    is_tracked: bool = False
    has_zones: bool = False
    zones_version: int = 0
    can_have_zones: bool = False
    is_recorded: bool = False
    zone_counts: dict[str, str] = {}
    viewers: int = 0
    remarks: list[Remark] = []
    curves: Curves | None = None


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run.

    Attributes:
        version: of edgevision.
        seconds: since it began.
        busy: share of the time in which an engine ran.
        streams: each stream.
        can_change_streams: streams can be added and removed.
    """

    version: str
    seconds: float
    busy: float
    streams: list[StreamSummary]
    can_change_streams: bool


def run_state(hub: Hub, history: History | None = None) -> RunState:
    """The run now.

    Args:
        hub: knows it.
        history: of its streams; None leaves the curves out.
    """
    run = hub.statistics()
    control = hub.control
    paused = {} if control is None else dict.fromkeys(control.paused())
    streams = [
        summary(one, hub.view(one.name), None if history is None else history.curves(one.name))
        for one in (() if run is None else run.streams)
        if one.name not in paused
    ]
    streams += [_paused(name, hub.view(name)) for name in paused]
    return RunState(
        version=__version__,
        seconds=0.0 if run is None else run.seconds,
        busy=0.0 if run is None else run.busy,
        streams=streams,
        can_change_streams=control is not None,
    )


def summary(stream: StreamStatistics, view: StreamView | None, curves: Curves | None = None) -> StreamSummary:
    """One stream.

    Args:
        stream: its numbers.
        view: what the page knows of it; None where it cannot be looked at.
        curves: its last ten minutes.
    """
    width, height = (None, None) if view is None or view.tile.size is None else view.tile.size
    return StreamSummary(
        name=stream.name,
        id="" if view is None else view.id,
        source=stream.source,
        is_live=stream.is_live,
        state=stream.state.value,
        models=stream.models,
        frames=stream.frames,
        written=stream.written,
        seconds=stream.seconds,
        frames_per_second=stream.recent_frames_per_second,
        latency=stream.latency,
        last_latency_ms=stream.last_latency_ms,
        reconnects=stream.reconnects,
        failed_attempts=stream.failed_attempts,
        detections=stream.detections,
        deliveries=stream.deliveries,
        width=width,
        height=height,
        classes={} if view is None else view.classes,
        is_tracked=view is not None and view.is_tracked,
        has_zones=view is not None and view.layout is not None,
        zones_version=0 if view is None or view.layout is None else zlib.crc32(repr(view.layout).encode()),
        can_have_zones=view is not None and view.set_layout is not None,
        is_recorded=view is not None and view.recordings is not None,
        zone_counts={} if view is None else zone_counts(view.tile.zones),
        viewers=0 if view is None else view.tile.viewers,
        remarks=remarks(stream),
        curves=curves,
    )


def zone_counts(report: ZoneReport | None) -> dict[str, str]:
    """For each zone and line, what it has counted."""
    found = {}
    for zone in () if report is None else report.zones:
        inside, entries, exits = (sum(counts.values()) for counts in (zone.inside, zone.entries, zone.exits))
        found[zone.name] = f"{inside} inside, {entries} entered, {exits} left"
    for line in () if report is None else report.lines:
        found[line.name] = f"{sum(line.inward.values())} in, {sum(line.outward.values())} out"
    return found


def _paused(name: str, view: StreamView | None) -> StreamSummary:
    source, view_id = ("", "") if view is None else (view.tile.info.name, view.id)
    return StreamSummary(name=name, id=view_id, source=source, is_live=True, state="paused", models={})


def remarks(stream: StreamStatistics) -> list[Remark]:
    """What is wrong with a stream and what it lost, the worst first."""
    found = []
    if stream.state is StreamState.FAILED:
        verb = "ended with an error" if stream.frames.captured else "does not run"
        found.append(Remark("error", f"{verb}: {stream.error}"))
    elif stream.error is not None:
        found.append(Remark("error", stream.error))
    if stream.state is StreamState.RECONNECTING:
        failed = stream.failed_attempts if stream.lost is None else stream.lost.attempts
        why = "" if stream.lost is None else f": {stream.lost.reason}"
        attempts = _counted(failed, "attempt", "attempts")
        found.append(Remark("error", f"the source is lost{why}; trying again ({attempts} failed so far)"))
    found += [Remark("error", one.alarm) for one in stream.deliveries if one.alarm is not None]
    if stream.problem is not None:
        found.append(Remark("warning", stream.problem))
    for one in stream.deliveries:
        if one.lost:
            what = ("event", "events") if one.kind == "events" else ("image", "images")
            found.append(Remark("warning", f"{one.output}: {_counted(one.lost, *what)} lost"))
    for reason, count in stream.frames.failed.items():
        if count:
            frames = _counted(count, "frame", "frames")
            found.append(Remark("warning", f"{frames} {_FAILED.get(reason, reason)}"))
    control = stream.latency_control
    if control is not None and control.on_fallback:
        found.append(Remark("warning", f"the fallback model answers, to hold {control.bound_ms:g} ms"))
    for reason, count in stream.frames.dropped.items():
        if count:
            frames = _counted(count, "frame", "frames")
            found.append(
                Remark("note", f"{frames} of {stream.frames.captured} {_DROPPED.get(reason, reason)}")
            )
    if stream.reconnects:
        times = "once" if stream.reconnects == 1 else f"{stream.reconnects} times"
        found.append(Remark("note", f"the source was lost and came back {times}"))
    found += [Remark("note", note) for note in stream.notes]
    return found


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
