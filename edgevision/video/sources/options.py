"""How a live source is opened and kept alive, and how that is written in an address."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

from edgevision.errors import UsageError, nearest
from edgevision.units import duration_s

_OPTIONS = re.compile(r"#([\w-]+=[^#@/?]*)$")


class Transport(str, Enum):
    """How RTSP brings its packets."""

    TCP = "tcp"
    """Through the connection itself: nothing is lost, and a slow network delays."""
    UDP = "udp"
    """Beside it: a lost packet tears the picture, and nothing waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What to do about cameras and streams that do not behave; files and images have no use for it.

    In an address the same stands behind a ``#``, which is never sent to anybody, and there it goes before
    what a caller gives: ``rtsp://camera/live#transport=udp&timeout=5s``.

    Attributes:
        transport: of RTSP (``transport=tcp``).
        connect_timeout_s: for an answer and the first packets (``connect-timeout=10s``).
        read_timeout_s: without a picture, after which the source counts as lost (``timeout=10s``).
        max_attempts: attempts in a row to bring a lost source back; None for ever, 0 gives up at once
            (``reconnect=forever``, ``reconnect=5``, ``reconnect=0``).
        freeze_s: the same picture, to the last bit, for so long counts as lost; None allows it for ever
            (``freeze=60s``, ``freeze=off``).
        wait: a source that is not there at the start is waited for like one that was lost (``wait=yes``).

    Raises:
        UsageError: a time that is not above 0, or a negative number of attempts.
    """

    transport: Transport = Transport.TCP
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 10.0
    max_attempts: int | None = None
    freeze_s: float | None = 60.0
    wait: bool = False

    def __post_init__(self) -> None:
        for name in ("connect_timeout_s", "read_timeout_s", "freeze_s"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < float("inf"):
                raise UsageError(f"{name} is {seconds:g}; expected seconds, more than 0")
        if self.max_attempts is not None and self.max_attempts < 0:
            raise UsageError(f"reconnect is {self.max_attempts}; expected 0 or more attempts, or forever")


def split_options(uri: str, given: SourceOptions) -> tuple[str, SourceOptions]:
    """An address without the options behind its ``#``, and the options with those put in.

    A ``#`` that no ``key=value`` follows belongs to the address, for passwords may hold one.

    Raises:
        UsageError: an option that does not exist, or a value that it cannot have.
    """
    match = _OPTIONS.search(uri)
    if match is None:
        return uri, given
    values = read_options(match.group(1), _READERS, "a live source")
    return uri[: match.start()], replace(given, **{_FIELDS[key]: value for key, value in values.items()})


def read_options(text: str, readers: Mapping[str, Callable[[str], Any]], whose: str) -> dict[str, Any]:
    """Reads ``key=value&key=value``.

    Args:
        text: percent-encoding is undone.
        readers: for each key that exists, what turns its text into a value, or raises ValueError with
            what it expected.
        whose: options these are, for the error message.

    Raises:
        UsageError: an unknown key, a key that is there twice, or a value that its reader refuses.
    """
    values: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        if key not in readers:
            known = ", ".join(readers)
            raise UsageError(f"{whose} has no option '{key}'{nearest(key, readers) or f'; it has: {known}'}")
        if key in values:
            raise UsageError(f"{whose}: the option {key} is there twice; give it once")
        try:
            values[key] = readers[key](value)
        except ValueError as error:
            raise UsageError(f"{whose}: {key} is '{value}'; expected {error}") from None
    return values


def one_of(*choices: str) -> Callable[[str], str]:
    """A reader that takes these words and no others."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(" or ".join(choices))
        return text

    return read


def _transport(text: str) -> Transport:
    return Transport(one_of(*(choice.value for choice in Transport))(text))


def _attempts(text: str) -> int | None:
    if text != "forever" and not re.fullmatch(r"\d{1,9}", text):
        raise ValueError("a number of attempts such as 5, or forever")
    return None if text == "forever" else int(text)


def _freeze_s(text: str) -> float | None:
    return None if text == "off" else duration_s(text)


def yes_or_no(text: str) -> bool:
    """True for ``yes``, False for ``no``.

    Raises:
        ValueError: with what was expected.
    """
    return one_of("yes", "no")(text) == "yes"


_READERS: Mapping[str, Callable[[str], Any]] = {
    "transport": _transport,
    "connect-timeout": duration_s,
    "timeout": duration_s,
    "reconnect": _attempts,
    "freeze": _freeze_s,
    "wait": yes_or_no,
}
_FIELDS = {
    "transport": "transport",
    "connect-timeout": "connect_timeout_s",
    "timeout": "read_timeout_s",
    "reconnect": "max_attempts",
    "freeze": "freeze_s",
    "wait": "wait",
}
