"""Events in SQLite: one row an object, one a change, bounded by days and by size.

An event is first appended to a journal, with one system call, and then written to the database by a thread: a
database that is locked, or a process that is killed, loses none. Times are UTC, in milliseconds since 1970.
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
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from edgevision.closeable import Closeable
from edgevision.errors import SinkError
from edgevision.events.records import Event, EventKind
from edgevision.files import LineFile, make_folder, set_aside
from edgevision.video.base import Delivery

_LOG = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects(
  id TEXT PRIMARY KEY, stream TEXT NOT NULL, class TEXT NOT NULL, score REAL NOT NULL, zones TEXT NOT NULL,
  run TEXT NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, first_s REAL NOT NULL,
  last_s REAL NOT NULL, is_over INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS objects_by_time ON objects(first_ms, id);
CREATE INDEX IF NOT EXISTS objects_by_stream ON objects(stream, first_ms, id);
CREATE TABLE IF NOT EXISTS changes(
  key TEXT PRIMARY KEY, object TEXT NOT NULL, kind TEXT NOT NULL, at_ms INTEGER NOT NULL, why TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS changes_by_object ON changes(object, at_ms);
CREATE TABLE IF NOT EXISTS files(
  path TEXT PRIMARY KEY, stream TEXT NOT NULL, run TEXT NOT NULL, first_s REAL NOT NULL,
  first_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS files_by_run ON files(run, stream, first_s);
"""
_UPSERT = """
INSERT INTO objects
VALUES(:id, :stream, :class, :score, :zones, :run, :first_ms, :last_ms, :first_s, :last_s, :over, :body)
ON CONFLICT(id) DO UPDATE
SET score=:score, zones=:zones, last_ms=:last_ms, last_s=:last_s, is_over=:over, body=:body
"""
_CAPACITY = 20_000
_BATCH = 500
_RETRY_S = 0.5
_PRUNE_S = 300.0
_LOCKED_S = 2.0
MAX_LISTED = 200


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal holds of one event, or of a recording that began.

    Attributes:
        key: unique, so that an entry that is read twice counts once.
        stream: name of the stream.
        run: names the process that wrote it; times of the source mean something within it.
        event: the event; None for a recording.
        path, first_s, first_ms: of a recording: its file, and the time of its first image.
    """

    key: str
    stream: str
    run: str
    event: Event | None = None
    path: str = ""
    first_s: float = 0.0
    first_ms: int = 0


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object as the page lists it.

    Attributes:
        id: unique.
        stream, class_name, score: where, what, and how sure; the best score.
        zones: that it was in, in the order of its visits.
        first_ms, last_ms: when it was first and last seen (UTC, milliseconds since 1970).
        is_over: it was not seen any more, or the run ended.
        has_image: there is one of its best sighting.
        has_clip: there is a recording of it.
    """

    id: str
    stream: str
    class_name: str
    score: float
    zones: list[str]
    first_ms: int
    last_ms: int
    is_over: bool
    has_image: bool
    has_clip: bool


class Change(msgspec.Struct, frozen=True):
    """Why an event was sent, and when (UTC, milliseconds since 1970)."""

    kind: str
    at_ms: int
    why: str


