"""Where the page may be served, and what is refused before a run begins."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from edgevision.errors import UsageError
from edgevision.web.passwords import Passwords, hash_token
from edgevision.web.settings import WebSettings, parse_bind, web_settings

KEYS = Passwords(tokens=(hash_token("a token"),))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8080", "127.0.0.1", 8080),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("[::1]:9", "::1", 9),
        ("cam.local:0", "cam.local", 0),
    ],
)
def test_an_address_is_a_port_with_or_without_a_host(text: str, host: str, port: int) -> None:
    assert parse_bind(text) == (host, port)


@pytest.mark.parametrize("text", ["", "host", "80 80", ":8080", "1.2.3.4:", "::1:80", "99999", "-1"])
def test_what_is_no_address_says_what_was_expected(text: str) -> None:
    with pytest.raises(UsageError, match=r"`web` '.*' is not valid; expected a port"):
        parse_bind(text)


def test_another_machine_needs_a_password() -> None:
    with pytest.raises(UsageError, match="has no password"):
        WebSettings(host="0.0.0.0", port=0)
    assert not WebSettings(host="0.0.0.0", port=0, passwords=KEYS).is_loopback
    assert WebSettings(port=0).is_loopback


def test_a_port_that_is_taken_is_refused_early() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port} "):
            WebSettings(port=port)


def test_tls_needs_both_files_and_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`tls_cert` and `tls_key` need each other"):
        WebSettings(port=0, tls_cert=tmp_path / "a")
    (tmp_path / "a").write_text("no certificate")
    with pytest.raises(UsageError, match="expected PEM files"):
        WebSettings(port=0, tls_cert=tmp_path / "a", tls_key=tmp_path / "a")


def test_a_setting_without_the_page_says_what_it_needs() -> None:
    assert web_settings(None) is None
    with pytest.raises(UsageError, match="`web_keep` needs `web`"):
        web_settings(None, keep="1GB")


def test_settings_as_a_user_gives_them(tmp_path: Path) -> None:
    found = web_settings("0", folder=tmp_path, keep="1GB", keep_days=2.5, names=["cam.example.org"])
    assert found is not None
    assert (found.keep_bytes, found.keep_days, found.folder) == (10**9, 2.5, tmp_path)
    with pytest.raises(UsageError, match="`web_keep_days` 0 is not valid"):
        web_settings("0", keep_days=0)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key
