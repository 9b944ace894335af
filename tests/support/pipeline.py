"""Sinks, sources and snapshots for the tests of edgevision.pipeline and of what reads its statistics."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from edgevision.errors import SinkError
from edgevision.pipeline import LedgerEntry, RunStatistics, StreamState, StreamStatistics, Times
from edgevision.types import Detections, FrameResult, Image
from edgevision.video.sinks.memory import ListSink


def ledger_entry(**changes: Any) -> LedgerEntry:
    fields: dict[str, Any] = {
        "captured": 15,
        "inferred": 10,
        "dropped": {"newer_frame": 5},
        "failed": {},
        "waiting": 0,
    }
    return LedgerEntry(**{**fields, **changes})


def stream_statistics(name: str = "webcam", **changes: Any) -> StreamStatistics:
    """A snapshot of a live stream that does well."""
    fields: dict[str, Any] = {
        "name": name,
        "source": name,
        "is_live": True,
        "state": StreamState.RUNNING,
        "models": {"colours": "fake engine"},
        "frames": ledger_entry(),
        "written": 10,
        "skipped": 0,
        "time_s": 0.4,
        "detections": {"red": 10},
        "class_shares": {},
        "seconds": 0.5,
        "frames_per_second": 20.0,
        "recent_frames_per_second": 24.96,
        "latency": Times(),
        "last_latency_ms": 31.4,
        "stages": {},
        "queues": {},
    }
    return StreamStatistics(**{**fields, **changes})


def run_statistics(*streams: StreamStatistics) -> RunStatistics:
    return RunStatistics(seconds=0.5, busy=0.9, streams=streams or (stream_statistics(),), engines=())


def balanced(entry: LedgerEntry) -> bool:
    """Whether an entry accounts for every frame of a run that is over."""
    settled = entry.inferred + sum(entry.dropped.values()) + sum(entry.failed.values())
    return entry.captured == settled and entry.waiting == 0


class FaultySink(ListSink):
    """Keeps what it is given; can be slow, fail or be closed by its viewer at a chosen frame."""

    def __init__(
        self,
        fail_at: int | None = None,
        close_at: int | None = None,
        fail_on_close: bool = False,
        delay_s: float = 0.0,
    ) -> None:
        super().__init__()
        self.notes.append("a note of the sink")
        self.closes = 0
        self.threads: set[threading.Thread] = set()
        self.fail_at, self.close_at = fail_at, close_at
        self.fail_on_close, self.delay_s = fail_on_close, delay_s

    def write(self, result: FrameResult, image: Image) -> None:
        if len(self.results) == self.fail_at:
            raise SinkError("disk full")
        time.sleep(self.delay_s)
        super().write(result, image)
        self.threads.add(threading.current_thread())
        self.closed = self.closed or len(self.results) == self.close_at

    def close(self) -> None:
        self.closes += 1
        if self.fail_on_close:
            raise SinkError("cannot finish")


def frame_indices(sink: ListSink) -> list[int]:
    """Positions of the frames that a :class:`ListSink` was given."""
    return [result.frame.index for result in sink.results]


def identified(stream: int, frame: int, size: int = 32) -> Image:
    """An image that says whose it is and which, for :func:`number_in`."""
    image = np.zeros((size, size, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = stream, frame % 256, frame // 256
    return image


def number_in(image: Image) -> Detections:
    """One box at ``(stream, frame)`` of an :func:`identified` image that fills the input."""
    height, width = image.shape[:2]
    stream, low, high = (int(value) for value in image[height // 2, width // 2])
    scale = width / 32  # boxes are of the input, and come back in the source's pixels
    x, y = stream * scale, (low + 256 * high) * scale
    return Detections(np.array([[x, y, x + scale, y + scale]]), np.array([0.9]), np.array([0]))
