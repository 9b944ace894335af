"""``/metrics`` for Prometheus and ``/healthz`` for whoever restarts services, over HTTP.

Each scrape reads one snapshot of the run, so its figures belong together and counting costs the run nothing.
What is exposed stands in docs/operations.md. Names follow Prometheus's conventions: base units, counters that
end in ``_total`` (https://prometheus.io/docs/practices/naming/).
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from edgevision import __version__
from edgevision.errors import UsageError
from edgevision.health import HealthWatch
from edgevision.pipeline import BUCKETS_MS, RunStatistics, StreamState, StreamStatistics, Times
from edgevision.pipeline.ledger import MODEL_FAILED
from edgevision.types import DropReason
from edgevision.video.base import FailReason

DEFAULT_HOST = "127.0.0.1"

_DROPPED = dict.fromkeys((reason.value for reason in DropReason), 0)
_FAILED = dict.fromkeys([*(reason.value for reason in FailReason), MODEL_FAILED], 0)
"""Every reason is there from the start, so that a rate over the first of its kind is not missed."""

Read = Callable[[], RunStatistics]
Samples = Sequence[tuple[tuple[str, ...], float]]
Figure = tuple[str, str, Callable[[StreamStatistics], float]]
"""Name, help, and the figure of a stream."""


class RunCollector(Collector):
    """Turns a snapshot of a run into metric families.

    Args:
        read: the run now, such as ``pipeline.statistics``; called from the server's threads.
    """

    def __init__(self, read: Read) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """One snapshot, as Prometheus wants it."""
        run = self._read()
        yield InfoMetricFamily("edgevision", "This program.", {"version": __version__})
        yield _gauge("run_seconds", "Wall time since the run began.", (), [((), run.seconds)])
        yield _gauge("threads", "Threads of Python.", (), [((), threading.active_count())])
        yield from _engines(run)
        yield from _frames(run.streams)
        yield from _state(run.streams)
        yield from _times(run.streams)


def _engines(run: RunStatistics) -> Iterator[Metric]:
    info = InfoMetricFamily("edgevision_engine", "What runs each model.", labels=["model"])
    for engine in run.engines:
        info.add_metric([engine.model], {"engine": engine.engine})
    yield info
    yield _gauge("engine_busy_ratio", "Share of the time in which an engine ran.", (), [((), run.busy)])
    named = [((engine.model,), engine) for engine in run.engines]
    yield _counter(
        "engine_calls", "Batches run.", ("model",), [(labels, engine.calls) for labels, engine in named]
    )
    yield _histogram(
        "engine_call_seconds",
        "Wall time of one batch.",
        ("model",),
        [(labels, engine.call) for labels, engine in named],
    )


def _frames(streams: Iterable[StreamStatistics]) -> Iterator[Metric]:
    streams = tuple(streams)
    counted: tuple[Figure, ...] = (
        ("frames_captured", "Frames that the source brought.", lambda one: one.frames.captured),
        ("frames_inferred", "Frames with an answer from every model.", lambda one: one.frames.inferred),
        ("frames_written", "Frames that every output took.", lambda one: one.written),
        ("reconnects", "How often the source was lost and came back.", lambda one: one.reconnects),
        ("reconnect_failures", "Attempts to come back that failed.", lambda one: one.failed_attempts),
    )
    for name, help_text, value in counted:
        yield _counter(name, help_text, ("stream",), [((one.name,), value(one)) for one in streams])
    yield _counter(
        "frames_dropped",
        "Frames that never reached the model.",
        ("stream", "reason"),
        _by_key(streams, lambda one: {**_DROPPED, **one.frames.dropped}),
    )
    yield _counter(
        "frames_failed",
        "Frames that could not be decoded, or on which a model failed.",
        ("stream", "reason"),
        _by_key(streams, lambda one: {**_FAILED, **one.frames.failed}),
    )
    yield _counter(
        "detections",
        "Objects found, one for each frame that it is in.",
        ("stream", "class"),
        _by_key(streams, lambda one: one.detections),
    )


def _state(streams: Iterable[StreamStatistics]) -> Iterator[Metric]:
    streams = tuple(streams)
    levels: tuple[Figure, ...] = (
        ("stream_up", "1 while the stream runs.", lambda one: float(one.state is StreamState.RUNNING)),
        ("frames_waiting", "Frames on their way.", lambda one: one.frames.waiting),
        ("frames_per_second", "Over the last frames.", lambda one: one.recent_frames_per_second),
    )
    for name, help_text, value in levels:
        yield _gauge(name, help_text, ("stream",), [((one.name,), value(one)) for one in streams])
    yield _gauge(
        "queue_depth",
        "Frames waiting for a stage.",
        ("stream", "stage"),
        _by_key(streams, lambda one: one.queues),
    )
    held = [((one.name,), one.latency_control) for one in streams if one.latency_control is not None]
    if held:
        bounds = [(labels, control.bound_ms / 1e3) for labels, control in held]
        active = [(labels, float(control.on_fallback)) for labels, control in held]
        yield _gauge("latency_bound_seconds", "What --max-latency asked for.", ("stream",), bounds)
        yield _gauge("fallback_active", "1 while the fallback model answers.", ("stream",), active)


def _times(streams: Iterable[StreamStatistics]) -> Iterator[Metric]:
    streams = tuple(streams)
    yield _histogram(
        "latency_seconds",
        "From the moment the source delivered a frame until every output had it.",
        ("stream",),
        [((one.name,), one.latency) for one in streams],
    )
    yield _histogram(
        "stage_seconds",
        "Wall time of a stage; for a live source, decode includes waiting for the next frame.",
        ("stream", "stage"),
        [((one.name, stage), times) for one in streams for stage, times in one.stages.items()],
    )


def _by_key(
    streams: Iterable[StreamStatistics], values: Callable[[StreamStatistics], Mapping[str, float]]
) -> Samples:
    return [((one.name, key), value) for one in streams for key, value in values(one).items()]


def _counter(name: str, help_text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = CounterMetricFamily(f"edgevision_{name}", help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _gauge(name: str, help_text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"edgevision_{name}", help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _histogram(
    name: str, help_text: str, labels: tuple[str, ...], samples: Sequence[tuple[tuple[str, ...], Times]]
) -> Metric:
    family = HistogramMetricFamily(f"edgevision_{name}", help_text, labels=labels)
    for values, times in samples:
        counts = times.buckets or (0,) * len(BUCKETS_MS)
        bounds = [(repr(bound / 1e3), float(count)) for bound, count in zip(BUCKETS_MS, counts, strict=True)]
        family.add_metric(values, [*bounds, ("+Inf", float(times.count))], times.total_s)
    return family


class MetricsServer:
    """Serves a run's figures until it is closed, on threads of its own; a context manager.

    Args:
        read: the run now, such as ``pipeline.statistics``.
        port: TCP port; 0 takes any that is free.
        host: address to listen at. By default only this machine can read it.
        watch: judges the run's health; one of its own by default.

    Raises:
        UsageError: the port is taken or forbidden, or there is no such address.
    """

    def __init__(
        self, read: Read, port: int, host: str = DEFAULT_HOST, watch: HealthWatch | None = None
    ) -> None:
        registry = CollectorRegistry()
        registry.register(RunCollector(read))
        ProcessCollector(registry=registry)  # memory, file handles and CPU time of the process
        handler = type(
            "_RunHandler", (_Handler,), {"registry": registry, "watch": watch or HealthWatch(read)}
        )
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
        """Where the figures are: ``http://127.0.0.1:9090/metrics``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"

    def close(self) -> None:
        """Stops listening; safe to call twice."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_address(port: int, host: str = DEFAULT_HOST) -> None:
    """Refuses an address that cannot be listened at, before anything else is done.

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
        return f"--metrics-port {port} is taken on {host}; choose another, or 0 for any that is free"
    if code in (errno.EACCES, errno.EPERM):
        return f"--metrics-port {port} is reserved for the system; choose one above 1023"
    if isinstance(error, OverflowError):
        return f"--metrics-port {port} is impossible; expected 0 to 65535"
    return f"cannot listen at {host}:{port} ({error}); --metrics-host is an address of this machine"


class _Handler(BaseHTTPRequestHandler):
    """Answers GET for the two paths."""

    registry: ClassVar[CollectorRegistry]
    watch: ClassVar[HealthWatch]
    server_version = f"edgevision/{__version__}"
    timeout = 10  # a scraper that says nothing must not hold a thread for ever

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, content_type, encode(self.registry))
        elif path == "/healthz":
            health = self.watch.look()
            self._answer(200 if health.healthy else 503, "application/json", msgspec.json.encode(health))
        else:
            self._answer(404, "text/plain; charset=utf-8", b"try /metrics or /healthz\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: a line for every scrape would bury the log."""
