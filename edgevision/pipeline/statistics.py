"""Statistics of a run at one moment, during it or after it: snapshots made by ``Pipeline.statistics``.

The status line, the statistics file and the metrics read these and nothing else. ``msgspec`` can write them
as JSON.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from edgevision.pipeline.ledger import LedgerEntry
from edgevision.tracking.counts import LineTotals, ZoneTotals
from edgevision.video.base import Delivery

BUCKETS_MS = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 10e3)
"""Upper bounds, in milliseconds, of :attr:`Times.buckets`."""


class Stage(str, Enum):
    """The stages of a stream, in the order in which a frame passes them."""

    DECODE = "decode"
    PREPROCESS = "preprocess"
    INFERENCE = "inference"
    POSTPROCESS = "postprocess"
    TRACK = "track"
    CROPS = "crops"
    """The second model, on what was found."""
    OVERLAY = "overlay"
    SINKS = "sinks"


class StreamState(str, Enum):
    """The state of a stream."""

    RUNNING = "running"
    RECONNECTING = "reconnecting"
    """Its source was lost, and attempts to reconnect go on."""
    ENDED = "ended"
    """It ended without an error; ``stopped`` says why."""
    FAILED = "failed"
    """It ended with an error; ``error`` says which."""


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Durations over the whole run; percentiles to within 1 %.

    Attributes:
        count: number of durations.
        total_s: seconds in all. Stages overlap, so theirs add up to more than the run.
        mean_ms, p50_ms, p95_ms, p99_ms, max_ms: in milliseconds; 0 where ``count`` is 0.
        buckets: how many took at most :data:`BUCKETS_MS` (to within 1 % of the bound), cumulative as
            in Prometheus; longer ones than the last bound are in ``count`` only.
    """

    count: int = 0
    total_s: float = 0.0
    mean_ms: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    buckets: tuple[int, ...] = ()


