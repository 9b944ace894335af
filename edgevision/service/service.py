"""What a run that nobody watches needs: metrics, a watchdog, and a log for machines."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from rich.console import Console

from edgevision.cli.app import Commands
from edgevision.cli.console import say
from edgevision.errors import UsageError
from edgevision.extras import needs_extra
from edgevision.pipeline import Pipeline
from edgevision.service.health import HealthWatch
from edgevision.service.logs import JsonLines, LogFormat
from edgevision.service.watchdog import Watchdog

DEFAULT_HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Service:
    """How a run is watched.

    Attributes:
        metrics_port: serve ``/metrics`` and ``/healthz`` here; None serves nothing, 0 takes any free port.
        metrics_host: address to listen at.
        log_format: of everything on stderr.
    """

    metrics_port: int | None = None
    metrics_host: str = DEFAULT_HOST
    log_format: LogFormat = LogFormat.TEXT

    def check(self) -> None:
        """Refuses early what cannot be served.

        Raises:
            UsageError: the port is taken or impossible, or prometheus_client is missing.
        """
        if self.metrics_port is None:
            if self.metrics_host != DEFAULT_HOST:
                raise UsageError(f"--metrics-host {self.metrics_host} needs --metrics-port")
            return
        with needs_extra("metrics"):
            from edgevision.service.server import check_address
        check_address(self.metrics_port, self.metrics_host)

    def open_console(self) -> Console:
        """Where the run says what it does; a failure of the command is told in the same form."""
        if self.log_format is LogFormat.TEXT:
            return Console(stderr=True)
        Commands.json_errors = True
        return Console(file=cast("IO[str]", JsonLines(sys.stderr)))

    @contextlib.contextmanager
    def watching(self, pipeline: Pipeline, console: Console) -> Iterator[None]:
        """While it lasts, metrics are served and the service manager is told how the run does."""
        watch = HealthWatch(pipeline.statistics)
        with contextlib.ExitStack() as stack:
            if self.metrics_port is not None:
                with needs_extra("metrics"):
                    from edgevision.service.server import MetricsServer
                server = MetricsServer(pipeline.statistics, self.metrics_port, self.metrics_host, watch)
                stack.enter_context(server)
                say(console, f"metrics: {server.url}")
            stack.enter_context(Watchdog(watch))
            yield
