"""How long and how large recordings may be, read from options."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgevision.errors import UsageError
from edgevision.video.sources.options import duration_s

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB|TB|KiB|MiB|GiB|TiB)", re.IGNORECASE)
_BYTES = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a new file begins: after so many seconds of the source, or bytes; None for no such limit."""

    seconds: float | None = None
    size: int | None = None


def parse_size(text: str) -> int:
    """Bytes of ``500MB`` or ``20GB`` (powers of 1000), ``512MiB`` or ``20GiB`` (of 1024).

    Raises:
        UsageError: it is none, or less than a kilobyte.
    """
    match = _SIZE.fullmatch(text.strip())
    found = int(float(match[1]) * _BYTES[match[2].lower()]) if match else 0
    if found < 1000:
        raise UsageError(f"'{text}' is no size; expected a number and KB, MB, GB or TB, such as 500MB")
    return found


def parse_seconds(text: str) -> float:
    """Seconds of ``5s`` or ``10m``.

    Raises:
        UsageError: it is none.
    """
    try:
        return duration_s(text.strip())
    except ValueError as error:
        raise UsageError(f"'{text}' is no duration; expected {error}") from None


def parse_rotation(text: str) -> Rotation:
    """``10m`` or ``500MB``.

    Raises:
        UsageError: it is neither, or less than a second.
    """
    if _SIZE.fullmatch(text.strip()):
        return Rotation(size=parse_size(text))
    try:
        seconds = duration_s(text.strip())
    except ValueError:
        raise UsageError(
            f"cannot rotate at '{text}'; expected a time such as 10m or 1h, or a size such as 500MB"
        ) from None
    if seconds < 1:
        raise UsageError(f"cannot rotate every {text}; a file lasts a second at least")
    return Rotation(seconds=seconds)
