"""One connection of a live source, read on a thread of its own."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from edgevision.types import Image
from edgevision.video.base import FailReason, SourceInfo

_AHEAD = 2  # pictures that may wait; whoever reads a live source takes them as they come
_PATIENCE_S = 0.5  # with a live source that nobody reads yet, while models and outputs are opened


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture as a feed delivers it.

    Attributes:
        image: uint8 ``[H, W, 3]``, BGR.
        time_ns: on the feed's own clock, in nanoseconds; None where it says nothing.
        arrived_ns: when it was there, on this machine's monotonic clock.
        damaged: the decoder mended it as far as it could.
    """

    image: Image
    time_ns: int | None
    arrived_ns: int
    damaged: bool = False


class Feed(Protocol):
    """A camera or stream from the moment it is connected until it breaks. One thread uses it.

    Iteration yields pictures, for what did not become a picture the reason, and None now and then while
    nothing comes, where it can: then it can be stopped. It ends where the source has a regular end, and
    raises :class:`~edgevision.errors.SourceError` where it was lost.

    Attributes:
        info: what is known about it.
        notes: what people should know, one line each; complete when it is connected.
    """

    info: SourceInfo
    notes: list[str]

    def __iter__(self) -> Iterator[Picture | FailReason | None]: ...

    def close(self) -> None: ...


class FeedSilent(Exception):  # noqa: N818  (an outcome; who waits knows what to say about it)
    """Nothing came in the time allowed."""


class FeedThread:
    """Connects and reads on a daemon thread, because drivers and FFmpeg block where nobody can wake them.

    Whoever waits here can always be woken: by a picture, by time, and by :meth:`abandon`. A thread that
    hangs in a driver is left behind; it closes its feed as soon as the driver lets it go.

    A live feed that nobody reads for a while after it was connected lets old pictures go: they would wait in
    the network and the driver, and what is read first would be seconds old.

    Args:
        connect: opens the feed, or raises SourceError.
        name: of the source, for the thread's name.
    """

    def __init__(self, connect: Callable[[], Feed], name: str) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        self._items: deque[Picture | FailReason] = deque()
        self._feed: Feed | None = None
        self._error: Exception | None = None
        self._ended = False
        self._abandoned = False
        self._is_read = False
        self._lets_go = False
        self._thread = threading.Thread(target=self._run, name=f"feed {name}", daemon=True)
        self._thread.start()

    def feed(self, timeout_s: float) -> Feed | None:
        """The feed once it is connected; read its ``info`` and ``notes`` only. None once abandoned.

        Raises:
            FeedSilent: it is not connected in time.
            SourceError: it cannot be connected.
        """
        with self._changed:
            self._wait(lambda: self._feed is not None, timeout_s)
            if self._feed is None and self._error is not None:
                raise self._error
            return self._feed

    def next(self, timeout_s: float) -> Picture | FailReason | None:
        """What comes next; None at the regular end and once abandoned.

        Raises:
            FeedSilent: nothing comes in time.
            SourceError: the feed is lost.
        """
        with self._changed:
            self._is_read, self._lets_go = True, False
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
        """Wakes whoever waits, and lets the thread close the feed and end.

        Args:
            wait_s: how long to wait for that, so that a device is free again and a server was told.
        """
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()
        self._thread.join(wait_s)

    def _wait(self, there: Callable[[], bool], timeout_s: float) -> None:
        if not self._changed.wait_for(lambda: there() or self._ended or self._abandoned, timeout_s):
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
            # Whoever waits raises it, on a thread where somebody sees it.
            self._error = error
        finally:
            with contextlib.suppress(Exception):  # what went wrong before matters more
                if feed is not None:
                    feed.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: Picture | FailReason | None) -> bool:
        """Hands the item over; False once abandoned."""
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
        def there() -> bool:
            return self._abandoned or len(self._items) < _AHEAD

        is_live = self._feed is not None and self._feed.info.is_live
        while not there():
            if self._lets_go:
                self._items.popleft()
            elif self._is_read or not is_live:
                self._changed.wait_for(there)
            else:
                self._changed.wait_for(lambda: there() or self._is_read, _PATIENCE_S)
                self._lets_go = not (there() or self._is_read)
