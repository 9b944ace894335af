"""Results that are kept between runs, each under the SHA-256 of everything that it depends on.

Nothing is ever looked up by name or date, so other weights, frames or settings can only miss. A file that is
damaged counts as missing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgevision.errors import SinkError
from edgevision.files import atomic_path

Kept = TypeVar("Kept")

_SUFFIX = ".bin"


def cache_folder(kind: str) -> Path:
    """Where results of a kind are kept by default: in ``XDG_CACHE_HOME``, or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgevision" / kind


class Cache:
    """A folder of results.

    Args:
        folder: made when something is first kept; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def load(self, key: Mapping[str, Any], kind: type[Kept]) -> Kept | None:
        """What was kept under ``key``, or None."""
        if self.folder is None:
            return None
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        digest, body = content[:64], content[64:]
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None
        try:
            return msgspec.msgpack.decode(body, type=kind)
        except msgspec.MsgspecError:
            return None

    def store(self, key: Mapping[str, Any], value: Any) -> None:
        """Keeps ``value``. What cannot be kept is not: a full disk must not cost the result."""
        if self.folder is None:
            return
        body = msgspec.msgpack.encode(value)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(self._path(key)) as partial:
                partial.write_bytes(hashlib.sha256(body).hexdigest().encode() + body)
        except (OSError, SinkError):
            return

    def clear(self) -> int:
        """Removes what was kept.

        Returns:
            How many results there were.

        Raises:
            SinkError: one cannot be removed.
        """
        if self.folder is None or not self.folder.is_dir():
            return 0
        try:
            kept = sorted(self.folder.glob(f"*{_SUFFIX}"))
            for path in kept:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise SinkError(f"{error.filename or self.folder} cannot be removed: {error.strerror}") from error
        return len(kept)

    def _path(self, key: Mapping[str, Any]) -> Path:
        assert self.folder is not None
        name = hashlib.sha256(msgspec.json.encode(key, order="deterministic")).hexdigest()
        return self.folder / f"{name}{_SUFFIX}"
