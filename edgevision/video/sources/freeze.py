"""Notices a camera that goes on sending one and the same picture."""

from __future__ import annotations

import numpy as np

from edgevision.types import Image

_STRIDE = 16  # of the quick look, which settles nearly every picture


class FreezeWatch:
    """Tells when pictures have been the same, to the last bit, for too long.

    The noise of a sensor alone changes some bit from one key frame to the next, so that only an encoder that
    hangs does this; or a scene that is drawn and stands still. So a freeze that a new connection did not
    end is believed to be the scene, until a picture differs.

    Args:
        after_s: how long is too long; None: never.
    """

    def __init__(self, after_s: float | None) -> None:
        self._after_ns = None if after_s is None else round(after_s * 1e9)
        self._image: Image | None = None
        self._since_ns = 0
        self._believed = False

    def frozen(self, image: Image, arrived_ns: int) -> bool:
        """Looks at the next picture. True once for each freeze.

        Args:
            image: uint8 ``[H, W, 3]``; kept until the next one comes.
            arrived_ns: when it came.
        """
        if self._after_ns is None:
            return False
        if self._image is None or not _same(self._image, image):
            self._image, self._since_ns, self._believed = image, arrived_ns, False
            return False
        if self._believed or arrived_ns - self._since_ns < self._after_ns:
            return False
        self._believed = True
        return True


def _same(one: Image, other: Image) -> bool:
    if one.shape != other.shape:
        return False
    if not np.array_equal(one[::_STRIDE, ::_STRIDE], other[::_STRIDE, ::_STRIDE]):
        return False
    return np.array_equal(one, other)
