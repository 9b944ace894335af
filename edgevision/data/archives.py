"""Data sets in archives, as they are downloaded: unpacked, and nothing outside the folder is written."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from edgevision.errors import DataError
from edgevision.files import make_folder

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_ROOM = 2**30  # bytes of the disk that stay free


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that is read, by its name."""
    return path.is_file() and path.name.lower().endswith(ARCHIVE_SUFFIXES)


@contextmanager
def unpacked(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """The folder that an archive was unpacked into; ``path`` itself where it is none.

    Args:
        path: an archive, or anything else.
        folder: where to, and it stays; None for a temporary one that is removed afterwards.

    Raises:
        DataError: the archive is damaged, encrypted, larger than the disk, or names a file outside itself.
    """
    if not is_archive(path):
        yield path
    elif folder is not None:
        unpack(path, folder)
        yield folder
    else:
        with TemporaryDirectory(prefix="edgevision-") as temporary:
            unpack(path, Path(temporary))
            yield Path(temporary)


def unpack(path: Path, folder: Path) -> None:
    """Unpacks an archive into a folder; see :func:`unpacked`."""
    make_folder(folder, parents=True)
    try:
        if path.name.lower().endswith(".zip"):
            _unpack_zip(path, folder)
        else:
            _unpack_tar(path, folder)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        OSError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise DataError(f"{path} cannot be unpacked: {error}") from error


def _unpack_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        _require_room(path, folder, sum(entry.file_size for entry in entries))
        for entry in entries:
            target = folder / _safe(entry.filename, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def _unpack_tar(path: Path, folder: Path) -> None:
    with tarfile.open(path) as archive:
        entries = [entry for entry in archive.getmembers() if entry.isfile()]
        _require_room(path, folder, sum(entry.size for entry in entries))
        for entry in entries:
            target = folder / _safe(entry.name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            source = archive.extractfile(entry)
            if source is not None:
                with source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)


def _safe(name: str, path: Path) -> Path:
    """A name inside the archive as a path below the folder."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part != "."]
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or parts[0].endswith(":"):
        raise DataError(f"{path} names '{name}', a file outside of itself; unpack it by hand if you trust it")
    return Path(*parts)


def _require_room(path: Path, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size + _ROOM > free:
        raise DataError(
            f"{path} holds {size / 2**20:.0f} MiB and {free / 2**20:.0f} MiB are free in {folder}; "
            "unpack it where there is room"
        )
