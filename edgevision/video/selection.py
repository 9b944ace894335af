"""Which frames of a source are wanted: a range of its time, and one of every few frames or every period."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgevision.closeable import Closeable
from edgevision.errors import UsageError
from edgevision.types import Frame
from edgevision.units import duration_s
from edgevision.video.base import Source, SourceInfo

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Selection:
    """A range of time and a step; a pass over a range gives the same frames as the range of one whole pass.

    Attributes:
        frames: frames whose index in the source is a multiple of this.
        period_ns: the first frame of each such period of the source's time, in nanoseconds; None for every
            frame that ``frames`` leaves.
        start_ns, end_ns: frames from ``start_ns`` on, and before ``end_ns``; None for the end of the source.

    Example:
        >>> Selection.parse(every="1s", start="1m", end="1:30")
        Selection(frames=1, period_ns=1000000000, start_ns=60000000000, end_ns=90000000000)
    """

    frames: int = 1
    period_ns: int | None = None
    start_ns: int = 0
    end_ns: int | None = None

    @classmethod
    def parse(
        cls, every: str | int | None = None, start: str | None = None, end: str | None = None
    ) -> Selection:
        """What a user asks for.

        Args:
            every: a number of frames, ``5``, or a time, ``1s``.
            start, end: ``90s``, ``1.5m`` or ``1:30`` on the source's clock.

        Raises:
            UsageError: one is not of these forms, or the range is empty.
        """
        frames, period_ns = (1, None) if every is None else _step(str(every))
        start_ns = 0 if start is None else _moment_ns("start", start)
        end_ns = None if end is None else _moment_ns("end", end)
        if end_ns is not None and end_ns <= start_ns:
            raise UsageError(f"`end` {end} is not after `start` {start or '0s'}; no frame lies between them")
        return cls(frames, period_ns, start_ns, end_ns)

    @property
    def is_everything(self) -> bool:
        """Whether no frame is left out."""
        return self == Selection()

    @property
    def is_range(self) -> bool:
        """Whether a part of the source's time is left out."""
        return self.start_ns > 0 or self.end_ns is not None

    def without_range(self) -> Selection:
        """The same step over the whole of a source."""
        return replace(self, start_ns=0, end_ns=None)

    def info(self, info: SourceInfo) -> SourceInfo:
        """What is known of a source of which only these frames are read.

        The frame rate is that of the frames which are left, and their number an estimate.
        """
        rate, count = info.frame_rate, info.frame_count
        if rate is not None:
            if count is not None and self.is_range:
                until = count if self.end_ns is None else min(count, round(self.end_ns * rate / 1e9))
                count = max(0, until - round(self.start_ns * rate / 1e9))
            left = rate / self.frames
            if self.period_ns is not None:
                left = min(left, 1e9 / self.period_ns)
            count = None if count is None else -(-round(count * left * 1000) // round(rate * 1000))
            rate = left
        elif count is not None and self.period_ns is None:
            count = -(-count // self.frames)
        # The sound of a part, or beside frames far apart, would play beside other images.
        timeline = info.timeline if self.is_everything else None
        return replace(info, frame_rate=rate, frame_count=count, timeline=timeline)

    def chooser(self) -> Chooser:
        """For one pass."""
        return Chooser(self)


class Chooser:
    """Decides frame by frame, for one pass over a source."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._period = -1

    def wants(self, index: int, timestamp_ns: int) -> bool:
        """Whether the next frame is wanted; to be asked for every frame of the source, in order.

        Args:
            index: position in the source.
            timestamp_ns: time on the source's clock.
        """
        selection = self._selection
        is_wanted = index % selection.frames == 0
        if is_wanted and selection.period_ns is not None:
            period = timestamp_ns // selection.period_ns
            is_wanted, self._period = period > self._period, period
        return is_wanted and selection.start_ns <= timestamp_ns and not self.is_over(timestamp_ns)

    def is_over(self, timestamp_ns: int) -> bool:
        """Whether no later frame is wanted either."""
        end_ns = self._selection.end_ns
        return end_ns is not None and timestamp_ns >= end_ns


class SelectedSource(Closeable):
    """Gives the wanted frames of another source, with the numbers and times that they have there.

    Args:
        source: read to the end of the range, and closed with this.
        selection: which frames.

    Raises:
        UsageError: a range of a live source or of one image is asked for, which have no such time.
    """

    def __init__(self, source: Source, selection: Selection) -> None:
        if source.info.is_live and selection.is_range:
            raise UsageError(f"`start` and `end` are for recordings; {source.info.name} is live")
        if source.info.is_image and selection.is_range:
            raise UsageError(
                f"`start` and `end` are for recordings; {source.info.name} is one image, which has no time"
            )
        self.info = selection.info(source.info)
        self.report = source.report
        self._source, self._selection = source, selection

    def __iter__(self) -> Iterator[Frame]:
        chooser, given, last_ns = self._selection.chooser(), 0, 0
        for frame in self._source:
            last_ns = frame.timestamp_ns
            if chooser.is_over(last_ns):
                break
            if chooser.wants(frame.index, last_ns):
                given += 1
                yield frame
        if not given and self._selection.is_range:
            self.report.notes.append(
                f"{self.info.name}: no frame from {self._selection.start_ns / 1e9:g} s on is in the range; "
                f"the last one read is at {last_ns / 1e9:.2f} s"
            )

    def close(self) -> None:
        self._source.close()


def _step(text: str) -> tuple[int, int | None]:
    """A number of frames, or a period in nanoseconds."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text), None
    try:
        period_ns = round(duration_s(text) * 1e9)
    except ValueError:
        period_ns = 0
    if period_ns <= 0:
        raise UsageError(
            f"`every` {text} is not valid; expected a number of frames such as 5, or a time such as 1s"
        )
    return 1, period_ns


def _moment_ns(setting: str, text: str) -> int:
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        return round((int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])) * 1e9)
    try:
        return round(duration_s(text) * 1e9)
    except ValueError:
        raise UsageError(f"`{setting}` {text} is not valid; expected a time such as 90s or 1:30") from None
