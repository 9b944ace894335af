"""How images lie: the display matrix of videos, the orientation tag of EXIF."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.types import Image
from edgevision.video.codec.image_header import tiff_value

_ORIENTATION_TAG = 0x0112  # TIFF 6.0, section 8


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

    @classmethod
    def from_exif(cls, value: int) -> Orientation:
        """Reads the orientation tag of EXIF and TIFF: 1 to 8; anything else counts as upright."""
        return cls(*_EXIF.get(value, (False, False, False)))

    def then(self, after: Orientation) -> Orientation:
        """Both, one after the other."""
        flips = (self.flip_x, self.flip_y)
        if after.transpose:
            flips = flips[::-1]
        return Orientation(
            self.transpose != after.transpose, flips[0] != after.flip_x, flips[1] != after.flip_y
        )

    def apply(self, image: Image) -> Image:
        """The upright image: uint8 ``[H, W, 3]`` or ``[W, H, 3]``."""
        if self.transpose:
            image = np.asarray(cv2.transpose(image), np.uint8)
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else int(self.flip_x)
            image = np.asarray(cv2.flip(image, code), np.uint8)
        return image


_EXIF = {  # transpose, flip_x, flip_y; TIFF 6.0 names the sides on which row 0 and column 0 are displayed
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def frame_orientation(frame: VideoFrame, packet: Packet[VideoStream] | None) -> Orientation:
    """The orientation of a decoded frame.

    Args:
        frame: the frame.
        packet: the newest packet; read where PyAV refuses the frame's side data.
    """
    try:
        side_data: Any = frame.side_data  # PyAV's stubs promise a plain dict
    except ValueError:  # PyAV refuses all if it does not know one kind, such as EXIF (PyAV#2392)
        data = b"" if packet is None else bytes(packet)
        if data[:2] == b"\xff\xd8":
            return Orientation.from_exif(jpeg_orientation(data))
        return _ROTATIONS.get(frame.rotation % 360, Orientation())
    try:
        if "DISPLAYMATRIX" in side_data:
            return Orientation.from_display_matrix(bytes(side_data["DISPLAYMATRIX"]))
        return Orientation()
    finally:
        _let_go(side_data)


def _let_go(side_data: Any) -> None:
    """Makes side data belong to an empty frame.

    A frame and its side data refer to each other in PyAV, so each frame that was asked for it stays until
    Python looks for garbage: 100 and more, 500 MiB at 1920x1080. FFmpeg decodes into other memory meanwhile,
    and of damaged HEVC that shows in the pixels.
    """
    type(side_data).__init__(side_data, _EMPTY)


_EMPTY = VideoFrame(2, 2, "gray")

_ROTATIONS = {  # degrees counterclockwise
    90: Orientation(True, False, True),
    180: Orientation(False, True, True),
    270: Orientation(True, True, False),
}


def jpeg_orientation(data: bytes) -> int:
    """The orientation tag in the EXIF block of a JPEG; 1 (upright) where there is none."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xE1 and data[position + 4 : position + 10] == b"Exif\0\0":
            return exif_orientation(data[position + 10 : position + 2 + length])
        if marker == 0xDA or length < 2:
            break
        position += 2 + length
    return 1


def exif_orientation(data: bytes) -> int:
    """The orientation tag in the first directory of a TIFF structure; 1 (upright) where there is none."""
    return tiff_value(data, _ORIENTATION_TAG) or 1
