"""The database of events: one row an object, one a change, bounded by days and by size."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from edgevision.errors import SinkError
from edgevision.events.records import EventKind
from edgevision.files import make_folder, set_aside
from edgevision.web.event_records import Change, Clip, Entry, Query, StoredObject, why

_LOG = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects(
  id TEXT PRIMARY KEY, stream TEXT NOT NULL, class TEXT NOT NULL, score REAL NOT NULL, zones TEXT NOT NULL,
  run TEXT NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, first_s REAL NOT NULL,
  last_s REAL NOT NULL, is_over INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS objects_in_time ON objects(first_ms, id, last_ms, stream, class);
CREATE INDEX IF NOT EXISTS objects_of_stream ON objects(stream, first_ms, id, class);
CREATE INDEX IF NOT EXISTS objects_by_class ON objects(class, first_ms, id);
CREATE TABLE IF NOT EXISTS changes(
  key TEXT PRIMARY KEY, object TEXT NOT NULL, kind TEXT NOT NULL, at_ms INTEGER NOT NULL, why TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS changes_by_object ON changes(object, at_ms);
CREATE TABLE IF NOT EXISTS files(
  path TEXT PRIMARY KEY, stream TEXT NOT NULL, run TEXT NOT NULL, first_s REAL NOT NULL,
  first_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS files_by_run ON files(run, stream, first_s);
CREATE TABLE IF NOT EXISTS ends(path TEXT PRIMARY KEY, last_s REAL NOT NULL);
"""
_UPSERT = """
INSERT INTO objects
VALUES(:id, :stream, :class, :score, :zones, :run, :first_ms, :last_ms, :first_s, :last_s, :over, :body)
ON CONFLICT(id) DO UPDATE
SET score=:score, zones=:zones, last_ms=:last_ms, last_s=:last_s, is_over=:over, body=:body
"""
_NAMES = """
WITH RECURSIVE found(name) AS (
  SELECT MIN({column}) FROM objects
  UNION ALL
  SELECT (SELECT MIN({column}) FROM objects WHERE {column} > name) FROM found WHERE name IS NOT NULL)
SELECT name FROM found WHERE name IS NOT NULL
"""
"""Each name once, by a look into an index for each; ``DISTINCT`` would read every row."""
_COUNTS = """
WITH RECURSIVE places(place) AS (SELECT 0 UNION ALL SELECT place + 1 FROM places WHERE place < {last:d})
SELECT (
  SELECT COUNT(*) FROM objects INDEXED BY objects_of_stream {where}
  AND first_ms >= {start:d} + place * {width:d}
  AND first_ms < CASE place WHEN {last:d} THEN {end:d} + 1 ELSE {start:d} + (place + 1) * {width:d} END)
FROM places
"""
"""A look into an index for each part of the time: grouping would sort every row, at five times the cost."""
_END_OTHERS = """
INSERT OR IGNORE INTO changes
SELECT id || '/ended', id, 'end', last_ms, 'the run ended without notice' FROM objects
WHERE NOT is_over AND run<>:run;
"""
_FILES = """
SELECT files.path, first_s, last_s FROM files LEFT JOIN ends USING(path)
WHERE run=? AND stream=? AND first_s<=? ORDER BY first_s DESC LIMIT 4
"""
"""A file without an end is being written, or was when its run was killed."""
_LATE_S = 0.5  # by which a file may begin after its object was first seen
_LOCKED_S = 2.0
MAX_LISTED = 200


