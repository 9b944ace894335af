"""Pauses: the stream is held until no frame is in progress, so that memory can be compared between pauses."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from types import TracebackType

from edgevision.allocator import give_back_now
from edgevision.closeable import Closeable
from edgevision.pipeline import RunStatistics
from edgevision.soak.process import Sample, read_sample
from edgevision.soak.segments import SegmentSink
from edgevision.types import Frame
from edgevision.video import Source
from edgevision.video.base import SourceInfo

REST_EVERY_S = 20.0
_SETTLE_S = 10.0
"""An output that takes longer is stuck, and the stream goes on without a reading."""
_HOLD_LIMIT_S = 60.0
"""A source is never held for longer, even if whoever held it has gone."""


class RestingSource(Closeable):
    """Passes a source's frames on, and none while it is held.

    A hold begins after a frame of the declared size: the pipeline keeps the last frame while it waits for the
    next, and frames of different sizes would make one pause differ from another.

    Args:
        source: any; closed with this one.
    """

    def __init__(self, source: Source) -> None:
        self.info: SourceInfo = source.info
        self.report = source.report
        self._source = source
        self._wanted = threading.Event()
        self._holding = threading.Event()
        self._free = threading.Event()
        self._free.set()

    @property
    def is_holding(self) -> bool:
        """Whether the source is held now; earlier frames may still be in progress."""
        return self._holding.is_set()

    def hold(self) -> None:
        """Holds the source after the next frame of the declared size."""
        self._free.clear()
        self._wanted.set()

    def go_on(self) -> None:
        self._wanted.clear()
        self._free.set()

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            size = (self.info.width or frame.width, self.info.height or frame.height)
            is_declared = (frame.width, frame.height) == size
            yield frame
            del frame  # or it would be one more frame in memory at the pause
            if is_declared and self._wanted.is_set():
                self._holding.set()
                self._free.wait(_HOLD_LIMIT_S)
                self._holding.clear()

    def close(self) -> None:
        self.go_on()
        self._source.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._source.__exit__(kind, error, trace)


class Rests:
    """Pauses one run at intervals, and reads the process there.

    Frames in progress take tens of MiB, encoders a hundred, and both follow the load of the machine. In a
    pause there are none: the source is held, every frame is through, the recording is between two
    files, garbage is collected, and freed memory is given back. What is left is what the program keeps.

    Args:
        source: of the run.
        segments: its recording.
        samples: takes what is read.
    """

    def __init__(self, source: RestingSource, segments: SegmentSink, samples: list[Sample]) -> None:
        self._source, self._segments, self._samples = source, segments, samples
        self._next_s: float | None = None
        self._held_s: float | None = None

    def look(self, run: RunStatistics, elapsed_s: float) -> None:
        """Takes the next step; called often, on the thread that runs the pipeline."""
        if self._next_s is None:
            self._next_s = elapsed_s + REST_EVERY_S
        if not self._source.is_holding:
            if elapsed_s >= self._next_s:
                self._source.hold()  # takes effect with the next frame of the declared size
            return
        if self._held_s is None:
            self._held_s = elapsed_s
        if _is_through(run):
            self._segments.close()
            gc.collect()
            give_back_now()
            self._samples.append(read_sample(elapsed_s))
        elif elapsed_s - self._held_s < _SETTLE_S:
            return
        self._held_s, self._next_s = None, elapsed_s + REST_EVERY_S
        self._source.go_on()


def _is_through(run: RunStatistics) -> bool:
    """No frame is in progress in any stream."""
    return all(
        one.frames.waiting == 0 and one.written == one.frames.inferred for one in run.streams
    ) and not any(queued for one in run.streams for queued in one.queues.values())
