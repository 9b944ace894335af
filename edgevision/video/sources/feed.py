"""One connection of a live source, read on its own thread."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from edgevision.types import Image
from edgevision.video.base import FailReason, SourceInfo

_CAPACITY = 2  # frames that can wait; a live source is read as its frames arrive
_UNREAD_S = 0.5  # after this time without a reader (models and outputs are opening) old frames are dropped


@dataclass(frozen=True, slots=True, eq=False)
class FeedFrame:
    """A decoded frame as a feed delivers it.

    Attributes:
        image: uint8 ``[H, W, 3]``, BGR.
        time_ns: presentation time on the feed's own clock, in nanoseconds; None if the feed has none.
        arrived_ns: time of arrival on this machine's monotonic clock, in nanoseconds.
        damaged: the decoder had to conceal errors.
    """

    image: Image
    time_ns: int | None
    arrived_ns: int
    damaged: bool = False


class Feed(Protocol):
    """One connection to a camera or stream. Used by a single thread.

    Iteration yields frames, and a :class:`FailReason` for each item that could not be decoded. A feed that
    can poll also yields None from time to time while nothing arrives, so that it can be stopped. Iteration
    ends at the source's regular end, and raises :class:`~edgevision.errors.SourceError` if the connection is
    lost.

    Attributes:
        info: properties of the source.
        notes: messages for the user, one line each; complete once connected.
    """

    info: SourceInfo
    notes: list[str]

    def __iter__(self) -> Iterator[FeedFrame | FailReason | None]: ...

    def close(self) -> None: ...


class FeedSilent(Exception):  # noqa: N818  (an outcome, not yet an error: the caller writes the message)
    """Nothing arrived within the time limit."""


class FeedThread:
    """Connects and reads on a daemon thread, because drivers and FFmpeg can block without a way to interrupt.

    A caller that waits here always wakes up: for a frame, at its timeout, or on :meth:`abandon`. A thread
    that hangs in a driver is abandoned; it closes its feed as soon as the driver returns.

    A live feed that is not read for a while after connecting drops old frames; otherwise they would pile up
    in the network and the driver, and the first frame read would be seconds old.

    Args:
        connect: opens the feed, or raises SourceError.
        name: name of the source, for the thread's name.
    """

    def __init__(self, connect: Callable[[], Feed], name: str) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        self._items: deque[FeedFrame | FailReason] = deque()
        self._feed: Feed | None = None
        self._error: Exception | None = None
        self._ended = False
        self._abandoned = False
        self._is_read = False
        self._drops_old = False
        self._thread = threading.Thread(target=self._run, name=f"feed {name}", daemon=True)
        self._thread.start()

    def feed(self, timeout_s: float) -> Feed | None:
        """The feed once it is connected; read its ``info`` and ``notes`` only. None once abandoned.

        Raises:
            FeedSilent: it did not connect in time.
            SourceError: it cannot be connected.
        """
        with self._changed:
            self._wait(lambda: self._feed is not None, timeout_s)
            if self._feed is None and self._error is not None:
                raise self._error
            return self._feed

    def next(self, timeout_s: float) -> FeedFrame | FailReason | None:
        """The next item; None at the regular end and once abandoned.

        Raises:
            FeedSilent: nothing arrived in time.
            SourceError: the feed is lost.
        """
        with self._changed:
            self._is_read, self._drops_old = True, False
            self._wait(lambda: len(self._items) > 0, timeout_s)
            if self._abandoned:
                return None
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            return None

    def abandon(self, wait_s: float = 0.0) -> None:
        """Wakes all waiting callers and makes the thread close the feed and end.

        Args:
            wait_s: how long to wait for that, so that the device is released and the server notified.
        """
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()
        self._thread.join(wait_s)

    def _wait(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        if not self._changed.wait_for(lambda: is_ready() or self._ended or self._abandoned, timeout_s):
            raise FeedSilent

    def _run(self) -> None:
        feed: Feed | None = None
        try:
            feed = self._connect()
            with self._changed:
                self._feed = feed
                self._changed.notify_all()
            for item in feed:
                if not self._put(item):
                    break
        except Exception as error:
            # Raised on the thread that waits for the feed.
            self._error = error
        finally:
            with contextlib.suppress(Exception):  # the first error matters more
                if feed is not None:
                    feed.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: FeedFrame | FailReason | None) -> bool:
        """Queues an item; False once abandoned."""
        with self._changed:
            if item is None:
                return not self._abandoned
            self._make_room()
            if self._abandoned:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def _make_room(self) -> None:
        def has_room() -> bool:
            return self._abandoned or len(self._items) < _CAPACITY

        is_live = self._feed is not None and self._feed.info.is_live
        while not has_room():
            if self._drops_old:
                self._items.popleft()
            elif self._is_read or not is_live:
                self._changed.wait_for(has_room)
            else:
                self._changed.wait_for(lambda: has_room() or self._is_read, _UNREAD_S)
                self._drops_old = not (has_room() or self._is_read)
