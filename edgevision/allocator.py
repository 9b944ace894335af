"""What glibc's malloc does with freed memory (man 3 mallopt). With another C library nothing happens."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
"""glibc's numbers of four limits: the free memory at the end of the heap, beyond which it goes back to the
system; the size of a block, beyond which it is mapped by itself and goes back when it is freed; how many
blocks are mapped so; how many heaps there are."""

_SMALL_BYTES = 1 << 18
_USUAL_BYTES = 1 << 25  # the most that glibc raises its threshold to by itself; it trims at twice that
_USUAL_BLOCKS = 1 << 16
_HIGHEST_BYTES = (1 << 31) - 1


def give_back_freed_memory() -> bool:
    """Makes glibc return every freed image to the system at once, instead of keeping some for later.

    By default glibc keeps freed images, and resident memory wanders by tens of MiB for the first
    hour; giving memory back costs about 7 % of the speed.

    Returns:
        Whether the allocator could be configured; only glibc can.
    """
    return _set({_M_MMAP_THRESHOLD: _SMALL_BYTES, _M_ARENA_MAX: 1})


def keep_freed_memory() -> bool:
    """Makes glibc keep all freed memory for what the program asks for next.

    A step of training frees hundreds of maps of many MiB, and the next step asks for them again. By default
    the large ones go back to the system, which fills their pages with zeros when they are asked for again.
    Kept, they are neither returned nor filled. The most memory that is held stays the same, but what is freed
    is not there for other processes.

    Returns:
        Whether the allocator could be configured; only glibc can.
    """
    return _set({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _HIGHEST_BYTES})


def keep_as_usual() -> bool:
    """Undoes :func:`keep_freed_memory`, and returns what was kept: the limits are those that glibc ends at.

    Returns:
        Whether the allocator could be configured; only glibc can.
    """
    give_back_now()
    limits = {
        _M_MMAP_MAX: _USUAL_BLOCKS,
        _M_MMAP_THRESHOLD: _USUAL_BYTES,
        _M_TRIM_THRESHOLD: 2 * _USUAL_BYTES,
    }
    return _set(limits)


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within it freed memory is kept, see :func:`keep_freed_memory`; at its end it is returned."""
    keep_freed_memory()
    try:
        yield
    finally:
        keep_as_usual()


def give_back_now() -> None:
    """Makes glibc return what else is free, between things that are in use."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _set(options: dict[int, int]) -> bool:
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        return all(libc.mallopt(name, value) for name, value in options.items())
    return False
