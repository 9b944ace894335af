"""What a run without an operator needs: metrics, health, and a watchdog."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgevision.errors import UsageError
from edgevision.extras import needs_extra
from edgevision.pipeline import RunStatistics
from edgevision.service.health import HealthWatch
from edgevision.service.watchdog import Watchdog

DEFAULT_HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Service:
    """How a run is watched from outside.

    Attributes:
        metrics_port: serve ``/metrics`` and ``/healthz`` here; None serves nothing, 0 takes any free port.
        metrics_host: address to listen at.
        notify: send the run's state to the service manager (systemd) that started this process.

    Raises:
        UsageError: the port is taken or impossible, or prometheus_client is missing.
    """

    metrics_port: int | None = None
    metrics_host: str = DEFAULT_HOST
    notify: bool = False

    def __post_init__(self) -> None:
        if self.metrics_port is not None:
            with needs_extra("metrics"):
                from edgevision.service.server import check_address
            check_address(self.metrics_port, self.metrics_host)
        elif self.metrics_host != DEFAULT_HOST:
            raise UsageError(f"`metrics_host` {self.metrics_host} needs `metrics_port`")

    @contextlib.contextmanager
    def watching(self, read: Callable[[], RunStatistics]) -> Iterator[str | None]:
        """While it lasts, metrics are served and the service manager is notified of the run's state.

        Args:
            read: the run now, such as ``pipeline.statistics``.

        Yields:
            Where the metrics are, as ``http://127.0.0.1:9090/metrics``; None where nothing is served.
        """
        watch = HealthWatch(read)
        url = None
        with contextlib.ExitStack() as stack:
            if self.metrics_port is not None:
                with needs_extra("metrics"):
                    from edgevision.service.server import MetricsServer
                server = MetricsServer(read, self.metrics_port, self.metrics_host, watch)
                url = stack.enter_context(server).url
            if self.notify:
                stack.enter_context(Watchdog(watch))
            yield url
