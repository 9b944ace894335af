"""Keeps user names, passwords and tokens of stream addresses away from people's eyes."""

from __future__ import annotations

import re
from urllib.parse import unquote

# One address may hold another: chaos://rtsp://...
_URL = re.compile(r"(?P<scheme>(?:[a-zA-Z][\w+.-]*://)+)(?P<rest>[^\s'\"<>]+)")
_PROPERTY = re.compile(
    r"\b(?P<name>(?:user|proxy)-(?:id|pw)|passphrase)=(?P<value>\"[^\"]*\"|\S+)"
)  # GStreamer's
_AUTHORITY = re.compile(r"[^/?#]*")
_PORT_LIKE = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")


def _user_part(rest: str) -> str:
    """``user:password`` of what follows ``://``, or ``""``. A raw ``/`` in a password is allowed for."""
    match = _AUTHORITY.match(rest)
    authority = match.group() if match else ""
    if "@" in authority:
        return authority.rpartition("@")[0]
    if "@" in rest and not _PORT_LIKE.fullmatch(
        authority
    ):  # 'user:pa' of 'user:pa/ss@host': no port looks so
        return rest.rpartition("@")[0]
    return ""


def _redact_url(match: re.Match[str]) -> str:
    rest = match["rest"]
    user = _user_part(rest)
    if user:
        rest = rest[len(user) + 1 :]
    address, question, _ = rest.partition("?")
    return f"{match['scheme']}{address}{question and '?...'}"


def redact(text: str, uri: str = "") -> str:
    """The text without user, password and query of any address in it.

    Args:
        text: a message, or an address.
        uri: the address in use; its password and its query are also removed where they stand alone.

    Example:
        >>> redact("cannot open rtsp://ann:secret@10.0.0.5:554/live?token=1")
        'cannot open rtsp://10.0.0.5:554/live?...'
    """
    text = _PROPERTY.sub(r"\g<name>=...", _URL.sub(_redact_url, text))
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        if len(secret) > 2:
            text = text.replace(secret, "...")
    return text


def _secrets(uri: str) -> set[str]:
    """Everything in an address, and in those that it holds, that nobody should see."""
    found = {match["value"].strip('"') for match in _PROPERTY.finditer(uri)}
    for match in _URL.finditer(uri):
        rest = match["rest"]
        user = _user_part(rest)
        query = rest[len(user) :].partition("?")[2]
        for secret in (user, user.partition(":")[2], query):
            found |= {secret, unquote(secret)}
    return found
