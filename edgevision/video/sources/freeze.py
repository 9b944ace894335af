"""Detects a camera that keeps sending the same image."""

from __future__ import annotations

import numpy as np

from edgevision.types import Image

_STRIDE = 16  # of a coarse comparison, which is sufficient for nearly every frame


class FreezeWatch:
    """Detects images that are identical, bit by bit, for too long.

    Sensor noise alone changes some bits from one key frame to the next, so identical images come from an
    encoder that hangs, or from a static synthetic scene. A freeze that persists after a reconnect is thus
    taken for a static scene until an image differs.

    Args:
        after_s: seconds of identical images that count as a freeze; None disables the detection.
    """

    def __init__(self, after_s: float | None) -> None:
        self._after_ns = None if after_s is None else round(after_s * 1e9)
        self._image: Image | None = None
        self._since_ns = 0
        self._reported = False

    def frozen(self, image: Image, arrived_ns: int) -> bool:
        """Checks the next image; True once per freeze.

        Args:
            image: uint8 ``[H, W, 3]``; kept until the next call.
            arrived_ns: its time of arrival, in nanoseconds.
        """
        if self._after_ns is None:
            return False
        if self._image is None or not _same(self._image, image):
            self._image, self._since_ns, self._reported = image, arrived_ns, False
            return False
        if self._reported or arrived_ns - self._since_ns < self._after_ns:
            return False
        self._reported = True
        return True


def _same(one: Image, other: Image) -> bool:
    if one.shape != other.shape:
        return False
    if not np.array_equal(one[::_STRIDE, ::_STRIDE], other[::_STRIDE, ::_STRIDE]):
        return False
    return np.array_equal(one, other)
