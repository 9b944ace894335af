"""One budget of threads for the whole process, so that its parts do not fight over the cores."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from edgevision.engines.base import usable_cores


@dataclass(frozen=True, slots=True)
class ThreadBudget:
    """How many threads each part may use; see docs/pipeline.md for the measurements behind it.

    Attributes:
        engine: of one inference on a CPU.
        decode: of each stream's decoder.
        encode: of each recording's encoder.
    """

    engine: int
    decode: int
    encode: int

    @classmethod
    def of(cls, threads: int | None = None, streams: int = 1) -> ThreadBudget:
        """Shares out ``threads``, by default the cores that this process may use.

        The engine gets them all, for it is what the run waits for, and its threads sleep between operators.
        A decoder and an encoder get a quarter each of a stream's share, one thread at the least and two at
        the most: more only makes them trip over the engine's.
        """
        total = threads or usable_cores()
        share = max(1, min(2, total // (4 * max(streams, 1))))
        return cls(engine=total, decode=share, encode=share)

    def apply(self) -> None:
        """Keeps OpenCV to one thread for each call: its pieces are small, and every stream has threads."""
        cv2.setNumThreads(1)
