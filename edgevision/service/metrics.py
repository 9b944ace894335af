"""A run as Prometheus metric families.

docs/guides/operations.md lists them. Names follow Prometheus's conventions: base units, counters that
end in ``_total`` (https://prometheus.io/docs/practices/naming/).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from edgevision import __version__
from edgevision.files import safe_name
from edgevision.pipeline import BUCKETS_MS, RunStatistics, StreamState, StreamStatistics, Times
from edgevision.pipeline.ledger import MODEL_FAILED, DropReason
from edgevision.tracking.counts import LineTotals, ZoneTotals
from edgevision.video.base import Delivery, FailReason

_DROPPED = dict.fromkeys((reason.value for reason in DropReason), 0)
_FAILED = dict.fromkeys([*(reason.value for reason in FailReason), MODEL_FAILED], 0)
"""Every reason is exposed from the start, so that a rate does not miss the first occurrence."""

Read = Callable[[], RunStatistics]
Samples = Sequence[tuple[tuple[str, ...], float]]
Place = TypeVar("Place", ZoneTotals, LineTotals)
StreamMetric = tuple[str, str, Callable[[StreamStatistics], float]]
"""Name, help text, and the value for a stream."""
DeliveryMetric = tuple[str, str, Callable[[Delivery], float]]
"""Name, help text, and the value for a delivery."""


class RunCollector(Collector):
    """Turns a snapshot of a run into metric families.

    Args:
        read: returns a snapshot of the run, such as ``pipeline.statistics``; called on any thread.
    """

    def __init__(self, read: Read) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """The metric families of one snapshot."""
        run = self._read()
        yield InfoMetricFamily("edgevision", "Version of edgevision.", {"version": __version__})
        yield _gauge("run_seconds", "Wall time since the run began.", (), [((), run.seconds)])
        yield _gauge("threads", "Python threads.", (), [((), threading.active_count())])
        if run.config is not None:
            yield _gauge(
                "config_last_reload_successful",
                "1 while the file of streams is in force as it was last read.",
                (),
                [((), float(run.config.successful))],
            )
            yield _gauge(
                "config_last_reload_success_timestamp_seconds",
                "When a file of streams was last taken in force.",
                (),
                [((), run.config.success_time)],
            )
        yield from _engines(run)
        yield from _frames(run.streams)
        yield from _objects(run.streams)
        yield from _state(run.streams)
        yield from _times(run.streams)
        yield from _deliveries(run.streams)


def _engines(run: RunStatistics) -> Iterator[Metric]:
    info = InfoMetricFamily("edgevision_engine", "Engine of each model.", labels=["model"])
    for engine in run.engines:
        info.add_metric([engine.model], {"engine": engine.engine})
    yield info
    yield _gauge("engine_busy_ratio", "Share of the time during which an engine ran.", (), [((), run.busy)])
    named = [((engine.model,), engine) for engine in run.engines]
    yield _counter(
        "engine_calls", "Batches run.", ("model",), [(labels, engine.calls) for labels, engine in named]
    )
    yield _histogram(
        "engine_call_seconds",
        "Wall time of one batch.",
        ("model",),
        [(labels, engine.call) for labels, engine in named],
    )


def _frames(streams: Iterable[StreamStatistics]) -> Iterator[Metric]:
    streams = tuple(streams)
    counted: tuple[StreamMetric, ...] = (
        ("frames_captured", "Frames delivered by the source.", lambda one: one.frames.captured),
        ("frames_inferred", "Frames with a result from every model.", lambda one: one.frames.inferred),
        ("frames_written", "Frames written to every output.", lambda one: one.written),
        ("reconnects", "Successful reconnects of the source.", lambda one: one.reconnects),
        ("reconnect_failures", "Failed reconnect attempts.", lambda one: one.failed_attempts),
    )
    for name, help_text, value in counted:
        yield _counter(name, help_text, ("stream",), [((label(one.name),), value(one)) for one in streams])
    yield _counter(
        "frames_dropped",
        "Frames that never reached the model.",
        ("stream", "reason"),
        _by_key(streams, lambda one: {**_DROPPED, **one.frames.dropped}),
    )
    yield _counter(
        "frames_failed",
        "Frames that could not be decoded or on which a model failed.",
        ("stream", "reason"),
        _by_key(streams, lambda one: {**_FAILED, **one.frames.failed}),
    )
    yield _counter(
        "detections",
        "Detections, counted per frame.",
        ("stream", "class"),
        _by_key(streams, lambda one: _from_zero(one.classes, one.detections)),
    )


def _objects(streams: Iterable[StreamStatistics]) -> Iterator[Metric]:
    """What is tracked; every class that is looked for stands at 0 from the start."""
    tracked = [one for one in streams if one.objects is not None]
    if not tracked:
        return
    yield _counter(
        "objects",
        "Tracked objects, each counted once.",
        ("stream", "class"),
        _by_key(tracked, lambda one: _from_zero(one.classes, one.objects or {})),
    )
    yield _gauge(
        "objects_in_view",
        "Tracked objects in the last frame; 0 while the source is away.",
        ("stream", "class"),
        _by_key(tracked, lambda one: _from_zero(one.classes, one.in_view if _runs(one) else {})),
    )
    zones = [(one, name, zone) for one in tracked for name, zone in one.zones.items()]
    of_zone = ("stream", "zone", "class")
    if zones:
        yield _counter(
            "zone_entries", "Entries of objects.", of_zone, _by_place(zones, lambda _, zone: zone.entries)
        )
        yield _counter(
            "zone_exits", "Exits of objects.", of_zone, _by_place(zones, lambda _, zone: zone.exits)
        )
        yield _gauge(
            "zone_objects",
            "Objects inside now; 0 while the source is away.",
            of_zone,
            _by_place(zones, lambda one, zone: zone.inside if _runs(one) else {}),
        )
        dwell = SummaryMetricFamily(
            "edgevision_zone_dwell_seconds", "Stays that have ended.", labels=("stream", "zone")
        )
        for one, name, zone in zones:
            dwell.add_metric([label(one.name), name], sum(zone.exits.values()), zone.dwell_s)
        yield dwell
    lines = [(one, name, line) for one in tracked for name, line in one.lines.items()]
    if lines:
        yield _counter(
            "line_crossings",
            "Crossings of a line.",
            ("stream", "line", "class", "direction"),
            [
                *_crossings(lines, "in", lambda _, line: line.inward),
                *_crossings(lines, "out", lambda _, line: line.outward),
            ],
        )


def _crossings(
    lines: Iterable[tuple[StreamStatistics, str, LineTotals]],
    direction: str,
    values: Callable[[StreamStatistics, LineTotals], Mapping[str, int]],
) -> Iterator[tuple[tuple[str, ...], float]]:
    for names, count in _by_place(lines, values):
        yield (*names, direction), count


def _state(streams: Iterable[StreamStatistics]) -> Iterator[Metric]:
    streams = tuple(streams)
    levels: tuple[StreamMetric, ...] = (
        ("stream_up", "1 while the stream runs.", lambda one: float(one.state is StreamState.RUNNING)),
        ("frames_waiting", "Frames in progress.", lambda one: one.frames.waiting),
        (
            "frames_per_second",
            "Recent frame rate; 0 while the source is away.",
            lambda one: one.recent_frames_per_second if _runs(one) else 0.0,
        ),
    )
    for name, help_text, value in levels:
        yield _gauge(name, help_text, ("stream",), [((label(one.name),), value(one)) for one in streams])
    yield _gauge(
        "queue_depth",
        "Frames waiting for a stage.",
        ("stream", "stage"),
        _by_key(streams, lambda one: one.queues),
    )
    held = [((label(one.name),), one.latency_control) for one in streams if one.latency_control is not None]
    if held:
        bounds = [(labels, control.bound_ms / 1e3) for labels, control in held]
        active = [(labels, float(control.on_fallback)) for labels, control in held]
        yield _gauge("latency_bound_seconds", "The latency bound (max_latency).", ("stream",), bounds)
        yield _gauge("fallback_active", "1 while the fallback model runs.", ("stream",), active)


def _times(streams: Iterable[StreamStatistics]) -> Iterator[Metric]:
    streams = tuple(streams)
    yield _histogram(
        "latency_seconds",
        "From delivery of a frame by the source until every output has written it.",
        ("stream",),
        [((label(one.name),), one.latency) for one in streams],
    )
    yield _histogram(
        "stage_seconds",
        "Wall time of a stage; for a live source, decode includes the wait for the next frame.",
        ("stream", "stage"),
        [((label(one.name), stage), times) for one in streams for stage, times in one.stages.items()],
    )


def _deliveries(streams: Iterable[StreamStatistics]) -> Iterator[Metric]:
    """Deliveries of recordings and events; a run without either exposes none of these families."""
    of_kind: dict[str, list[tuple[tuple[str, str], Delivery]]] = {"recording": [], "events": [], "stream": []}
    for stream in streams:
        for one in stream.deliveries:
            of_kind[one.kind].append(((label(stream.name), label(one.output)), one))
    counted: dict[str, tuple[DeliveryMetric, ...]] = {
        "recording": (
            ("recording_frames", "Frames recorded.", lambda one: one.delivered),
            ("recording_frames_lost", "Frames not recorded because of an alarm.", lambda one: one.lost),
        ),
        "events": (
            ("events_delivered", "Events delivered.", lambda one: one.delivered),
            ("events_lost", "Events that were lost.", lambda one: one.lost),
        ),
    }
    counted["stream"] = (
        ("stream_frames_sent", "Frames sent to a stream's server.", lambda one: one.delivered),
        ("stream_frames_lost", "Frames that could not be sent.", lambda one: one.lost),
    )
    levels: dict[str, tuple[DeliveryMetric, ...]] = {
        "stream": (("stream_alarm", "1 while a stream cannot be sent.", _is_alarmed),),
        "recording": (("recording_alarm", "1 while a disk problem stops the recording.", _is_alarmed),),
        "events": (
            ("events_waiting", "Events queued for delivery.", lambda one: one.waiting),
            ("events_alarm", "1 while the broker is unreachable or the disk is full.", _is_alarmed),
        ),
    }
    labels = ("stream", "output")
    for kind, found in of_kind.items():
        if not found:
            continue
        for name, help_text, value in counted[kind]:
            yield _counter(name, help_text, labels, [(names, value(one)) for names, one in found])
        for name, help_text, value in levels[kind]:
            yield _gauge(name, help_text, labels, [(names, value(one)) for names, one in found])


def _is_alarmed(one: Delivery) -> float:
    return float(one.alarm is not None)


def _by_key(
    streams: Iterable[StreamStatistics], values: Callable[[StreamStatistics], Mapping[str, float]]
) -> Samples:
    return [((label(one.name), key), value) for one in streams for key, value in values(one).items()]


def _by_place(
    places: Iterable[tuple[StreamStatistics, str, Place]],
    values: Callable[[StreamStatistics, Place], Mapping[str, int]],
) -> Samples:
    return [
        ((label(one.name), name, key), value)
        for one, name, place in places
        for key, value in _from_zero(place.classes or one.classes, values(one, place)).items()
    ]


def _from_zero(names: Iterable[str], counts: Mapping[str, int]) -> dict[str, int]:
    """The counts, and 0 for the names that have none."""
    return {**dict.fromkeys(names, 0), **counts}


def _runs(one: StreamStatistics) -> bool:
    return one.state is StreamState.RUNNING


def label(name: str) -> str:
    """A name as a label: of what is called by its address something that is none."""
    return safe_name(name) if "://" in name else name


def _counter(name: str, help_text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = CounterMetricFamily(f"edgevision_{name}", help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _gauge(name: str, help_text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"edgevision_{name}", help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _histogram(
    name: str, help_text: str, labels: tuple[str, ...], samples: Sequence[tuple[tuple[str, ...], Times]]
) -> Metric:
    family = HistogramMetricFamily(f"edgevision_{name}", help_text, labels=labels)
    for values, times in samples:
        counts = times.buckets or (0,) * len(BUCKETS_MS)
        bounds = [(repr(bound / 1e3), float(count)) for bound, count in zip(BUCKETS_MS, counts, strict=True)]
        family.add_metric(values, [*bounds, ("+Inf", float(times.count))], times.total_s)
    return family
