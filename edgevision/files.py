"""Writes files atomically: no reader ever finds an incomplete one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path
from typing import TypeVar

import msgspec

from edgevision.errors import DataError, OutputExistsError, SinkError

_LONGEST_NAME = 200  # bytes, of the 255 that file systems allow; suffixes and times come after it


def refuse_existing(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Checks an output path before any work is done.

    Raises:
        OutputExistsError: it exists and ``overwrite`` is False.
        SinkError: its folder does not exist or is not writable, or the path is a folder or a device, which
            must never be replaced, or a symbolic link to nothing, which must not be written through.
    """
    path = Path(path)
    try:
        is_there, is_file, is_link = path.exists(), path.is_file(), path.is_symlink()
        has_folder = path.parent.is_dir()
    except OSError as error:  # such as a name that is too long
        raise SinkError(f"cannot write {path}: {error.strerror}; choose another name") from error
    if not has_folder:
        raise SinkError(f"output folder does not exist: {path.parent}; create it first")
    if is_link and not is_there:
        raise SinkError(f"output {path} is a symbolic link to nothing; remove it or choose another name")
    if is_there and not is_file:
        raise SinkError(f"output {path} is not a regular file; choose another name")
    if not os.access(path.parent, os.W_OK):
        raise SinkError(f"no permission to write in {path.parent}; choose another folder for {path.name}")
    if is_there and not overwrite:
        raise OutputExistsError(f"output exists: {path}; choose another name or pass `overwrite`")


def set_aside(path: Path) -> Path | None:
    """Renames an output of an earlier run to ``NAME.20261121T155124Z.SUFFIX``: when it was last changed.

    Returns:
        Its new name; None where there was nothing, or only an empty folder.

    Raises:
        SinkError: it cannot be renamed.
    """
    try:
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return None
        changed = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        numbers = ("", *(f"-{number}" for number in range(2, 1000)))
        names = (path.with_name(f"{path.stem}.{changed}{number}{path.suffix}") for number in numbers)
        free = next(name for name in names if not name.exists() and not name.is_symlink())
        path.rename(free)
    except (OSError, StopIteration) as error:
        reason = getattr(error, "strerror", None) or "every such name is taken"
        raise SinkError(f"cannot rename {path}, which an earlier run wrote: {reason}") from error
    return free


def safe_name(name: str) -> str:
    """A name as one part of a path: without what has a meaning there, and short enough for a file."""
    letters = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    while len(letters.encode()) > _LONGEST_NAME:
        letters = letters[:-1]
    return letters.strip("_.") or "live"


def content_version(path: Path) -> str:
    """Changes with what is in a file; ``none`` where there is none.

    Raises:
        SinkError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except FileNotFoundError:
        return "none"
    except OSError as error:
        raise SinkError(f"cannot read {path}: {error.strerror}") from error


def make_folder(path: Path, *, parents: bool = False) -> None:
    """Makes an output folder where it is missing.

    Args:
        path: the folder.
        parents: make those above it too; otherwise the one above must exist, so that a misspelt path is
            noticed.

    Raises:
        SinkError: it cannot be made.
    """
    try:
        path.mkdir(parents=parents, exist_ok=True)
    except FileNotFoundError as error:
        raise SinkError(f"output folder does not exist: {path.parent}; create it first") from error
    except OSError as error:
        raise SinkError(f"cannot create folder {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def folders_for(*paths: Path) -> Iterator[None]:
    """Output folders, made where they are missing; those made here that stay empty are removed at the end.

    Raises:
        SinkError: one cannot be made.
    """
    missing = {one for path in paths for one in (path, *path.parents) if not one.exists()}
    try:
        for path in paths:
            make_folder(path, parents=True)
        yield
    finally:
        for one in sorted(missing, key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):  # it holds something
                one.rmdir()


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Makes an output folder, and those above it; if the block fails, those that it made are removed.

    A folder that was there stays with all that is in it, and one above stays if something else is in it by
    then.

    Raises:
        SinkError: it cannot be made.
    """
    was_there = path.exists()
    with folders_for(path):
        try:
            yield path
        except BaseException:
            if not was_there:
                shutil.rmtree(path, ignore_errors=True)
            raise


