"""The frames that a calibration runs on: their pixels on disk, their origin on record."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgevision.contract.manifest import Resize
from edgevision.errors import DataError, SinkError, printable
from edgevision.files import atomic_path
from edgevision.types import Image


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """One frame of the sample.

    Attributes:
        source: the file, or the name of the source without credentials.
        index: its place in what was read of that source, from 0.
        perceptual_hash: see :func:`edgevision.data.perceptual.perceptual_hash`.
        digest: SHA-256 of its letterboxed pixels, in hexadecimal.
    """

    source: str
    index: int
    perceptual_hash: int
    digest: str


@dataclass(frozen=True)
class CalibrationSet:
    """The sample. Its pixels are on disk, in the store that :func:`sample_frames` was given.

    Attributes:
        frames: by source, then by time.
        hash: SHA-256 over the letterboxed pixels in this order, the input size and the resize rule. Two sets
            of equal hash are the same input to a calibration, whatever they were drawn from.
        width, height: of the letterboxed frames, in pixels.
        resize: how they were letterboxed.
        seed: that drew them.
        read: frames looked at.
        notes: what people should know, one line each: sources with too few frames, unreadable images.
        store, slots: the file that holds the pixels, and each frame's place in it.
    """

    frames: tuple[SampledFrame, ...]
    hash: str
    width: int
    height: int
    resize: Resize
    seed: int
    read: int
    notes: tuple[str, ...]
    store: FrameStore
    slots: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def batches(self, batch_size: int) -> Iterator[Image]:
        """The frames, a batch at a time: uint8 ``[N, H, W, 3]``, BGR, N at most ``batch_size``.

        Each batch is a new array; nothing else is kept in memory.

        Raises:
            DataError: the store is gone.
        """
        if batch_size < 1:
            raise ValueError(f"a batch of {batch_size} frames; expected 1 or more")
        for start in range(0, len(self.slots), batch_size):
            slots = self.slots[start : start + batch_size]
            batch = np.empty((len(slots), self.height, self.width, 3), np.uint8)
            for slot, out in zip(slots, batch, strict=True):
                self.store.read(slot, out)
            yield batch

    def frame_name(self, place: int) -> str:
        """What users call the frame at a place, counted from 0."""
        frame = self.frames[place]
        return f"{printable(frame.source)}, frame {frame.index}"

    def part(self, places: Sequence[int]) -> CalibrationSet:
        """Some of the frames, by their places, as a set of its own on the same store."""
        frames = tuple(self.frames[place] for place in places)
        total = content_hash((self.width, self.height), self.resize, [one.digest for one in frames])
        slots = tuple(self.slots[place] for place in places)
        return replace(self, frames=frames, hash=total, slots=slots)

    def spread(self, count: int) -> CalibrationSet:
        """Up to ``count`` of the frames, evenly spread, as :meth:`part` gives them."""
        total = len(self.frames)
        return self.part(sorted({int(i) for i in np.linspace(0, total - 1, min(count, total)).round()}))

    def write_list(self, path: Path, held_out: CalibrationSet | None = None) -> None:
        """Writes which frames these are as JSON: settings, hash, and each frame's origin and digest.

        Args:
            path: the file.
            held_out: frames that answers were compared on; they are listed too.

        Raises:
            SinkError: it cannot be written.
        """
        content = {
            "hash": self.hash,
            "width": self.width,
            "height": self.height,
            "resize": self.resize,
            "seed": self.seed,
            "frames_read": self.read,
            "notes": self.notes,
            "frames": [_listed(frame) for frame in self.frames],
        }
        if held_out is not None:
            content["held_out"] = [_listed(frame) for frame in held_out.frames]
        with atomic_path(path) as partial:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def content_hash(size: tuple[int, int], resize: Resize, digests: Iterable[str]) -> str:
    """See :attr:`CalibrationSet.hash`; of the digests of the frames, in hexadecimal."""
    settings: dict[str, Any] = {"size": size, "resize": resize}
    total = hashlib.sha256(msgspec.json.encode(settings))
    for digest in digests:
        total.update(bytes.fromhex(digest))
    return total.hexdigest()


def _listed(frame: SampledFrame) -> dict[str, Any]:
    return {
        "source": printable(frame.source),
        "index": frame.index,
        "perceptual_hash": f"{frame.perceptual_hash:016x}",
        "sha256": frame.digest,
    }


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
