"""Who may ask, and from where: the first thing that every request passes.

Four rules, in this order. The ``Host`` must be a name of this machine, so that no foreign name that
resolves to it (DNS rebinding) reaches the page. An ``Origin`` must be the page's own. A client whose
passwords were wrong too often waits. And where passwords are set, everything but the page's own files needs a
session or a token.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from edgevision.web.settings import WebSettings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SESSION_S = 7 * 24 * 3600
"""After this long without a request one logs in again."""
MAX_FAILURES = 10
_FAILURES_S = 300.0
_MAX_SESSIONS = 1000
_MAX_CLIENTS = 10_000
_SAFE = ("GET", "HEAD", "OPTIONS")

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""A player feeds its video through a blob; nothing is loaded from anywhere else."""

_HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Attempts:
    """Counts wrong passwords by client, so that guessing locks out nobody else.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Seconds until this client may try again; 0 where it may now."""
        failures = self._failures.get(client)
        if failures is None:
            return 0.0
        while failures and failures[0] <= self._clock() - _FAILURES_S:
            failures.popleft()
        return failures[0] + _FAILURES_S - self._clock() if len(failures) >= MAX_FAILURES else 0.0

    def fail(self, client: str) -> None:
        """A wrong password came."""
        self._failures.setdefault(client, deque(maxlen=MAX_FAILURES)).append(self._clock())
        self._failures.move_to_end(client)
        while len(self._failures) > _MAX_CLIENTS:
            self._failures.popitem(last=False)

    def succeed(self, client: str) -> None:
        """The right one came."""
        self._failures.pop(client, None)


class Sessions:
    """Who is logged in, in memory: a restart logs everybody out.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: OrderedDict[str, float] = OrderedDict()

    def begin(self) -> str:
        """A new session's secret, for its cookie."""
        secret = secrets.token_urlsafe(32)
        self._ends[_digest(secret)] = self._clock() + SESSION_S
        while len(self._ends) > _MAX_SESSIONS:
            self._ends.popitem(last=False)
        return secret

    def is_open(self, secret: str) -> bool:
        """Whether it is a session; it then lasts on."""
        key = _digest(secret)
        if self._ends.get(key, 0.0) <= self._clock():
            self._ends.pop(key, None)
            return False
        self._ends[key] = self._clock() + SESSION_S
        return True

    def end(self, secret: str) -> None:
        """Logs out."""
        self._ends.pop(_digest(secret), None)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Access:
    """The four rules, and the headers of every answer, around an ASGI application.

    Args:
        app: what answers.
        settings: who may look.
        port: that the server listens on.
        is_open: whether a path needs no login: the page's own files, and the login.

    Attributes:
        attempts, sessions: see there.
        cookie: name of the session's cookie; two servers of one host have two.
    """

    def __init__(self, app: App, settings: WebSettings, port: int, is_open: Callable[[str], bool]) -> None:
        self._app, self._settings, self._is_open = app, settings, is_open
        self.attempts, self.sessions = Attempts(), Sessions()
        self.cookie = f"edgevision_{port}"
        self._names = own_names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or refuses it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(scope, headers)
        if refused is None:
            scope.setdefault("state", {})
            scope["state"]["access"] = self
            scope["state"]["is_known"] = not self._settings.passwords.is_set or self._is_known(headers)
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send(
                {"type": "websocket.close", "code": 4401 if refused[0] == 401 else 4403, "reason": refused[1]}
            )
        else:
            await _answer(_with_headers(send), *refused)

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str, float] | None:
        """Status, reason and seconds to wait; None for a request that may pass."""
        host = headers.get(b"host", "")
        if not self._is_own(_hostname(host), scope):
            return 421, "this host name is not served here; a reverse proxy's name is given at the start", 0.0
        origin = headers.get(b"origin")
        if origin is not None and not self._is_own_origin(origin, host, scope):
            return 403, "the request comes from another site's page", 0.0
        is_change = scope["type"] == "http" and scope["method"] not in _SAFE
        if (
            origin is None
            and is_change
            and headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin")
        ):
            return 403, "the request comes from another site's page", 0.0
        passwords = self._settings.passwords
        if not passwords.is_set or self._is_open(scope["path"]):
            return None
        kind, _, token = headers.get(b"authorization", "").partition(" ")
        client = client_of(scope, headers)
        if kind.lower() == "bearer" and token:
            if wait_s := self.attempts.wait_s(client):
                return 429, "too many wrong passwords from this address", wait_s
            if passwords.takes(token.strip()):
                return None
            self.attempts.fail(client)
            return 401, "the token is not valid", 0.0
        if self.sessions.is_open(cookie_of(headers, self.cookie)):
            if origin is None and is_change:  # browsers send it with every change
                return 403, "a change with a session needs an Origin", 0.0
            return None
        return 401, "log in first", 0.0

    def _is_known(self, headers: dict[bytes, str]) -> bool:
        return self.sessions.is_open(cookie_of(headers, self.cookie))

    def _is_own(self, hostname: str, scope: Scope) -> bool:
        return hostname in self._names or hostname == (scope.get("server") or ("",))[0]

    def _is_own_origin(self, origin: str, host: str, scope: Scope) -> bool:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https"):
            return False
        # Behind a proxy that changes the Host, the page's own name is one that was given.
        return parts.netloc.lower() == host.lower() or (parts.hostname or "") in self._settings.names


def own_names(settings: WebSettings) -> frozenset[str]:
    """The host names under which the page may be asked for, in lower case."""
    names = {"localhost", "127.0.0.1", "::1", *settings.names}
    if not settings.is_loopback:
        names |= {settings.host, socket.gethostname(), f"{socket.gethostname()}.local"}
    return frozenset(name.lower() for name in names)


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def client_of(scope: Scope, headers: dict[bytes, str]) -> str:
    """Whom to count wrong passwords for: the peer, or whom a proxy on this machine names."""
    peer = str((scope.get("client") or ("",))[0])
    forwarded = headers.get(b"x-forwarded-for", "").rpartition(",")[2].strip()
    try:
        return forwarded if forwarded and ipaddress.ip_address(peer).is_loopback else peer
    except ValueError:
        return peer


def cookie_of(headers: dict[bytes, str], name: str) -> str:
    """The value of a cookie; empty where there is none."""
    for part in headers.get(b"cookie", "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message.get("headers", ())}
            extra = [pair for pair in _HEADERS if pair[0] not in given]
            if b"cache-control" not in given:
                extra.append((b"cache-control", b"no-store"))
            message["headers"] = [*message.get("headers", ()), *extra]
        await send(message)

    return sending


async def _answer(send: Send, status: int, reason: str, wait_s: float) -> None:
    body = msgspec.json.encode({"error": reason})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if wait_s:
        headers.append((b"retry-after", str(int(wait_s) + 1).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
