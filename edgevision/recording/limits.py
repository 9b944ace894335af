"""How long and how large recordings may be, read from options."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.errors import UsageError
from edgevision.units import _BYTES, _SIZE, duration_s, parse_size

_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a new file begins: after so many seconds of the source, or bytes; None for no such limit."""

    seconds: float | None = None
    size: int | None = None


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
