"""What a run and those who watch it say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.pipeline.ledger import LedgerEntry


@dataclass(slots=True)
class StopRequest:
    """Asks a run to end early and finish its outputs.

    It is a plain attribute without a lock, so that a signal handler can set it at any moment.
    """

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        written: frames done.
        time_s: presentation time of the last one, in seconds.
        frames_per_second: over the last frames.
        latency_ms: of the last frame, from capture until every sink had it.
        frames: the ledger.
    """

    written: int
    time_s: float
    frames_per_second: float
    latency_ms: float
    frames: LedgerEntry
