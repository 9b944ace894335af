"""Whether a run makes progress: the check behind ``/healthz`` and the service manager's watchdog."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from edgevision.pipeline import RunStatistics, StreamState, StreamStatistics

STALE_S = 30.0
"""After this many seconds without a frame a stream counts as stalled."""


class Health(msgspec.Struct, frozen=True):
    """State of a run.

    Attributes:
        healthy: no stream is stalled or has failed. A stream that is reconnecting counts as healthy.
        stalled: a running stream has finished no frame for too long; only a restart can help.
        streams: state of each stream, such as ``running`` or ``stalled: no frame for 41 s``.
    """

    healthy: bool
    stalled: bool
    streams: dict[str, str]


class HealthWatch:
    """Derives the health of a run from periodic snapshots; safe to use from any thread.

    Args:
        read: returns a snapshot of the run, such as ``pipeline.statistics``.
        stale_s: seconds without a finished frame after which a running stream counts as stalled.
        clock: monotonic time in seconds.
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
        """The health now. Time without a frame counts from the first call that saw no new one."""
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
