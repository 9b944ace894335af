"""What holds something that must be given back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
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


def close_beside(close: Callable[[], None], name: str) -> threading.Thread | None:
    """Closes something on a thread of its own, which does not keep the process.

    Args:
        close: closes it; what it raises is its own to handle.
        name: of the thread.

    Returns:
        The thread; None where the system has no room for one.
    """
    thread = threading.Thread(target=close, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def close_each(closes: Sequence[Callable[[], None]], name: str) -> None:
    """Closes several things, none of which waits for another, and waits until all are closed.

    Args:
        closes: close them: the first on this thread, each other on one of its own.
        name: of these threads.

    Raises:
        BaseException: the first that one of them raised, once all are closed; an interrupt, which ends one
            close, before any other.
    """
    errors: list[BaseException] = []

    def attempt(close: Callable[[], None]) -> None:
        try:
            close()
        except BaseException as error:
            errors.append(error)

    others = [partial(attempt, close) for close in closes[1:]]
    threads = [close_beside(other, name) for other in others]
    for close in closes[:1]:
        attempt(close)
    for other, thread in zip(others, threads, strict=True):
        if thread is None:
            other()
        else:
            thread.join()
    for error in sorted(errors, key=lambda error: isinstance(error, Exception))[:1]:
        raise error


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
