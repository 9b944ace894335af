"""Recordings on other file systems, ``s3://`` and what else fsspec knows.

The driver lists them. A worker copies a file to its machine, where the other workers find it too, and works
on the copy: whatever reads recordings reads files. A copy is removed when no worker needs it. To copy an hour
of video takes far less time than to detect it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from edgevision.archive.records import FileFacts, digest_blocks
from edgevision.closeable import Closeable
from edgevision.errors import SinkError, SourceError, UsageError
from edgevision.extras import install_command, needs_extra
from edgevision.files import make_folder

SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hdfs", "sftp", "smb", "memory")
"""File systems of fsspec that recordings are read from; each but the first two needs its own package."""

_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_TIMES = ("LastModified", "mtime", "modified", "last_modified", "updated", "created")
_WAIT_S = 0.5


def scheme_of(text: str) -> str:
    """The scheme of an address, in small letters; empty for a path.

    >>> scheme_of("S3://bucket/a.mp4"), scheme_of("/a.mp4")
    ('s3', '')
    """
    match = _ADDRESS.match(text)
    return "" if match is None else match[1].lower()


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a list.

    Attributes:
        address: of it.
        is_below: it was found in a folder.
        facts: size and time, as the list says them.
    """

    address: str
    is_below: bool
    facts: FileFacts


def list_remote(source: str) -> list[RemoteFile]:
    """The files of an address: itself, a pattern, or a folder with all below it; sorted.

    Raises:
        SourceError: there is nothing, or it cannot be listed.
        UsageError: fsspec, or its package for this file system, is not installed.
    """
    files, path = _file_system(source)

    def is_seen(one: str) -> bool:
        below = one.removeprefix(path.rstrip("/")).lstrip("/")
        return not any(part.startswith(".") for part in below.split("/"))

    with _reported(source):
        files.invalidate_cache()
        is_below = False
        if any(mark in path for mark in "*?["):
            listed = files.glob(path, detail=True)
        elif files.isfile(path):
            listed = {path: files.info(path)}
        else:
            is_below = True
            listed = {one: about for one, about in files.find(path, detail=True).items() if is_seen(one)}
        found = [
            RemoteFile(f"{scheme_of(source)}://{one.lstrip('/')}", is_below, _facts(about))
            for one, about in sorted(listed.items())
            if about.get("type") != "directory"
        ]
    if not found:
        raise SourceError(f"nothing found at {source}; expected a file, a folder or a pattern of recordings")
    return found


def remote_path(address: str) -> Path:
    """The part of an address behind its scheme, as a path from the root, for names and folders.

    >>> remote_path("s3://bucket/gate/1.mp4")
    PosixPath('/bucket/gate/1.mp4')
    """
    return Path("/", _ADDRESS.sub("", address).lstrip("/"))


def remote_facts(address: str, *, with_digest: bool = False) -> FileFacts:
    """Size and time of a file, as they are now.

    Args:
        address: of the file.
        with_digest: read 64 blocks of it too.

    Raises:
        OSError: it is not there, or cannot be looked at.
        UsageError: see :func:`list_remote`.
    """
    files, path = _file_system(address)
    try:
        files.invalidate_cache(path.rpartition("/")[0])
        facts = _facts(files.info(path))
        if not with_digest:
            return facts
        blocks = digest_blocks(
            facts.size, lambda start, end: bytes(files.cat_file(path, start=start, end=end))
        )
        return facts.digested(blocks)
    except Exception as error:  # whatever the library of a file system raises
        raise _as_os_error(error) from error


