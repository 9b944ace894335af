"""One budget of threads for the whole process, so that its parts do not fight over the cores."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from edgevision.engines.base import usable_cores

_MOST_REQUESTS = 4  # each holds the memory of an inference


@dataclass(frozen=True, slots=True)
class ThreadBudget:
    """How many threads each part may use; see docs/pipeline.md for the measurements behind it.

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
        """Shares out ``threads``, by default the cores that this process may use.

        The engine gets them all, for it is what the run waits for, and its threads sleep between operators.
        ``for_throughput`` lets it work on several frames at a time with few threads each, which wait less for
        each other than many threads on one frame: for recordings, where no frame is in a hurry.
        A decoder and an encoder get a quarter each of a stream's share, one thread at the least and two at
        the most: more only makes them trip over the engine's.
        """
        total = threads or usable_cores()
        share = max(1, min(2, total // (4 * max(streams, 1))))
        requests = min(_MOST_REQUESTS, total) if for_throughput else 1
        return cls(engine=total, requests=requests, decode=share, encode=share)

    def apply(self) -> None:
        """Keeps OpenCV to one thread for each call: its pieces are small, and every stream has threads."""
        cv2.setNumThreads(1)
