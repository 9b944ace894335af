"""An account of every frame: inferred, dropped, failed or waiting."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from enum import Enum

import msgspec

from edgevision.video.base import FailReason

MODEL_FAILED = "model"
"""The reason of frames on which a model failed, beside the reasons of :class:`FailReason`."""


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger at one moment.

    ``captured == inferred + sum(dropped) + sum(failed) + waiting`` always; ``waiting`` is 0 after a run.

    Attributes:
        captured: frames that the source delivered, including those that could not be decoded.
        inferred: frames with an answer from every model.
        dropped: frames that never reached the model, by reason.
        failed: frames that could not be decoded, or on which the model failed, by reason.
        waiting: frames under way.
    """

    captured: int
    inferred: int
    dropped: dict[str, int]
    failed: dict[str, int]
    waiting: int


class FrameLedger:
    """Counts the frames of one stream; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured = self._inferred = self._model_failed = 0
        self._dropped: Counter[DropReason] = Counter()
        self._source_failed: dict[FailReason, int] = {}
        self._failed_before: Counter[FailReason] = Counter()
        self._closed = False

    def capture(self) -> None:
        with self._lock:
            if not self._closed:
                self._captured += 1

    def source_failed(self, counts: Mapping[FailReason, int]) -> None:
        """Sets how many frames the source failed to decode until now, by reason."""
        with self._lock:
            if not self._closed:
                self._source_failed = dict(counts)

    def next_source(self) -> None:
        """Another source follows, whose own counts begin at 0; these go on."""
        with self._lock:
            self._failed_before.update(self._source_failed)
            self._source_failed = {}

    def infer(self) -> None:
        with self._lock:
            if not self._closed:
                self._inferred += 1

    def fail(self) -> None:
        """A model failed on a frame."""
        with self._lock:
            if not self._closed:
                self._model_failed += 1

    def drop(self, reason: DropReason, frames: int = 1) -> None:
        with self._lock:
            if frames and not self._closed:
                self._dropped[reason] += frames

    def close(self) -> LedgerEntry:
        """Ends the account: what still waits is dropped, and what a blocked source delivers later is not
        counted."""
        with self._lock:
            if not self._closed and self._waiting():
                self._dropped[DropReason.SHUTDOWN] += self._waiting()
            self._closed = True
        return self.entry()

    def entry(self) -> LedgerEntry:
        """The counts now."""
        with self._lock:
            of_sources = self._failed_before + Counter(self._source_failed)
            failed = {reason.value: count for reason, count in of_sources.items() if count}
            if self._model_failed:
                failed[MODEL_FAILED] = self._model_failed
            return LedgerEntry(
                captured=self._captured + of_sources.total(),
                inferred=self._inferred,
                dropped={reason.value: count for reason, count in self._dropped.items()},
                failed=failed,
                waiting=self._waiting(),
            )

    def _waiting(self) -> int:
        return self._captured - self._inferred - self._model_failed - self._dropped.total()


class DropReason(str, Enum):
    """Why a frame that was captured never reached the model."""

    NEWER_FRAME = "newer_frame"
    """A live source delivered a newer frame while this one waited."""
    LATENCY = "latency"
    """It would have come too late, or was skipped so that others do not."""
    SHUTDOWN = "shutdown"
    """The run ended while the frame waited."""
