"""Image files: sizes from their headers, pixels as the models want them, and whether they are whole."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from edgevision.errors import DataError
from edgevision.types import Image

_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 turn the image by a quarter
_DARK = 65536 // 8  # 16-bit values below this use no more than 31 of 255 levels
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def is_there(path: Path) -> bool:
    """Whether it is a file; one whose name is too long or impossible is not."""
    with contextlib.suppress(OSError, ValueError):
        return path.is_file()
    return False


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height as :func:`decode_image` gives them, from the header alone; None if unreadable."""
    try:
        with PillowImage.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, PillowImage.DecompressionBombError):
        return None
    return (height, width) if turned else (width, height)


def decode_image(path: Path) -> Image:
    """The image as uint8 ``[H, W, 3]``, BGR, turned as its EXIF data say.

    One channel becomes three, 16 bits become 8, and an alpha channel is dropped.

    Raises:
        DataError: it is missing, cut off, or cannot be decoded.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, ValueError) as error:  # ValueError: no file can have that name
        raise DataError(f"image not found: {path}") from error
    except OSError as error:
        raise DataError(f"image cannot be read: {path} ({error.strerror})") from error
    # OpenCV fills the missing part of a JPEG with grey and says nothing.
    if content.startswith(_JPEG_START) and content.rfind(_JPEG_END, len(content) // 2) < 0:
        raise DataError(f"image is cut off: {path}")
    image = None
    if content:
        try:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:  # for example a size beyond OpenCV's limit
            image = None
    if image is None:
        raise DataError(f"image cannot be decoded: {path}")
    return np.asarray(image, np.uint8)


def dark_peak(path: Path) -> int | None:
    """The brightest value of a 16-bit image that becomes nearly black in 8 bits; None for any other.

    Thermal and industrial cameras write 10 to 14 bits into 16; :func:`decode_image` keeps the upper eight.
    """
    if path.suffix.lower() not in (".png", ".tif", ".tiff"):
        return None
    content = np.frombuffer(path.read_bytes(), np.uint8)
    # The depth of a PNG is the 25th byte, https://www.w3.org/TR/png-3/#11IHDR
    if path.suffix.lower() == ".png" and (len(content) < 25 or content[24] != 16):
        return None
    image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16:
        return None
    peak = int(image.max())
    return peak if peak < _DARK else None
