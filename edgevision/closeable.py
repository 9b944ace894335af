"""What holds something that must be given back."""

from __future__ import annotations

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
