"""What a run says, as JSON lines: one object a line, for whatever collects logs.

Everything that the program prints on stderr goes through one console, so a text file that turns lines into
records is all that it takes; ``warning:`` and ``error:`` at the start of a line become its level.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from typing import TextIO

import msgspec

_LEVELS = {"error": "error", "warning": "warning", "note": "info"}


class LogFormat(str, Enum):
    """How a run writes what it has to say."""

    TEXT = "text"
    """For people."""
    JSON = "json"
    """For machines."""


def record(line: str, fields: Mapping[str, object] | None = None) -> str:
    """One line of log.

    Args:
        line: for people, with ``warning: `` or the like in front.
        fields: more to put into the object; anything that msgspec can write.

    Returns:
        ``{"time":"2026-11-21T16:48:00.123Z","level":"warning","message":"..."}``, without a line end.
    """
    kind, separator, rest = line.partition(": ")
    level = _LEVELS.get(kind) if separator else None
    now = datetime.now(timezone.utc)
    entry = {
        "time": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
        "level": level or "info",
        "message": (rest if level else line).strip(),
        **(fields or {}),
    }
    return msgspec.json.encode(entry).decode()


class JsonLines(io.TextIOBase):
    """A text file that writes each line it is given as a record; safe to use from any thread.

    Args:
        target: where the records go; not closed with this.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._begun = ""

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                if line.strip():
                    self._put(record(line))
        return len(text)

    def tell_fields(self, line: str, fields: Mapping[str, object]) -> None:
        """Writes a line with more than its text; nothing for an empty one."""
        with self._lock:
            if line.strip():
                self._put(record(line, fields))

    def flush(self) -> None:
        self._target.flush()

    def writable(self) -> bool:
        return True

    def _put(self, text: str) -> None:
        self._target.write(text + "\n")
        self._target.flush()
