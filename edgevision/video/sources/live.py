"""A live source that reconnects: successive connections, read as one source."""

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
from edgevision.video.sources.feed import Feed, FeedFrame, FeedSilent, FeedThread
from edgevision.video.sources.freeze import FreezeWatch
from edgevision.video.sources.options import SourceOptions

_LOG = logging.getLogger(__name__)
_MAX_RESIZE_LOGS = 10  # further changes of size are counted but not logged
_CLOSE_S = 0.3  # a normal close takes less; a connection that hangs is abandoned


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter: a dead camera costs little, and a hundred streams of one restarted
    server do not reconnect at the same moment.

    Attributes:
        first_s: wait before the first attempt, in seconds.
        factor: growth from one wait to the next.
        longest_s: upper limit of a wait, in seconds.
        jitter: each wait is shortened by a random fraction of up to this, 0 to 1.
    """

    first_s: float = 0.5
    factor: float = 2.0
    longest_s: float = 30.0
    jitter: float = 0.5

    def waits(self, generator: random.Random) -> Iterator[float]:
        """Seconds to wait before each attempt; infinite.

        Example:
            >>> waits = Backoff(jitter=0).waits(random.Random())
            >>> [next(waits) for _ in range(8)]
            [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        """
        wait_s = self.first_s
        while True:
            yield wait_s * (1 - self.jitter * generator.random())
            wait_s = min(wait_s * self.factor, self.longest_s)


class LiveSource(Closeable):
    """Reads a feed, and reconnects when it is lost: silent, frozen or disconnected.

    Each loss is one line in the log, and so is its end; attempts that fail are counted, and logged for
    debugging. Frame numbers and times continue across an outage, which is visible as a gap in the times.

    Args:
        name: display name, without credentials.
        connect: opens a feed, or raises SourceError with a message without secrets.
        options: time limits and number of attempts.
        advice: what the user should check when nothing arrives.
        backoff: waits between attempts.
        seed: random seed of the jitter; by default it differs between runs.

    Raises:
        SourceError: it cannot be opened and ``options.wait`` is not set; or (while iterating) it is lost
            and all attempts failed. SourceTimeoutError for timeouts.
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
        self._random = random.Random(seed)
        self._closed = threading.Event()
        self._lock = threading.Lock()  # a feed started before close() is closed; none is started after it
        self._feed: FeedThread | None = None
        self._clock = LiveTimeline()
        self._recorded: Timeline | None = None  # for a remote recording, which is not live
        self._watch = FreezeWatch(options.freeze_s)
        self._size: tuple[int, int] | None = None
        self._resized = self._damaged = 0
        self._open_error: SourceError | None = None
        try:
            feed = self._open()
            if feed is not None:
                self.info = dataclasses.replace(feed.info, name=name)
                if not self.info.is_live:
                    self._recorded = self.info.timeline or Timeline(
                        round(1e9 / (self.info.frame_rate or DEFAULT_RATE))
                    )
        except SourceError as error:
            self.connection.state = ConnectionState.CLOSED
            if not options.wait:
                raise
            self._open_error = error

    def __iter__(self) -> Iterator[Frame]:
        try:
            while not self._closed.is_set():
                try:
                    item = self._next()
                except SourceError as error:
                    item = self._reconnect(error)
                if item is None:
                    return
                frame = self._frame(item)
                self.report.read += 1
                yield frame
        finally:
            self.connection.state = ConnectionState.CLOSED

    def close(self) -> None:
        """Ends the iteration on any thread without waiting.

        The connection is closed by the thread that reads it; one that hangs in a driver is abandoned.
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
                f"the frame size changed {times}, finally to {self._size[0]}x{self._size[1]}"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._feed is not None:
            self._feed.abandon(_CLOSE_S)

    def _open(self) -> Feed | None:
        """Starts a new connection; None once closed."""
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
            raise self._timeout("cannot open", self._options.connect_timeout_s) from None
        if feed is not None:
            self.report.notes += [note for note in feed.notes if note not in self.report.notes]
        return feed

    def _next(self) -> FeedFrame | None:
        """The next frame; None at the end of the source and once closed."""
        if self._open_error is not None:
            error, self._open_error = self._open_error, None
            raise error
        feed, deadline = self._feed, time.monotonic() + self._options.read_timeout_s
        while feed is not None:
            try:
                item = feed.next(max(0.0, deadline - time.monotonic()))
            except FeedSilent:
                raise self._timeout("lost", self._options.read_timeout_s) from None
            if isinstance(item, FailReason):
                self.report.failed[item] += 1
                continue
            if item is not None and self.info.is_live and self._watch.frozen(item.image, item.arrived_ns):
                raise SourceTimeoutError(
                    f"lost {self.info.name}: identical frames for {self._options.freeze_s:g} s"
                )
            return item
        return None

    def _reconnect(self, lost: SourceError) -> FeedFrame | None:
        """Reconnects until a frame arrives; None once closed.

        A connection without a frame is not a success: some servers accept every connection and close it.
        """
        if self._closed.is_set():
            return None
        limit = self._options.max_attempts
        if not self.info.is_live or limit == 0:
            raise lost
        since = time.monotonic()
        self.connection.since_s, self.connection.failed_now = since, 0
        self.connection.state, self.connection.error = ConnectionState.RECONNECTING, str(lost)
        _LOG.warning("%s; reconnecting", lost)
        for attempt, wait_s in enumerate(self._backoff.waits(self._random), start=1):
            if limit is not None and attempt > limit:
                raise SourceError(f"{self.connection.error}; gave up after {_count(limit, 'attempt')}")
            if self._closed.wait(wait_s):
                return None
            try:
                item = None if self._open() is None else self._next()
            except SourceError as error:
                self.connection.failed_attempts += 1
                self.connection.failed_now = attempt
                self.connection.error = str(error)
                _LOG.debug(  # the status of the stream counts them
                    "reconnect attempt %d failed after %.1f s: %s", attempt, time.monotonic() - since, error
                )
                continue
            if item is not None:
                lost_s = time.monotonic() - since
                self.connection.state, self.connection.since_s = ConnectionState.CONNECTED, None
                self.connection.reconnects += 1
                self.connection.lost_s += lost_s
                _LOG.warning("%s reconnected after %.1f s (attempt %d)", self.info.name, lost_s, attempt)
            return item
        raise AssertionError("waits are infinite")

    def _frame(self, item: FeedFrame) -> Frame:
        size = (item.image.shape[1], item.image.shape[0])
        if self._size is not None and size != self._size:
            self._resized += 1
            if self._resized <= _MAX_RESIZE_LOGS:
                _LOG.info("%s: the frame size is now %dx%d, was %dx%d", self.info.name, *size, *self._size)
        self._size = size
        self._damaged += item.damaged
        if self._recorded is not None:
            moment = self._recorded.next(item.time_ns)
        else:
            moment = self._clock.next(item.time_ns, item.arrived_ns)
        return Frame(item.image, self.report.read, moment, self.info.name)

    def _timeout(self, what: str, seconds: float) -> SourceTimeoutError:
        return SourceTimeoutError(f"{what} {self.info.name}: no data for {seconds:g} s; {self._advice}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
