"""When the frames of a stream are due that comes in bursts."""

from __future__ import annotations

_SPEED = 1.001  # more than two clocks ever differ, so that the stream is never left behind by its server
_LONGEST_WAIT_NS = 5_000_000_000  # a longer one is a clock that jumped, or a part that the server left out


class Pacer:
    """Spreads the frames of a segmented stream (HLS) over time, at the intervals of its own clock.

    All frames of a segment of some seconds arrive at once. Each is due as long after the first as its time
    says; what comes after it was due is due at once, and so is all that follows relative to it: the delay is
    the least at which nothing stalls. It is read slightly faster than real time, so that a server whose
    clock is faster does not drop segments that were not read yet.
    """

    def __init__(self) -> None:
        self._start: tuple[int, int] | None = None

    def due_ns(self, time_ns: int | None, now_ns: int) -> int:
        """When a frame is to be delivered, on the clock of ``now_ns``; never before ``now_ns``.

        Args:
            time_ns: its presentation time, in nanoseconds; None if it has none.
            now_ns: the time now, in nanoseconds.
        """
        if time_ns is None:
            return now_ns
        if self._start is not None:
            time_0, due_0 = self._start
            due_ns = due_0 + round((time_ns - time_0) / _SPEED)
            if 0 <= due_ns - now_ns <= _LONGEST_WAIT_NS:
                return due_ns
        self._start = time_ns, now_ns
        return now_ns
