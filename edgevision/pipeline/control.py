"""What those who watch a run say to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class StopRequest:
    """Asks a run to end early and finish its outputs.

    It is a plain attribute without a lock, so that a signal handler can set it at any moment.
    """

    reason: str | None = None
