"""Where the page is served, to whom, and what it may do."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from edgevision.errors import UsageError
from edgevision.extras import needs_extra
from edgevision.units import parse_size
from edgevision.web.passwords import Passwords

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
DEFAULT_FOLDER = Path("edgevision-web")
_BIND = re.compile(r"(?:(\[[0-9a-fA-F:.]+\]|[^\[\]:]+):)?(\d+)")


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """How the page is served.

    Attributes:
        host: address to listen at. Only this machine can connect to the default.
        port: TCP port; 0 takes any free one.
        passwords: who may look; required at an address that other machines can reach.
        tls_cert, tls_key: PEM files of a certificate and its key; None for plain HTTP.
        names: further host names that the page is asked for by, such as a reverse proxy's.
        folder: where events are kept; made when the run begins.
        keep_days: events are removed after this many days.
        keep_bytes: events are removed, the oldest first, beyond this size.
        allow_local: the page may add sources that are files, devices or pipelines, not only addresses.

    Raises:
        UsageError: a library is missing, the port is taken, another machine could connect without a password,
            or a certificate cannot be used.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    passwords: Passwords = Passwords()  # noqa: RUF009  (frozen)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    names: tuple[str, ...] = ()
    folder: Path = DEFAULT_FOLDER
    keep_days: float = 30.0
    keep_bytes: int = 2 * 10**9
    allow_local: bool = False

    def __post_init__(self) -> None:
        with needs_extra("web", "the page"):
            import starlette  # noqa: F401
            import uvicorn  # noqa: F401
            import websockets  # noqa: F401
        if not (self.is_loopback or self.passwords.is_set):
            raise UsageError(
                f"`web` {self.host}:{self.port} can be reached from other machines and has no password; "
                "write one with 'edgevision web-password FILE' and give the file as `web_password`, or "
                "listen at 127.0.0.1"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("`tls_cert` and `tls_key` need each other; give both or neither")
        if self.tls_cert is not None and self.tls_key is not None:
            _check_certificate(self.tls_cert, self.tls_key)
        if self.keep_days <= 0:
            raise UsageError(f"`web_keep_days` {self.keep_days:g} is not valid; expected more than 0")
        check_port(self.host, self.port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_tls(self) -> bool:
        return self.tls_cert is not None

    def url(self, port: int) -> str:
        """Address of the page, for people: ``http://127.0.0.1:8080/``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.is_tls else ''}://{host}:{port}/"


def parse_bind(text: str) -> tuple[str, int]:
    """Host and port of ``8080``, ``0.0.0.0:8080`` or ``[::1]:8080``.

    Raises:
        UsageError: it is none of these.
    """
    match = _BIND.fullmatch(text.strip())
    if match is None or int(match[2]) > 65535:
        raise UsageError(
            f"`web` '{text}' is not valid; expected a port, or an address and a port: 0.0.0.0:8080"
        )
    return (match[1] or DEFAULT_HOST).strip("[]"), int(match[2])


def web_settings(
    bind: str | None,
    *,
    password: Path | None = None,
    names: list[str] | None = None,
    folder: Path | None = None,
    keep: str | None = None,
    keep_days: float | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    allow_local: bool = False,
) -> WebSettings | None:
    """The settings as a user gives them; None where ``bind`` is.

    Args:
        bind: see :func:`parse_bind`.
        password: a file that ``edgevision web-password`` wrote; the environment's
            :data:`~edgevision.web.passwords.PASSWORD_VARIABLE` and ``TOKEN_VARIABLE`` hold further ones.
        names, folder, keep_days, tls_cert, tls_key, allow_local: see :class:`WebSettings`.
        keep: :attr:`WebSettings.keep_bytes`, as in ``2GB``.

    Raises:
        UsageError: a value is not valid, or given without ``bind``.
    """
    given = {
        "web_password": password,
        "web_name": names,
        "web_data": folder,
        "web_keep": keep,
        "web_keep_days": keep_days,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "web_allow_local": allow_local,
    }
    if bind is None:
        for setting, value in given.items():
            if value:
                raise UsageError(f"`{setting}` needs `web`")
        return None
    host, port = parse_bind(bind)
    return WebSettings(
        host=host,
        port=port,
        passwords=Passwords.read(password),
        tls_cert=tls_cert,
        tls_key=tls_key,
        names=tuple(names or ()),
        folder=folder or DEFAULT_FOLDER,
        keep_bytes=parse_size(keep) if keep else WebSettings.keep_bytes,
        keep_days=WebSettings.keep_days if keep_days is None else keep_days,
        allow_local=allow_local,
    )


def check_port(host: str, port: int) -> None:
    """Checks early that the server could listen on an address.

    Raises:
        UsageError: the port is in use or reserved, or the address is not one of this machine.
    """
    try:
        listen(host, port).close()
    except OSError as error:
        raise UsageError(
            f"`web`: cannot listen on {host}:{port} ({error.strerror or error}); choose another"
        ) from error


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError: it cannot.
    """
    family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except BaseException:
        listening.close()
        raise
    return listening


def _check_certificate(cert: Path, key: Path) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        found = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(
            f"cannot use the certificate {cert} with {key}: {found}; expected PEM files"
        ) from error