class RemoteCopies(Closeable):
    """Copies of remote files on this machine, shared by its workers.

    A worker holds the last one that it asked for. A copy that nobody holds is removed; one whose holder was
    killed is removed by whoever comes next.

    Args:
        folder: of all copies; by default one of this user's in the folder for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"edgevision-copies-{os.getuid()}"
        self._held: tuple[str, int] | None = None
        self._is_swept = False
        self._place = self._folder

    def get(self, address: str) -> Path:
        """A copy of a file as it is now; stays until the next call.

        Raises:
            OSError: the file is not there or cannot be read.
            SinkError: there is no room for it.
        """
        if not self._is_swept:
            self._is_swept = True
            make_folder(self._folder, parents=True)
            self._folder.chmod(0o700)
            self.remove_unused()
        facts = remote_facts(address)
        key = blake2b(f"{address} {facts.size} {facts.mtime_ns}".encode(), digest_size=10).hexdigest()
        place = self._folder / key / remote_path(address).name
        if self._held is None or self._held[0] != key:
            self.close()
            self._held = (key, self._hold(key, place, address))
        self._place = place
        return place

    @property
    def place(self) -> Path:
        """Of the copy that was asked for last."""
        return self._place

    def close(self) -> None:
        if self._held is not None:
            key, descriptor = self._held
            self._held = None
            os.close(descriptor)
            self._remove(key)

    def remove_unused(self) -> None:
        """Removes the copies that nobody holds."""
        for lock in self._folder.glob("*.lock"):
            self._remove(lock.stem)

    def _hold(self, key: str, place: Path, address: str) -> int:
        """Copies the file where that is not done, and locks it against removal."""
        while True:
            descriptor = os.open(self._folder / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits for another worker that copies it
                if self._is_in_place(key, descriptor) and place.is_file():
                    return descriptor
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if self._is_in_place(key, descriptor) and not place.is_file():
                        _copy(address, place)
                    fcntl.flock(descriptor, fcntl.LOCK_SH)  # another may have removed it in between
                    if self._is_in_place(key, descriptor) and place.is_file():
                        return descriptor
            except BaseException:
                os.close(descriptor)
                self._remove(key)
                raise
            os.close(descriptor)
            time.sleep(_WAIT_S * random.random())  # two that wait for each other do not meet again

    def _remove(self, key: str) -> None:
        with contextlib.suppress(OSError):
            descriptor = os.open(self._folder / f"{key}.lock", os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_in_place(key, descriptor):
                    shutil.rmtree(self._folder / key, ignore_errors=True)
                    (self._folder / f"{key}.lock").unlink()
            finally:
                os.close(descriptor)

    def _is_in_place(self, key: str, descriptor: int) -> bool:
        """Whether a lock is the file of that name still: what was removed can be locked, too."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self._folder / f"{key}.lock").stat())
        except FileNotFoundError:
            return False


def _copy(address: str, place: Path) -> None:
    """The file appears at its place when it is complete."""
    files, path = _file_system(address)
    make_folder(place.parent)
    partial = place.parent / "partial"
    try:
        files.get_file(path, str(partial))
        partial.replace(place)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise SinkError(
                f"no room for a copy of {address} in {place.parent.parent}; free some, or set TMPDIR"
            ) from error
        raise _as_os_error(error) from error
    except Exception as error:  # whatever the library of a file system raises
        raise _as_os_error(error) from error


def _file_system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    with needs_extra("s3", f"{scheme_of(address)}://"):
        core: Any = importlib.import_module("fsspec.core")
    try:
        with _reported(address):
            files, path = core.url_to_fs(address)
    except ImportError as error:  # fsspec names the package that it lacks
        advice = f"; run: {install_command('s3')}" if scheme_of(address) in ("s3", "s3a") else ""
        raise UsageError(f"cannot read {address}: {error}{advice}") from error
    return files, str(path)


@contextlib.contextmanager
def _reported(address: str) -> Iterator[None]:
    """Turns whatever the library of a file system raises into one line."""
    try:
        yield
    except (ImportError, SourceError, UsageError):
        raise
    except Exception as error:
        raise SourceError(f"cannot read {address}: {_one_line(error)}") from error


def _as_os_error(error: Exception) -> OSError:
    """With a number and a line, which errors of fsspec may lack."""
    if isinstance(error, OSError) and error.strerror:
        return error
    kinds = ((FileNotFoundError, errno.ENOENT), (PermissionError, errno.EACCES))
    number = next((number for kind, number in kinds if isinstance(error, kind)), errno.EIO)
    return OSError(number, os.strerror(number) if number != errno.EIO else _one_line(error))


def _one_line(error: Exception) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _facts(about: dict[str, Any]) -> FileFacts:
    return FileFacts(size=int(about.get("size") or 0), mtime_ns=_time_ns(about))


def _time_ns(about: dict[str, Any]) -> int:
    """When a file was changed, in whole seconds, as lists have them; 0 where its file system does not say."""
    for name in _TIMES:
        value = about.get(name)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return int(value.timestamp()) * 1_000_000_000
        if isinstance(value, (int, float)):
            return int(value) * 1_000_000_000
    return 0
