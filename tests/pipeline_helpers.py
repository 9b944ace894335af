"""Sinks, sources and snapshots for the tests of edgevision.pipeline and of what reads its statistics."""

from __future__ import annotations

from edgevision.pipeline import LedgerEntry, RunStatistics, StreamState, StreamStatistics, Times


def ledger_entry(**changes):
    fields = {"captured": 15, "inferred": 10, "dropped": {"newer_frame": 5}, "failed": {}, "waiting": 0}
    return LedgerEntry(**{**fields, **changes})


def stream_statistics(name="webcam", **changes):
    """A snapshot of a live stream that does well."""
    fields = {
        "name": name,
        "source": name,
        "is_live": True,
        "state": StreamState.RUNNING,
        "models": {"colours": "fake engine"},
        "frames": ledger_entry(),
        "written": 10,
        "skipped": 0,
        "time_s": 0.4,
        "detections": {"red": 10},
        "class_shares": {},
        "seconds": 0.5,
        "frames_per_second": 20.0,
        "recent_frames_per_second": 24.96,
        "latency": Times(),
        "last_latency_ms": 31.4,
        "stages": {},
        "queues": {},
    }
    return StreamStatistics(**{**fields, **changes})


def run_statistics(*streams):
    return RunStatistics(seconds=0.5, busy=0.9, streams=streams or (stream_statistics(),), engines=())


def balanced(entry):
    """Whether an entry accounts for every frame of a run that is over."""
    settled = entry.inferred + sum(entry.dropped.values()) + sum(entry.failed.values())
    return entry.captured == settled and entry.waiting == 0
