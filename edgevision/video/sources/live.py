"""A live source that comes back: one of many connections after the other, read as one source."""

from __future__ import annotations

import dataclasses
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from edgevision.closeable import Closeable
from edgevision.errors import SourceError, SourceTimeoutError
from edgevision.types import Frame
from edgevision.video.base import Connection, ConnectionState, FailReason, SourceInfo, SourceReport
from edgevision.video.codec.decode import DEFAULT_RATE, damage_notes
from edgevision.video.codec.timeline import LiveTimeline, Timeline
from edgevision.video.sources.feed import Feed, FeedSilent, FeedThread, Picture
from edgevision.video.sources.freeze import FreezeWatch
from edgevision.video.sources.options import SourceOptions

_LOG = logging.getLogger(__name__)
_TOLD = 10  # changes of size; a source that has more of them would fill the log
_CLOSE_S = 0.3  # an orderly goodbye takes less; what hangs is left behind


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that grow, so that a dead camera costs nothing, and differ, so that a hundred streams of one
    server that restarts do not come back in the same moment.

    Attributes:
        first_s: before the first attempt, in seconds.
        factor: from one wait to the next.
        longest_s: where growing ends.
        jitter: each wait is shortened by a random share of up to this, 0 to 1.
    """

    first_s: float = 0.5
    factor: float = 2.0
    longest_s: float = 30.0
    jitter: float = 0.5

    def waits(self, chance: random.Random) -> Iterator[float]:
        """Seconds before each attempt, without end.

        Example:
            >>> waits = Backoff(jitter=0).waits(random.Random())
            >>> [next(waits) for _ in range(8)]
            [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        """
        wait_s = self.first_s
        while True:
            yield wait_s * (1 - self.jitter * chance.random())
            wait_s = min(wait_s * self.factor, self.longest_s)


class LiveSource(Closeable):
    """Reads a feed, and connects a new one when it is lost: silent, frozen, or broken off.

    Each loss, and each attempt to come back with what became of it, is one line in the log. Frames are
    numbered and timed through as if nothing had happened; the gap is in their times.

    Args:
        name: for people, without credentials.
        connect: opens a feed, or raises SourceError with a message that is fit to be seen.
        options: how long to wait, and how often to try.
        advice: what people should check when nothing comes.
        backoff: between attempts.
        seed: of the jitter; by default it differs from run to run.

    Raises:
        SourceError: it cannot be opened and ``options.wait`` is not set; or (while iterating) it is lost
            and the attempts are used up. Time-outs are SourceTimeoutError.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Feed],
        options: SourceOptions,
        *,
        advice: str,
        backoff: Backoff = Backoff(),
        seed: int | None = None,
    ) -> None:
        self.connection = Connection()
        self.report = SourceReport(connection=self.connection)
        self.info = SourceInfo(name, is_live=True)
        self._connect = connect
        self._options = options
        self._advice = advice
        self._backoff = backoff
        self._chance = random.Random(seed)
        self._closed = threading.Event()
        self._lock = threading.Lock()  # a feed is begun either before closing, and is closed, or never
        self._feed: FeedThread | None = None
        self._clock = LiveTimeline()
        self._recorded: Timeline | None = None  # of what is no live picture, but a recording that is far away
        self._watch = FreezeWatch(options.freeze_s)
        self._size: tuple[int, int] | None = None
        self._resized = self._damaged = 0
        self._early: SourceError | None = None
        try:
            feed = self._open()
            if feed is not None:
                self.info = dataclasses.replace(feed.info, name=name)
                if not self.info.is_live:
                    self._recorded = Timeline(round(1e9 / (self.info.frame_rate or DEFAULT_RATE)))
        except SourceError as error:
            self.connection.state = ConnectionState.CLOSED
            if not options.wait:
                raise
            self._early = error

    def __iter__(self) -> Iterator[Frame]:
        try:
            while not self._closed.is_set():
                try:
                    picture = self._picture()
                except SourceError as error:
                    picture = self._come_back(error)
                if picture is None:
                    return
                frame = self._frame(picture)
                self.report.read += 1
                yield frame
        finally:
            self.connection.state = ConnectionState.CLOSED

    def close(self) -> None:
        """Ends the iteration, whichever thread it is on, and waits for nothing.

        The connection is closed by the thread that reads it; one that hangs in a driver is left behind.
        """
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
        if self._feed is not None:
            self._feed.abandon()
        self.connection.state = ConnectionState.CLOSED
        self.report.notes += (self._recorded or self._clock).notes() + damage_notes(self._damaged)
        if self._resized and self._size is not None:
            times = "once" if self._resized == 1 else f"{self._resized} times"
            self.report.notes.append(
                f"the picture changed its size {times}; it ended as {self._size[0]}x{self._size[1]}"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._feed is not None:
            self._feed.abandon(_CLOSE_S)

    def _open(self) -> Feed | None:
        """Begins a new connection; None once closed."""
        if self._feed is not None:
            self._feed.abandon(_CLOSE_S)
        with self._lock:
            if self._closed.is_set():
                return None
            self._feed = thread = FeedThread(self._connect, self.info.name)
        self._clock.restart()
        try:
            feed = thread.feed(self._options.connect_timeout_s)
        except FeedSilent:
            thread.abandon()
            raise self._silence("cannot open", self._options.connect_timeout_s) from None
        if feed is not None:
            self.report.notes += [note for note in feed.notes if note not in self.report.notes]
        return feed

    def _picture(self) -> Picture | None:
        """The next picture; None at the source's end and once closed."""
        if self._early is not None:
            early, self._early = self._early, None
            raise early
        feed, deadline = self._feed, time.monotonic() + self._options.read_timeout_s
        while feed is not None:
            try:
                item = feed.next(max(0.0, deadline - time.monotonic()))
            except FeedSilent:
                raise self._silence("lost", self._options.read_timeout_s) from None
            if isinstance(item, FailReason):
                self.report.failed[item] += 1
                continue
            if item is not None and self.info.is_live and self._watch.frozen(item.image, item.arrived_ns):
                raise SourceTimeoutError(
                    f"lost {self.info.name}: the same picture for {self._options.freeze_s:g} s"
                )
            return item
        return None

    def _come_back(self, lost: SourceError) -> Picture | None:
        """Waits and connects until a picture is there; None once closed.

        A connection without a picture is no success: some servers take every call and hang up.
        """
        if self._closed.is_set():
            return None
        limit = self._options.max_attempts
        if not self.info.is_live or limit == 0:
            raise lost
        since = time.monotonic()
        self.connection.state, self.connection.error = ConnectionState.RECONNECTING, str(lost)
        _LOG.warning("%s; reconnecting", lost)
        for attempt, wait_s in enumerate(self._backoff.waits(self._chance), start=1):
            if limit is not None and attempt > limit:
                raise SourceError(f"{self.connection.error}; gave up after {_count(limit, 'attempt')}")
            if self._closed.wait(wait_s):
                return None
            try:
                picture = None if self._open() is None else self._picture()
            except SourceError as error:
                self.connection.failed_attempts += 1
                self.connection.error = str(error)
                _LOG.warning("attempt %d failed after %.1f s: %s", attempt, time.monotonic() - since, error)
                continue
            if picture is not None:
                lost_s = time.monotonic() - since
                self.connection.state = ConnectionState.CONNECTED
                self.connection.reconnects += 1
                self.connection.lost_s += lost_s
                _LOG.warning("%s is back after %.1f s (attempt %d)", self.info.name, lost_s, attempt)
            return picture
        raise AssertionError("waits have no end")

    def _frame(self, picture: Picture) -> Frame:
        size = (picture.image.shape[1], picture.image.shape[0])
        if self._size is not None and size != self._size:
            self._resized += 1
            if self._resized <= _TOLD:
                _LOG.info("%s: the picture is now %dx%d, it was %dx%d", self.info.name, *size, *self._size)
        self._size = size
        self._damaged += picture.damaged
        if self._recorded is not None:
            moment = self._recorded.next(picture.time_ns)
        else:
            moment = self._clock.next(picture.time_ns, picture.arrived_ns)
        return Frame(picture.image, self.report.read, moment, self.info.name)

    def _silence(self, what: str, seconds: float) -> SourceTimeoutError:
        return SourceTimeoutError(f"{what} {self.info.name}: nothing came for {seconds:g} s; {self._advice}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
