"""Still images as a source: one, a folder of them, or a pattern."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edgevision.closeable import Closeable
from edgevision.errors import SourceError
from edgevision.types import Frame, Image
from edgevision.video.base import FailReason, SourceInfo, SourceReport

FRAME_RATE = 25.0
"""Nominal frame rate of a sequence of images, which has no timestamps."""

_BACKGROUND = 255  # white behind transparent pixels, as in image viewers


def read_image(path: Path) -> Image:
    """Reads an image as a viewer shows it: uint8 ``[H, W, 3]``, BGR.

    EXIF orientation is applied, 16 bits become 8, grayscale becomes colour, and transparent pixels become
    white. (The orientation of an image with transparency is ignored.)

    Raises:
        SourceError: the file is missing, empty, or not an image that OpenCV can read.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    if not data.size:
        raise SourceError(f"{path} is empty (0 bytes); copy it again")
    image: np.ndarray | None = None
    try:
        if data[:2].tobytes() != b"\xff\xd8":  # JPEG has no transparency
            raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
            if raw is not None and raw.ndim == 3 and raw.shape[2] == 4:
                return _without_alpha(raw)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        pass
    if image is None:
        raise SourceError(
            f"{path} is not an image that OpenCV can read; expected JPEG, PNG, BMP, WebP or TIFF"
        )
    return np.asarray(image, np.uint8)


def _without_alpha(image: np.ndarray) -> Image:
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    colour, alpha = image[..., :3].astype(np.uint16), image[..., 3:].astype(np.uint16)
    return ((colour * alpha + _BACKGROUND * (255 - alpha) + 127) // 255).astype(np.uint8)


class ImagesSource(Closeable):
    """Images in the given order; each frame has its own size and is named by its file.

    An unreadable image is an error if it is the only one; among several it is skipped, counted and noted.

    Args:
        paths: the files.
        name: display name.
        folder: the folder that contains them, if they are read from a folder.

    Raises:
        SourceError: the only image cannot be read.
    """

    def __init__(self, paths: Sequence[Path], name: str, *, folder: Path | None = None) -> None:
        self.report = SourceReport()
        self._paths = paths
        self._only = read_image(paths[0]) if len(paths) == 1 else None
        height, width = (None, None) if self._only is None else self._only.shape[:2]
        is_image = self._only is not None
        self.info = SourceInfo(
            name=name,
            is_live=False,
            width=width,
            height=height,
            frame_rate=None if is_image else FRAME_RATE,
            frame_count=len(paths),
            path=paths[0] if is_image else folder,
            is_image=is_image,
        )
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        for path in self._paths:
            if self._closed:
                return
            try:
                image = read_image(path) if self._only is None else self._only
            except SourceError as error:
                self.report.failed[FailReason.UNDECODABLE] += 1
                self.report.notes.append(f"skipped: {error}")
                continue
            index = self.report.read
            self.report.read += 1
            yield Frame(image, index, round(index * 1e9 / FRAME_RATE), str(path))
        if self.report.read == 0:
            raise SourceError(f"{self.info.name}: none of {len(self._paths)} images could be read")

    def close(self) -> None:
        self._closed = True