_PARTIAL = re.compile(r"\.[0-9a-f]{16}\.partial")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path``: it replaces ``path`` if the block succeeds, and is deleted otherwise.

    It has the same suffix, so writers that choose a format by it choose the right one. Nobody can guess its
    name or put a symbolic link in its place.

    Raises:
        SinkError: the file cannot be written (a full disk, no permission).

    Example:
        >>> with atomic_path("report.json") as partial:  # doctest: +SKIP
        ...     partial.write_text("{}")
    """
    path = Path(path)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial{path.suffix}")
    is_made = False
    try:
        partial.touch(exist_ok=False)
        is_made = True
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if is_made:
            with contextlib.suppress(OSError):  # the disk is not available any more
                partial.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> int:
    """Removes what :func:`atomic_path` left in a folder and below it where a process was killed; how many.

    Nobody may write there meanwhile.

    Raises:
        SinkError: one cannot be removed.
    """
    found = [path for path in folder.rglob(".*.partial*") if _PARTIAL.match(path.name)]
    try:
        for path in found:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(f"cannot remove {error.filename}: {error.strerror}") from error
    return len(found)


def json_text(document: object) -> str:
    """Structures, lists and numbers as readable JSON: indented by two, with a line break at the end."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def write_json(path: str | os.PathLike[str], document: object) -> None:
    """Writes :func:`json_text` atomically, replacing an existing file.

    Raises:
        SinkError: the file cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_text(json_text(document), encoding="utf-8")


T = TypeVar("T", bound=msgspec.Struct)


class LineFile:
    """A file written line by line: neither a killed process nor a full disk leaves an incomplete line.

    Args:
        path: the file.
        append: continue an existing file after its last complete line; otherwise it is overwritten.

    Raises:
        SinkError: it cannot be created, or (from ``write``) cannot be written; earlier lines are kept.
    """

    def __init__(self, path: Path, append: bool = False) -> None:
        self.name = str(path)
        try:
            # One system call per line; no buffer to lose.
            self._file = path.open("r+b" if append and path.exists() else "wb", buffering=0)
            if append and self._file.seekable():
                self._file.seek(_end_of_lines(self._file))
                self._file.truncate()
        except OSError as error:
            raise SinkError(f"cannot create {path}: {error.strerror}") from error

    def write(self, line: bytes) -> None:
        """Writes one line; the newline is added."""
        start = self._file.tell() if self._file.seekable() else 0
        try:
            rest = memoryview(line + b"\n")
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # a pipe or device cannot be truncated
                os.truncate(self._file.fileno(), start)
                self._file.seek(start)
            raise SinkError(f"cannot write {self.name}: {error.strerror}; earlier lines are kept") from error

    def clear(self) -> None:
        """Removes every line.

        Raises:
            SinkError: it cannot be done.
        """
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise SinkError(f"cannot empty {self.name}: {error.strerror}") from error

    def close(self) -> None:
        self._file.close()


def _end_of_lines(file: FileIO) -> int:
    """Where the last complete line ends, in bytes: a power failure may leave a part of one behind it."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65_536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def read_records(path: str | os.PathLike[str], kind: type[T], schemas: Collection[int]) -> Iterator[T]:
    """Reads a JSON Lines file, one record at a time.

    Args:
        path: the file.
        kind: type of each line's record; it has a field ``schema``.
        schemas: the versions that are read.

    Raises:
        DataError: a line is invalid or of another schema; the message names the line.
    """
    decoder = msgspec.json.Decoder(kind)
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = decoder.decode(line)
            except msgspec.DecodeError as error:
                raise DataError(f"{path}, line {number}: {error}") from error
            found = getattr(record, "schema", None)
            if found not in schemas:
                expected = " or ".join(map(str, schemas))
                raise DataError(f"{path}, line {number}: found schema {found}, expected {expected}")
            yield record


class FileSpan:
    """The first and the last of the files that an output wrote, and how many there are.

    Args:
        noun: what each is.
    """

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._count = 0
        self._first = self._last = Path()

    def add(self, path: Path) -> None:
        self._first = self._first if self._count else path
        self._last = path
        self._count += 1

    def describe(self) -> str:
        """``a.jpg``, or ``a.jpg to z.jpg (26 images)``; empty where there is none."""
        if self._count < 2:
            return str(self._first) if self._count else ""
        return f"{self._first} to {self._last.name} ({self._count} {self._noun}s)"
