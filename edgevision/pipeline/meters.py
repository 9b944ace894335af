"""Times, rates and counts of a stream, in constant memory however long it lasts."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from edgevision.engines.base import describe
from edgevision.model import Model
from edgevision.pipeline.statistics import BUCKETS_MS, EngineStatistics, Stage, Times
from edgevision.types import Classification, Detections, FrameResult

_LOWEST_MS, _GROWTH, _COUNT = 0.01, 1.02, 1000
_EDGES = tuple(round(math.log(bound / _LOWEST_MS, _GROWTH)) for bound in BUCKETS_MS)


class TimeHistogram:
    """Percentiles of times to within 1 %, from buckets that each are 2 % wider than the one before.

    Covers 10 microseconds to an hour; times outside count in the outermost bucket. Written by one
    thread, read by any.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_COUNT, np.int64)
        self._total_ms = 0.0
        self._max_ms = 0.0

    def add(self, time_ms: float) -> None:
        position = math.log(max(time_ms, _LOWEST_MS) / _LOWEST_MS, _GROWTH)
        self._counts[min(int(position), _COUNT - 1)] += 1
        self._total_ms += time_ms
        self._max_ms = max(self._max_ms, time_ms)

    def percentile(self, percent: float) -> float:
        """The time in ms that ``percent`` of all do not exceed; 0 where there is none."""
        return self._percentile(np.cumsum(self._counts), percent)

    def _percentile(self, cumulative: NDArray[np.int64], percent: float) -> float:
        total = int(cumulative[-1])
        if total == 0:
            return 0.0
        rank = max(1, math.ceil(total * percent / 100))
        bucket = int(np.searchsorted(cumulative, rank))
        return min(float(_LOWEST_MS * _GROWTH ** (bucket + 0.5)), self._max_ms)

    def figures(self) -> Times:
        cumulative = np.cumsum(self._counts)
        count = int(cumulative[-1])
        return Times(
            count=count,
            total_s=self._total_ms / 1e3,
            mean_ms=self._total_ms / count if count else 0.0,
            p50_ms=self._percentile(cumulative, 50),
            p95_ms=self._percentile(cumulative, 95),
            p99_ms=self._percentile(cumulative, 99),
            max_ms=self._max_ms,
            buckets=tuple(int(cumulative[edge - 1]) for edge in _EDGES),
        )


class StageClock:
    """Wall time by stage. Each stage is measured by one thread only, so nothing is locked."""

    def __init__(self) -> None:
        self._stages = {stage: TimeHistogram() for stage in Stage}

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        """Times the block; one that raises does not count."""
        start = time.perf_counter_ns()
        yield
        self.add(stage, time.perf_counter_ns() - start)

    def add(self, stage: Stage, elapsed_ns: int) -> None:
        self._stages[stage].add(elapsed_ns / 1e6)

    def figures(self) -> dict[str, Times]:
        """The stages that ran."""
        found = {stage.value: histogram.figures() for stage, histogram in self._stages.items()}
        return {name: times for name, times in found.items() if times.count}


class EngineMeter:
    """Counts and times the calls of one engine; for any thread."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._frames = 0
        self._times = TimeHistogram()
        self._lock = threading.Lock()

    def add(self, frames: int, elapsed_ns: int) -> None:
        with self._lock:
            self._frames += frames
            self._times.add(elapsed_ns / 1e6)

    def figures(self) -> EngineStatistics:
        call = self._times.figures()
        return EngineStatistics(
            model=self._model.manifest.name,
            engine=describe(self._model.engine),
            calls=call.count,
            frames=self._frames,
            call=call,
        )


class RateMeter:
    """Frames per second over the last frames. Written by one thread, read by any."""

    def __init__(self, window: int = 30) -> None:
        self._times_s: deque[float] = deque(maxlen=window)

    def tick(self) -> float:
        """Counts one frame and returns the rate; 0 until there are two."""
        self._times_s.append(time.perf_counter())
        return self.rate()

    def rate(self) -> float:
        times_s = list(self._times_s)
        span = times_s[-1] - times_s[0] if times_s else 0.0
        return (len(times_s) - 1) / span if span > 0 else 0.0


class Tally:
    """Totals of the results by class: detections, labels of whole images, and the mean share of the image.

    Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._detections: Counter[str] = Counter()
        self._shares: dict[str, float] = {}
        self._maps: Counter[str] = Counter()
        self._last: Counter[str] = Counter()

    def add(self, result: FrameResult) -> None:
        """Counts one frame."""
        with self._lock:
            self._last = Counter()
            for one in result.results:
                if isinstance(one, Detections):
                    self._last.update(one.row_names)
                    self._detections.update(one.row_names)
                elif isinstance(one, Classification):
                    self._detections.update(label.name for label in one.labels())
                else:
                    self._maps.update(one.names)
                    for name, share in zip(one.names, one.shares(), strict=True):
                        self._shares[name] = self._shares.get(name, 0.0) + float(share)

    def detections(self) -> dict[str, int]:
        """How many of each class, most frequent first; of a label, how many images."""
        with self._lock:
            return dict(self._detections.most_common())

    def last(self) -> dict[str, int]:
        """Detections of the last frame by class, most frequent first."""
        with self._lock:
            return dict(self._last.most_common())

    def shares(self) -> dict[str, float]:
        """Mean share of the image for each class that was seen, largest first."""
        with self._lock:
            means = {name: share / self._maps[name] for name, share in self._shares.items() if share > 0}
        return dict(sorted(means.items(), key=lambda pair: -pair[1]))
