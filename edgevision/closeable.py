"""What holds something that must be given back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, TypeVar

T = TypeVar("T", bound="Closeable")


class Closeable(Protocol):
    """Closed by hand or at the end of a ``with`` block, on every way out of it.

    A protocol to ask for, and a base class that brings the ``with`` statement to a class with a ``close``.
    """

    def close(self) -> None:
        """Gives back what is held; safe to call twice."""
        ...

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class UseLock:
    """Keeps a close from what another thread is using, which crashes FFmpeg and CUDA.

    A close waits for the use that is under way, for a limited time; after that, whoever uses it closes it.

    Args:
        close: gives it back; safe to call twice.
        limit_s: how long a close waits, in seconds.

    Attributes:
        is_closed: it is closed, or will be once the use that is under way is over.
    """

    def __init__(self, close: Callable[[], None], limit_s: float) -> None:
        self._close, self._limit_s = close, limit_s
        self._lock = threading.Lock()
        self.is_closed = False

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """While it lasts, no other thread uses or closes it."""
        with self._lock:
            try:
                yield
            finally:
                if self.is_closed:
                    self._close()

    def close(self) -> None:
        """Closes it now, or leaves that to the thread that does not come back from using it."""
        self.is_closed = True
        if self._lock.acquire(timeout=self._limit_s):
            try:
                self._close()
            finally:
                self._lock.release()
