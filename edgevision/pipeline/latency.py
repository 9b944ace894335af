"""Holds the latency of a live stream under a bound: by skipping frames, then by a smaller model."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edgevision.errors import UsageError
from edgevision.pipeline.statistics import LatencyControl


@dataclass(frozen=True, slots=True)
class Pace:
    """How many frames of a stream may be under way.

    Attributes:
        depth: frames between model and outputs at a time.
        pause: how long to wait after a frame, as a multiple of the time that the last frames took; at most a
            second.
    """

    depth: int
    pause: float = 0.0


PACES = (Pace(3), Pace(2), Pace(1), Pace(1, pause=1.0), Pace(1, pause=3.0))
"""The levels of skipping. With three frames, inference, drawing and encoding overlap. With one, none waits in
a queue. A pause leaves the machine to other streams and programs."""

MAIN, FALLBACK = 0, 1

_WINDOW = 20
_TOLERATED = 2  # frames over the bound in a window; a single delay changes nothing
_COMFORT = 0.7  # of the bound: below it there is room for more
_HOLD_S, _LONGEST_HOLD_S = 2.0, 300.0
_PROBATION_S = 5.0
_LONGEST_PAUSE_S = 1.0  # so that a stream on a much too slow machine still shows frames


class LatencyController:
    """Raises its level while frames are late, and lowers it once they have been early for a while.

    The rungs are :data:`PACES` with the main model, then the same with the fallback. On every
    rung, a frame that would come too late, by its age and by the time that the last frames took, is skipped:
    the next one is younger.

    Stepping down needs latencies below 70 % of the bound for a while. A step down that has to be taken back
    soon doubles that while, up to five minutes, so that the model does not flap.

    Args:
        bound_ms: the latency to hold, from capture until every sink had the frame.
        has_fallback: there is a smaller model.
        clock_ns: the time, in nanoseconds.

    Raises:
        UsageError: the bound is not positive.
    """

    def __init__(
        self, bound_ms: float, has_fallback: bool = False, clock_ns: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        if not bound_ms > 0:
            raise UsageError(f"a latency of {bound_ms:g} ms is not valid; expected more than 0, as in 150ms")
        self._bound_ms = bound_ms
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._top = len(PACES) * (2 if has_fallback else 1) - 1
        self._rung = self._highest = 0
        self._latencies_ms: deque[float] = deque(maxlen=_WINDOW)
        self._service_ms: deque[float] = deque(maxlen=_WINDOW)
        self._changed_ns = self._admitted_ns = self._pause_end_ns = clock_ns()
        self._stepped_down_ns: int | None = None
        self._hold_s = _HOLD_S
        self._skipped = self._exceeded = self._fallback_frames = self._switches = 0

    @property
    def model_set(self) -> int:
        """:data:`MAIN` or :data:`FALLBACK`: the models that the next frame is prepared for."""
        return self._rung // len(PACES)

    @property
    def depth(self) -> int:
        """Frames that may be under way at a time."""
        return PACES[self._rung % len(PACES)].depth

    def admit(self, captured_ns: int) -> bool:
        """Whether the engine takes a frame that was captured then; one that it does not is skipped."""
        with self._lock:
            now_ns = self._clock_ns()
            if now_ns < self._pause_end_ns or self._comes_too_late(now_ns, captured_ns):
                self._skipped += 1
                return False
            self._admitted_ns = now_ns
            return True

    def _comes_too_late(self, now_ns: int, captured_ns: int) -> bool:
        if not self._service_ms or (now_ns - self._admitted_ns) / 1e6 > 2 * self._bound_ms:
            return False  # no times are known, or they are old
        expected_ms = statistics.median(self._service_ms)
        age_ms = (now_ns - captured_ns) / 1e6
        # Where even a new frame comes late, skipping does not help.
        return expected_ms <= self._bound_ms < age_ms + expected_ms

    def rendered(self, captured_ns: int, taken_ns: int, model_set: int) -> None:
        """A frame is through: when it was captured, when the engine took it, and which models answered."""
        with self._lock:
            now_ns = self._clock_ns()
            latency_ms, service_ms = (now_ns - captured_ns) / 1e6, (now_ns - taken_ns) / 1e6
            if latency_ms > self._bound_ms:
                self._exceeded += 1
            if model_set == FALLBACK:
                self._fallback_frames += 1
            if model_set != self.model_set:
                return  # it was on its way when the model changed, and says nothing about the new one
            self._latencies_ms.append(latency_ms)
            self._service_ms.append(service_ms)
            self._pause_end_ns = now_ns + round(self._pause_s() * 1e9)
            self._decide(now_ns)

    def _pause_s(self) -> float:
        # By the median, so that one slow frame does not pause the stream for long.
        pause_s = PACES[self._rung % len(PACES)].pause * statistics.median(self._service_ms) / 1e3
        return min(pause_s, _LONGEST_PAUSE_S)

    def _decide(self, now_ns: int) -> None:
        late = sum(latency_ms > self._bound_ms for latency_ms in self._latencies_ms)
        since_s = (now_ns - self._changed_ns) / 1e9
        if late > _TOLERATED:
            self._climb(now_ns)
        elif self._rung > 0 and since_s >= self._hold_s and self._is_comfortable():
            self._stepped_down_ns = now_ns
            self._change(self._rung - 1, now_ns)
        elif self._stepped_down_ns is not None and (now_ns - self._stepped_down_ns) / 1e9 > _PROBATION_S:
            self._stepped_down_ns = None
            self._hold_s = _HOLD_S

    def _is_comfortable(self) -> bool:
        enough = len(self._latencies_ms) >= _WINDOW // 2
        return enough and max(self._latencies_ms) <= _COMFORT * self._bound_ms

    def _climb(self, now_ns: int) -> None:
        if self._stepped_down_ns is not None:
            self._stepped_down_ns = None
            self._hold_s = min(self._hold_s * 2, _LONGEST_HOLD_S)
        if self._rung < self._top:
            self._change(self._rung + 1, now_ns)

    def _change(self, rung: int, now_ns: int) -> None:
        before = self.model_set
        self._rung = rung
        self._highest = max(self._highest, rung)
        self._changed_ns = now_ns
        self._latencies_ms.clear()
        if self.model_set != before:
            self._switches += 1
            self._service_ms.clear()

    def figures(self) -> LatencyControl:
        with self._lock:
            return LatencyControl(
                bound_ms=self._bound_ms,
                level=self._rung % len(PACES),
                highest_level=min(self._highest, len(PACES) - 1),
                skipped=self._skipped,
                exceeded=self._exceeded,
                on_fallback=self.model_set == FALLBACK,
                fallback_frames=self._fallback_frames,
                switches=self._switches,
            )
