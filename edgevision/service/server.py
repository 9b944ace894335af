"""The HTTP server for ``/metrics`` and ``/healthz``."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from edgevision import __version__
from edgevision.closeable import Closeable
from edgevision.errors import UsageError
from edgevision.service.health import HealthWatch
from edgevision.service.metrics import Read, RunCollector

DEFAULT_HOST = "127.0.0.1"

_LOG = logging.getLogger(__name__)
_MAX_CONNECTIONS = 32  # each holds a file handle and a thread, of which a recording needs some too
_MAX_SECONDS = 10.0


class MetricsServer(Closeable):
    """Serves the metrics and the health of a run, on its own threads, until it is closed; a context manager.

    Args:
        read: returns a snapshot of the run, such as ``pipeline.statistics``.
        port: TCP port; 0 takes any free one.
        host: address to listen on, IPv4, IPv6 or a name. By default only this machine can connect;
            ``0.0.0.0`` is all of IPv4, and ``::`` all of IPv6 and IPv4.
        watch: derives the run's health; a new :class:`HealthWatch` by default.
        patience_s: after which a client is disconnected that is silent or slow, in seconds.

    Raises:
        UsageError: the port is in use, reserved or out of range, or the address is not one of this machine.
    """

    def __init__(
        self,
        read: Read,
        port: int,
        host: str = DEFAULT_HOST,
        watch: HealthWatch | None = None,
        patience_s: float = _MAX_SECONDS,
    ) -> None:
        registry = CollectorRegistry()
        registry.register(RunCollector(read))
        ProcessCollector(registry=registry)  # memory, file handles and CPU time of the process
        served = {"registry": registry, "watch": watch or HealthWatch(read), "timeout": patience_s}
        handler = type("_RunHandler", (_Handler,), served)
        self._server = _listen(host, port, handler, patience_s)
        self.host, self.port = _bare(host), int(self._server.server_address[1])
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
        self._server.hang_up(older_than_s=0.0)
        self._thread.join()


def check_address(port: int, host: str = DEFAULT_HOST) -> None:
    """Checks early that the server could listen on an address.

    Raises:
        UsageError: see :class:`MetricsServer`.
    """
    _listen(host, port, BaseHTTPRequestHandler).server_close()


def _listen(
    host: str, port: int, handler: type[BaseHTTPRequestHandler], patience_s: float = _MAX_SECONDS
) -> _Server:
    if re.fullmatch(r"\[[^\]]*\]:\d+|[^:]+:\d+", host):
        raise UsageError(
            f"`metrics_host` {host} holds a port; expected an address, and the port in `metrics_port`"
        )
    if not 0 <= port <= 65535:
        raise UsageError(f"metrics port {port} is not a valid port; expected 0 to 65535")
    try:
        return _Server(_bare(host), port, handler, patience_s)
    except (OSError, UnicodeError) as error:
        raise UsageError(_why_not(error, host, port)) from error


def _bare(host: str) -> str:
    """An IPv6 address without the brackets that it has in URLs."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _why_not(error: Exception, host: str, port: int) -> str:
    code = getattr(error, "errno", None)
    if code == errno.EADDRINUSE:
        return f"metrics port {port} is in use on {host}; choose another, or 0 for any free port"
    if code in (errno.EACCES, errno.EPERM):
        return f"metrics port {port} is reserved for the system; choose one above 1023"
    found = getattr(error, "strerror", None) or error
    return f"cannot listen on {host}, port {port} ({found}); expected an address of this machine"


class _Server(ThreadingHTTPServer):
    """Holds few connections, each for a short time: of too many, the oldest ends.

    Args:
        host: an address or a name, without brackets.
        port: 0 takes any free one.
        handler: answers one request.
        patience_s: how long a connection may last, in seconds.

    Raises:
        OSError, UnicodeError: it is no address of this machine.
    """

    daemon_threads = True
    request_queue_size = _MAX_CONNECTIONS

    def __init__(
        self, host: str, port: int, handler: type[BaseHTTPRequestHandler], patience_s: float
    ) -> None:
        self._patience_s = patience_s
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)
        # A name such as localhost has addresses of both kinds; most clients try IPv4 too.
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        self.address_family = family
        self._since: dict[Any, float] = {}
        self._lock = threading.Lock()
        super().__init__((str(address[0]), port), handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6 and socket.has_dualstack_ipv6():
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the DNS for a name, which may take long
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except OSError:
            time.sleep(0.1)  # no file handle is left: not again at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            while len(self._since) >= _MAX_CONNECTIONS:
                self._end(next(iter(self._since)))
            self._since[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self.hang_up(older_than_s=self._patience_s)

    def hang_up(self, older_than_s: float) -> None:
        """Ends the connections that are this old."""
        with self._lock:
            limit = time.monotonic() - older_than_s
            for request in [one for one, since in self._since.items() if since <= limit]:
                self._end(request)

    def _end(self, request: Any) -> None:
        """Wakes the thread of a connection, which then closes it."""
        del self._since[request]
        with contextlib.suppress(OSError):  # the other side was faster
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to report; anything else is one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            _LOG.warning("a request to the metrics port failed: %s: %s", type(error).__name__, error)


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