class EventDatabase:
    """SQLite in a folder; each call has a connection of its own, on any thread.

    Args:
        folder: made where it is missing.
        keep_days: objects are removed after this many days.
        keep_bytes: and the oldest beyond this size, images included.

    Attributes:
        path: the file.
        images: folder of the images of the best sightings, ``ID.jpg``.

    Raises:
        SinkError: the folder cannot be written.
    """

    def __init__(self, folder: Path, keep_days: float, keep_bytes: int) -> None:
        make_folder(folder)
        self.images = folder / "images"
        make_folder(self.images)
        self.path = folder / "events.sqlite"
        self._keep_days, self._keep_bytes = keep_days, keep_bytes
        self._prepare()

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
        """How many objects each stream had, over equal parts of the time from ``from_ms`` to ``to_ms``.

        An object counts in the part in which it was first seen; one that was there before, in the first part.
        """
        start, end = query.from_ms or 0, query.to_ms or 0
        width = max(1, (end - start + buckets - 1) // buckets)
        begun_before, values = _conditions(msgspec.structs.replace(query, to_ms=start - 1))
        text = (
            "SELECT stream, COUNT(*) FROM objects INDEXED BY objects_in_time "
            f"{_joined(begun_before)} GROUP BY stream"
        )
        found: dict[str, list[int]] = {}
        with self._reading() as database:
            for stream in _names(database, "stream") if query.stream is None else [query.stream]:
                where, own_values = _conditions(
                    msgspec.structs.replace(query, stream=stream, from_ms=None, to_ms=None)
                )
                one = _COUNTS.format(
                    where=_joined(where), start=start, end=end, width=width, last=buckets - 1
                )
                row = [count for (count,) in database.execute(one, own_values)]
                if any(row):
                    found[stream] = row
            for stream, count in database.execute(text, values):
                found.setdefault(stream, [0] * buckets)[0] += count
        return found

    def names(self) -> tuple[list[str], list[str]]:
        """The streams and the classes that there are events of."""
        with self._reading() as database:
            return _names(database, "stream"), _names(database, "class")

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

    # Writing, on one thread.

    def write(self, entries: Sequence[Entry]) -> None:
        """Keeps entries; one that is there already counts once. A damaged file is set aside.

        Raises:
            sqlite3.DatabaseError: they cannot be written at the moment; none is.
        """
        try:
            with contextlib.closing(_connect(self.path)) as database, database:
                database.executescript(_SCHEMA)
                database.execute("BEGIN IMMEDIATE")
                for entry in entries:
                    _store(database, entry)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:  # damaged, or no database at all
                self._set_aside(error)
            raise

    def end_others(self, run: str) -> None:
        """Ends the objects of other runs, which were killed; nobody else writes here.

        Raises:
            sqlite3.Error: it cannot.
        """
        with contextlib.closing(_connect(self.path)) as database, database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(_END_OTHERS, {"run": run})
            database.execute("UPDATE objects SET is_over=1 WHERE NOT is_over AND run<>?", (run,))

    def prune(self) -> None:
        """Removes what is too old, and the oldest beyond the size.

        Raises:
            sqlite3.Error, OSError: it cannot.
        """
        with contextlib.closing(_connect(self.path)) as database:
            oldest_ms = round((time.time() - self._keep_days * 86_400) * 1e3)
            self._remove(database, "SELECT id FROM objects WHERE last_ms < ? AND is_over", (oldest_ms,))
            gone = [row[0] for row in database.execute("SELECT path FROM files") if not Path(row[0]).exists()]
            with database:
                for table in ("files", "ends"):
                    database.executemany(f"DELETE FROM {table} WHERE path=?", [(path,) for path in gone])
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

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one question.

        Raises:
            SinkError: the database cannot be read.
        """
        try:
            with contextlib.closing(_connect(self.path)) as database:
                database.execute("PRAGMA query_only=1")
                yield database
        except sqlite3.Error as error:
            raise SinkError(f"cannot read the events in {self.path}: {error}") from error

    def _prepare(self) -> None:
        """Makes the database, and sets one aside that is damaged."""
        try:
            self._make_tables()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):  # by another program, such as a backup: the writer waits for it
                raise SinkError(f"cannot keep events in {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            self._make_tables()

    def _make_tables(self) -> None:
        with contextlib.closing(_connect(self.path)) as database:
            database.execute("PRAGMA auto_vacuum=INCREMENTAL")
            database.execute("PRAGMA journal_mode=WAL")
            database.executescript(_SCHEMA)
            for index in ("objects_by_time", "objects_by_stream"):  # of earlier versions
                database.execute(f"DROP INDEX IF EXISTS {index}")

    def _set_aside(self, error: Exception) -> None:
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        kept = set_aside(self.path)
        _LOG.error("%s is damaged (%s); it is kept as %s, and a new one begins", self.path, error, kept)


def _store(database: sqlite3.Connection, entry: Entry) -> None:
    if entry.last_s is not None:
        database.execute("INSERT OR REPLACE INTO ends VALUES(?,?)", (entry.path, entry.last_s))
        return
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
    first_s, last_s = row["first_s"], row["last_s"]
    later: Clip | None = None
    for text, start_s, end_s in database.execute(_FILES, (row["run"], row["stream"], first_s + _LATE_S)):
        path = Path(text)
        clip = Clip(path, max(0.0, first_s - start_s), max(0.0, last_s - start_s)) if path.is_file() else None
        if start_s <= first_s:
            # Nothing was recorded of an object that came after the end, as on a full disk.
            has_it = end_s is None or end_s >= first_s
            return clip if clip is not None and has_it else later
        later = clip
    return later


def _names(database: sqlite3.Connection, column: str) -> list[str]:
    return [row[0] for row in database.execute(_NAMES.format(column=column))]


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
        # A look at the text is several times as fast, and lets some names with a quote in them through.
        where.append("instr(zones, ?) AND EXISTS(SELECT 1 FROM json_each(zones) WHERE value=?)")
        values += (msgspec.json.encode(query.zone).decode(), query.zone)
    return where, values


def _joined(where: list[str]) -> str:
    return f"WHERE {' AND '.join(where)}" if where else ""


def _milliseconds(at: str) -> int:
    return round(datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() * 1e3)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None)
    try:
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA synchronous=NORMAL")
    except BaseException:  # a full disk has no room for what the connection shares with others
        database.close()
        raise
    return database