class LatencyControl(msgspec.Struct, frozen=True, kw_only=True):
    """The latency controller of one stream; see docs/concepts/pipeline.md.

    Attributes:
        bound_ms: the latency to hold.
        level: how much it skips now: at 0 only frames that the model cannot take, at each level more.
        highest_level: the highest level until now.
        skipped: frames skipped to hold the bound (``dropped["latency"]`` of the ledger).
        exceeded: frames that took longer than the bound.
        on_fallback: True while the fallback model answers.
        fallback_frames: frames that the fallback model answered.
        switches: number of changes between the models, in both directions.
    """

    bound_ms: float
    level: int = 0
    highest_level: int = 0
    skipped: int = 0
    exceeded: int = 0
    on_fallback: bool = False
    fallback_frames: int = 0
    switches: int = 0


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A live source that is away.

    Attributes:
        seconds: since it was lost, or was not there at the start.
        attempts: to reconnect, that failed since then.
        reason: of the latest failure, one line without credentials.
    """

    seconds: float
    attempts: int
    reason: str


class StreamStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One stream at one moment.

    Attributes:
        name: unique in the run; the source's unless the user gave one.
        source: name of the source, without credentials.
        is_live: True for a camera or network stream.
        state: whether it runs.
        models: for each model's name, the engine that runs it, with the reason where it was chosen.
        frames: the ledger.
        written: frames that every sink took.
        skipped: frames of the source that could not be decoded (the reasons are in ``frames.failed``).
        time_s: presentation time of the last frame written, in seconds since the source's first.
        classes: those that the models look for in it.
        detections: how many of each class, summed over the frames.
        objects: tracked objects by class, each counted once, by its id; None where nothing is tracked.
        in_view: objects in the last frame, by class: tracked ones, or detections where nothing is tracked;
            none while the source is away.
        zones, lines: what each counted, by name.
        class_shares: mean share of the image by class, for segmentation.
        seconds: wall time from the first request for a frame until now, or until the outputs were closed,
            less the time that a single image stood in its window.
        frames_per_second: ``written`` over ``seconds``.
        recent_frames_per_second: over the last 30 frames.
        latency: from the moment the source delivered a frame until every sink had it.
        last_latency_ms: of the last frame written.
        stages: wall time by stage. For a live source, ``decode`` includes waiting for the next frame, and
            where a window shows a recording at its own speed, ``sinks`` includes waiting for the frame's
            time. ``inference`` is that of the whole batch that the frame was in.
        queues: frames waiting for ``preprocess``, ``inference``, ``overlay`` and ``sinks``.
        mean_batch: mean number of frames in the batches that this stream's frames were in.
        reconnects: how often the source was lost and restored.
        failed_attempts: attempts to reconnect that failed.
        lost: of a live source that is away now; else None.
        latency_control: of a stream with a bound on its latency; else None.
        deliveries: of recordings and events, which count what they lose instead of ending the run.
        stopped: why it ended: ``end``, ``max_frames``, ``window``, ``error``, or what the stop request
            says; None while it runs.
        error: what ended it, one line, else None.
        problem: what is damaged in the source, one line, else None.
        notes: remarks for the user about the models, the source and the outputs.
    """

    name: str
    source: str
    is_live: bool
    state: StreamState
    models: dict[str, str]
    frames: LedgerEntry
    written: int
    skipped: int
    time_s: float
    classes: tuple[str, ...] = ()
    detections: dict[str, int]
    objects: dict[str, int] | None = None
    in_view: dict[str, int] = {}
    zones: dict[str, ZoneTotals] = {}
    lines: dict[str, LineTotals] = {}
    class_shares: dict[str, float]
    seconds: float
    frames_per_second: float
    recent_frames_per_second: float
    latency: Times
    last_latency_ms: float
    stages: dict[str, Times]
    queues: dict[str, int]
    mean_batch: float = 0.0
    reconnects: int = 0
    failed_attempts: int = 0
    lost: Outage | None = None
    latency_control: LatencyControl | None = None
    deliveries: tuple[Delivery, ...] = ()
    stopped: str | None = None
    error: str | None = None
    problem: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of_refused(cls, name: str, source: str, error: str) -> StreamStatistics:
        """Of a stream that never ran: all counts are 0, and ``error`` says why.

        Args:
            name: unique in the run.
            source: its address, without credentials.
            error: one line.
        """
        return cls(
            name=name,
            source=source,
            is_live=False,
            state=StreamState.FAILED,
            models={},
            frames=LedgerEntry(captured=0, inferred=0, dropped={}, failed={}, waiting=0),
            written=0,
            skipped=0,
            time_s=0.0,
            detections={},
            class_shares={},
            seconds=0.0,
            frames_per_second=0.0,
            recent_frames_per_second=0.0,
            latency=Times(),
            last_latency_ms=0.0,
            stages={},
            queues={},
            stopped="error",
            error=error,
        )


class EngineStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One engine at one moment; all streams share it.

    Attributes:
        model: name of the model.
        engine: what runs it, and why.
        calls: batches that it ran.
        frames: frames in them.
        call: wall time of a call.
    """

    model: str
    engine: str
    calls: int
    frames: int
    call: Times


class ConfigReload(msgspec.Struct, frozen=True, kw_only=True):
    """How the last reading of a file of streams went, in a run that can read it again.

    Attributes:
        successful: it is in force; False where it had a fault, and the one before it is.
        success_time: when one was last taken in force, in seconds since 1970.
    """

    successful: bool
    success_time: float


class RunStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A run at one moment.

    Attributes:
        seconds: wall time since it began.
        busy: share of that time in which an engine ran, 0 to 1; of requests in flight, their mean.
        streams: each stream, in the order in which they were named.
        engines: each engine, the fallback's after the others, and the second model's last; that one is not
            in ``busy``, and its frames are crops.
        config: of a run whose file of streams can be read again; else None.
    """

    seconds: float
    busy: float
    streams: tuple[StreamStatistics, ...]
    engines: tuple[EngineStatistics, ...]
    config: ConfigReload | None = None
