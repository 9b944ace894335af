"""The last ten minutes of each stream as numbers, for small curves."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from edgevision.closeable import Closeable
from edgevision.pipeline import RunStatistics

STEP_S = 2.0
SPAN_S = 600.0


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """One stream's last ten minutes; all lists are of one length.

    Attributes:
        at_ms: when, in milliseconds since 1970 (UTC).
        rate: frames a second in the step before.
        latency_ms: of the last frame.
        lost: frames that were dropped or failed in the step before.
    """

    at_ms: list[int]
    rate: list[float]
    latency_ms: list[float]
    lost: list[int]


class History(Closeable):
    """Takes a sample every two seconds, on a thread of its own.

    Args:
        read: the run now; None while nothing runs.
        step_s: between two samples, in seconds.
        span_s: that are kept.
    """

    def __init__(
        self, read: Callable[[], RunStatistics | None], step_s: float = STEP_S, span_s: float = SPAN_S
    ) -> None:
        self._read, self._step_s = read, step_s
        self._length = max(1, round(span_s / step_s))
        self._samples: dict[str, deque[tuple[int, float, float, int]]] = {}
        self._last: dict[str, tuple[float, int, int]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample_for_ever, name="web history", daemon=True)
        self._thread.start()

    def curves(self, name: str) -> Curves:
        """Those of a stream; empty for one that is not known."""
        with self._lock:
            samples = list(self._samples.get(name, ()))
        return Curves(
            at_ms=[one[0] for one in samples],
            rate=[one[1] for one in samples],
            latency_ms=[one[2] for one in samples],
            lost=[one[3] for one in samples],
        )

    def sample(self, now_s: float) -> None:
        """Takes one sample; ``now_s`` is monotonic."""
        run = self._read()
        if run is None:
            return
        at_ms = round(time.time() * 1e3)
        with self._lock:
            for stream in run.streams:
                lost = sum(stream.frames.dropped.values()) + sum(stream.frames.failed.values())
                before_s, written, lost_before = self._last.get(stream.name, (now_s, stream.written, lost))
                self._last[stream.name] = (now_s, stream.written, lost)
                passed_s = now_s - before_s
                rate = max(0, stream.written - written) / passed_s if passed_s > 0 else 0.0
                samples = self._samples.setdefault(stream.name, deque(maxlen=self._length))
                samples.append(
                    (at_ms, round(rate, 2), round(stream.last_latency_ms, 1), max(0, lost - lost_before))
                )
            for name in self._samples.keys() - {stream.name for stream in run.streams}:
                del self._samples[name], self._last[name]

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _sample_for_ever(self) -> None:
        while not self._stopped.wait(self._step_s):
            self.sample(time.monotonic())
