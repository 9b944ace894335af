"""Times that only go forward, from containers whose clocks do not always."""

from __future__ import annotations

_FEW = 5  # frames; decoders that mix up an order do so within less
_STEP_NS = 1_000_000  # the least that every container can tell apart
_APART_NS = 5_000_000_000  # as far as buffers on the way explain a difference between two clocks


class Timeline:
    """Turns a stream's presentation times into nanoseconds since its first frame, strictly increasing.

    Good times pass through untouched, so a variable frame rate survives. A time that is missing is put
    one frame after the last. A time that does not move forward is put half a frame after the last. A
    clock that jumps back by more than a few frames (recordings that were joined) goes on one frame later.

    Args:
        frame_ns: nominal duration of a frame, in nanoseconds.

    Attributes:
        origin_ns: the first frame on the stream's own clock; None before it.
        missing, repeated, jumps: repairs so far.
    """

    def __init__(self, frame_ns: int) -> None:
        self.frame_ns = max(frame_ns, 2)
        self.origin_ns: int | None = None
        self.missing = self.repeated = self.jumps = 0
        self._shift = 0
        self._last = -1

    def next(self, time_ns: int | None) -> int:
        """The time of the next frame, in nanoseconds since the first.

        Args:
            time_ns: what the container says, on its own clock; None where it says nothing.
        """
        if self.origin_ns is None:
            self.missing += time_ns is None
            self.origin_ns = self._shift = time_ns or 0
            self._last = 0
            return 0
        if time_ns is None:
            self.missing += 1
            self._last += self.frame_ns
            return self._last
        moment = time_ns - self._shift
        if moment <= self._last - _FEW * self.frame_ns:
            self.jumps += 1
            moment = self._last + self.frame_ns
            self._shift = time_ns - moment
        elif moment <= self._last:
            self.repeated += 1
            moment = self._last + self.frame_ns // 2
        self._last = moment
        return moment

    def notes(self) -> list[str]:
        """What was repaired, one line each."""
        found = (
            (self.missing, "without a time: placed one frame after the one before"),
            (
                self.repeated,
                "with a time that did not move forward: placed half a frame after the one before",
            ),
            (self.jumps, "where the clock jumped back: the recording goes on without a gap"),
        )
        return [f"{count} {'frame' if count == 1 else 'frames'} {what}" for count, what in found if count]


class LiveTimeline:
    """Puts the pictures of a live source on one clock: nanoseconds since the first, strictly increasing.

    The source's own times set the distances between pictures, for they know nothing of network and
    buffers. They are held against the moments of arrival: where they are missing, stand still, or leave
    the time that really passed by more than buffers explain (a camera that sets its clock, or runs it at
    another rate), arrival counts.

    Attributes:
        missing, repeated, jumps: repairs so far.
    """

    def __init__(self) -> None:
        self.missing = self.repeated = self.jumps = 0
        self._start_ns: int | None = None
        self._shift: int | None = None
        self._last = -_STEP_NS

    def restart(self) -> None:
        """After a new connection: its clock has nothing to do with the one before."""
        self._shift = None

    def next(self, time_ns: int | None, arrived_ns: int) -> int:
        """The time of the next picture, in nanoseconds since the first.

        Args:
            time_ns: what the source says, on its own clock; None where it says nothing.
            arrived_ns: when the picture came, on this machine's monotonic clock.
        """
        if self._start_ns is None:
            self._start_ns = arrived_ns
        passed = arrived_ns - self._start_ns
        moment = passed if time_ns is None else self._moment(time_ns, passed)
        self.missing += time_ns is None and self._shift is not None  # many streams begin with one
        self._last = max(moment, self._last + _STEP_NS)
        return self._last

    def _moment(self, time_ns: int, passed: int) -> int:
        if self._shift is None:
            self._shift = passed - time_ns
        moment = time_ns + self._shift
        if abs(moment - passed) > _APART_NS:
            self.jumps += 1
            self._shift = passed - time_ns
            return passed
        self.repeated += moment <= self._last
        return moment

    def notes(self) -> list[str]:
        """What was repaired, one line each."""
        found = (
            (self.missing, "without a time: placed when it came"),
            (self.repeated, "with a time that did not move forward: placed just after the one before"),
            (self.jumps, "whose clock had jumped: placed when it came"),
        )
        return [f"{count} {'frame' if count == 1 else 'frames'} {what}" for count, what in found if count]
