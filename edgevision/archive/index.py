"""The index over all files of an archive: SQLite while it runs, JSON lines and Parquet at its end.

Only the driver writes it, and can build it again from the summaries beside the results: a worker's rename of
a summary is what commits a file. SQLite's rollback journal is used, for its write-ahead log breaks on network
file systems.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from edgevision.archive.formats import write_index_parquet
from edgevision.archive.records import FileSummary, ResultPlaces, read_summary
from edgevision.closeable import Closeable
from edgevision.errors import DataError, SinkError
from edgevision.files import atomic_path

_TABLE = """CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY, path TEXT, status TEXT, reason TEXT, frames INTEGER, decoded INTEGER,
    duration_s REAL, detections TEXT, first_s REAL, last_s REAL, summary BLOB NOT NULL
) WITHOUT ROWID"""


class ArchiveIndex(Closeable):
    """The index of one archive; used by one process.

    Args:
        places: of the archive.

    Attributes:
        rebuilt: how many rows were read from the summaries when it was opened, because the index lacked them.

    Raises:
        SinkError: the file cannot be written.
    """

    def __init__(self, places: ResultPlaces) -> None:
        self._places = places
        self._path = places.index
        try:
            self._database = self._opened()
        except sqlite3.Error as error:
            raise SinkError(f"cannot write {self._path}: {error}") from error
        self.rebuilt = self._adopt()

    def _opened(self) -> sqlite3.Connection:
        """Opens it; one that is damaged is put away, for everything in it can be read elsewhere."""
        with contextlib.suppress(sqlite3.DatabaseError):
            return self._connected()
        self._path.replace(self._path.with_suffix(".damaged"))
        return self._connected()

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None)
        # A kill damages nothing; what a power failure takes from the index is in the summaries.
        database.execute("PRAGMA synchronous=OFF")
        database.execute("PRAGMA journal_mode=TRUNCATE")
        database.execute(_TABLE)
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the index is damaged")
        return database

    def _adopt(self) -> int:
        """Takes in the summaries that were committed and not entered: the driver was killed in between."""
        known = {name for (name,) in self._database.execute("SELECT name FROM files")}
        found = []
        for path in sorted(self._places.results.rglob("*.json")):
            name = path.relative_to(self._places.results).as_posix().removesuffix(".json")
            if name not in known:
                with contextlib.suppress(DataError):
                    found.append(read_summary(path))
        for summary in found:
            self.enter(summary)
        return len(found)

    def enter(self, summary: FileSummary) -> None:
        """Enters a file, or replaces what is known of it.

        Raises:
            SinkError: it cannot be written.
        """
        row = index_row(summary)
        values = (*row.values(), msgspec.json.encode(summary))
        marks = ",".join("?" * len(values))
        try:
            self._database.execute(f"INSERT OR REPLACE INTO files VALUES ({marks})", values)
        except sqlite3.Error as error:
            raise SinkError(f"cannot write {self._path}: {error}") from error

    def remove(self, names: Iterable[str]) -> None:
        """Takes files out."""
        self._database.executemany("DELETE FROM files WHERE name = ?", [(name,) for name in names])

    def summaries(self) -> list[FileSummary]:
        """Of every file, by name."""
        rows = self._database.execute("SELECT summary FROM files ORDER BY name")
        return [msgspec.json.decode(data, type=FileSummary) for (data,) in rows]

    def export(self) -> list[Path]:
        """Writes ``index.jsonl``, and ``index.parquet`` where pyarrow is installed.

        Raises:
            SinkError: one cannot be written.
        """
        rows = [index_row(one) for one in self.summaries()]
        lines = self._places.out / "index.jsonl"
        with atomic_path(lines) as partial, partial.open("wb") as file:
            encoder = msgspec.json.Encoder()
            file.writelines(encoder.encode(row) + b"\n" for row in rows)
        table = self._places.out / "index.parquet"
        return [lines, table] if write_index_parquet(table, rows) else [lines]

    def close(self) -> None:
        self._database.close()


def index_row(summary: FileSummary) -> dict[str, Any]:
    """A file as the index shows it; the same whenever, and by however many workers, it was processed."""
    classes = summary.classes
    return {
        "name": summary.name,
        "path": summary.path,
        "status": summary.status.value,
        "reason": summary.reason,
        "frames": summary.frames,
        "decoded": summary.decoded,
        "duration_s": summary.duration_s,
        "detections": json.dumps({name: one.detections for name, one in classes.items()}),
        "first_s": min((one.first_s for one in classes.values()), default=None),
        "last_s": max((one.last_s for one in classes.values()), default=None),
    }
