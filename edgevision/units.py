"""Parses durations, sizes and rates: ``150ms``, ``20GB``, ``1280x720``."""

from __future__ import annotations

import re

from edgevision.errors import UsageError

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h)")


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration_s(text: str) -> float:
    """Seconds of ``150ms``, ``2s``, ``1.5m`` or ``1h``; a number without a unit is refused as ambiguous.

    Raises:
        ValueError: not a duration; the message is what was expected.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("a number with a unit, such as 150ms, 2s or 1m")
    return float(match[1]) * _SECONDS[match[2]]


def image_size(text: str) -> tuple[int, int]:
    """Width and height, in pixels, of ``1280x720``.

    Raises:
        ValueError: not a size; the message is what was expected.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise ValueError("a size such as 1280x720")
    return int(match[1]), int(match[2])


def frames_per_second(text: str) -> float:
    """The frame rate of ``30`` or ``29.97``.

    Raises:
        ValueError: not a frame rate up to 1000; the message is what was expected.
    """
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not 0 < float(text) <= 1000:
        raise ValueError("frames per second such as 30, at most 1000")
    return float(text)


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB|TB|KiB|MiB|GiB|TiB)", re.IGNORECASE)


_BYTES = {
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def is_size(text: str) -> bool:
    """Whether :func:`parse_size` would read a number with a unit, however small."""
    return _SIZE.fullmatch(text.strip()) is not None


def parse_size(text: str) -> int:
    """Bytes of ``500MB`` or ``20GB`` (powers of 1000), ``512MiB`` or ``20GiB`` (of 1024).

    Raises:
        UsageError: not a size, or less than a kilobyte.
    """
    match = _SIZE.fullmatch(text.strip())
    found = int(float(match[1]) * _BYTES[match[2].lower()]) if match else 0
    if found < 1000:
        raise UsageError(f"'{text}' is not a valid size; expected a number and KB, MB, GB or TB, as in 500MB")
    return found


def parse_seconds(text: str, setting: str = "") -> float:
    """Seconds of ``5s`` or ``10m``.

    Args:
        text: the duration.
        setting: that it is the value of, for the message.

    Raises:
        UsageError: not a duration.
    """
    try:
        return duration_s(text.strip())
    except ValueError as error:
        what = f"`{setting}` {text}" if setting else f"'{text}'"
        raise UsageError(f"{what} is not a valid duration; expected {error}") from None
