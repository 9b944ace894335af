"""The routes of the page and of its interface; docs/guides/web.md and ``api/openapi.json`` describe them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import cv2
import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgevision.pipeline import RunStatistics
from edgevision.service.health import Health, HealthWatch
from edgevision.service.metrics import RunCollector
from edgevision.types import FrameResult
from edgevision.web.access import Access, client_of
from edgevision.web.answers import as_json, body, find_view, http_error
from edgevision.web.history import History
from edgevision.web.hub import Hub
from edgevision.web.live import Tile
from edgevision.web.openapi import document
from edgevision.web.page_files import page_files
from edgevision.web.settings import WebSettings
from edgevision.web.state import run_state
from edgevision.web.viewer import Viewer

_MAX_VIEWERS = 64  # of one stream
_BOUNDARY = b"edgevision-frame"


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What logging in asks for."""

    password: str


class PageApp:
    """The application without the rules of access.

    Args:
        hub: the run.
        settings: who may look.
        history: of the streams.
        more: routes of other modules.
    """

    def __init__(self, hub: Hub, settings: WebSettings, history: History, more: list[BaseRoute]) -> None:
        self._hub, self._settings, self._history = hub, settings, history
        self._files = page_files()
        self._watch = HealthWatch(self._statistics)
        self._registry = CollectorRegistry()
        self._registry.register(RunCollector(self._statistics))
        ProcessCollector(registry=self._registry)
        routes: list[BaseRoute] = [
            Route("/api/session", self._session),
            Route("/api/login", self._login, methods=["POST"]),
            Route("/api/logout", self._logout, methods=["POST"]),
            Route("/api/state", self._state),
            Route("/api/openapi.json", self._openapi),
            Route("/api/streams/{stream}/still.jpg", self._still),
            Route("/api/streams/{stream}/live.mjpeg", self._multipart),
            WebSocketRoute("/api/streams/{stream}/live", self._live),
            Route("/metrics", self._metrics),
            Route("/healthz", self._healthz),
            *more,
            *(Route(path, self._file) for path in self._files),
        ]
        handlers = {HTTPException: http_error, Exception: http_error}
        self.app = Starlette(routes=routes, exception_handlers=handlers)

    def is_open(self, path: str) -> bool:
        """Whether a path needs no login."""
        return path in self._files or path in ("/api/session", "/api/login", "/healthz")

    def _statistics(self) -> RunStatistics:
        found = self._hub.statistics()
        return RunStatistics(seconds=0.0, busy=0.0, streams=(), engines=()) if found is None else found

    async def _file(self, request: Request) -> Response:
        file = self._files[request.url.path]
        headers = {"etag": file.etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.data, headers=headers, media_type=file.media_type)

    async def _session(self, request: Request) -> Response:
        return as_json(
            {"needs_login": not request.state.is_known, "has_password": self._settings.passwords.is_set}
        )

    async def _login(self, request: Request) -> Response:
        access: Access = request.state.access
        client = client_of(
            request.scope, {name: value.decode("latin-1") for name, value in request.headers.raw}
        )
        wait_s = access.attempts.wait_s(client)
        if wait_s:
            headers = {"retry-after": str(int(wait_s) + 1)}
            raise HTTPException(
                429, "too many wrong passwords from this address; wait a few minutes", headers
            )
        given = (await body(request, Login)).password
        if not await run_in_threadpool(self._settings.passwords.opens, given):
            access.attempts.fail(client)
            raise HTTPException(401, "the password is not right")
        access.attempts.succeed(client)
        answer = as_json({"needs_login": False})
        is_secure = self._settings.is_tls or request.headers.get("x-forwarded-proto") == "https"
        answer.set_cookie(
            access.cookie,
            access.sessions.begin(),
            httponly=True,
            samesite="strict",
            secure=is_secure,
            path="/",
        )
        return answer

    async def _logout(self, request: Request) -> Response:
        access: Access = request.state.access
        access.sessions.end(request.cookies.get(access.cookie, ""))
        answer = as_json({"needs_login": True})
        answer.delete_cookie(access.cookie, path="/")
        return answer

    async def _state(self, request: Request) -> Response:
        with_curves = request.query_params.get("curves") == "yes"
        return as_json(run_state(self._hub, self._history if with_curves else None))

    async def _openapi(self, request: Request) -> Response:
        return as_json(document())

    async def _metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), headers={"content-type": content_type})

    async def _healthz(self, request: Request) -> Response:
        health = self._watch.look()
        if not request.state.is_known:  # a container's check needs no names
            health = Health(health.healthy, health.stalled, {})
        return as_json(health, 200 if health.healthy else 503)

    async def _still(self, request: Request) -> Response:
        tile = find_view(self._hub, request).tile
        try:
            result = await tile.still()
        except TimeoutError:
            raise HTTPException(503, "the stream gave no frame within ten seconds") from None
        data = await run_in_threadpool(_jpeg, result)
        headers = {"x-frame-index": str(result.frame.index), "x-frame-time": f"{result.frame.time_s:.6f}"}
        return Response(data, headers=headers, media_type="image/jpeg")

    async def _multipart(self, request: Request) -> Response:
        tile = find_view(self._hub, request).tile
        _refuse_crowd(tile)
        media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"
        return StreamingResponse(_parts(tile), media_type=media_type)

    async def _live(self, socket: WebSocket) -> None:
        view = self._hub.by_id(socket.path_params["stream"])
        await socket.accept()  # a socket that is closed before tells a browser no reason
        if view is None or view.tile.viewers >= _MAX_VIEWERS:
            await socket.close(4404 if view is None else 1013)
            return
        kind = "jpeg" if socket.query_params.get("as") == "jpeg" else "h264"
        viewer = Viewer(kind)
        view.tile.join(viewer)
        tasks = [asyncio.create_task(_send_all(socket, viewer)), asyncio.create_task(_hear(socket, viewer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            view.tile.leave(viewer)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is closed already
                await socket.close()


async def _send_all(socket: WebSocket, viewer: Viewer) -> None:
    while (piece := await viewer.next()) is not None:
        await socket.send_bytes(piece)


async def _hear(socket: WebSocket, viewer: Viewer) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.receive_text()  # what a client of JPEGs says after each
            viewer.shown()


async def _parts(tile: Tile) -> AsyncIterator[bytes]:
    viewer = Viewer("jpeg")
    tile.join(viewer)
    try:
        while (piece := await viewer.next()) is not None:
            length = int.from_bytes(piece[:4], "big")
            data = piece[4 + length :]
            head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (_BOUNDARY, len(data))
            yield head + data + b"\r\n"
            viewer.shown()
    finally:
        tile.leave(viewer)


def _refuse_crowd(tile: Tile) -> None:
    if tile.viewers >= _MAX_VIEWERS:
        raise HTTPException(503, f"{_MAX_VIEWERS} viewers look at this stream already")


def _jpeg(result: FrameResult) -> bytes:
    _, data = cv2.imencode(".jpg", result.frame.image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return data.tobytes()
