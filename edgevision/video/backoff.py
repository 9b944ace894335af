"""How long to wait between attempts to reach something that is gone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that grow, so that a dead camera costs nothing, and differ, so that a hundred streams of one
    server that restarts do not come back in the same moment.

    Attributes:
        first_s: before the first attempt, in seconds.
        factor: from one wait to the next.
        longest_s: where growing ends.
        jitter: each wait is shortened by a random share of up to this, 0 to 1.
    """

    first_s: float = 0.5
    factor: float = 2.0
    longest_s: float = 30.0
    jitter: float = 0.5

    def waits(self, chance: random.Random) -> Iterator[float]:
        """Seconds before each attempt, without end.

        Example:
            >>> waits = Backoff(jitter=0).waits(random.Random())
            >>> [next(waits) for _ in range(8)]
            [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        """
        wait_s = self.first_s
        while True:
            yield wait_s * (1 - self.jitter * chance.random())
            wait_s = min(wait_s * self.factor, self.longest_s)
