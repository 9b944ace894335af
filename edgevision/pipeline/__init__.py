"""The streaming runtime: concurrent stages, bounded queues, and an account of every frame."""

from edgevision.pipeline.latency import LatencyController
from edgevision.pipeline.ledger import FrameLedger, LedgerEntry
from edgevision.pipeline.queue import Policy
from edgevision.pipeline.runner import REMOVED, OnStatistics, Pipeline, run_stream
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
from edgevision.pipeline.stream import StopRequest, Stream
from edgevision.pipeline.threads import ThreadBudget

__all__ = [
    "BUCKETS_MS",
    "REMOVED",
    "EngineStatistics",
    "FrameLedger",
    "LatencyControl",
    "LatencyController",
    "LedgerEntry",
    "OnStatistics",
    "Pipeline",
    "Policy",
    "RunStatistics",
    "Stage",
    "StopRequest",
    "Stream",
    "StreamState",
    "StreamStatistics",
    "ThreadBudget",
    "Times",
    "run_stream",
]
