"""Strictly increasing times from sources whose clocks are not always increasing."""

from __future__ import annotations

_REORDER_FRAMES = 5  # reordering by decoders stays within fewer frames
_STEP_NS = 1_000_000  # the smallest step that every container can represent
_DRIFT_NS = 5_000_000_000  # the largest difference between two clocks that buffering explains


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
        missing, repeated, jumps: corrections so far.
        parts: where a clock begins, with the first frame and after each jump: the time of its first frame,
            and what is to be subtracted from its times, in nanoseconds. Sound follows them.
    """

    def __init__(self, frame_ns: int, longest_gap_ns: int | None = None) -> None:
        self.frame_ns = max(frame_ns, 2)
        self.origin_ns: int | None = None
        self.missing = self.repeated = self.jumps = 0
        self.parts: list[tuple[int, int]] = []
        self._longest_gap_ns = longest_gap_ns
        self._shift = 0
        self._last = -1

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
        )
        return [f"{count} {'frame' if count == 1 else 'frames'} {what}" for count, what in found if count]


class LiveTimeline:
    """Puts the frames of a live source on one clock: nanoseconds since the first, strictly increasing.

    The source's own times determine the intervals between frames, since they are free of network jitter and
    buffering. They are compared with the times of arrival, which replace them where they are missing, do not
    increase, or deviate by more than buffering explains (a camera that sets its clock or whose clock drifts).

    Attributes:
        missing, repeated, jumps: corrections so far.
    """

    def __init__(self) -> None:
        self.missing = self.repeated = self.jumps = 0
        self._start_ns: int | None = None
        self._shift: int | None = None
        self._last = -_STEP_NS

    def restart(self) -> None:
        """To be called after a reconnect: the new connection has another clock."""
        self._shift = None

    def next(self, time_ns: int | None, arrived_ns: int) -> int:
        """The time of the next frame, in nanoseconds since the first.

        Args:
            time_ns: presentation time on the source's own clock; None if it has none.
            arrived_ns: time of arrival on this machine's monotonic clock.
        """
        if self._start_ns is None:
            self._start_ns = arrived_ns
        passed = arrived_ns - self._start_ns
        moment = passed if time_ns is None else self._moment(time_ns, passed)
        if time_ns is None and self._shift is not None:  # many streams start with a frame without a time
            self.missing += 1
        self._last = max(moment, self._last + _STEP_NS)
        return self._last

    def _moment(self, time_ns: int, passed: int) -> int:
        if self._shift is None:
            self._shift = passed - time_ns
        moment = time_ns + self._shift
        if abs(moment - passed) > _DRIFT_NS:
            self.jumps += 1
            self._shift = passed - time_ns
            return passed
        if moment <= self._last:
            self.repeated += 1
        return moment

    def notes(self) -> list[str]:
        """The corrections, one line each."""
        found = (
            (self.missing, "without a time: set to the time of arrival"),
            (self.repeated, "with a time that did not increase: set just after the previous one"),
            (self.jumps, "after a jump of the clock: set to the time of arrival"),
        )
        return [f"{count} {'frame' if count == 1 else 'frames'} {what}" for count, what in found if count]
