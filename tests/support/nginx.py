"""nginx as a reverse proxy, with the configuration that the documents show."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.broker import wait_until
from tests.support.paths import ROOT

FOLDER = "/cams/"

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    server {{
        listen 127.0.0.1:{plain};
        {location}
    }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        {location}
    }}
}}
"""


def nginx() -> str | None:
    """Where nginx is; None where it is not installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def documented_location(port: int) -> str:
    """The block of the guide, for a page at this port and below another folder."""
    text = (ROOT / "docs" / "guides" / "web.md").read_text(encoding="utf-8")
    found = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert found is not None
    block = found[1]
    assert "location /cameras/" in block
    assert "http://127.0.0.1:8080/" in block
    return block.replace("/cameras/", FOLDER).replace("127.0.0.1:8080", f"127.0.0.1:{port}")


@contextlib.contextmanager
def proxied(place: Path, port: int, cert: Path, key: Path) -> Iterator[tuple[str, str]]:
    """The addresses of a page behind nginx, in plain and over TLS."""
    program = nginx()
    assert program is not None
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        plain, tls = first.getsockname()[1], second.getsockname()[1]
    file = place / "nginx.conf"
    location = documented_location(port)
    file.write_text(
        _CONFIGURATION.format(place=place, plain=plain, tls=tls, cert=cert, key=key, location=location)
    )
    errors = place / "error.log"
    with subprocess.Popen([program, "-c", file, "-p", place, "-e", errors]) as process:
        try:
            for one in (plain, tls):
                wait_until(lambda one=one: _answers(one), "nginx", 20)  # type: ignore[misc]
            yield f"http://127.0.0.1:{plain}{FOLDER}", f"https://127.0.0.1:{tls}{FOLDER}"
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
