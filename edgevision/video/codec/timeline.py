"""Strictly increasing times from sources whose clocks are not always increasing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Generic, TypeVar

T = TypeVar("T")

_REORDER_FRAMES = 5  # reordering by decoders stays within fewer frames
_STEP_NS = 1_000_000  # the smallest step that every container can represent
ODD_STEP_NS = 500_000_000
"""A step within this is never looked into."""
AHEAD_FRAMES = 4
"""Frames behind one that are looked at to tell a wrong time from a gap."""
LAST_GAP_NS = 10_000_000_000
"""A last frame this far beyond the declared end of its file has a wrong time."""

# Of live sources. Bursts and stalls are shorter than the windows together.
_WINDOW_NS, _WINDOWS = 2_000_000_000, 5
_FOLLOW_NS = 20_000_000_000  # drift is made good over this time: 100 ppm cost 2 ms
_FASTEST = 0.1  # nor ever faster
_BACK_NS = 100_000_000  # more than reordering
_SET_NS = 1_000_000_000  # a clock that is this much earlier in one step was set
_EARLY_NS, _LATE_NS = 4_000_000_000, 2_500_000_000  # a clock this far from where it was has another rate
_EVEN = 0.05  # the difference of rates at which a clock can be used again


class BestEffortTimes:
    """Chooses between the two times that a decoded frame has, as FFmpeg's ``best_effort_timestamp`` does.

    Presentation times come first. Some containers (AVI) hold them in decoding order, which shows in times
    that go backward; from then on the times of decoding are right, while those go forward.
    """

    def __init__(self) -> None:
        self._faulty_pts = self._faulty_dts = 0
        self._last_pts: int | None = None
        self._last_dts: int | None = None

    def next(self, pts: int | None, dts: int | None) -> int | None:
        """The time of the next frame in the same unit, or None if it has neither.

        Args:
            pts: presentation time.
            dts: decoding time of the packet that completed the frame.
        """
        if dts is not None:
            self._faulty_dts += self._last_dts is not None and dts <= self._last_dts
        if pts is not None:
            self._faulty_pts += self._last_pts is not None and pts <= self._last_pts
        self._last_dts = dts if dts is not None else pts
        self._last_pts = pts if pts is not None else dts
        if pts is not None and (dts is None or self._faulty_pts <= self._faulty_dts):
            return pts
        return dts


class Timeline:
    """Turns a stream's presentation times into nanoseconds since its first frame, strictly increasing.

    Valid times are kept, so a variable frame rate is preserved. A missing time is set one frame after the
    last, and a time that does not increase half a frame after the last. After a clock jumps back by more than
    a few frames (joined recordings), the times continue one frame after the last. So they do after a jump
    forward by more than ``longest_gap_ns``.

    Args:
        frame_ns: nominal duration of a frame, in nanoseconds.
        longest_gap_ns: between two frames of one clock, for containers whose clock may begin anew anywhere
            (MPEG-TS); None where every gap is a gap of the recording.

    Attributes:
        origin_ns: time of the first frame on the stream's own clock; None before it.
        missing, repeated, jumps, wrong: corrections so far.
        parts: where a clock begins, with the first frame and after each jump: the time of its first frame,
            and what is to be subtracted from its times, in nanoseconds. Sound follows them.
    """

    def __init__(self, frame_ns: int, longest_gap_ns: int | None = None) -> None:
        self.frame_ns = max(frame_ns, 2)
        self.origin_ns: int | None = None
        self.missing = self.repeated = self.jumps = self.wrong = 0
        self.parts: list[tuple[int, int]] = []
        self._longest_gap_ns = longest_gap_ns
        self._shift = 0
        self._last = -1

    def anew(self) -> Timeline:
        """One with the same settings, before its first frame."""
        return Timeline(self.frame_ns, self._longest_gap_ns)

    def next(self, time_ns: int | None) -> int:
        """The time of the next frame, in nanoseconds since the first.

        Args:
            time_ns: presentation time on the container's own clock; None if it has none.
        """
        if self.origin_ns is None:
            if time_ns is None:
                self.missing += 1
            self.origin_ns = self._shift = time_ns or 0
            self.parts.append((self.origin_ns, self._shift))
            self._last = 0
            return 0
        if time_ns is None:
            self.missing += 1
            self._last += self.frame_ns
            return self._last
        moment = time_ns - self._shift
        is_too_late = self._longest_gap_ns is not None and moment > self._last + self._longest_gap_ns
        if is_too_late or moment <= self._last - _REORDER_FRAMES * self.frame_ns:
            self.jumps += 1
            moment = self._last + self.frame_ns
            self._shift = time_ns - moment
            self.parts.append((time_ns, self._shift))
        elif moment <= self._last:
            self.repeated += 1
            moment = self._last + self.frame_ns // 2
        self._last = moment
        return moment

    def notes(self) -> list[str]:
        """The corrections, one line each."""
        found = (
            (self.missing, "without a time: set one frame after the previous one"),
            (self.repeated, "with a time that did not increase: set half a frame after the previous one"),
            (self.jumps, "where the clock jumped: the times continue without a gap"),
            (self.wrong, "with a wrong time: set between its neighbours"),
        )
        return [f"{count} {'frame' if count == 1 else 'frames'} {what}" for count, what in found if count]


class WrongTimes(Generic[T]):
    """Corrects single wrong times of a recording before its :class:`Timeline` takes them for a gap.

    A time that is far from the one before is wrong where one of the next frames is near that one again: up to
    four in a row, at the start of a recording too. A last time far beyond the declared end of the file is
    wrong as well. What lasts is a gap or another clock, and is kept. Frames are held back only
    while a time is in doubt.

    Args:
        timeline: of the recording; its ``wrong`` counts the corrections.
        declared_end_ns: where the file says that it ends, on its own clock; None where it does not.
        first_ns: the times of its first packets. Where none is far from the next, its start is not in doubt.

    Attributes:
        latest_ns: the highest wrong time; 0 before one was found.
    """

    def __init__(
        self, timeline: Timeline, declared_end_ns: int | None = None, first_ns: Sequence[int] = ()
    ) -> None:
        self.latest_ns = 0
        self._timeline = timeline
        self._declared_end_ns = declared_end_ns
        self._limit_ns = max(_REORDER_FRAMES * timeline.frame_ns, ODD_STEP_NS)
        self._is_start_sure = all(
            abs(b - a) <= self._limit_ns for a, b in pairwise(first_ns[: 2 * AHEAD_FRAMES])
        )
        self._held: deque[tuple[T, int | None]] = deque()
        self._last: int | None = None

    def push(self, item: T, time_ns: int | None) -> list[tuple[T, int | None]]:
        """Takes a frame and its time; gives those whose times are settled, in order."""
        self._held.append((item, time_ns))
        return self._settled(is_end=False)

    def flush(self) -> list[tuple[T, int | None]]:
        """The frames that were held back, after the last one was taken."""
        return self._settled(is_end=True)

    def _settled(self, *, is_end: bool) -> list[tuple[T, int | None]]:
        ready: list[tuple[T, int | None]] = []
        while self._held:
            count = self._wrong_ones(is_end)
            if count is None:
                break
            ready += self._corrected(count)
            if self._held and (count == 0 or self._last is None):
                item, time = self._held.popleft()
                if time is not None:
                    self._last = time
                elif self._last is not None:
                    self._last += self._timeline.frame_ns
                ready.append((item, time))
        return ready

    def _wrong_ones(self, is_end: bool) -> int | None:
        """How many of the held frames, from the first on, have a wrong time; None while that is open."""
        times = [time for _, time in self._held]
        is_enough = is_end or len(times) > AHEAD_FRAMES
        if self._last is None:
            if times[0] is None or self._is_start_sure:
                return 0
            return self._wrong_at_start(times) if is_enough else None
        if times[0] is None or abs(times[0] - self._last) <= self._limit_ns:
            return 0
        far = times[0]
        for number, time in enumerate(times[1:], start=1):
            if time is None:
                continue
            room = self._limit_ns + (number + 1) * self._timeline.frame_ns
            if 0 < time - self._last <= room and abs(time - far) > self._limit_ns:
                return number
            far = time
        if not is_enough:
            return None
        is_beyond = self._declared_end_ns is not None and all(
            time is None or time > max(self._declared_end_ns, self._last) + LAST_GAP_NS for time in times
        )
        return len(times) if is_end and is_beyond else 0

    def _wrong_at_start(self, times: list[int | None]) -> int:
        """How many of a recording's first times are far behind the ones after them, which go on evenly.

        FFmpeg adds a turn of the clock (32 bits in FLV) to times that are far before the first, which shows
        in times beyond the declared end.
        """
        known = [(number, time) for number, time in enumerate(times) if time is not None]
        far = [
            (later[0], later[1] - time)
            for (_, time), later in pairwise(known)
            if abs(later[1] - time) > self._limit_ns
        ]
        if len(far) != 1 or 2 * far[0][0] >= len(times):
            return 0
        number, step = far[0]
        end_ns = self._declared_end_ns
        is_beyond = end_ns is not None and all(
            (time > end_ns + LAST_GAP_NS) == (place >= number) for place, time in known
        )
        return number if step < 0 or is_beyond else 0

    def _corrected(self, count: int) -> list[tuple[T, int | None]]:
        """The first ``count`` held frames, at even times before the one that follows them."""
        if count == 0:
            return []
        frame_ns = self._timeline.frame_ns
        found = [self._held.popleft() for _ in range(count)]
        self.latest_ns = max(self.latest_ns, *(time for _, time in found if time is not None))
        self._timeline.wrong += count
        following = self._held[0][1] if self._held else None
        if self._last is None:
            first, step = (following or 0) - count * frame_ns, frame_ns
        elif following is None:
            first, step = self._last + frame_ns, frame_ns
        else:
            step = (following - self._last) // (count + 1)
            first = self._last + step
        corrected: list[tuple[T, int | None]] = [
            (item, first + number * step) for number, (item, _) in enumerate(found)
        ]
        self._last = corrected[-1][1]
        return corrected


class LiveTimeline:
    """Puts the frames of a live source on one clock: nanoseconds since the first, strictly increasing.

    The source's own times determine the intervals between frames, since they are free of network jitter and
    buffering. How much later frames arrive than those times say is their delay. Its least value of some
    seconds, when nothing was held up, stays the same for a clock that runs like this machine's; what it gains
    or loses is drift, which the times follow smoothly: the minimum filter of RFC 5905 (NTP), section 10.

    Where the source has no times, or a clock that was set or runs at another rate, the intervals are those of
    arrival. No correction is a jump: the times go on from the last.

    Attributes:
        missing, repeated, jumps, unsteady: corrections so far.
    """

    def __init__(self) -> None:
        self.missing = self.repeated = self.jumps = self.unsteady = 0
        self._clock: _SourceClock | None = None
        self._start_ns: int | None = None
        self._last = self._last_arrived = 0

    def restart(self) -> None:
        """To be called after a reconnect: the new connection has another clock."""
        self._clock = None

    def next(self, time_ns: int | None, arrived_ns: int) -> int:
        """The time of the next frame, in nanoseconds since the first.

        Args:
            time_ns: presentation time on the source's own clock; None if it has none.
            arrived_ns: time of arrival on this machine's monotonic clock.
        """
        if self._start_ns is None:
            self._start_ns = self._last_arrived = arrived_ns
            self._last = -_STEP_NS
            by_arrival, passed = 0, 0
        else:
            passed = max(0, arrived_ns - self._last_arrived)
            by_arrival = self._last + passed
        if time_ns is None:
            self.missing += self._clock is not None  # many streams start with a frame without a time
            moment = by_arrival
        elif self._clock is None:
            self._clock = _SourceClock(time_ns, by_arrival, arrived_ns)
            moment = by_arrival
        else:
            moment = self._by_clock(self._clock, time_ns, arrived_ns, passed)
        self._last = max(moment, self._last + _STEP_NS)
        self._last_arrived = max(arrived_ns, self._last_arrived)
        return self._last

    def _by_clock(self, clock: _SourceClock, time_ns: int, arrived_ns: int, passed: int) -> int:
        by_arrival = self._last + passed
        if clock.was_set(time_ns, arrived_ns, passed):
            self.jumps += 1
            self._clock = _SourceClock(time_ns, by_arrival, arrived_ns)
            return by_arrival
        moment = clock.next(time_ns, arrived_ns, passed)
        if not clock.is_steady:
            self.unsteady += 1
            late = arrived_ns - (self._start_ns or 0) - by_arrival
            moment = by_arrival + _followed(late, passed)
            clock.continue_at(time_ns, moment)
        elif moment <= self._last:
            self.repeated += 1
        return moment

    def notes(self) -> list[str]:
        """The corrections, one line each."""
        found = (
            (self.missing, "without a time: set to the time of arrival"),
            (self.repeated, "with a time that did not increase: set just after the previous one"),
            (self.jumps, "after a jump of the clock: set to the time of arrival"),
            (self.unsteady, "of a clock that runs at another rate: set to the time of arrival"),
        )
        return [f"{count} {'frame' if count == 1 else 'frames'} {what}" for count, what in found if count]


class _SourceClock:
    """The clock of one connection, compared with the arrival of its frames.

    Args:
        time_ns, arrived_ns: of its first frame.
        moment: what that frame's time becomes.

    Attributes:
        is_steady: its times can be used.
    """

    def __init__(self, time_ns: int, moment: int, arrived_ns: int) -> None:
        self.is_steady = True
        self._offset = moment - time_ns
        self._usual: int | None = None  # the least delay, less the offset, that is to stay as it is
        self._time, self._step = time_ns, 0
        self._restart(arrived_ns - time_ns, arrived_ns)

    def _restart(self, delay: int, arrived_ns: int) -> None:
        self._first_delay = self._least_now = delay
        self._window_start = arrived_ns
        self._least: deque[int] = deque(maxlen=_WINDOWS)
        self._even_windows = 0

    def was_set(self, time_ns: int, arrived_ns: int, passed: int) -> bool:
        """Whether the clock was set before this frame: its step has no other explanation."""
        step = time_ns - self._time
        if step < -_BACK_NS:
            return True
        too_early = min(self._least_now, *self._least) if self._least else self._least_now
        return (
            step - passed > _SET_NS + 2 * max(0, self._step)  # not a slow source whose frames came together
            and arrived_ns - time_ns < too_early - _SET_NS
        )

    def next(self, time_ns: int, arrived_ns: int, passed: int) -> int:
        """The time of the next frame, where ``is_steady`` is True afterwards."""
        self._step, self._time = time_ns - self._time, time_ns
        delay = arrived_ns - time_ns
        expected = self._first_delay if self._usual is None else self._usual + self._offset
        if arrived_ns - self._window_start >= _WINDOW_NS:
            self._end_window(expected, delay, arrived_ns)
        self._least_now = min(self._least_now, delay)
        if delay < expected - _EARLY_NS:
            self._lose()
        if self._usual is not None:
            self._offset += _followed(min(self._least_now, *self._least) - self._usual - self._offset, passed)
        return time_ns + self._offset

    def continue_at(self, time_ns: int, moment: int) -> None:
        """Sets the time of this frame, from which later ones follow."""
        self._offset = moment - time_ns

    def _end_window(self, expected: int, delay: int, arrived_ns: int) -> None:
        length = arrived_ns - self._window_start
        is_even = bool(self._least) and abs(self._least_now - self._least[-1]) < _EVEN * length
        self._even_windows = self._even_windows + 1 if is_even else 0
        self._least.append(self._least_now)
        if self.is_steady and self._least_now > expected + _LATE_NS:
            self._lose()
        elif not self.is_steady and self._even_windows >= _WINDOWS:
            self.is_steady = True
            self._restart(delay, arrived_ns)
            return
        if self.is_steady and self._usual is None and len(self._least) == _WINDOWS:
            self._usual = min(self._least) - self._offset
        self._window_start, self._least_now = arrived_ns, delay

    def _lose(self) -> None:
        self.is_steady, self._usual, self._even_windows = False, None, 0


def _followed(error: int, passed: int) -> int:
    """How much of an error is corrected in a time, all in nanoseconds."""
    most = round(_FASTEST * passed)
    return max(-most, min(most, round(error * min(1.0, passed / _FOLLOW_NS))))
