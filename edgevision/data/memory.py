"""Decoded pictures kept in memory that worker processes share, so that each is decoded once a run."""

from __future__ import annotations

import contextlib
import math
import mmap
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.data.pictures import decode_picture, picture_size
from edgevision.types import Image


class Picture(NamedTuple):
    """A picture as it is trained on: uint8 ``[H, W, 3]``, BGR, and its share of the file's width and height.

    Attributes:
        image: perhaps a view into shared memory; not to be written to.
        scale_x, scale_y: pixels of ``image`` for one pixel of the file.
    """

    image: Image
    scale_x: float
    scale_y: float


class PictureReader:
    """Reads pictures by number; those much larger than the model's input are shrunk once they are decoded.

    Args:
        paths: the pictures.
        shortest: pictures whose shorter side is longer than this are shrunk to it, in pixels.
        limit_bytes: memory that decoded pictures may take; 0 keeps none. Pictures that do not fit
            are decoded each time.
    """

    def __init__(self, paths: Sequence[Path], shortest: int, limit_bytes: int = 0) -> None:
        self._paths, self._shortest = paths, shortest
        self._offsets = np.full(len(paths), -1, np.int64)
        self._sizes = np.zeros((len(paths), 2), np.int64)  # height and width in the file
        total = 0
        for index, path in enumerate(paths if limit_bytes else ()):
            size = picture_size(path)
            needed = 3 * math.prod(self._shape(size[1], size[0])) if size else 0
            if size and total + needed <= limit_bytes:
                self._offsets[index], self._sizes[index] = total, size[::-1]
                total += needed
        self.cached = int((self._offsets >= 0).sum())
        self.cached_bytes = total
        # Anonymous maps are shared with forked processes, and take memory only as they are filled.
        self._pixels = np.frombuffer(mmap.mmap(-1, max(total, 1)), np.uint8)
        self._filled = np.frombuffer(mmap.mmap(-1, max(len(paths), 1)), np.uint8)

    def read(self, index: int) -> Picture:
        """One picture.

        Raises:
            DataError: it is missing or cannot be decoded.
        """
        if self._filled[index]:
            height, width = (int(side) for side in self._sizes[index])
            image = self._slot(index)
            image.flags.writeable = False
        else:
            full = decode_picture(self._paths[index])
            height, width = full.shape[:2]
            image = full
            if (shape := self._shape(height, width)) != (height, width):
                image = np.asarray(cv2.resize(full, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
            if self._offsets[index] >= 0 and (height, width) == tuple(self._sizes[index]):
                # Two processes may fill a slot at once: both write the same.
                self._slot(index)[:] = image
                self._filled[index] = 1
        return Picture(image, image.shape[1] / width, image.shape[0] / height)

    def _slot(self, index: int) -> NDArray[np.uint8]:
        start = int(self._offsets[index])
        height, width = self._shape(*(int(side) for side in self._sizes[index]))
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    def _shape(self, height: int, width: int) -> tuple[int, int]:
        scale = self._shortest / min(height, width)
        if scale >= 1:
            return height, width
        return max(1, round(height * scale)), max(1, round(width * scale))


def cache_limit(workers: int, processes: int = 1) -> int:
    """Bytes that one of ``processes`` may keep in memory: its part of half of what is free.

    0 where worker processes do not inherit memory (they are spawned, not forked).
    """
    if workers and multiprocessing.get_start_method() != "fork":
        return 0
    return free_memory() // 2 // processes


def free_memory() -> int:
    """Bytes that can be taken without swapping, within the limit of the container; 0 where unknown."""
    free = 0
    with contextlib.suppress(OSError, ValueError):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())  # "max" where there is none
        free = min(free, limit - int((group / "memory.current").read_text()))
    return max(free, 0)
