"""Which frames a model is calibrated on: few, distinct, far apart, and the same for the same seed."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevision.address import display
from edgevision.calibration.sampling.frames import CalibrationSet, FrameStore, SampledFrame, content_hash
from edgevision.calibration.sampling.spread import Spread
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize
from edgevision.data.perceptual import perceptual_hash
from edgevision.errors import DataError, SinkError, SourceError, UsageError
from edgevision.types import Frame
from edgevision.video import Source, expand_sources, open_source

__all__ = ["CalibrationSet", "OnFrameRead", "SampledFrame", "sample_frames"]

LIVE_SECONDS = 60.0
LIVE_FRAMES = 10_000
_NOTES = 5  # notes about a source that are given in full; the rest are counted

OnFrameRead = Callable[[str, int, int | None], None]
"""Called after each frame read, with the source's name, its frames so far, and how many it declares."""


def sample_frames(
    sources: Sequence[str],
    count: int,
    size: tuple[int, int],
    resize: Resize,
    seed: int,
    store: Path,
    progress: OnFrameRead | None = None,
    *,
    live_seconds: float = LIVE_SECONDS,
    opener: Callable[[str], Source] = open_source,
) -> CalibrationSet:
    """Draws distinct frames that are far apart from sources, in one pass over each.

    Frames that are nearly identical count once, in one source as across all. Sources share ``count``
    equally; what one cannot fill goes to the others. Of a source that has more than its share, frames that
    are unlike each other stay (see :class:`~edgevision.calibration.sampling.spread.Spread`). The order of
    ``sources`` does not matter; a folder of videos is one source. Memory holds a frame or two, the disk
    ``count``.

    Args:
        sources: files, folders, patterns, cameras or streams, as ``edgevision run`` takes them.
        count: the most frames to draw.
        size: ``(width, height)`` of the model's input, in pixels.
        resize: the model's resize rule.
        seed: the same seed, sources and settings give the same frames.
        store: folder for the pixels, made where it is missing. It is the caller's to delete once the set has
            been used; on any failure, Ctrl-C included, nothing from this call is left in it.
        progress: called after every frame read.
        live_seconds: how long a live source is watched; 10,000 frames end it as well.
        opener: opens one source.

    Raises:
        UsageError: no source, or a count below 1.
        SourceError: a source is missing, or nothing of it can be read.
        DataError: the sources opened, but gave no frame.
        SinkError: ``store`` cannot be written.
    """
    if not sources:
        raise UsageError("no source of calibration frames; name a folder, a video or a stream")
    if count < 1:
        raise UsageError(f"{count} calibration frames; expected 1 or more")
    names = sorted(set(sources))
    with contextlib.ExitStack() as undo:
        _make_folder(store, undo)
        frames = FrameStore.create(store, *size)
        undo.callback(frames.path.unlink, missing_ok=True)
        sampler = _Sampler(count, size, resize, seed, frames, progress, live_seconds, opener)
        for owner, uri in enumerate(names):
            sampler.read(uri, owner)
        if not sampler.kept:
            listed = ", ".join(display(name) for name in names)
            raise DataError(f"no frame came from {listed}; expected an image, video or stream with frames")
        done = sampler.finish(names)
        undo.pop_all()
    return done


@dataclass(frozen=True, slots=True)
class _Kept:
    owner: int
    order: int  # among all frames read
    source: str
    index: int
    code: int


class _Sampler:
    """The state of one pass over all sources."""

    def __init__(
        self,
        count: int,
        size: tuple[int, int],
        resize: Resize,
        seed: int,
        store: FrameStore,
        progress: OnFrameRead | None,
        live_seconds: float,
        opener: Callable[[str], Source],
    ) -> None:
        self.kept: dict[int, _Kept] = {}
        self._count, self._size, self._resize, self._seed = count, size, resize, seed
        self._store, self._progress, self._opener = store, progress, opener
        self._live_seconds = live_seconds
        self._spread = Spread(count, seed)
        self._read: list[int] = []  # frames, by source
        self._notes: list[str] = []

    def read(self, uri: str, owner: int) -> None:
        """Looks at every frame of one source, or of each video of a folder."""
        self._read.append(0)
        for one in expand_sources(uri):
            with self._opener(one) as source:
                self._watch(source, owner)
                self._note(source)

    def _watch(self, source: Source, owner: int) -> None:
        end = time.monotonic() + self._live_seconds
        read = 0
        try:
            for frame in source:
                read += 1
                self._read[owner] += 1
                self._take(frame, owner)
                if self._progress is not None:
                    self._progress(source.info.name, read, source.info.frame_count)
                if source.info.is_live and (time.monotonic() >= end or read >= LIVE_FRAMES):
                    return
        except SourceError as error:
            if read == 0:
                raise
            self._notes.append(
                f"{source.info.name}: ended after {read} frames: {error}"
            )  # a stream broke off

    def _take(self, frame: Frame, owner: int) -> None:
        code = perceptual_hash(frame.image)
        slot = self._spread.offer(code, owner)
        if slot is None:
            return
        letterbox = Letterbox.fit(frame.width, frame.height, *self._size, self._resize)
        self._store.write(slot, letterbox.image(frame.image))
        self.kept[slot] = _Kept(owner, sum(self._read), frame.source, frame.index, code)

    def _note(self, source: Source) -> None:
        found = source.report
        problem = [found.problem] if found.problem else []
        lines = [*problem, *found.notes]
        self._notes.extend(f"{source.info.name}: {line}" for line in lines[:_NOTES])
        if len(lines) > _NOTES:
            self._notes.append(f"{source.info.name}: and {len(lines) - _NOTES} more notes like these")
        if found.skipped:
            self._notes.append(f"{source.info.name}: skipped {found.skipped} that could not be read")

    def finish(self, names: Sequence[str]) -> CalibrationSet:
        """The set, in order, with its hash; notes which sources had too few distinct frames."""
        share = self._count // len(names)
        for owner, name in enumerate(names):
            found = self._spread.count(owner)
            read = self._read[owner]
            if found < share and read != 1:  # an image is one frame, or equal to another
                self._notes.append(
                    f"{display(name)}: found {found} distinct frames in {read}, wanted {share}"
                )
        ordered = sorted(self.kept.items(), key=lambda item: item[1].order)
        frames: list[SampledFrame] = []
        pixels = np.empty((self._size[1], self._size[0], 3), np.uint8)
        for slot, kept in ordered:
            self._store.read(slot, pixels)
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            frames.append(SampledFrame(kept.source, kept.index, kept.code, digest))
        total = content_hash(self._size, self._resize, [frame.digest for frame in frames])
        return CalibrationSet(
            tuple(frames), total, *self._size, self._resize, self._seed, sum(self._read),
            tuple(self._notes), self._store, tuple(slot for slot, _ in ordered),
        )  # fmt: skip


def _make_folder(folder: Path, undo: contextlib.ExitStack) -> None:
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise SinkError(f"cannot keep frames in {folder}: it is not a folder") from None
    except OSError as error:
        raise SinkError(f"cannot make the folder {folder}: {error.strerror}") from error
    else:
        undo.callback(_remove_empty, folder)


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another process put something there meanwhile
        folder.rmdir()
