"""The display matrix, in which phones store the orientation of a video."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np

from edgevision.types import Image


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight rotations and reflections of an image: transpose first, then flip.

    Attributes:
        transpose: swap rows and columns.
        flip_x: swap left and right, after transposing.
        flip_y: swap top and bottom, after transposing.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def from_display_matrix(cls, data: bytes) -> Orientation:
        """Reads FFmpeg's display matrix; one that is not a multiple of 90 degrees counts as upright.

        Nine int32 in native order, ``a b u c d v x y w`` in 16.16 fixed point (ISO/IEC 14496-12, 6.2.2):
        a point ``(x, y)`` of the coded image is displayed at ``(a x + c y, b x + d y)``.
        """
        a, b, _, c, d = struct.unpack("=5i", data[:20])
        one = 1 << 16
        if (abs(a), abs(d), b, c) == (one, one, 0, 0):
            return cls(False, a < 0, d < 0)
        if (abs(b), abs(c), a, d) == (one, one, 0, 0):
            return cls(True, c < 0, b < 0)
        return cls()

    def apply(self, image: Image) -> Image:
        """The upright image: uint8 ``[H, W, 3]`` or ``[W, H, 3]``."""
        if self.transpose:
            image = np.asarray(cv2.transpose(image), np.uint8)
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else int(self.flip_x)
            image = np.asarray(cv2.flip(image, code), np.uint8)
        return image
