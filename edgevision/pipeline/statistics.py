"""Times, rates and counts of a run, in constant memory however long it lasts."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum

import msgspec
import numpy as np

from edgevision.pipeline.ledger import LedgerEntry
from edgevision.types import Detections, Result


class Stage(str, Enum):
    """The stages of a run, in the order in which a frame passes them."""

    DECODE = "decode"
    PREPROCESS = "preprocess"
    INFERENCE = "inference"
    POSTPROCESS = "postprocess"
    OVERLAY = "overlay"
    SINKS = "sinks"


class StageFigures(msgspec.Struct, frozen=True):
    """Wall time of one stage. Stages overlap, so the totals add up to more than the run.

    Attributes:
        calls: how often it ran.
        total_s: seconds in all; for a live source, ``decode`` includes waiting for the next frame, and where
            a window shows a recording at its own speed, ``sinks`` includes waiting for the frame's time.
        mean_ms: milliseconds a call.
    """

    calls: int
    total_s: float
    mean_ms: float


class StageClock:
    """Wall time by stage. Each stage is measured by one thread only, so nothing is locked."""

    def __init__(self) -> None:
        self._total_ns = dict.fromkeys(Stage, 0)
        self._calls = dict.fromkeys(Stage, 0)

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        """Times the block; one that raises does not count."""
        start = time.perf_counter_ns()
        yield
        self.add(stage, time.perf_counter_ns() - start)

    def add(self, stage: Stage, elapsed_ns: int) -> None:
        self._total_ns[stage] += elapsed_ns
        self._calls[stage] += 1

    def figures(self) -> dict[str, StageFigures]:
        """The stages that ran."""
        found = {}
        for stage, calls in self._calls.items():
            if calls:
                total_ns = self._total_ns[stage]
                found[stage.value] = StageFigures(calls, total_ns / 1e9, total_ns / calls / 1e6)
        return found


class LatencyFigures(msgspec.Struct, frozen=True):
    """Milliseconds from the moment a frame was captured until every sink had it."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class LatencyHistogram:
    """Percentiles of latency to within 1 %, from buckets that each are 2 % wider than the one before.

    Covers 10 microseconds to an hour; what lies outside counts in the outermost bucket.
    """

    _LOWEST_MS, _GROWTH, _BUCKETS = 0.01, 1.02, 1000

    def __init__(self) -> None:
        self._counts = np.zeros(self._BUCKETS, np.int64)
        self._max_ms = 0.0

    def add(self, latency_ms: float) -> None:
        position = math.log(max(latency_ms, self._LOWEST_MS) / self._LOWEST_MS, self._GROWTH)
        self._counts[min(int(position), self._BUCKETS - 1)] += 1
        self._max_ms = max(self._max_ms, latency_ms)

    def percentile(self, percent: float) -> float:
        """The latency in ms that ``percent`` of the frames do not exceed; 0 without frames."""
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        rank = max(1, math.ceil(total * percent / 100))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(float(self._LOWEST_MS * self._GROWTH ** (bucket + 0.5)), self._max_ms)

    def figures(self) -> LatencyFigures:
        return LatencyFigures(self.percentile(50), self.percentile(95), self.percentile(99), self._max_ms)


class RateMeter:
    """Frames a second over the last frames, for people who watch."""

    def __init__(self, window: int = 30) -> None:
        self._times_s: deque[float] = deque(maxlen=window)

    def tick(self) -> float:
        """Counts one frame and returns the rate; 0 until there are two."""
        self._times_s.append(time.perf_counter())
        span = self._times_s[-1] - self._times_s[0]
        return (len(self._times_s) - 1) / span if span > 0 else 0.0


class Tally:
    """What was found: detections by class, or the mean share of the picture by class."""

    def __init__(self, models: Sequence[Sequence[str]]) -> None:
        """``models``: the class names of each model."""
        self._models = models
        self._detections: Counter[str] = Counter()
        self._shares: Counter[str] = Counter()
        self._maps: Counter[str] = Counter()

    def add(self, results: Sequence[Result]) -> None:
        """Counts one frame: a result for each model."""
        for classes, result in zip(self._models, results, strict=True):
            if isinstance(result, Detections):
                self._detections.update(classes[class_id] for class_id in result.class_ids)
            else:
                self._maps.update(classes)
                for name, share in zip(classes, result.shares(len(classes)), strict=True):
                    self._shares[name] += float(share)  # type: ignore[assignment]

    def detections(self) -> dict[str, int]:
        """How many of each class, most frequent first."""
        return dict(self._detections.most_common())

    def shares(self) -> dict[str, float]:
        """Mean share of the picture for each class that was seen, largest first."""
        means = {name: share / self._maps[name] for name, share in self._shares.items() if share > 0}
        return dict(sorted(means.items(), key=lambda pair: -pair[1]))


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did; ``--stats`` writes it as JSON.

    Attributes:
        source: name of the source, without credentials.
        is_live: True for a camera or stream.
        models: name of each model, and the engine that ran it, with the reason where it was chosen.
        frames: the ledger.
        written: frames that every sink took.
        skipped: frames of the source that could not be decoded.
        detections: how many of each class.
        class_shares: mean share of the picture by class, for segmentation.
        seconds: wall time from the first request for a frame until the outputs were closed, less the time
            that a single picture stood in its window.
        frames_per_second: ``written`` over ``seconds``.
        latency_ms: from capture until every sink had the frame.
        stages: wall time by stage.
        stopped: why it ended: ``end``, ``max_frames``, ``window``, or what the stop request said.
        problem: what was wrong with the source, where it was damaged, else None.
        notes: what people should know about the source and the outputs.
    """

    source: str
    is_live: bool
    models: dict[str, str]
    frames: LedgerEntry
    written: int
    skipped: int
    detections: dict[str, int]
    class_shares: dict[str, float]
    seconds: float
    frames_per_second: float
    latency_ms: LatencyFigures
    stages: dict[str, StageFigures]
    stopped: str
    problem: str | None = None
    notes: tuple[str, ...] = ()
