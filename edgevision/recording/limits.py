"""How long and how large the files of a recording may be."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.errors import UsageError
from edgevision.units import duration_s, is_size, parse_size


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a new file begins: after ``seconds`` of the source, or ``size`` bytes; None for no such limit."""

    seconds: float | None = None
    size: int | None = None


def parse_rotation(text: str) -> Rotation:
    """``10m`` or ``500MB``.

    Raises:
        UsageError: it is neither, or less than a second.
    """
    if is_size(text):
        return Rotation(size=parse_size(text))
    try:
        seconds = duration_s(text.strip())
    except ValueError:
        raise UsageError(
            f"cannot rotate at '{text}'; expected a time such as 10m or 1h, or a size such as 500MB"
        ) from None
    if seconds < 1:
        raise UsageError(f"cannot rotate every {text}; expected a second or more")
    return Rotation(seconds=seconds)
