"""The last seconds, encoded, in bounded memory."""

from __future__ import annotations

from collections import deque

from edgevision.recording.encoder import LONGEST_GAP, EncodedImage


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
        self._images: deque[EncodedImage] = deque()
        self._keys: deque[int] = deque()  # pts of those held

    def append(self, image: EncodedImage, now: int) -> None:
        """Takes the next image; ``now`` is the time of the newest frame, which the encoder lags behind."""
        if self._images and image.is_key and image.pts - self._images[-1].pts > LONGEST_GAP:
            self.clear()  # what was before cannot be in one file with it
        if not self._images and not image.is_key:
            return  # it could not be decoded
        self._images.append(image)
        self.size += image.size
        if image.is_key:
            self._keys.append(image.pts)
        while len(self._keys) > 1 and self._keys[1] <= now - self._span:
            self._drop_group()
        while self.size > self._capacity and self._images:
            self.was_short = True
            self._drop_group()

    def images(self) -> list[EncodedImage]:
        """All that is held, beginning with a key frame."""
        return list(self._images)

    def clear(self) -> None:
        self._images.clear()
        self._keys.clear()
        self.size = 0

    def _drop_group(self) -> None:
        """Removes the first key frame and those that depend on it."""
        self._keys.popleft()
        end = self._keys[0] if self._keys else None
        while self._images and (end is None or self._images[0].pts < end):
            self.size -= self._images.popleft().size
