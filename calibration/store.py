"""Letterboxed frames on disk, in numbered places, so that memory holds one of them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgevision.errors import DataError, SinkError
from edgevision.types import Image


@dataclass(frozen=True, slots=True)
class FrameStore:
    """One file of equally large frames; a place can be written again.

    Attributes:
        path: the file.
        width, height: of every frame, in pixels.
    """

    path: Path
    width: int
    height: int

    @classmethod
    def create(cls, folder: Path, width: int, height: int) -> FrameStore:
        """A new, empty file in a folder that exists.

        Raises:
            SinkError: the folder cannot be written to.
        """
        try:
            handle, name = tempfile.mkstemp(prefix="frames-", suffix=".bgr", dir=folder)
        except OSError as error:
            raise SinkError(f"cannot keep frames in {folder}: {error.strerror}") from error
        os.close(handle)
        return cls(Path(name), width, height)

    @property
    def frame_bytes(self) -> int:
        return self.width * self.height * 3

    def write(self, slot: int, image: Image) -> None:
        """Puts uint8 ``[height, width, 3]`` into a place.

        Raises:
            SinkError: the disk is full.
        """
        try:
            with self.path.open("r+b") as stream:
                stream.seek(slot * self.frame_bytes)
                stream.write(image.tobytes())
        except OSError as error:
            raise SinkError(f"cannot keep frames in {self.path.parent}: {error.strerror}") from error

    def read(self, slot: int, out: Image) -> None:
        """Fills ``out``, uint8 ``[height, width, 3]`` in one piece, from a place.

        Raises:
            DataError: the file is gone or was cut off.
        """
        try:
            with self.path.open("rb") as stream:
                stream.seek(slot * self.frame_bytes)
                got = stream.readinto(out.data.cast("B"))
        except OSError as error:
            raise DataError(f"calibration frames cannot be read: {self.path}: {error.strerror}") from error
        if got != self.frame_bytes:
            raise DataError(f"calibration frames cannot be read: {self.path} was cut off; sample again")
