"""Where prepared frames of several streams wait for the engines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgevision.pipeline.queue import BoundedQueue, Policy, QueueEnded

T = TypeVar("T")


@dataclass(slots=True)
class Slot(Generic[T]):
    """One stream's place in an :class:`Intake`.

    Attributes:
        policy: what :meth:`Intake.put` does when ``capacity`` frames wait.
        capacity: frames that may wait.
        depth: frames of this stream that may be under way behind the intake at a time.
        admit: called with the frame that is next; False skips it.
        on_skip: called with each frame that was skipped.
        limit: frames to take in all; None for no limit.
        under_way: frames that are behind the intake now.
        end_reported: True once :meth:`Intake.take` has given the end of this stream.
    """

    policy: Policy
    capacity: int
    depth: int
    admit: Callable[[T], bool] = lambda item: True
    on_skip: Callable[[T], None] = lambda item: None
    limit: int | None = None
    under_way: int = 0
    end_reported: bool = False


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What the engines get next.

    Attributes:
        number: counts from 0, in the order in which things were taken.
        items: at most one frame of each stream, with the stream's number.
        ended: streams of which nothing more will come; each is given once.
    """

    number: int
    items: list[tuple[int, T]]
    ended: list[int]


class Intake(Generic[T]):
    """Hands the engines whatever is ready, at most one frame of each stream, the streams in rotation.

    A stream whose outputs lag has ``depth`` frames under way and is passed over until one is done: the
    engines never wait for a stream, and no stream waits for another one's outputs.

    Args:
        slots: one for each stream; further ones can be added.
        is_kept_open: further slots may come after all have ended, until :meth:`close`.
        max_batch: frames to hand out at once.

    Raises:
        ValueError: ``max_batch`` is below 1.
    """

    def __init__(self, slots: Sequence[Slot[T]], max_batch: int, is_kept_open: bool = False) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch must be 1 or more; found {max_batch}")
        self._slots = list(slots)
        self._is_kept_open = is_kept_open
        self._max_batch = max_batch
        self._first = self._number = 0
        self._changed = threading.Condition()
        self._queues: list[BoundedQueue[T]] = [
            BoundedQueue(slot.capacity, slot.policy, changed=self._changed) for slot in slots
        ]

    def add(self, slot: Slot[T], number: int | None = None) -> int:
        """A further stream; returns its number.

        Args:
            slot: its place.
            number: of a stream that is over, which it takes the place of; None for a new one.
        """
        queue: BoundedQueue[T] = BoundedQueue(slot.capacity, slot.policy, changed=self._changed)
        with self._changed:
            if number is None:
                self._slots.append(slot)
                self._queues.append(queue)
                return len(self._slots) - 1
            self._slots[number], self._queues[number] = slot, queue
            return number

    def close(self) -> None:
        """No further stream is added."""
        with self._changed:
            self._is_kept_open = False
            self._changed.notify_all()

    def waiting(self, stream: int) -> int:
        """Frames of a stream that wait."""
        return len(self._queues[stream])

    def put(self, stream: int, item: T) -> T | None:
        """Adds a frame of a stream; see :meth:`~edgevision.pipeline.queue.BoundedQueue.put`."""
        return self._queues[stream].put(item)

    def take(self) -> Taken[T]:
        """What the engines run next; waits until there is a frame or an end. From any number of threads.

        Raises:
            QueueEnded: every stream has ended, and every end was given.
        """
        with self._changed:
            while True:
                taken = Taken(self._number, self._collect(), self._newly_ended())
                if taken.items or taken.ended:
                    self._number += 1
                    return taken
                if not self._is_kept_open and all(slot.end_reported for slot in self._slots):
                    raise QueueEnded
                self._changed.wait()

    def _collect(self) -> list[tuple[int, T]]:
        found: list[tuple[int, T]] = []
        for step in range(len(self._slots)):
            stream = (self._first + step) % len(self._slots)
            slot, queue = self._slots[stream], self._queues[stream]
            while len(queue) > 0 and slot.under_way < slot.depth and slot.limit != 0:
                item = queue.get()  # at once, for this thread holds the lock and something is there
                if slot.admit(item):
                    found.append((stream, item))
                    slot.under_way += 1
                    if slot.limit is not None:
                        slot.limit -= 1
                    break
                slot.on_skip(item)
            if len(found) == self._max_batch:
                break
        if found:
            self._first = found[-1][0] + 1
        return found

    def _newly_ended(self) -> list[int]:
        ended = []
        for stream, (slot, queue) in enumerate(zip(self._slots, self._queues, strict=True)):
            is_over = slot.limit == 0 or (queue.has_ended and len(queue) == 0)
            if is_over and not slot.end_reported:
                slot.end_reported = True
                ended.append(stream)
        if ended:
            self._changed.notify_all()  # another thread that takes may have nothing left to wait for
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
        self._queues[stream].finish()

    def abort(self, stream: int) -> list[T]:
        """Nothing more goes in or out; returns what waited."""
        return self._queues[stream].abort()
