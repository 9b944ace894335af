"""The server of the page: uvicorn on a thread of its own, for as long as a run lasts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import uvicorn
from starlette.routing import BaseRoute

from edgevision.closeable import Closeable
from edgevision.errors import UsageError
from edgevision.web.access import Access
from edgevision.web.app import PageApp
from edgevision.web.history import History
from edgevision.web.hub import Hub
from edgevision.web.settings import WebSettings, listen

_START_S = 10.0
_END_S = 3.0


class _QuietServer(uvicorn.Server):
    """A server that wakes up once a second instead of ten times: the run beside it needs the CPU."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    async def main_loop(self) -> None:
        """Waits for the end."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):  # which renews the date that answers carry
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 1.0)

    def end(self) -> None:
        """Ends :meth:`main_loop`; from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._ended.set)


class WebServer(Closeable):
    """Serves a hub until it is closed; a context manager.

    Args:
        hub: the run.
        settings: where, and to whom.
        routes: of other modules.

    Attributes:
        port: that it listens on.

    Raises:
        UsageError: it cannot listen there.
    """

    def __init__(self, hub: Hub, settings: WebSettings, routes: list[BaseRoute] | None = None) -> None:
        self._hub, self._settings = hub, settings
        try:
            self._socket = listen(settings.host, settings.port)
        except OSError as error:
            place = f"{settings.host}:{settings.port}"
            raise UsageError(f"`web`: cannot listen on {place}: {error.strerror or error}") from error
        self.port = int(self._socket.getsockname()[1])
        self._history = History(hub.statistics)
        page = PageApp(hub, settings, self._history, routes or [])
        config = uvicorn.Config(
            Access(page.app, settings, self.port, page.is_open),
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the rules of access read what they trust themselves
            ws="websockets-sansio",
            ws_per_message_deflate=False,  # video does not get smaller
            ws_max_size=2**16,
            timeout_graceful_shutdown=1,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        self._server = _QuietServer(config)
        self._thread = threading.Thread(target=self._serve, name="web server", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.close()
                raise UsageError(f"`web`: the server did not start on {settings.host}:{self.port}")
            time.sleep(0.01)

    @property
    def url(self) -> str:
        """Address of the page."""
        return self._settings.url(self.port)

    def close(self) -> None:
        """Ends the viewers' streams and stops listening, within seconds; safe to call twice."""
        for view in self._hub.views():
            view.tile.close()
        self._server.end()
        self._thread.join(_END_S)
        self._history.close()
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])
