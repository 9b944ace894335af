"""What a process holds: memory, file handles, threads."""

from __future__ import annotations

import contextlib
import ctypes
import os
import statistics
from pathlib import Path

import msgspec

from edgevision.errors import UsageError

BLOCK_S = 30.0
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_THRESHOLD_BYTES = 1 << 18
"""glibc's numbers for the size from which memory is mapped, that size, and its arenas (man 3 mallopt)."""


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


def give_back_freed_memory() -> bool:
    """Makes glibc return every freed image to the system at once, instead of keeping some for later.

    By default glibc keeps freed images, and resident memory wanders by tens of MiB for the first
    hour; giving memory back costs about 7 % of the speed.

    Returns:
        Whether the allocator could be configured; only glibc can.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES) and libc.mallopt(_M_ARENA_MAX, 1))
    return False


def give_back_now() -> None:
    """Makes glibc return what else is free, between things that are in use; elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


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
