"""The file that a run's streams stand in: changes are kept there, and changes by hand are noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgevision.config import read_document
from edgevision.errors import SinkError, UsageError
from edgevision.files import atomic_path


class StreamsFile:
    """Keeps what is changed while a run goes on, for the next one.

    Read it before it is taken in force, and name its streams after that: what is saved in between is then a
    change by hand.

    Args:
        path: the file; None where streams were named at the start: nothing is kept.

    Attributes:
        document: what stands at its top, beside the streams.
        entries: what stands there of each stream, by its name; changed by whoever changes the streams.

    Raises:
        ConfigError: it cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._version = _version(path)
        self.document: dict[str, Any] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        self._listed: list[dict[str, Any]] = []
        if path is not None and path.is_file():
            self.document = read_document(path)
            self._listed = self.document.pop("streams", None) or []

    def name(self, names: Sequence[str]) -> None:
        """Its streams are in force, by these names, in its order."""
        if self._version != "none" and len(names) != len(self._listed):
            self._version = ""  # others than it had when it was read
        self.entries = dict(zip(names, self._listed, strict=False))

    def refuse_changed(self) -> None:
        """Raises UsageError where it was changed by hand: what is kept here would undo that."""
        if self._path is not None and _version(self._path) != self._version:
            raise UsageError(f"{self._path.name} was changed by hand; reload it (SIGHUP), or start again")

    def save(self) -> None:
        """Keeps a change over a restart.

        Raises:
            SinkError: it cannot be written; the change is in force.
        """
        if self._path is None:
            return
        try:
            self._write(self._path)
        except (SinkError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise SinkError(f"the change is in force, but will not outlast this run: {reason}") from error
        self._version = _version(self._path)

    def _write(self, file: Path) -> None:
        import yaml

        document = {**self.document, "streams": list(self.entries.values())}
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
        if file.exists():
            with atomic_path(file.with_name(f"{file.name}.bak")) as partial:
                partial.chmod(mode)
                partial.write_bytes(file.read_bytes())
        with atomic_path(file) as partial:
            partial.chmod(mode)  # it may hold passwords
            partial.write_text(
                yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8"
            )


def _version(path: Path | None) -> str:
    if path is None or not path.is_file():
        return "none"
    return hashlib.sha256(path.read_bytes()).hexdigest()
