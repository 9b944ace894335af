"""Where prepared frames of several streams wait for one engine."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edgevision.pipeline.queue import Policy, QueueEnded

T = TypeVar("T")


@dataclass(slots=True)
class Slot(Generic[T]):
    """One stream's place in an :class:`Intake`.

    Attributes:
        policy: what :meth:`Intake.put` does when ``capacity`` frames wait.
        capacity: frames that may wait.
        depth: frames of this stream that may be under way behind the intake at a time.
        admit: asked about the frame that is next; False skips it.
        skipped: told of each frame that was skipped.
        limit: frames to take in all; None for no limit.
    """

    policy: Policy
    capacity: int
    depth: int
    admit: Callable[[T], bool] = lambda item: True
    skipped: Callable[[T], None] = lambda item: None
    limit: int | None = None
    items: deque[T] = field(default_factory=deque)
    under_way: int = 0
    ended: bool = False
    told: bool = False


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What the engine gets next.

    Attributes:
        number: counts from 0, in the order in which things were taken.
        items: at most one frame of each stream, with the stream's number.
        ended: streams of which nothing more will come; each is told once.
    """

    number: int
    items: list[tuple[int, T]]
    ended: list[int]


class Intake(Generic[T]):
    """Hands the engine whatever is ready, a frame of each stream at the most, in turn.

    A stream whose outputs lag has ``depth`` frames under way and is passed over until one is done: the
    engine never waits for a stream, and no stream waits for another one's outputs.

    Args:
        slots: one for each stream.
        max_batch: frames to hand out at once.
    """

    def __init__(self, slots: Sequence[Slot[T]], max_batch: int) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch must be 1 or more; found {max_batch}")
        self._slots = slots
        self._max_batch = max_batch
        self._first = self._number = 0
        self._changed = threading.Condition()

    def waiting(self, stream: int) -> int:
        """Frames of a stream that wait."""
        return len(self._slots[stream].items)

    def put(self, stream: int, item: T) -> T | None:
        """Adds a frame; waits for room under :attr:`Policy.WAIT`.

        Returns:
            The frame that had to make room under :attr:`Policy.KEEP_NEWEST`, else None.

        Raises:
            QueueEnded: the stream has ended, before or while this waited.
        """
        slot = self._slots[stream]
        with self._changed:
            displaced = None
            if slot.policy is Policy.WAIT:
                self._changed.wait_for(lambda: slot.ended or len(slot.items) < slot.capacity)
            elif len(slot.items) >= slot.capacity and not slot.ended:
                displaced = slot.items.popleft()
            if slot.ended:
                raise QueueEnded
            slot.items.append(item)
            self._changed.notify_all()
            return displaced

    def take(self) -> Taken[T]:
        """What the engine runs next; waits until there is something to tell. From any number of threads.

        Raises:
            QueueEnded: every stream has ended, and all was told.
        """
        with self._changed:
            while True:
                taken = Taken(self._number, self._collect(), self._newly_ended())
                if taken.items or taken.ended:
                    self._number += 1
                    self._changed.notify_all()  # there is room again
                    return taken
                if all(slot.told for slot in self._slots):
                    raise QueueEnded
                self._changed.wait()

    def _collect(self) -> list[tuple[int, T]]:
        found: list[tuple[int, T]] = []
        for turn in range(len(self._slots)):
            stream = (self._first + turn) % len(self._slots)
            slot = self._slots[stream]
            while slot.items and slot.under_way < slot.depth and slot.limit != 0:
                item = slot.items.popleft()
                if slot.admit(item):
                    found.append((stream, item))
                    slot.under_way += 1
                    slot.limit = slot.limit and slot.limit - 1
                    break
                slot.skipped(item)
            if len(found) == self._max_batch:
                break
        if found:
            self._first = found[-1][0] + 1
        return found

    def _newly_ended(self) -> list[int]:
        ended = []
        for stream, slot in enumerate(self._slots):
            if not slot.told and (slot.limit == 0 or (slot.ended and not slot.items)):
                slot.told = True
                ended.append(stream)
        return ended

    def done(self, stream: int, depth: int) -> None:
        """A frame of ``stream`` is through; from now on ``depth`` of them may be under way."""
        with self._changed:
            slot = self._slots[stream]
            slot.under_way -= 1
            slot.depth = depth
            self._changed.notify_all()

    def finish(self, stream: int) -> None:
        """Nothing more comes; what waits is still handed out."""
        with self._changed:
            self._slots[stream].ended = True
            self._changed.notify_all()

    def abort(self, stream: int) -> list[T]:
        """Nothing more goes in or out; returns what waited."""
        with self._changed:
            slot = self._slots[stream]
            slot.ended = True
            left = list(slot.items)
            slot.items.clear()
            self._changed.notify_all()
            return left