class Clip(msgspec.Struct, frozen=True):
    """A recording of an object.

    Attributes:
        path: the file.
        start_s: seconds from its start until the object was first seen.
        end_s: until it was last seen.
    """

    path: Path
    start_s: float
    end_s: float


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which objects are wanted; None for any.

    Attributes:
        before: the last one that was listed: its ``first_ms`` and ``id``.
    """

    stream: str | None = None
    class_name: str | None = None
    zone: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    before: tuple[int, str] | None = None
    limit: int = 50


class EventStore(Closeable):
    """Keeps events in a folder.

    Args:
        folder: made where it is missing.
        keep_days: objects are removed after this many days.
        keep_bytes: and the oldest beyond this size, images included.

    Attributes:
        images: folder of the images of the best sightings, ``ID.jpg``.
        run: names this process in the store.

    Raises:
        SinkError: the folder cannot be written.
    """

    def __init__(self, folder: Path, keep_days: float = 30.0, keep_bytes: int = 2 * 10**9) -> None:
        make_folder(folder)
        self.images = folder / "images"
        make_folder(self.images)
        self.run = f"{time.time_ns():x}-{os.getpid()}"
        self._path, self._journal_path = folder / "events.sqlite", folder / "events.pending.jsonl"
        self._keep_days, self._keep_bytes = keep_days, keep_bytes
        self._queue: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._number = 0
        self._delivered = self._lost = 0
        self._alarm: str | None = None
        self._is_closed = False
        self._queue.extend(_read_journal(self._journal_path))
        self._journal = LineFile(self._journal_path, append=True)
        self._prepare()
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
            output=str(self._path),
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

    # Reading, on any thread.

    def listed(self, query: Query) -> list[StoredObject]:
        """The objects that fit, the newest first, at most :data:`MAX_LISTED`."""
        where, values = _conditions(query)
        if query.before is not None:
            where.append("(first_ms, id) < (?, ?)")
            values += query.before
        limit = max(1, min(query.limit, MAX_LISTED))
        text = f"SELECT * FROM objects {_joined(where)} ORDER BY first_ms DESC, id DESC LIMIT {limit}"
        with self._reading() as database:
            return [self._object(database, row) for row in database.execute(text, values)]

    def counts(self, query: Query, buckets: int) -> dict[str, list[int]]:
        """How many objects each stream had, over equal parts of the time from ``from_ms`` to ``to_ms``."""
        where, values = _conditions(query)
        start, end = query.from_ms or 0, query.to_ms or 0
        width = max(1, (end - start + buckets - 1) // buckets)
        text = (
            f"SELECT stream, (first_ms - {start:d}) / {width:d} AS place, COUNT(*) "
            f"FROM objects {_joined(where)} GROUP BY stream, place"
        )
        found: dict[str, list[int]] = {}
        with self._reading() as database:
            for stream, place, count in database.execute(text, values):
                found.setdefault(stream, [0] * buckets)[min(max(place, 0), buckets - 1)] += count
        return found

    def names(self) -> tuple[list[str], list[str]]:
        """The streams and the classes that there are events of."""
        with self._reading() as database:
            streams = [row[0] for row in database.execute("SELECT DISTINCT stream FROM objects ORDER BY 1")]
            classes = [row[0] for row in database.execute("SELECT DISTINCT class FROM objects ORDER BY 1")]
        return streams, classes

    def find(self, object_id: str) -> tuple[StoredObject, list[Change]] | None:
        """An object and what happened to it; None where it is not known (any more)."""
        with self._reading() as database:
            row = database.execute("SELECT * FROM objects WHERE id=?", (object_id,)).fetchone()
            if row is None:
                return None
            rows = database.execute(
                "SELECT kind, at_ms, why FROM changes WHERE object=? ORDER BY at_ms, rowid", (object_id,)
            )
            return self._object(database, row), [Change(*one) for one in rows]

    def image(self, object_id: str) -> Path | None:
        """The image of an object that is in the store."""
        path = self.images / f"{object_id}.jpg"
        return path if self.find(object_id) is not None and path.is_file() else None

    def clip(self, object_id: str) -> Clip | None:
        """The recording of an object; None where there is none (any more)."""
        with self._reading() as database:
            row = database.execute("SELECT * FROM objects WHERE id=?", (object_id,)).fetchone()
            return None if row is None else _clip(database, row)

    def _object(self, database: sqlite3.Connection, row: sqlite3.Row) -> StoredObject:
        return StoredObject(
            id=row["id"],
            stream=row["stream"],
            class_name=row["class"],
            score=row["score"],
            zones=msgspec.json.decode(row["zones"], type=list[str]),
            first_ms=row["first_ms"],
            last_ms=row["last_ms"],
            is_over=bool(row["is_over"]),
            has_image=(self.images / f"{row['id']}.jpg").is_file(),
            has_clip=_clip(database, row) is not None,
        )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one question.

        Raises:
            SinkError: the database cannot be read.
        """
        try:
            with contextlib.closing(_connect(self._path)) as database:
                database.execute("PRAGMA query_only=1")
                yield database
        except sqlite3.Error as error:
            raise SinkError(f"cannot read the events in {self._path}: {error}") from error

    # Writing.

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

    def _prepare(self) -> None:
        """Makes the database, and sets one aside that is damaged."""
        try:
            self._make_tables()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):  # by another program, such as a backup: the writer waits for it
                raise SinkError(f"cannot keep events in {self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            self._make_tables()

    def _make_tables(self) -> None:
        with contextlib.closing(_connect(self._path)) as database:
            database.execute("PRAGMA auto_vacuum=INCREMENTAL")
            database.execute("PRAGMA journal_mode=WAL")
            database.executescript(_SCHEMA)

    def _set_aside(self, error: Exception) -> None:
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        kept = set_aside(self._path)
        _LOG.error("%s is damaged (%s); it is kept as %s, and a new one begins", self._path, error, kept)

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
            with contextlib.closing(_connect(self._path)) as database, database:
                database.executescript(_SCHEMA)
                database.execute("BEGIN IMMEDIATE")
                for entry in batch:
                    _store(database, entry)
        except sqlite3.OperationalError as error:
            self._fail(error)
            return False
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
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
        text = f"events wait: {self._path}: {error}"
        if self._alarm != text:
            _LOG.warning("%s", text)
        self._alarm = text

    def _empty_journal(self) -> None:
        self._journal.close()
        self._journal = LineFile(self._journal_path)

    def _prune_safely(self) -> None:
        try:
            self.prune()
        except (sqlite3.Error, OSError) as error:
            _LOG.warning("old events cannot be removed from %s: %s", self._path, error)

    def prune(self) -> None:
        """Removes what is too old, and the oldest beyond the size.

        Raises:
            sqlite3.Error, OSError: it cannot.
        """
        with contextlib.closing(_connect(self._path)) as database:
            oldest_ms = round((time.time() - self._keep_days * 86_400) * 1e3)
            self._remove(database, "SELECT id FROM objects WHERE last_ms < ? AND is_over", (oldest_ms,))
            gone = [row[0] for row in database.execute("SELECT path FROM files") if not Path(row[0]).exists()]
            with database:
                database.executemany("DELETE FROM files WHERE path=?", [(path,) for path in gone])
            while (size := self._size(database)) > self._keep_bytes:
                total = database.execute("SELECT COUNT(*) FROM objects").fetchone()[0]
                if not total:
                    break
                share = min(0.5, (size - self._keep_bytes) / size + 0.002)
                count = max(1, round(total * share))
                self._remove(database, "SELECT id FROM objects ORDER BY first_ms LIMIT ?", (count,))

    def _remove(self, database: sqlite3.Connection, which: str, values: tuple[Any, ...]) -> None:
        ids = [row[0] for row in database.execute(which, values)]
        for one in ids:
            (self.images / f"{one}.jpg").unlink(missing_ok=True)
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("DELETE FROM changes WHERE object=?", [(one,) for one in ids])
            database.executemany("DELETE FROM objects WHERE id=?", [(one,) for one in ids])
        if ids:
            database.execute("PRAGMA incremental_vacuum")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _size(self, database: sqlite3.Connection) -> int:
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        page_bytes = database.execute("PRAGMA page_size").fetchone()[0]
        with os.scandir(self.images) as entries:
            return int(pages * page_bytes) + sum(entry.stat().st_size for entry in entries)


def why(event: Event) -> str:
    """Why an event was sent, in words."""
    after, before = event.after, event.before
    if event.kind is EventKind.NEW or before is None:
        where = f", in {', '.join(after.zones)}" if after.zones else ""
        return f"seen {after.sightings} times, last with a score of {after.score:.2f}{where}"
    if event.kind is EventKind.END:
        reason = "" if isinstance(event.reason, msgspec.UnsetType) else event.reason
        return "no longer seen" if reason == "vanished" else reason or "over"
    entered = [f"entered {name}" for name in after.zones if name not in before.zones]
    left = [f"left {name}" for name in before.zones if name not in after.zones]
    return ", ".join(entered + left) or f"seen better, with a score of {after.best.score:.2f}"


def _store(database: sqlite3.Connection, entry: Entry) -> None:
    if entry.event is None:
        values = (entry.path, entry.stream, entry.run, entry.first_s, entry.first_ms)
        database.execute("INSERT OR IGNORE INTO files VALUES(?,?,?,?,?)", values)
        return
    event = entry.event
    after, at_ms = event.after, _milliseconds(event.at)
    change = (entry.key, event.id, event.kind.value, at_ms, why(event))
    if not database.execute("INSERT OR IGNORE INTO changes VALUES(?,?,?,?,?)", change).rowcount:
        return
    is_over = event.kind is EventKind.END
    object_values = {
        "id": event.id,
        "stream": entry.stream,
        "class": after.class_name,
        "score": after.best.score,
        "zones": msgspec.json.encode(after.visited).decode(),
        "run": entry.run,
        "first_ms": at_ms - round((after.last_s - after.first_s) * 1e3),
        "last_ms": at_ms,
        "first_s": after.first_s,
        "last_s": after.last_s,
        "over": is_over,
        "body": msgspec.json.encode(event),
    }
    database.execute(_UPSERT, object_values)


def _clip(database: sqlite3.Connection, row: sqlite3.Row) -> Clip | None:
    text = (
        "SELECT path, first_s FROM files WHERE run=? AND stream=? AND first_s<=? "
        "ORDER BY first_s DESC LIMIT 1"
    )
    found = database.execute(text, (row["run"], row["stream"], row["first_s"] + 0.5)).fetchone()
    if found is None or not Path(found[0]).is_file():
        return None
    return Clip(Path(found[0]), max(0.0, row["first_s"] - found[1]), max(0.0, row["last_s"] - found[1]))


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    values: list[Any] = []
    named = (("stream=?", query.stream), ("class=?", query.class_name))
    times = (("last_ms>=?", query.from_ms), ("first_ms<=?", query.to_ms))
    for condition, value in (*named, *times):
        if value is not None:
            where.append(condition)
            values.append(value)
    if query.zone is not None:
        where.append("EXISTS(SELECT 1 FROM json_each(zones) WHERE value=?)")
        values.append(query.zone)
    return where, values


def _joined(where: list[str]) -> str:
    return f"WHERE {' AND '.join(where)}" if where else ""


def _milliseconds(at: str) -> int:
    return round(datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() * 1e3)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None)
    database.row_factory = sqlite3.Row
    database.execute("PRAGMA synchronous=NORMAL")
    return database


def _read_journal(path: Path) -> Iterator[Entry]:
    """What an earlier run could not write; a line that is not whole is left out."""
    if not path.is_file():
        return
    decoder = msgspec.json.Decoder(Entry)
    with path.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                yield decoder.decode(line)
