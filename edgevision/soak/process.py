"""What a process holds: memory, file handles, threads."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import msgspec

from edgevision.errors import UsageError

BLOCK_S = 30.0


class Sample(msgspec.Struct, frozen=True):
    """The process at one moment.

    Attributes:
        seconds: since the run began.
        memory_mib: resident memory.
        handles: open file handles.
        threads: of the system, those of libraries included.
    """

    seconds: float
    memory_mib: float
    handles: int
    threads: int


def read_sample(seconds: float) -> Sample:
    """The process now.

    Raises:
        UsageError: there is no ``/proc``.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        handles = sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1  # listing them opens one
        threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError as error:
        raise UsageError("soak reads memory, handles and threads from /proc, which only Linux has") from error
    return Sample(seconds, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, handles, threads)


class Blocks:
    """Medians over half a minute each, of samples as they come; keeping the samples would itself be a leak.

    Attributes:
        done: the blocks that are over.
    """

    def __init__(self) -> None:
        self.done: list[Sample] = []
        self._block = 0
        self._samples: list[Sample] = []

    def add(self, sample: Sample) -> None:
        """Takes the next sample."""
        block = int(sample.seconds // BLOCK_S)
        if block != self._block:
            self.finish()
            self._block = block
        self._samples.append(sample)

    def finish(self) -> None:
        """Ends the block that has begun."""
        group, self._samples = self._samples, []
        if group:
            self.done.append(
                Sample(
                    round(statistics.mean(one.seconds for one in group), 1),
                    round(statistics.median(one.memory_mib for one in group), 3),
                    statistics.median_low([one.handles for one in group]),
                    statistics.median_low([one.threads for one in group]),
                )
            )
