"""``/metrics`` for Prometheus and ``/healthz`` for whoever restarts services, over HTTP.

Each scrape reads one snapshot of the run, so its figures belong together and counting costs the run nothing.
"""

from edgevision.metrics.collector import RunCollector
from edgevision.metrics.server import DEFAULT_HOST, MetricsServer, check_address

__all__ = ["DEFAULT_HOST", "MetricsServer", "RunCollector", "check_address"]
