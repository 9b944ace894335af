"""Times as an MP4 muxer can take them: later with each packet, in steps that fit into 32 bits.

FFmpeg keeps the duration of a sample in a signed 32-bit number of its track's ticks. A longer one is an error
of the muxer, or, in the fragments that are written here, a failed assertion that ends the process.
"""

from __future__ import annotations

from fractions import Fraction

MAX_TICKS = 2**31 - 1
"""Of one sample's duration."""

_REORDERED = 4  # the encoder decodes a frame as early as the third one before it is shown
_SLOW_RATE = 1.0  # frames a second
_NTSC = (24, 30, 60)  # 24000/1001 frames a second, and so on


def time_base(rate: float, is_live: bool = False) -> Fraction:
    """The seconds in a tick of a video track: 32 bits hold long gaps, and common rates have whole ticks.

    1/12000 s has whole ticks for 24, 25, 30, 48, 50, 60, 100 and 120 frames a second and for milliseconds,
    and a frame may last half a day. NTSC's rates have ticks of their own in recordings; a camera's frames
    come at times of their own anyway. Below a frame a second a tick is a millisecond, for gaps of six days.

    Args:
        rate: nominal frames a second.
        is_live: the source may be away for hours.
    """
    if rate < _SLOW_RATE:
        return Fraction(1, 1000)
    for whole in () if is_live else _NTSC:
        if abs(rate * 1001 - whole * 1000) < 1:
            return Fraction(1, whole * 1000)
    return Fraction(1, 12_000)


class TrackClock:
    """Turns the times of a track's samples, in ticks, into times that can be written.

    A time that is not later than the one before becomes one tick later. A step longer than ``longest`` is
    shortened to that; what follows keeps its distance.

    Args:
        longest: ticks of the longest step; by default what FFmpeg's muxer takes of an encoder that reorders.

    Attributes:
        last: the newest time that was given; -1 before the first.
        gaps: how many steps were shortened.
        shortened: ticks by which times are therefore earlier than they came.
    """

    def __init__(self, longest: int = MAX_TICKS // _REORDERED) -> None:
        self.last = -1
        self.gaps = self.shortened = 0
        self._longest = longest

    def next(self, ticks: int) -> int:
        """The time of the next sample."""
        moment = ticks - self.shortened
        if self.last >= 0 and moment - self.last > self._longest:
            self.gaps += 1
            self.shortened += moment - self.last - self._longest
            moment = self.last + self._longest
        self.last = max(moment, self.last + 1)
        return self.last
