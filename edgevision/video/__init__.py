"""Where frames come from and where results go.

:func:`open_source` and :func:`open_sink` are the only places that know what addresses look like.
"""

import edgevision.video.opencv_first  # noqa: F401  (before whatever imports PyAV)
from edgevision.video.base import (
    Connection,
    ConnectionState,
    FailReason,
    Sink,
    Source,
    SourceInfo,
    SourceReport,
)
from edgevision.video.sinks.memory import ListSink
from edgevision.video.sinks.open import open_sink
from edgevision.video.sources.open import expand_sources, is_local, open_source

__all__ = [
    "Connection",
    "ConnectionState",
    "FailReason",
    "ListSink",
    "Sink",
    "Source",
    "SourceInfo",
    "SourceReport",
    "expand_sources",
    "is_local",
    "open_sink",
    "open_source",
]
