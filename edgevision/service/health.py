"""Whether a run does its work: the one judgement behind ``/healthz`` and the service manager's watchdog."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from edgevision.pipeline import RunStatistics, StreamState, StreamStatistics

STALE_S = 30.0
"""So long a stream may deliver nothing before it counts as stalled."""


class Health(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        healthy: no stream is stalled or has failed. A camera that is away and awaited is no fault of ours.
        stalled: a stream that should run has finished no frame for too long: only a restart can help.
        streams: each stream and its state, such as ``running`` or ``stalled: no frame for 41 s``.
    """

    healthy: bool
    stalled: bool
    streams: dict[str, str]


class HealthWatch:
    """Judges a run from snapshots taken now and then, from any thread.

    Args:
        read: the run now, such as ``pipeline.statistics``.
        stale_s: seconds without a finished frame, after which a running stream counts as stalled.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        read: Callable[[], RunStatistics],
        stale_s: float = STALE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._stale_s, self._clock = read, stale_s, clock
        self._lock = threading.Lock()
        self._last: dict[str, tuple[int, float]] = {}

    def look(self) -> Health:
        """The judgement now. Time without a frame counts from the first look that saw none."""
        with self._lock:
            now = self._clock()
            streams = {stream.name: self._judge(stream, now) for stream in self._read().streams}
        stalled = any(text.startswith("stalled") for text in streams.values())
        failed = any(text.startswith(StreamState.FAILED.value) for text in streams.values())
        return Health(not (stalled or failed), stalled, streams)

    def _judge(self, stream: StreamStatistics, now: float) -> str:
        done, since = self._last.get(stream.name, (-1, now))
        if stream.written != done or stream.state is not StreamState.RUNNING:
            self._last[stream.name] = (stream.written, now)
            since = now
        if stream.state is StreamState.FAILED:
            return f"{stream.state.value}: {stream.error}"
        if now - since >= self._stale_s:
            return f"stalled: no frame for {now - since:.0f} s"
        return str(stream.state.value)
