"""The log of a run as JSON Lines, one object per line, for log collectors.

Everything that the program prints on stderr goes through one console, so a text stream that turns lines into
records is sufficient; ``warning:`` or ``error:`` at the start of a line becomes the record's level.
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
    """Form of the log."""

    TEXT = "text"
    """Plain lines."""
    JSON = "json"
    """JSON Lines."""


def record(line: str, fields: Mapping[str, object] | None = None) -> str:
    """One log record.

    Args:
        line: the message, optionally prefixed by ``warning: ``, ``error: `` or ``note: ``.
        fields: additional members of the object; anything that msgspec can encode.

    Returns:
        ``{"time":"2026-11-21T16:48:00.123Z","level":"warning","message":"..."}``, without a line break.
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
    """A text stream that writes each line as a log record; safe to use from any thread.

    Args:
        target: receives the records; not closed with this stream.
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

    def write_fields(self, line: str, fields: Mapping[str, object]) -> None:
        """Writes a line with additional fields; an empty line is ignored."""
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
