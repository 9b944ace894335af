"""The streaming runtime: concurrent stages, bounded queues, and an account of every frame."""

from edgevision.pipeline.control import StopRequest
from edgevision.pipeline.ledger import FrameLedger, LedgerEntry
from edgevision.pipeline.queue import Policy
from edgevision.pipeline.runner import Pipeline
from edgevision.pipeline.statistics import (
    BUCKETS_MS,
    EngineStatistics,
    LatencyControl,
    RunStatistics,
    Stage,
    StreamState,
    StreamStatistics,
    Times,
)

__all__ = [
    "BUCKETS_MS",
    "EngineStatistics",
    "FrameLedger",
    "LatencyControl",
    "LedgerEntry",
    "Pipeline",
    "Policy",
    "RunStatistics",
    "Stage",
    "StopRequest",
    "StreamState",
    "StreamStatistics",
    "Times",
]
