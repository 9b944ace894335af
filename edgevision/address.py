"""Addresses of sources, outputs and brokers: their parts, and the form that people may see.

Addresses of cameras hold user names, passwords and tokens, often written raw (``rtsp://admin:12345#@cam``),
in which case where the password ends is a matter of reading. The displayed form is made of the parts that are
harmless in every reading; where readings contradict each other, it is the scheme alone.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from edgevision.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES

HIDDEN = "..."
"""Stands for what is not shown."""

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_MISTYPED_SCHEME = re.compile(r"(?:rtsps?|rtmps?|https?|mqtts?)[:;/\\]", re.IGNORECASE)
_MISTYPED_RTMP = re.compile(r"(rtmps?(?:[:;][/\\]*|[/\\]{2,}))(?=[^:;/\\])", re.IGNORECASE)
_ENCODED_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*%(?:25)*3a(?:%(?:25)*2f|/){2}", re.IGNORECASE)
_ENCODED_LOGIN = re.compile(r"%(?:25)*(?:40|3a)", re.IGNORECASE)  # '@' and ':'
_OWN_SCHEMES = ("demo", "csi", "v4l2")  # cameras and the demo: no network, no secrets
_OWN = re.compile(r"(?:(?:demo|csi|v4l2)://[^@]*|demo|webcam|\d{1,3}|/dev/(?:video\d+|v4l/[^?#]+))(?=[?#]|$)")
_OPTIONS = re.compile(r"#[\w-]+=[^#@/?]*$")  # of this program; see split_options
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
_HOST_END = re.compile(r"[/?#\\]")  # RFC 3986, 3.2, and the backslash of people
_ENCODED = {"#": "%23", "/": "%2F", "?": "%3F", "\\": "%5C"}
_NEED_PORT = ("udp", "tcp", "rtp", "srt")  # and may listen, on no host in particular
_MAX_PORT = 65535
_FILE_SUFFIXES = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".m3u8", ".mpd", ".sdp")

_SECRET_WORDS = re.compile(
    r"passw|pwd|passphrase|token|secret|credential|api[-_]?key|signature", re.IGNORECASE
)
_SECRET_SEGMENTS = {"user", "username", "usr", "pass", "pw", "key", "auth", "login", "admin"}
_TOKEN_LENGTH = 16
_SHORTEST = 3  # letters; shorter secrets are found in any text
_LONG = 8  # letters from which on a secret is hidden within a word too
_SIGNS = r"""[/\\:;@?&=#%'"`<>()\[\]{},|]"""  # beside a part of an address

# GStreamer's grammar of a property: name=value, blanks allowed around '=', quotes with backslashes.
_PROPERTY = re.compile(
    r"""([\w:-]+)\s*=\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|["'].*|(?:\\.|[^\s\\])+)""", re.DOTALL
)
_ELEMENT = re.compile(r"[\w.-]+(?=[\s!]|$)")


@dataclass(frozen=True, slots=True)
class Address:
    """An address, taken apart once.

    Attributes:
        text: as written, without blanks around an address with ``://``, the scheme in lower case. Holds
            secrets.
        scheme: in lower case; empty for a path.
        shown: what may be printed, logged and written: no user, password, query or token.
        secrets: what must not appear elsewhere either, such as in a library's error; encoded and decoded.
        reserved: the signs in user or password that end the host for a server, and must be encoded.
        keys: those of the secrets that are segments of an RTMP path, and may be words such as ``cam``.

    Example:
        >>> Address.parse("RTSP://ann:secret@10.0.0.5:554/live?token=1").shown
        'rtsp://10.0.0.5:554/live?...'
        >>> Address.parse("rtsp://admin:12345#@10.0.0.5/live").advice
        "; write '#' in a user or password as %23"
    """

    text: str = field(repr=False)
    scheme: str
    shown: str
    secrets: frozenset[str] = field(repr=False, default=frozenset())
    reserved: str = ""
    keys: frozenset[str] = field(repr=False, default=frozenset())

    @classmethod
    def parse(cls, text: str) -> Address:
        """Takes an address apart; never fails, and hides more where it cannot tell.

        What follows the application in an RTMP address is the stream key, by which anyone can publish: it is
        a secret.

        Args:
            text: an address, or a path, which is shown as it is unless it looks like a mistyped address.
        """
        match = _SCHEME.match(text.strip())
        if match is None:
            return _parse_without_scheme(text)
        scheme, rest = match[1].lower(), text.strip()[match.end() :]
        whole = f"{scheme}://{rest}"
        if scheme == "gst":
            return cls(whole, scheme, f"gst://{_first_element(rest)}", _pipeline_secrets(rest))
        if scheme == "file" and rest.startswith("/"):
            return cls(whole, scheme, whole)
        if scheme in _OWN_SCHEMES and "@" not in rest:
            return cls(whole, scheme, whole)
        if scheme == "chaos":  # holds another address
            held, _, faults = rest.rpartition("?")
            if _OWN.fullmatch(held) and "@" not in faults:
                return cls(whole, scheme, whole)
            inner = cls.parse(rest)
            return cls(whole, scheme, f"chaos://{inner.shown}", inner.secrets, inner.reserved, inner.keys)
        credentials, place = _split(rest)
        most = _shown_segments(scheme)
        shown = HIDDEN if place is None else _show_place(place, most)
        secrets = _secrets(credentials, rest if place is None else place, most)
        keys: frozenset[str] = frozenset() if most is None else secrets - _all_forms(_login(credentials))
        if _ENCODED_LOGIN.search(_authority(rest)):
            secrets |= cls.parse(f"{scheme}://{_decoded(rest)}").secrets
        reserved = "".join(sign for sign in _ENCODED if sign in credentials)
        return cls(whole, scheme, f"{scheme}://{shown}", secrets, reserved, keys)

    @property
    def is_hidden(self) -> bool:
        """Whether ``shown`` leaves something out."""
        return self.shown != self.text

    @property
    def advice(self) -> str:
        """What to write instead of the reserved signs; empty where there are none."""
        if not self.reserved:
            return ""
        signs = " and ".join(f"'{sign}'" for sign in self.reserved)
        return f"; write {signs} in a user or password as {' and '.join(_ENCODED[s] for s in self.reserved)}"

    @property
    def place_fault(self) -> str:
        """What is wrong with the host and port of a network address, such as ``names no port``; or empty."""
        _, place = _split(self.text.partition("://")[2])
        if place is None:
            return "names no host and port that can be told from user and password"
        found = _HOST.fullmatch(_authority(place))
        if found is None:  # IPv6 without brackets
            return ""
        host, port = found[1], (found[2] or "").removeprefix(":")
        if not host and not (port and self.scheme in _NEED_PORT):
            return "names no host"
        if not port:
            return "names no port" if self.scheme in _NEED_PORT else ""
        return "" if 0 < int(port) <= _MAX_PORT else f"names port {port}, which is not from 1 to {_MAX_PORT}"


def display(text: str) -> str:
    """How an address or a path is shown: a file that exists by its name, anything else without secrets."""
    address = Address.parse(text)
    return text if not address.scheme and _exists(text) else address.shown


def find_address(text: str) -> str | None:
    """How an address, mistyped or not, is shown that is given as an output; None if it can be a file."""
    address = Address.parse(text)
    if not (address.scheme or address.is_hidden) or _exists(str(Path(text).parent)):
        return None
    return address.shown


def _exists(path: str) -> bool:
    with contextlib.suppress(OSError, ValueError):  # too long, or no name at all
        return Path(path).exists()
    return False


def redact(text: str, *uris: str) -> str:
    """The text without the secrets of addresses.

    What this program writes itself is made of :attr:`Address.shown <edgevision.address.Address>`, and
    needs none of this.

    Args:
        text: a message, or an address.
        uris: the addresses in use: each is replaced by its displayed form, and its secrets by ``...`` where
            they stand alone. Without any, the text is taken for one message with one address: everything from
            its scheme to the last ``@`` goes, and from the ``?`` on.

    Example:
        >>> redact("no answer: rtsp://ann:secret@cam/live (secret)", "rtsp://ann:secret@cam/live")
        'no answer: rtsp://cam/live (...)'
        >>> redact("cannot open rtsp://ann:secret@10.0.0.5:554/live?token=1")
        'cannot open rtsp://10.0.0.5:554/live?...'
    """
    if not uris:
        return _redact_unknown(text)
    instead: dict[str, str] = {}
    keys: set[str] = set()
    for uri in uris:
        address = Address.parse(uri)
        instead |= {secret: HIDDEN for secret in address.secrets if len(secret) >= _SHORTEST}
        keys |= address.keys
        if address.is_hidden:
            instead |= {uri: address.shown, address.text: address.shown}
    quoted = {repr(secret)[1:-1]: shown for secret, shown in instead.items()}  # as messages quote it
    for secret, shown in sorted({**quoted, **instead}.items(), key=lambda pair: len(pair[0]), reverse=True):
        text = shown.join(re.split(_places(secret, secret in keys), text))
    return text


def _places(secret: str, is_key: bool) -> str:
    """A pattern of where a secret stands: a short one not within a word, and a key that may be a word
    (``cam``) only beside a sign of addresses, or alone in the text.
    """
    pattern = re.escape(secret)
    if len(secret) >= _LONG:
        return pattern
    before, after = (
        (r"(?<![^\W_])" if secret[0].isalnum() else ""),
        r"(?![^\W_])" if secret[-1].isalnum() else "",
    )
    pattern = f"{before}{pattern}{after}"
    if is_key and secret.isalpha():
        return rf"(?:(?<={_SIGNS})|^){pattern}|{pattern}(?={_SIGNS}|$)"
    return pattern


def _redact_unknown(text: str) -> str:
    match = re.search(r"[a-zA-Z][\w+.-]*(?=://)|(?=://)", text)
    return text if match is None else text[: match.start()] + Address.parse(text[match.start() :]).shown


def _split(rest: str) -> tuple[str, str | None]:
    """User and password, and what follows their ``@``, of what follows ``://``.

    A raw password can hold signs that end the host for a server, and paths and queries can hold ``@``. The
    second is None where nothing can be shown that is harmless in both readings.
    """
    authority = _authority(rest)
    user, at, host = rest.rpartition("@")
    if not at:
        return ("", rest) if _is_host(authority) else (rest, None)  # 'user:password', the host forgotten
    if len(user) < len(authority):
        return user, host if _is_host(_authority(host)) else None
    if _is_certain_host(authority, rest[len(authority) :]):
        return "", rest
    read_by_server = authority.rpartition("@")[2]
    # Where a server can read a host before, what precedes this '@' may be a path or a query with secrets.
    if _is_host(read_by_server) and not _is_ip(_authority(host).partition(":")[0]):
        middle = user[len(authority) :].partition("#")[0]
        if "?" in middle or _show_path(middle) != middle:
            return user, None
    return user, host if _is_host(_authority(host)) else None


def _authority(rest: str) -> str:
    end = _HOST_END.search(rest)
    return rest if end is None else rest[: end.start()]


def _is_host(text: str) -> bool:
    """Whether it can be a host and a port: no ``user:password`` with letters in the password can."""
    return (_HOST.fullmatch(text) is not None and not _ENCODED_LOGIN.search(text)) or _is_ip(text)


def _is_certain_host(authority: str, rest: str) -> bool:
    """Whether it can be nothing else, whatever ``@`` follows: IPv6 in brackets, or a file ``icon@2x.jpg``."""
    match = _HOST.fullmatch(authority)
    if match is not None and match[1].startswith("["):
        return _is_ip(match[1].strip("[]"))
    folder, _, name = rest.rpartition("/")
    after = name.rpartition("@")[2].lower()
    is_file = after.endswith(_FILE_SUFFIXES) and after.count(".") == 1
    return not set(authority) & set(":@") and not set(folder) & set("@?#") and is_file and "?" not in name


def _is_ip(text: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return False


def _shown_segments(scheme: str) -> int | None:
    """How many segments of a path are shown: of RTMP, also mistyped, the application alone."""
    is_rtmp = scheme.startswith("rtmp") or sorted(scheme.removesuffix("s")) == sorted("rtmp")
    return 1 if is_rtmp else None


def _decoded(text: str) -> str:
    """Without any percent encoding, be it encoded again itself."""
    while (plain := unquote(text)) != text:
        text = plain
    return text


def _show_place(place: str, most: int | None = None) -> str:
    """``host:port/path?...``"""
    place = _OPTIONS.sub("", place)
    authority = _authority(place)
    end = re.search(r"[?#]", place)
    path = _show_path(place[len(authority) : None if end is None else end.start()], most)
    is_cut = path.endswith(HIDDEN)
    return f"{authority}{path}{'' if end is None or is_cut else end.group() + HIDDEN}"


def _show_path(path: str, most: int | None = None) -> str:
    """The path up to the first segment that may be a secret, and of ``most`` segments."""
    shown: list[str] = []
    count = 0
    for segment in re.split(r"(?<=[/\\])", path):
        name = unquote(segment).rstrip("/\\")
        if (name and count == most) or _may_be_secret(name):
            return "".join(shown) + HIDDEN
        shown.append(segment)
        count += bool(name)
    return path


def _may_be_secret(segment: str) -> bool:
    """``user=admin_password=x`` of cheap recorders, ``user:password``, and tokens."""
    if set(segment) & set("=&;:") or _SECRET_WORDS.search(segment) or segment.lower() in _SECRET_SEGMENTS:
        return True
    return any(
        len(word) >= _TOKEN_LENGTH and not word.isalpha() and not word.isdigit()
        for word in re.findall(r"[^\W_]+", segment)
    )


def _secrets(credentials: str, place: str, most: int | None = None) -> frozenset[str]:
    """What may stand alone in the text of others: user and password, hidden path, query, secret values."""
    authority = _authority(place)
    path, _, query = place[len(authority) :].partition("?")
    path = path.partition("#")[0]
    shown = _show_path(path, most)
    hidden = path[len(shown) - len(HIDDEN) :] if shown != path else ""
    found = {*_login(credentials), query, hidden}
    if most is not None:  # servers and libraries repeat the key by itself
        found |= set(re.split(r"[/\\]", hidden))
    found |= {value for key, value in parse_qsl(query) if _may_be_secret(key.lower())}
    return _all_forms(found)


def _login(credentials: str) -> set[str]:
    """User and password together, and the password."""
    return {credentials, credentials.partition(":")[2]}


def _all_forms(secrets: set[str]) -> frozenset[str]:
    return frozenset(form for secret in secrets for form in (secret, unquote(secret)) if form)


def _parse_without_scheme(text: str) -> Address:
    """A path, unless it looks like an address with a mistake: ``rtsp:/ann:pw@cam``, ``ann:pw@cam/live``."""
    if _OWN.match(text) and "@" not in text:
        return Address(text, "", text)
    if _ENCODED_SCHEME.match(text.strip()):
        inner = Address.parse(_decoded(text))
        encoded = frozenset(quote(secret, safe="") for secret in inner.secrets)
        return Address(text, "", inner.shown, inner.secrets | encoded)
    rtmp = _MISTYPED_RTMP.match(text.strip())
    if rtmp is not None:
        inner = Address.parse(f"rtmp://{text.strip()[rtmp.end() :]}")
        shown = rtmp[1] + inner.shown.removeprefix("rtmp://")
        return Address(text, "", shown, inner.secrets, keys=inner.keys)
    is_mistyped = _MISTYPED_SCHEME.match(text.strip()) is not None
    before, at, after = text.rpartition("@")
    host = _authority(after)
    is_camera = _is_ip(host) or re.fullmatch(r"[^:]+:\d+", host) is not None
    if at and (":" in before or is_mistyped or is_camera):
        is_readable = not set(before) & set("?=") and _is_host(host)
        user = re.split(r"[/\\]", before)[-1]
        secrets = _secrets(before, after) | _all_forms({user, user.partition(":")[2]})
        return Address(text, "", f"{HIDDEN}@{_show_place(after)}" if is_readable else HIDDEN, secrets)
    authority = _authority(text)
    is_camera = is_mistyped or _is_ip(authority.partition(":")[0])
    has_secret = "=" in unquote(text) and _SECRET_WORDS.search(text) is not None
    if is_camera or has_secret or "=" in text.partition("?")[2]:
        return Address(text, "", _show_place(text) if _is_host(authority) else HIDDEN, _secrets("", text))
    return Address(text, "", text)


def _first_element(pipeline: str) -> str:
    """The first element without its properties; the rest may hold anything."""
    match = _ELEMENT.match(pipeline.strip())
    return HIDDEN if match is None else match.group()


def _pipeline_secrets(pipeline: str) -> frozenset[str]:
    """The pipeline whole, and the values of all properties, as written and as GStreamer repeats them."""
    found = {pipeline.strip()} if "=" in pipeline else set()
    for match in _PROPERTY.finditer(pipeline):
        value = match[2]
        bare = re.sub(r"\\(.)", r"\1", value)
        found |= {value, value.strip("\"'"), bare, bare.strip("\"'")}
        if value[0] in "'\"" and value[0] != value[-1]:  # not closed: where it ends is anyone's guess
            found |= set(bare[1:].split())
        if "://" in value:
            found |= Address.parse(value.strip("\"'")).secrets
    between = _PROPERTY.sub(" ", pipeline)
    if set(between) & set("'\""):  # a quote too many: which words belong to a value is anyone's guess
        found |= {word.strip("'\"") for word in between.split()} - {""}
    return _all_forms(found)
