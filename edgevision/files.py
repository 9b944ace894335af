"""Writing files so that nobody ever finds half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgevision.errors import OutputExistsError, SinkError


def refuse_existing(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Checks an output path before any work is done.

    Raises:
        OutputExistsError: it exists and ``overwrite`` is False.
        SinkError: its folder does not exist or takes no files, or it is a folder or a device, which must
            never be replaced.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise SinkError(f"output folder does not exist: {path.parent}; create it first")
    if path.exists() and not path.is_file():
        raise SinkError(f"output {path} is not an ordinary file; choose the name of a file")
    if not os.access(path.parent, os.W_OK):
        raise SinkError(f"no permission to write in {path.parent}; choose another place for {path.name}")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"output exists: {path}; choose another name or pass --overwrite")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and goes otherwise.

    The suffix is kept, so writers that look at it choose the right format.

    Raises:
        SinkError: the file cannot be written (a full disk, no permission).

    Example:
        >>> with atomic_path("report.json") as partial:  # doctest: +SKIP
        ...     partial.write_text("{}")
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def json_text(document: object) -> str:
    """Structures, lists and numbers as JSON for people: indented by two, with a line break at the end."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def write_json(path: str | os.PathLike[str], document: object) -> None:
    """Writes :func:`json_text` at once; a file that is there is replaced.

    Raises:
        SinkError: the file cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_text(json_text(document), encoding="utf-8")
