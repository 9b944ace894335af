"""Keeps events: first in a journal, with one system call, and then in the database, by a thread.

So a database that is locked, or a process that is killed, loses none. Times are UTC, in milliseconds since
1970.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edgevision.closeable import Closeable
from edgevision.errors import SinkError
from edgevision.events.records import Event
from edgevision.files import LineFile
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
    """

    def __init__(self, folder: Path, keep_days: float = 30.0, keep_bytes: int = 2 * 10**9) -> None:
        self.database = EventDatabase(folder, keep_days, keep_bytes)
        self.run = f"{time.time_ns():x}-{os.getpid()}"
        self._journal_path = folder / "events.pending.jsonl"
        self._queue: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._number = 0
        self._delivered = self._lost = 0
        self._alarm: str | None = None
        self._is_closed = False
        self._queue.extend(_read_journal(self._journal_path))
        self._journal = LineFile(self._journal_path, append=True)
        self._thread = threading.Thread(target=self._write_for_ever, name="events of the page", daemon=True)
        self._thread.start()

    def add(self, stream: str, event: Event) -> None:
        """Takes an event; neither waits nor raises."""
        self._append(stream, event=event)

    def add_file(self, stream: str, path: Path, first_s: float, first_ms: int) -> None:
        """A recording begins; ``first_s`` is the source's time of its first image."""
        self._append(stream, path=str(path.resolve()), first_s=first_s, first_ms=first_ms)

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
        """Writes what waits, within seconds; what cannot be written stays in the journal."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify()
        self._thread.join(10)
        self._journal.close()

    def _append(self, stream: str, **fields: Any) -> None:
        with self._changed:
            if len(self._queue) >= _CAPACITY or self._is_closed:
                self._lost += 1
                return
            self._number += 1
            entry = Entry(key=f"{self.run}-{self._number}", stream=stream, run=self.run, **fields)
            try:
                self._journal.write(msgspec.json.encode(entry))
            except SinkError as error:  # a full disk; the database may have room, and memory has
                self._alarm = str(error)
            self._queue.append(entry)
            self._changed.notify()

    def _write_for_ever(self) -> None:
        next_prune = 0.0
        while True:
            with self._changed:
                if not self._queue and not self._is_closed:
                    self._changed.wait(_PRUNE_S)
                batch = [self._queue[i] for i in range(min(len(self._queue), _BATCH))]
                is_closed = self._is_closed
            if batch and not self._has_written(batch):
                if is_closed:
                    return  # the journal keeps them until the next run
                time.sleep(_RETRY_S)
                continue
            if not batch and is_closed:
                return
            if time.monotonic() >= next_prune:
                next_prune = time.monotonic() + _PRUNE_S
                self._prune_safely()

    def _has_written(self, batch: list[Entry]) -> bool:
        try:
            self.database.write(batch)
        except sqlite3.OperationalError as error:
            self._fail(error)
            return False
        except sqlite3.DatabaseError:  # it was damaged, and a new one has begun
            return False
        with self._changed:
            for _ in batch:
                self._queue.popleft()
            self._delivered += len(batch)
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
        self._journal.close()
        self._journal = LineFile(self._journal_path)

    def _prune_safely(self) -> None:
        try:
            self.database.prune()
        except (sqlite3.Error, OSError) as error:
            _LOG.warning("old events cannot be removed from %s: %s", self.database.path, error)


def _read_journal(path: Path) -> Iterator[Entry]:
    """What an earlier run could not write; a line that is not whole is left out."""
    if not path.is_file():
        return
    decoder = msgspec.json.Decoder(Entry)
    with path.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                yield decoder.decode(line)
