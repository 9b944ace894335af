"""Passwords and tokens of the page: only their hashes are kept.

A file of them has one a line: ``password scrypt$...`` or ``token sha256$...``. Passwords go through scrypt
(RFC 7914) with the parameters that OWASP names for it; a token is random and long, so a plain hash holds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgevision.errors import UsageError
from edgevision.files import atomic_path

PASSWORD_VARIABLE = "EDGEVISION_WEB_PASSWORD"
TOKEN_VARIABLE = "EDGEVISION_WEB_TOKEN"
SHORTEST = 8
"""Letters of a password."""

_N, _R, _P = 2**15, 8, 1  # 32 MiB and some 60 ms
_MEMORY = 128 * _N * _R * 2


@dataclass(frozen=True)
class Passwords:
    """Hashes of what opens the page; ``repr`` shows none.

    Attributes:
        passwords: as :func:`hash_password` makes them.
        tokens: as :func:`hash_token` makes them.
    """

    passwords: tuple[str, ...] = field(default=(), repr=False)
    tokens: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, path: Path | None, environment: Mapping[str, str] = os.environ) -> Passwords:
        """Those of a file and of the environment, where there are any.

        Raises:
            UsageError: the file cannot be read, other users may change it, or it holds something else.
        """
        found: dict[str, list[str]] = {"password": [], "token": []}
        if path is not None:
            for number, line in enumerate(_read(path).splitlines(), 1):
                kind, _, value = line.strip().partition(" ")
                if not kind or kind.startswith("#"):
                    continue
                if kind not in found or value.count("$") < 1:
                    raise UsageError(
                        f"{path}, line {number}: expected a line that 'edgevision web-password' wrote; "
                        "passwords are not kept in plain text"
                    )
                found[kind].append(value)
            if not any(found.values()):
                raise UsageError(f"{path} holds no password; run 'edgevision web-password {path}'")
        if environment.get(PASSWORD_VARIABLE):
            found["password"].append(hash_password(environment[PASSWORD_VARIABLE]))
        if environment.get(TOKEN_VARIABLE):
            found["token"].append(hash_token(environment[TOKEN_VARIABLE]))
        return cls(tuple(found["password"]), tuple(found["token"]))

    @property
    def is_set(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.passwords or self.tokens)

    def opens(self, password: str) -> bool:
        """Whether it is one of the passwords. Takes some 60 ms each, and memory: limit how often."""
        return any(_matches(password, hashed) for hashed in self.passwords)

    def takes(self, token: str) -> bool:
        """Whether it is one of the tokens."""
        digest = hash_token(token)
        return any(hmac.compare_digest(digest, hashed) for hashed in self.tokens)


def hash_password(password: str) -> str:
    """``scrypt$N$R$P$SALT$HASH``.

    Raises:
        UsageError: it is shorter than :data:`SHORTEST`.
    """
    if len(password) < SHORTEST:
        raise UsageError(f"the password has {len(password)} letters; expected {SHORTEST} or more")
    salt = secrets.token_bytes(16)
    return f"scrypt${_N}${_R}${_P}${_text(salt)}${_text(_scrypt(password, salt, _N, _R, _P))}"


def hash_token(token: str) -> str:
    """``sha256$HASH``."""
    return f"sha256${hashlib.sha256(token.encode()).hexdigest()}"


def new_token() -> str:
    """A random token of 256 bits."""
    return secrets.token_urlsafe(32)


def add_line(path: Path, kind: str, hashed: str) -> None:
    """Adds a hash to a file that only its owner may read; a password takes the place of the one before.

    Args:
        path: the file; made where it is missing.
        kind: ``password`` or ``token``.
        hashed: see :func:`hash_password` and :func:`hash_token`.

    Raises:
        UsageError: the file holds something else.
        SinkError: it cannot be written.
    """
    lines = []
    if path.exists():
        Passwords.read(path, {})
        lines = _read(path).splitlines()
    if kind == "password":
        lines = [line for line in lines if not line.startswith("password ")]
    with atomic_path(path) as partial:
        partial.chmod(0o600)
        partial.write_text("\n".join([*lines, f"{kind} {hashed}"]) + "\n", encoding="utf-8")


def _read(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o022:
            raise UsageError(f"{path} can be changed by other users; run: chmod 600 {path}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) else "not text"
        raise UsageError(f"cannot read {path}: {found}; run 'edgevision web-password {path}'") from error


def _matches(password: str, hashed: str) -> bool:
    try:
        _, n, r, p, salt, wanted = hashed.split("$")
        found = _scrypt(password, base64.b64decode(salt), int(n), int(r), int(p))
    except ValueError:  # a line that was changed by hand
        return False
    return hmac.compare_digest(_text(found), wanted)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
