"""The HTTP server for ``/metrics`` and ``/healthz``."""

from __future__ import annotations

import errno
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from edgevision import __version__
from edgevision.closeable import Closeable
from edgevision.errors import UsageError
from edgevision.service.health import HealthWatch
from edgevision.service.metrics import Read, RunCollector

DEFAULT_HOST = "127.0.0.1"


class MetricsServer(Closeable):
    """Serves the metrics and the health of a run, on its own threads, until it is closed; a context manager.

    Args:
        read: returns a snapshot of the run, such as ``pipeline.statistics``.
        port: TCP port; 0 takes any free one.
        host: address to listen on. By default only this machine can connect.
        watch: derives the run's health; a new :class:`HealthWatch` by default.
        patience_s: after which a silent client is disconnected, in seconds.

    Raises:
        UsageError: the port is in use, reserved or out of range, or the address is not one of this machine.
    """

    def __init__(
        self,
        read: Read,
        port: int,
        host: str = DEFAULT_HOST,
        watch: HealthWatch | None = None,
        patience_s: float = 10.0,
    ) -> None:
        registry = CollectorRegistry()
        registry.register(RunCollector(read))
        ProcessCollector(registry=registry)  # memory, file handles and CPU time of the process
        served = {"registry": registry, "watch": watch or HealthWatch(read), "timeout": patience_s}
        handler = type("_RunHandler", (_Handler,), served)
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except (OSError, OverflowError) as error:
            raise UsageError(_why_not(error, host, port)) from error
        self._server.daemon_threads = True
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Address of the metrics: ``http://127.0.0.1:9090/metrics``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"

    def close(self) -> None:
        """Stops listening; safe to call twice."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def check_address(port: int, host: str = DEFAULT_HOST) -> None:
    """Checks early that the server could listen on an address.

    Raises:
        UsageError: see :class:`MetricsServer`.
    """
    try:
        ThreadingHTTPServer((host, port), BaseHTTPRequestHandler).server_close()
    except (OSError, OverflowError) as error:
        raise UsageError(_why_not(error, host, port)) from error


def _why_not(error: Exception, host: str, port: int) -> str:
    code = getattr(error, "errno", None)
    if code == errno.EADDRINUSE:
        return f"metrics port {port} is in use on {host}; choose another, or 0 for any free port"
    if code in (errno.EACCES, errno.EPERM):
        return f"metrics port {port} is reserved for the system; choose one above 1023"
    if isinstance(error, OverflowError):
        return f"metrics port {port} is not a valid port; expected 0 to 65535"
    return f"cannot listen on {host}:{port} ({error}); expected an address of this machine"


class _Handler(BaseHTTPRequestHandler):
    """Answers GET requests for the two paths."""

    registry: ClassVar[CollectorRegistry]
    watch: ClassVar[HealthWatch]
    server_version = f"edgevision/{__version__}"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, content_type, encode(self.registry))
        elif path == "/healthz":
            health = self.watch.look()
            self._answer(200 if health.healthy else 503, "application/json", msgspec.json.encode(health))
        else:
            self._answer(404, "text/plain; charset=utf-8", b"not found; available: /metrics, /healthz\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: a line per scrape would flood the log."""
