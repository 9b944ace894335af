"""Decoded images kept in memory that worker processes share, so that each is decoded once a run."""

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

from edgevision.data.images import decode_image, image_size
from edgevision.types import Image


class ScaledImage(NamedTuple):
    """An image as it is trained on: uint8 ``[H, W, 3]``, BGR, and its share of the file's width and height.

    Attributes:
        image: perhaps a view into shared memory; not to be written to.
        scale_x, scale_y: pixels of ``image`` for one pixel of the file.
    """

    image: Image
    scale_x: float
    scale_y: float


class SharedArrays:
    """uint8 arrays of known shapes in memory that forked processes share; each is filled once.

    Args:
        shapes: of each array; None for one that is not to be kept.
        limit_bytes: memory of all together; arrays that do not fit are not kept.

    Attributes:
        places: arrays that are kept once they are put.
        bytes: memory that they take, only as they are filled.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...] | None], limit_bytes: int) -> None:
        self._shapes = list(shapes)
        self._offsets = np.full(len(shapes), -1, np.int64)
        self.bytes = 0
        for index, shape in enumerate(shapes):
            if shape is not None and self.bytes + math.prod(shape) <= limit_bytes:
                self._offsets[index] = self.bytes
                self.bytes += math.prod(shape)
        self.places = int((self._offsets >= 0).sum())
        # Anonymous maps are shared with forked processes.
        self._content = np.frombuffer(mmap.mmap(-1, max(self.bytes, 1)), np.uint8)
        self._filled = np.frombuffer(mmap.mmap(-1, max(len(shapes), 1)), np.uint8)

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """A view of the array, not to be written to; None where it has not been put."""
        if not self._filled[index]:
            return None
        kept = self._place(index)
        kept.flags.writeable = False
        return kept

    def put(self, index: int, array: NDArray[np.uint8]) -> None:
        """Keeps a copy, if the array has a place and the shape that was announced."""
        if self._offsets[index] >= 0 and array.shape == self._shapes[index]:
            # Two processes may fill a place at once: both write the same.
            self._place(index)[...] = array
            self._filled[index] = 1

    def _place(self, index: int) -> NDArray[np.uint8]:
        start, shape = int(self._offsets[index]), self._shapes[index] or ()
        return self._content[start : start + math.prod(shape)].reshape(shape)


class ImageReader:
    """Reads images by number; those much larger than the model's input are shrunk once they are decoded.

    Args:
        paths: the images.
        shortest: images whose shorter side is longer than this are shrunk to it, in pixels.
        limit_bytes: memory that decoded images may take; 0 keeps none. Images that do not fit
            are decoded each time.
    """

    def __init__(self, paths: Sequence[Path], shortest: int, limit_bytes: int = 0) -> None:
        self._paths, self._shortest = paths, shortest
        self._sizes = [image_size(path) if limit_bytes else None for path in paths]
        shapes = [(*self._shape(size[1], size[0]), 3) if size else None for size in self._sizes]
        self._kept = SharedArrays(shapes, limit_bytes)
        self.cached, self.cached_bytes = self._kept.places, self._kept.bytes

    def read(self, index: int) -> ScaledImage:
        """One image.

        Raises:
            DataError: it is missing or cannot be decoded.
        """
        size, image = self._sizes[index], self._kept.get(index)
        if image is None or size is None:
            image = decode_image(self._paths[index])
            height, width = image.shape[:2]
            if (shape := self._shape(height, width)) != (height, width):
                image = np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
            if size == (width, height):
                self._kept.put(index, image)
            size = width, height
        return ScaledImage(image, image.shape[1] / size[0], image.shape[0] / size[1])

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
