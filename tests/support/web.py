"""A page that is served, streams that are made up, and a browser to look with."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgevision.engines.fake import FakeEngine
from edgevision.model import Model
from edgevision.types import Detections, Frame, FrameResult, Image
from edgevision.video.base import SourceInfo
from edgevision.web.hub import Hub, StreamView
from edgevision.web.live import Tile
from edgevision.web.server import WebServer
from edgevision.web.settings import WebSettings
from tests.support.manifests import colour_manifest

BITS = 12


def numbered_image(number: int, size: tuple[int, int] = (320, 240)) -> Image:
    """An image whose upper half shows a number as :data:`BITS` black and white columns, lowest first."""
    width, height = size
    image = np.full((height, width, 3), 90, np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        image[: height // 2, left:right] = 235 if number >> bit & 1 else 16
    return image


def numbered_result(number: int, rate: float = 25.0, size: tuple[int, int] = (320, 240)) -> FrameResult:
    """A frame of that number, with one box."""
    frame = Frame(numbered_image(number, size), number, round(number / rate * 1e9), "numbers")
    found = Detections(
        np.array([[10, 130, 60, 200]], np.float32),
        np.array([0.9], np.float32),
        np.array([0], np.int32),
        ("red", "green", "blue"),
        "colours",
        np.array([7], object),
    )
    return FrameResult(frame, (found,))


class Feeder:
    """Writes numbered frames to a tile at a rate, on a thread, until it is stopped."""

    def __init__(
        self,
        tile: Tile,
        rate: float = 25.0,
        size: tuple[int, int] = (320, 240),
        make: Callable[[int], FrameResult] | None = None,
    ) -> None:
        self.size, self.number, self.jump_s = size, 0, 0
        self._make = make or (lambda number: numbered_result(number, rate, self.size))
        self._tile, self._rate = tile, rate
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        start = time.monotonic()
        while not self._stopped.wait(max(0.0, start + self.number / self._rate - time.monotonic())):
            result = self._make(self.number)
            if self.jump_s:
                moved = result.frame.timestamp_ns + self.jump_s * 10**9
                result = dataclasses.replace(
                    result, frame=dataclasses.replace(result.frame, timestamp_ns=moved)
                )
            self._tile.write(result, result.frame.image)
            self.number += 1


def live_info(name: str = "gate", rate: float = 25.0) -> SourceInfo:
    return SourceInfo(name, is_live=True, frame_rate=rate)


def colour_model() -> Model:
    """A model of three colours that finds nothing."""
    engine: Any = FakeEngine(manifest=colour_manifest())
    return Model(engine)


@contextlib.contextmanager
def served(hub: Hub | None = None, routes: Any = None, **settings: Any) -> Iterator[WebServer]:
    """A server on a free port of this machine."""
    with WebServer(hub or Hub(), WebSettings(port=0, **settings), routes) as server:
        yield server


def open_view(hub: Hub, name: str = "gate", rate: float = 25.0) -> StreamView:
    return hub.open_view(name, live_info(name, rate), [colour_model()])


class Answer:
    """What a server answered."""

    def __init__(self, status: int, headers: Any, data: bytes) -> None:
        self.status, self.headers, self.data = status, headers, data

    def json(self) -> Any:
        return json.loads(self.data)


def ask(url: str, body: Any = None, method: str | None = None, **headers: str) -> Answer:
    """Asks a server; ``body`` goes as JSON, and headers are named with underscores."""
    data = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:
        named.setdefault("Content-Type", "application/json")
    request = urllib.request.Request(url, data, named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def split_message(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a message of the socket."""
    length = int.from_bytes(data[:4], "big")
    return json.loads(data[4 : 4 + length]), data[4 + length :]


def chromium() -> str | None:
    """Where Debian's Chromium is; None where it is not installed."""
    for name in ("chromium-headless-shell", "chromium"):
        found = shutil.which(name)
        if found is not None:
            return found
    return None


@contextlib.contextmanager
def browser_page(
    width: int = 1200, height: int = 800, screenshots: Path | None = None, **context: Any
) -> Iterator[Any]:
    """A page of a real browser, with the errors that its scripts raised as ``page.problems``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        page = browser.new_context(viewport={"width": width, "height": height}, **context).new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.problems = problems  # type: ignore[attr-defined]
        try:
            yield page
        finally:
            if screenshots is not None:
                page.screenshot(path=str(screenshots))
            browser.close()


class ReverseProxy:
    """Forwards what is below ``/cameras/`` to a port, under another host name, as a web server does."""

    def __init__(self, port: int, host: str) -> None:
        self._target, self._host = port, host
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65_536)
            if not data:
                return
            head += data
        lines, _, rest = head.partition(b"\r\n\r\n")
        first, *headers = lines.split(b"\r\n")
        if b" /cameras/" not in first:
            client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            client.close()
            return
        is_upgrade = any(line.lower().startswith(b"upgrade:") for line in headers)
        kept = [line for line in headers if not line.lower().startswith((b"host:", b"connection:"))]
        connection = b"Connection: Upgrade" if is_upgrade else b"Connection: close"
        changed = [first.replace(b" /cameras/", b" /", 1), b"Host: " + self._host.encode(), connection, *kept]
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            server.sendall(b"\r\n".join(changed) + b"\r\n\r\n" + rest)
            threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
            _pass_on(server, client)
        client.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
