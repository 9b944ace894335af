"""The last seconds, encoded, in bounded memory."""

from __future__ import annotations

from collections import deque

from edgevision.recording.encoder import EncodedPicture


class PacketRing:
    """Keeps what was shown in the last ``span`` ticks, from a key frame on.

    It begins with the last key frame at or before the start of the span, so it holds up to one key frame
    interval more. Beyond ``capacity`` bytes it begins later.

    Args:
        span: in ticks of 1/90000 s.
        capacity: bytes at most.

    Attributes:
        size: bytes now.
        was_short: True once the capacity has cut the span.
    """

    def __init__(self, span: int, capacity: int) -> None:
        self.size = 0
        self.was_short = False
        self._span, self._capacity = span, capacity
        self._pictures: deque[EncodedPicture] = deque()
        self._keys: deque[int] = deque()  # pts of those held

    def append(self, picture: EncodedPicture, now: int) -> None:
        """Takes the next picture; ``now`` is the time of the newest frame, which the encoder lags behind."""
        if not self._pictures and not picture.is_key:
            return  # it could not be decoded
        self._pictures.append(picture)
        self.size += len(picture.data)
        if picture.is_key:
            self._keys.append(picture.pts)
        while len(self._keys) > 1 and self._keys[1] <= now - self._span:
            self._drop_group()
        while self.size > self._capacity and self._pictures:
            self.was_short = True
            self._drop_group()

    def pictures(self) -> list[EncodedPicture]:
        """All that is held, beginning with a key frame."""
        return list(self._pictures)

    def clear(self) -> None:
        self._pictures.clear()
        self._keys.clear()
        self.size = 0

    def _drop_group(self) -> None:
        """Removes the first key frame and those that depend on it."""
        self._keys.popleft()
        end = self._keys[0] if self._keys else None
        while self._pictures and (end is None or self._pictures[0].pts < end):
            self.size -= len(self._pictures.popleft().data)
