"""Image files: one for an image, numbered ones for a video. Each is written completely or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.errors import OutputExistsError, SinkError
from edgevision.files import FileSpan, atomic_path, refuse_existing
from edgevision.types import FrameResult, Image
from edgevision.video.base import Sink

_NUMBER = re.compile(r"%0?\d*d")
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]
# By format, because OpenCV prints a warning for each parameter that a format does not know.
_PARAMETERS = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 90],
}


def is_pattern(uri: str) -> bool:
    """True for a name with a number in it, such as ``frames/%06d.jpg``."""
    return "%" in Path(uri).name


def save_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes uint8 ``[H, W, 3]`` BGR, or ``[H, W]`` grey, in the format that the suffix names.

    Raises:
        SinkError: the image cannot be encoded (too large for the format), or the disk is full.
    """
    suffix = path.suffix.lower()
    try:
        good, data = cv2.imencode(suffix, image, _PARAMETERS.get(suffix, []))
    except cv2.error as error:
        raise SinkError(f"cannot write {path}: {error.err or error}") from error
    if not good:
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise SinkError(
            f"cannot write {path}: an image of {size} pixels is too large for {path.suffix}; choose .png"
        )
    with atomic_path(path) as partial:
        partial.write_bytes(data.tobytes())


class ImageSink(Sink):
    """One image file for a source of one image.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def write(self, result: FrameResult, image: Image) -> None:
        save_image(self._path, image)


class ImagePatternSink(ImageSink):
    """One image file for each frame, numbered by the frame's position in the source.

    Args:
        pattern: the files, with one ``%06d``-like number in the name.
        overwrite: False refuses a folder in which a file of such a name exists.
        append: continue after the highest number that exists.

    Raises:
        SinkError: the pattern is wrong, or its folder does not exist.
        OutputExistsError: a file of such a name exists.
    """

    def __init__(self, pattern: Path, overwrite: bool, append: bool = False) -> None:
        super().__init__(pattern)
        if len(_NUMBER.findall(pattern.name)) != 1 or pattern.name.count("%") != 1:
            raise SinkError(
                f"{pattern}: expected one number in the name, such as {pattern.parent / '%06d.jpg'}"
            )
        refuse_existing(pattern, overwrite=True)  # for its folder
        before, after = _NUMBER.split(pattern.name)
        taken = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
        try:
            names = [path.name for path in pattern.parent.iterdir()]
        except OSError as error:
            raise SinkError(
                f"cannot use folder {pattern.parent}: {error.strerror}; choose another"
            ) from error
        matches = filter(None, map(taken.fullmatch, names))
        numbers = {int(match.group(1)): match.string for match in matches}
        if numbers and not overwrite and not append:
            found = pattern.parent / next(iter(numbers.values()))
            raise OutputExistsError(f"output exists: {found}; choose another folder or pass `overwrite`")
        self._first = max(numbers, default=-1) + 1 if append else 0
        self._files = FileSpan("image")

    def write(self, result: FrameResult, image: Image) -> None:
        path = self._path.with_name(self._path.name % (self._first + result.frame.index))
        save_image(path, image)
        self._files.add(path)

    def written(self) -> str:
        """See :meth:`~edgevision.video.base.Sink.written`."""
        return self._files.describe() or self.name
