"""What became of every frame."""

from __future__ import annotations

import threading
from collections import Counter

import msgspec

from edgevision.types import DropReason


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger at one moment.

    ``captured == inferred + sum(dropped) + failed + waiting`` always; ``waiting`` is 0 after a run.

    Attributes:
        captured: frames that the source delivered.
        inferred: frames with an answer from every model.
        dropped: frames that never reached the model, by reason.
        failed: frames on which the model failed.
        waiting: frames on their way.
    """

    captured: int
    inferred: int
    dropped: dict[str, int]
    failed: int
    waiting: int


class FrameLedger:
    """Counts frames as they pass; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured = self._inferred = self._failed = 0
        self._dropped: Counter[DropReason] = Counter()

    def capture(self) -> None:
        with self._lock:
            self._captured += 1

    def infer(self) -> None:
        with self._lock:
            self._inferred += 1

    def fail(self) -> None:
        with self._lock:
            self._failed += 1

    def drop(self, reason: DropReason, frames: int = 1) -> None:
        if frames:
            with self._lock:
                self._dropped[reason] += frames

    def entry(self) -> LedgerEntry:
        """The counts now."""
        with self._lock:
            settled = self._inferred + self._failed + self._dropped.total()
            return LedgerEntry(
                captured=self._captured,
                inferred=self._inferred,
                dropped={reason.value: count for reason, count in self._dropped.items()},
                failed=self._failed,
                waiting=self._captured - settled,
            )
