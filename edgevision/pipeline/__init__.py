"""The streaming runtime: concurrent stages, bounded queues, and an account of every frame."""

from edgevision.pipeline.control import Progress, StopRequest
from edgevision.pipeline.ledger import FrameLedger, LedgerEntry
from edgevision.pipeline.queue import Policy
from edgevision.pipeline.runner import Pipeline
from edgevision.pipeline.statistics import RunReport, Stage

__all__ = [
    "FrameLedger",
    "LedgerEntry",
    "Pipeline",
    "Policy",
    "Progress",
    "RunReport",
    "Stage",
    "StopRequest",
]
