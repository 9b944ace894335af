"""A bounded queue between two stages, with the policy for when it is full."""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Policy(str, Enum):
    """What happens to a frame while the next stage is busy."""

    WAIT = "wait"
    """The previous stage waits: for files, of which every frame counts."""
    KEEP_NEWEST = "keep_newest"
    """The oldest waiting frame is dropped: for live sources, which do not wait."""


class QueueEnded(Exception):  # noqa: N818  (an outcome, like StopIteration, and not an error)
    """The queue takes nothing more, or gives nothing more."""


class QueueEmpty(Exception):  # noqa: N818
    """No item came within the timeout."""


class BoundedQueue(Generic[T]):
    """Hands items from one thread to another.

    It ends in one of two ways. :meth:`finish` is for a producer that has no more: waiting items are still
    taken. :meth:`abort` is for a run that stops: waiting items are returned to the caller.

    Args:
        capacity: items that may wait.
        policy: what :meth:`put` does when that many wait.
        changed: notified of every change; several queues that one thread waits for share it. It must be
            re-entrant, as it is by default.

    Raises:
        ValueError: there is no room for one item.
    """

    def __init__(
        self, capacity: int, policy: Policy = Policy.WAIT, *, changed: threading.Condition | None = None
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be 1 or more; found {capacity}")
        self._capacity = capacity
        self._policy = policy
        self._items: deque[T] = deque()
        self._ended = False
        self._changed = threading.Condition() if changed is None else changed

    def __len__(self) -> int:
        return len(self._items)

    @property
    def has_ended(self) -> bool:
        """Nothing more goes in; something may still wait."""
        return self._ended

    def put(self, item: T) -> T | None:
        """Adds ``item``; waits for room under :attr:`Policy.WAIT`.

        Returns:
            The item that was dropped under :attr:`Policy.KEEP_NEWEST`, else None.

        Raises:
            QueueEnded: the queue was finished or aborted, before or while this waited.
        """
        with self._changed:
            displaced = None
            if self._policy is Policy.WAIT:
                self._changed.wait_for(lambda: self._ended or len(self._items) < self._capacity)
            elif len(self._items) >= self._capacity and not self._ended:
                displaced = self._items.popleft()
            if self._ended:
                raise QueueEnded
            self._items.append(item)
            self._changed.notify_all()
            return displaced

    def get(self, timeout_s: float | None = None) -> T:
        """Takes the oldest item, waiting for one.

        Raises:
            QueueEmpty: none came within ``timeout_s``.
            QueueEnded: none is left and none will come.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended or len(self._items) > 0, timeout_s):
                raise QueueEmpty
            if not self._items:
                raise QueueEnded
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def finish(self) -> None:
        """Takes nothing more; waiting items can still be taken out."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abort(self) -> list[T]:
        """Takes and gives nothing more, and returns the items that waited."""
        with self._changed:
            self._ended = True
            left = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return left
