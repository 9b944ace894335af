"""Keeps events: first in a journal, with one system call, and then in the database, by a thread.

So a database that is locked, or a process that is killed, loses none; what a full disk does not take waits in
memory. Times are UTC, in milliseconds since 1970.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from edgevision.closeable import Closeable
from edgevision.errors import EdgeVisionError, SinkError, UsageError
from edgevision.events.records import Event
from edgevision.files import LineFile, make_folder
from edgevision.video.base import Delivery
from edgevision.web.event_database import EventDatabase
from edgevision.web.event_records import Entry

_LOG = logging.getLogger(__name__)

_CAPACITY = 20_000
_BATCH = 500
_RETRY_S = 0.5
_PRUNE_S = 300.0


class EventStore(Closeable):
    """Keeps events in a folder.

    Args:
        folder: made where it is missing.
        keep_days: objects are removed after this many days.
        keep_bytes: and the oldest beyond this size, images included.

    Attributes:
        database: to read from.
        run: names this process in the store.

    Raises:
        SinkError: the folder cannot be written.
        UsageError: another run keeps its events there.
    """

    def __init__(self, folder: Path, keep_days: float = 30.0, keep_bytes: int = 2 * 10**9) -> None:
        make_folder(folder)
        self._lock = _claim(folder)
        self.database = EventDatabase(folder, keep_days, keep_bytes)
        self.run = f"{time.time_ns():x}-{os.getpid()}"
        self._journal_path = folder / "events.pending.jsonl"
        self._queue: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._number = 0
        self._delivered = self._lost = 0
        self._alarm: str | None = None
        self._is_closed = self._has_ended = False
        self._batch = _BATCH
        self._unjournaled: dict[str, Entry] = {}
        self._queue.extend(_read_journal(self._journal_path))
        self._of_earlier_runs = len(self._queue)
        self._has_ended_others = False
        self._journal = LineFile(self._journal_path, append=True)
        self._thread = threading.Thread(target=self._run, name="events of the page", daemon=True)
        self._thread.start()

    def add(self, stream: str, event: Event) -> None:
        """Takes an event; neither waits nor raises."""
        self._append(stream, event=event)

    def add_file(self, stream: str, path: Path, first_s: float, first_ms: int) -> None:
        """A recording begins; ``first_s`` is the source's time of its first image."""
        self._append(stream, path=str(path.resolve()), first_s=first_s, first_ms=first_ms)

    def end_file(self, stream: str, path: Path, last_s: float) -> None:
        """A recording has ended; ``last_s`` is the source's time of its last image."""
        self._append(stream, path=str(path.resolve()), last_s=last_s)

    def delivery(self) -> Delivery:
        """The account now."""
        with self._changed:
            waiting = len(self._queue)
        return Delivery(
            output=str(self.database.path),
            kind="events",
            delivered=self._delivered,
            waiting=waiting,
            lost=self._lost,
            alarm=self._alarm,
        )

    def close(self) -> None:
        """Writes what waits, within seconds; what cannot be written stays in the journal.

        A database that does not answer within ten seconds keeps the folder claimed until it does.
        """
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify()
        self._thread.join(10)
        if not self._thread.is_alive():  # else it writes still, and ends it all itself
            self._end()

    def _append(self, stream: str, **fields: Any) -> None:
        with self._changed:
            if len(self._queue) >= _CAPACITY or self._is_closed:
                self._lost += 1
                return
            self._number += 1
            entry = Entry(key=f"{self.run}-{self._number}", stream=stream, run=self.run, **fields)
            self._unjournaled[entry.key] = entry
            self._write_journal()
            self._queue.append(entry)
            self._changed.notify()

    def _write_journal(self) -> None:
        """Writes what is not there yet; on a full disk it stays in memory, and the database may have room."""
        try:
            while self._unjournaled:
                key, entry = next(iter(self._unjournaled.items()))
                self._journal.write(msgspec.json.encode(entry))
                del self._unjournaled[key]
        except SinkError as error:
            self._alarm = str(error)

    def _run(self) -> None:
        self._write_until_closed()
        self._end()

    def _end(self) -> None:
        with self._changed:
            if self._has_ended:
                return
            self._has_ended = True
            self._write_journal()
            lost = len(self._unjournaled)
            self._lost += lost
            self._journal.close()
            os.close(self._lock)
        if lost:
            _LOG.error("%d events are lost: %s", lost, self._alarm)

    def _write_until_closed(self) -> None:
        next_prune = 0.0
        while True:
            with self._changed:
                if not self._queue and not self._is_closed:
                    self._changed.wait(_PRUNE_S)
                batch = [self._queue[i] for i in range(min(len(self._queue), self._batch))]
                is_closed = self._is_closed
            if batch and not self._has_written(batch):
                if is_closed:
                    return  # the journal keeps them until the next run
                time.sleep(_RETRY_S)
                continue
            if not batch and is_closed:
                return
            if not self._has_ended_others and self._delivered >= self._of_earlier_runs:
                self._has_ended_others = self._has_tried(self.database.end_others, self.run)
            if time.monotonic() >= next_prune:
                next_prune = time.monotonic() + _PRUNE_S
                self._has_tried(self.database.prune)

    def _has_written(self, batch: list[Entry]) -> bool:
        try:
            self.database.write(batch)
        except (sqlite3.OperationalError, EdgeVisionError, OSError) as error:
            self._fail(error)
            return False
        except sqlite3.DatabaseError:  # it was damaged, and a new one has begun
            return False
        except (ValueError, OverflowError) as error:  # of one that another version wrote: the others are kept
            if len(batch) > 1:
                self._batch = 1
                return False
            _LOG.error("an event cannot be kept: %s: %s", type(error).__name__, error)
            self._lost += 1
        with self._changed:
            for entry in batch:
                self._queue.popleft()
                self._unjournaled.pop(entry.key, None)
            self._delivered += len(batch)
            self._batch = _BATCH
            self._alarm = None
            if not self._queue:
                self._empty_journal()
        return True

    def _fail(self, error: Exception) -> None:
        text = f"events wait: {self.database.path}: {error}"
        if self._alarm != text:
            _LOG.warning("%s", text)
        self._alarm = text

    def _empty_journal(self) -> None:
        try:
            self._journal.clear()
        except SinkError as error:  # what is there is read again by the next run, and counts once
            _LOG.warning("%s", error)

    def _has_tried(self, act: Callable[..., None], *arguments: Any) -> bool:
        """Does what can wait; False where it has to."""
        try:
            act(*arguments)
        except (sqlite3.Error, OSError) as error:
            _LOG.warning("old events cannot be changed in %s: %s", self.database.path, error)
            return False
        return True


def _claim(folder: Path) -> int:
    """A lock on the folder, until it is closed.

    Raises:
        SinkError: a file for the lock cannot be made.
        UsageError: another run has it.
    """
    try:
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise SinkError(f"cannot write in {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(
            f"`web_data` {folder} belongs to another run that goes on; give this one a folder of its own"
        ) from None
    except OSError as error:
        _LOG.warning("%s cannot be locked (%s); use it for one run only", folder, error.strerror)
    return descriptor


def _read_journal(path: Path) -> Iterator[Entry]:
    """What an earlier run could not write; a line that is not whole is left out."""
    if not path.is_file():
        return
    decoder = msgspec.json.Decoder(Entry)
    with path.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                yield decoder.decode(line)
