"""One budget of threads for the whole process, so that its parts do not compete for the cores."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import cv2

from edgevision.engines.base import requests_of, usable_cores


@dataclass(frozen=True, slots=True)
class ThreadBudget:
    """How many threads each part may use; docs/concepts/pipeline.md has the measurements.

    Attributes:
        engine: of the engine on a CPU.
        requests: inferences that run at the same time and share these.
        decode: of each stream's decoder.
        encode: of each recording's encoder.
    """

    engine: int
    requests: int
    decode: int
    encode: int

    @classmethod
    def of(
        cls, threads: int | None = None, streams: int = 1, *, for_throughput: bool = False
    ) -> ThreadBudget:
        """Divides ``threads``, by default the cores that this process may use.

        The engine gets all of them, because the run waits for it, and its threads sleep between operators.
        ``for_throughput`` lets it work on several frames at a time with few threads each, which wait less for
        each other than many threads on one frame: for recordings, where only throughput counts.
        A decoder and an encoder get a quarter each of a stream's share, but one to two threads: more would
        compete with the engine's.
        """
        total = threads or usable_cores()
        share = max(1, min(2, total // (4 * max(streams, 1))))
        requests = requests_of(total, for_throughput=for_throughput)
        return cls(engine=total, requests=requests, decode=share, encode=share)

    def apply(self) -> None:
        """Limits OpenCV to one thread a call: its operations are small, and every stream has threads."""
        cv2.setNumThreads(1)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """As :meth:`apply`, for a run; the last run of the process to end puts OpenCV back."""
        _OPENCV.begin()
        try:
            yield
        finally:
            _OPENCV.end()


class _OpenCvThreads:
    """OpenCV's number of threads, which all runs of a process share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._before = 0

    def begin(self) -> None:
        with self._lock:
            if self._runs == 0:
                self._before = cv2.getNumThreads()
            self._runs += 1
            cv2.setNumThreads(1)

    def end(self) -> None:
        with self._lock:
            self._runs -= 1
            if self._runs == 0:
                cv2.setNumThreads(self._before)


_OPENCV = _OpenCvThreads()
