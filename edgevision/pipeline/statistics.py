"""What can be known of a run, at any moment and after it: frozen snapshots, made by ``Pipeline.statistics``.

The status line, ``--stats`` and metrics read these and nothing else. All of it can be written as JSON by
``msgspec``.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from edgevision.pipeline.ledger import LedgerEntry
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
    OVERLAY = "overlay"
    SINKS = "sinks"


class StreamState(str, Enum):
    """Where a stream stands."""

    RUNNING = "running"
    RECONNECTING = "reconnecting"
    """Its source was lost and is awaited."""
    ENDED = "ended"
    """It ended in good order; ``stopped`` says why."""
    FAILED = "failed"
    """It ended by an error; ``error`` says which."""


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took, over the whole run; percentiles to within 1 %.

    Attributes:
        count: how often.
        total_s: seconds in all. Stages overlap, so theirs add up to more than the run.
        mean_ms, p50_ms, p95_ms, p99_ms, max_ms: in milliseconds; 0 where ``count`` is 0.
        buckets: how many took at most :data:`BUCKETS_MS` (to within 1 % of the bound), cumulative as
            Prometheus wants them; what took longer than the last bound is in ``count`` alone.
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
    """What the latency controller of one stream did; see docs/pipeline.md.

    Attributes:
        bound_ms: the latency to hold.
        level: how much it skips now: 0 nothing beyond what the model cannot take, each level more.
        highest_level: the highest level until now.
        skipped: frames skipped to hold the bound (``dropped["latency"]`` of the ledger).
        exceeded: frames that took longer than the bound all the same.
        on_fallback: True while the fallback model answers.
        fallback_frames: frames that the fallback model answered.
        switches: how often the model was changed, to and fro.
    """

    bound_ms: float
    level: int = 0
    highest_level: int = 0
    skipped: int = 0
    exceeded: int = 0
    on_fallback: bool = False
    fallback_frames: int = 0
    switches: int = 0


class StreamStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One stream at one moment.

    Attributes:
        name: unique in the run; the source's name unless the user gave another.
        source: name of the source, without credentials.
        is_live: True for a camera or network stream.
        state: where it stands.
        models: name of each model, and the engine that runs it, with the reason where it was chosen.
        frames: the ledger.
        written: frames that every sink took.
        skipped: frames of the source that could not be decoded (the reasons are in ``frames.failed``).
        time_s: presentation time of the last frame written, in seconds since the source's first.
        detections: how many of each class.
        class_shares: mean share of the picture by class, for segmentation.
        seconds: wall time from the first request for a frame until now, or until the outputs were closed,
            less the time that a single picture stood in its window.
        frames_per_second: ``written`` over ``seconds``.
        recent_frames_per_second: over the last 30 frames.
        latency: from the moment the source delivered a frame until every sink had it.
        last_latency_ms: of the last frame written.
        stages: wall time by stage. For a live source, ``decode`` includes waiting for the next frame, and
            where a window shows a recording at its own speed, ``sinks`` includes waiting for the frame's
            time. ``inference`` is that of the whole batch that the frame was in.
        queues: frames waiting for ``preprocess``, ``inference``, ``overlay`` and ``sinks``.
        mean_batch: mean number of frames in the batches that this stream's frames were in.
        reconnects: how often the source was lost and came back.
        failed_attempts: attempts to come back that failed.
        latency_control: what the controller did; None without ``--max-latency``.
        deliveries: of recordings and events, which count what they lose and let the run go on.
        stopped: why it ended: ``end``, ``max_frames``, ``window``, ``error``, or what the stop request
            said; None while it runs.
        error: what ended it, one line, else None.
        problem: what was wrong with the source, where it was damaged, else None.
        notes: what people should know about the source and the outputs.
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
    detections: dict[str, int]
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
    latency_control: LatencyControl | None = None
    deliveries: tuple[Delivery, ...] = ()
    stopped: str | None = None
    error: str | None = None
    problem: str | None = None
    notes: tuple[str, ...] = ()


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


class RunStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A run at one moment.

    Attributes:
        seconds: wall time since it began.
        busy: share of that time in which an engine ran, 0 to 1; of requests in flight, their mean.
        streams: each stream, in the order in which they were named.
        engines: each engine, the fallback's after the others.
    """

    seconds: float
    busy: float
    streams: tuple[StreamStatistics, ...]
    engines: tuple[EngineStatistics, ...]
