"""Options of live sources, and their syntax in an address."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

from edgevision.address import HIDDEN, Address
from edgevision.errors import UsageError, nearest
from edgevision.units import duration_s

_OPTIONS = re.compile(r"#([\w-]+=[^#@/?]*)$")


class Transport(str, Enum):
    """Transport of RTSP packets."""

    TCP = "tcp"
    """In the RTSP connection: nothing is lost, but a slow network adds delay."""
    UDP = "udp"
    """Separate datagrams: no delay, but a lost packet damages the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """Timeouts and reconnection of cameras and streams; ignored for files and images.

    In an address they follow a ``#``, which is never sent to the server, and take precedence over those of
    the caller: ``rtsp://camera/live#transport=udp&timeout=5s``.

    Attributes:
        transport: RTSP transport (``transport=tcp``).
        connect_timeout_s: time limit for a response and the first packets (``connect-timeout=10s``).
        read_timeout_s: after this time without a frame the source counts as lost (``timeout=10s``).
        max_attempts: consecutive attempts to reconnect; None for no limit, 0 for none
            (``reconnect=forever``, ``reconnect=5``, ``reconnect=0``).
        freeze_s: after this time with identical frames the source counts as lost; None disables the check
            (``freeze=60s``, ``freeze=off``).
        wait: keep trying if the source is not available at the start (``wait=yes``).

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
                raise UsageError(f"`{name}` is {seconds:g}; expected seconds above 0")
        if self.max_attempts is not None and self.max_attempts < 0:
            raise UsageError(f"`max_attempts` is {self.max_attempts}; expected 0 or more, or None")


def split_options(uri: str, given: SourceOptions) -> tuple[str, SourceOptions]:
    """An address without the options after its ``#``, and the given options updated by those.

    A ``#`` that is not followed by ``key=value`` is part of the address, since a password may contain one.

    Raises:
        UsageError: an unknown option or an invalid value.
    """
    match = _OPTIONS.search(uri)
    if match is None:
        return uri, given
    # After a query or half of a password it may not be our '#'.
    quotes = HIDDEN not in Address.parse(uri[: match.start()]).shown
    values = read_options(match.group(1), _READERS, "a live source", quotes=quotes)
    return uri[: match.start()], replace(given, **{_FIELDS[key]: value for key, value in values.items()})


def read_options(
    text: str, readers: Mapping[str, Callable[[str], Any]], whose: str, *, quotes: bool = True
) -> dict[str, Any]:
    """Reads ``key=value&key=value``.

    Args:
        text: the options; percent-encoding is decoded.
        readers: for each valid key a function that parses its value, or raises ValueError with what it
            expects.
        whose: the subject of error messages, such as ``a camera``.
        quotes: whether error messages may quote what was found, which can be part of a password.

    Raises:
        UsageError: an unknown or repeated key, or an invalid value.
    """
    values: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        if key not in readers:
            hint = nearest(key, readers) or f"; known options: {', '.join(readers)}"
            found = f"no option '{key}'" if quotes else "no such option as stands at the end of the address"
            raise UsageError(f"{whose} has {found}{hint}")
        if key in values:
            raise UsageError(f"{whose}: option {key} is given twice")
        try:
            values[key] = readers[key](value)
        except ValueError as error:
            found = f"is '{value}'" if quotes else "is not valid"
            raise UsageError(f"{whose}: {key} {found}; expected {error}") from None
    return values


def one_of(*choices: str) -> Callable[[str], str]:
    """A reader that accepts one of these words."""

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
        ValueError: neither; the message is what was expected.
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
