"""When the frames of a stream are due that comes in bursts."""

from __future__ import annotations

_SPEED = 1.001  # more than two clocks ever differ, so that the stream is never left behind by its server
_LONGEST_WAIT_NS = 5_000_000_000  # a longer one is a clock that jumped, or a part that the server left out
_WAITED_NS = 20_000_000  # the reader had to wait: it is not behind
_LONGEST_BURST_NS = 2_500_000_000  # of a server that sends group by group; a longer silence is a stall
_BEHIND_NS = 5_000_000_000  # without waiting once


class Pacer:
    """Spreads the frames of a stream that comes in bursts over time, at the intervals of its own clock.

    All frames of a segment (HLS) or fragment (MP4 over HTTP) arrive at once. Each is due as long after the
    last as its time says; what comes after it was due is due at once, and what follows is relative to it: the
    delay is the least at which nothing stalls. It is read slightly faster than real time, so that a server
    whose clock is faster does not drop segments that were not read yet.

    Args:
        is_pushed: the server sends by itself, so what was not read yet piles up: the frames that it had
            ready at first, those after a stall, and those of a reader that is behind are due at once.
    """

    def __init__(self, is_pushed: bool = False) -> None:
        self._is_pushed = self._catches_up = is_pushed
        self._last: tuple[int, int] | None = None
        self._waited_ns: int | None = None

    def due_ns(self, time_ns: int | None, now_ns: int, waited_ns: int = 0) -> int:
        """When a frame is to be delivered, on the clock of ``now_ns``; never before ``now_ns``.

        Args:
            time_ns: its presentation time, in nanoseconds; None if it has none.
            now_ns: the time now, in nanoseconds.
            waited_ns: how long the reader had to wait for it.
        """
        if self._is_pushed:
            self._notice_backlog(now_ns, waited_ns)
        if time_ns is None:
            return now_ns
        due_ns = now_ns
        if self._last is not None and not self._catches_up:
            time_0, due_0 = self._last
            due_ns = due_0 + round((time_ns - time_0) / _SPEED)
        if not now_ns <= due_ns <= now_ns + _LONGEST_WAIT_NS:
            due_ns = now_ns
        self._last = time_ns, due_ns
        return due_ns

    def _notice_backlog(self, now_ns: int, waited_ns: int) -> None:
        if self._waited_ns is None or waited_ns > _WAITED_NS:
            self._catches_up = self._waited_ns is None or waited_ns > _LONGEST_BURST_NS
            self._waited_ns = now_ns
        elif now_ns - self._waited_ns > _BEHIND_NS:
            self._catches_up = True
