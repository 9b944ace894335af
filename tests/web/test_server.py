"""The server: what it answers, over TLS too, and that it ends at once.

Also tests ``edgevision.web.app``, ``edgevision.web.answers``, ``edgevision.web.page_files``,
``edgevision.web.routes`` and ``edgevision.web.openapi``.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import time
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

from edgevision.web.hub import Hub
from edgevision.web.openapi import document
from edgevision.web.page_files import page_files
from tests.support.broker import wait_until
from tests.support.pipeline import run_statistics, stream_statistics
from tests.support.web import Feeder, ask, open_view, served
from tests.web.test_settings import make_certificate


def test_the_page_its_modules_and_the_state_are_served() -> None:
    hub = Hub()
    hub.read = lambda: run_statistics(stream_statistics("gate"))
    with served(hub) as server:
        page = ask(server.url)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert b'<script type="module" src="main.js">' in page.data
        module = ask(server.url + "main.js")
        assert module.headers["content-type"] == "text/javascript; charset=utf-8"
        assert ask(server.url + "main.js", If_None_Match=module.headers["etag"]).status == 304
        state = ask(server.url + "api/state?curves=yes").json()
        assert state["streams"][0]["name"] == "gate"
        assert state["streams"][0]["curves"] == {"at_ms": [], "rate": [], "latency_ms": [], "lost": []}
        assert ask(server.url + "api/state").json()["streams"][0]["curves"] is None
        metrics = ask(server.url + "metrics")
        assert b'edgevision_frames_captured_total{stream="gate"} 15.0' in metrics.data
        health = ask(server.url + "healthz")
        assert (health.status, health.json()["streams"]) == (200, {"gate": "running"})


def test_paths_lead_nowhere_else_and_errors_are_json() -> None:
    with served() as server:
        for path in (
            "../pyproject.toml",
            "%2e%2e/web/app.py",
            "app.py",
            "/etc/passwd",
            "api/nothing",
        ):
            answer = ask(server.url + path)
            assert answer.status in (404, 307), path
            assert "error" in answer.json(), path
        assert ask(server.url + "api/state", {}, "POST").status == 405
        assert ask(server.url + "api/login", [], "POST").status == 400
        assert ask(server.url + "api/login", {"password": "x", "more": 1}).status == 400
        assert ask(server.url + "api/login", {"password": "x" * 2**20}).status == 413
        assert ask(server.url + "api/login", {"password": "x"}, Content_Type="text/plain").status == 415


def test_no_file_of_the_page_asks_another_machine() -> None:
    files = page_files()
    assert {"/", "/main.js", "/style.css", "/player.js"} <= files.keys()
    for path, file in files.items():
        text = file.data.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.", text), path
        assert "style=" not in text or path.endswith(".js"), path  # the policy would refuse it


def test_the_document_names_every_route_and_its_references_exist(tmp_path: Path) -> None:
    found = document()
    with served() as server:
        assert ask(server.url + "api/openapi.json").json() == json.loads(json.dumps(found))
    text = json.dumps(found)
    for name in set(re.findall(r"#/components/schemas/([^\"]+)", text)):
        assert name in found["components"]["schemas"]
    from edgevision.web.app import PageApp
    from edgevision.web.event_store import EventStore
    from edgevision.web.history import History
    from edgevision.web.routes import page_routes
    from edgevision.web.settings import WebSettings

    with History(lambda: None) as history, EventStore(tmp_path) as store:
        hub = Hub(store)
        app = PageApp(hub, WebSettings(port=0), history, page_routes(hub)).app
    paths = {route.path for route in app.routes if route.path.startswith("/api/")}  # type: ignore[attr-defined]
    assert paths - {"/api/streams/{stream}/live"} == set(found["paths"])


def test_it_is_served_over_tls(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    with served(tls_cert=cert, tls_key=key) as server:
        assert server.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(cert))
        context.check_hostname = False
        with urllib.request.urlopen(server.url, timeout=10, context=context) as answer:
            assert answer.status == 200


def test_it_ends_within_two_seconds_while_people_look() -> None:
    hub = Hub()
    view = open_view(hub)
    with Feeder(view.tile), served(hub) as server:
        url = f"ws://127.0.0.1:{server.port}/api/streams/gate/live"
        with contextlib.ExitStack() as sockets:
            for _ in range(4):
                sockets.enter_context(connect(url, max_size=None))
            wait_until(lambda: view.tile.viewers == 4, "four viewers")
            start = time.monotonic()
            server.close()
            assert time.monotonic() - start < 2


def test_many_who_come_and_leave_leave_nothing() -> None:
    hub = Hub()
    view = open_view(hub)
    with served(hub) as server, Feeder(view.tile):
        for _ in range(50):
            with connect(f"ws://127.0.0.1:{server.port}/api/streams/gate/live"):
                pass
        wait_until(lambda: view.tile.viewers == 0, "all have left")


def test_a_port_that_is_taken_meanwhile_is_one_line() -> None:
    from edgevision.errors import UsageError
    from edgevision.web.server import WebServer
    from edgevision.web.settings import WebSettings

    with served() as server:
        settings = WebSettings(port=0)
        object.__setattr__(settings, "port", server.port)
        with pytest.raises(UsageError, match="cannot listen"):
            WebServer(Hub(), settings)
