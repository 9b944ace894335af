"""What a soak is judged by."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from edgevision.pipeline import LedgerEntry, StreamStatistics
from edgevision.soak.process import Sample, block_medians
from edgevision.soak.trend import Slope, fit_slope

MEMORY_LIMIT_MIB_PER_HOUR = 1.0
_IN_FLIGHT = 32
"""Frames that may be under way; a ledger that says more has lost some."""


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: whether it is as it should be, what was found, what was expected."""

    name: str
    passed: bool
    found: str
    expected: str


class SoakReport(msgspec.Struct, frozen=True, kw_only=True):
    """A soak and its verdict.

    Attributes:
        passed: every check passed.
        checks: each of them.
        source: its address.
        seconds: how long it ran, ``warm_up_s`` included, which counts only for the ledger.
        gives_back: the allocator returned freed memory at once; otherwise memory wanders for an hour or so.
        memory: growth of resident memory, MiB an hour, after the warm-up.
        blocks: medians of the samples over half a minute each.
        streams: the statistics of each run; a source that ends is opened again.
    """

    passed: bool
    checks: tuple[Check, ...]
    source: str
    seconds: float
    warm_up_s: float
    gives_back: bool
    memory: Slope
    blocks: tuple[Sample, ...]
    streams: tuple[StreamStatistics, ...]


class Counted(msgspec.Struct, frozen=True):
    """One run and what its ends counted for themselves, which the ledger is held against."""

    statistics: StreamStatistics
    source_read: int
    source_failed: int
    sink_took: int


def judge(
    uri: str,
    samples: Sequence[Sample],
    runs: Sequence[Counted],
    waiting: tuple[int, int],
    seconds: float,
    warm_up_s: float,
    gives_back: bool,
) -> SoakReport:
    """The verdict.

    Args:
        uri: of the source.
        samples: about one a second.
        runs: each run of the pipeline.
        waiting: fewest and most frames that were under way.
        seconds: how long it all took.
        warm_up_s: samples before this are left out.
        gives_back: see :func:`~edgevision.soak.process.give_back_freed_memory`.
    """
    settled = [sample for sample in samples if sample.seconds >= warm_up_s]
    memory = fit_slope([(block.seconds, block.memory_mib) for block in block_medians(settled)])
    checks = (
        Check(
            "memory",
            memory.per_hour < MEMORY_LIMIT_MIB_PER_HOUR,
            f"{memory.per_hour:+.2f} MiB an hour (95 %: {memory.low:+.2f} to {memory.high:+.2f})",
            f"less than {MEMORY_LIMIT_MIB_PER_HOUR:g} MiB an hour",
        ),
        _constant("handles", [sample.handles for sample in settled]),
        _constant("threads", [sample.threads for sample in settled]),
        _ledger(runs, waiting),
    )
    return SoakReport(
        passed=all(check.passed for check in checks),
        checks=checks,
        source=uri,
        seconds=round(seconds, 1),
        warm_up_s=warm_up_s,
        gives_back=gives_back,
        memory=memory,
        blocks=tuple(block_medians(samples)),
        streams=tuple(run.statistics for run in runs),
    )


def _constant(name: str, counts: Sequence[int]) -> Check:
    """Whether the usual count of the last third is that of the first; a new segment moves it for a moment."""
    expected = "the same in the first and the last third"
    if not counts:
        return Check(name, False, "no sample after the warm-up", expected)
    third = max(1, len(counts) // 3)
    first, last = statistics.median_low(counts[:third]), statistics.median_low(counts[-third:])
    found = f"{first}, then {last} ({min(counts)} to {max(counts)})"
    return Check(name, first == last, found, expected)


def _ledger(runs: Sequence[Counted], waiting: tuple[int, int]) -> Check:
    wrong = [problem for run in runs for problem in _imbalances(run)]
    least, most = waiting
    if not 0 <= least <= most <= _IN_FLIGHT:
        wrong.append(f"{least} to {most} frames under way")
    captured = sum(run.statistics.frames.captured for run in runs)
    return Check(
        "ledger",
        not wrong,
        "; ".join(wrong) or f"{captured} frames accounted for",
        "what source and outputs counted, and no frame left over",
    )


def _imbalances(run: Counted) -> list[str]:
    """Where the ledger says other than the source and the outputs, which count for themselves."""
    frames: LedgerEntry = run.statistics.frames
    settled = frames.inferred + sum(frames.dropped.values()) + sum(frames.failed.values())
    pairs = (
        ("captured", frames.captured, "source brought", run.source_read + run.source_failed),
        ("captured", frames.captured, "settled", settled),
        ("inferred", frames.inferred, "outputs took", run.sink_took),
        ("written", run.statistics.written, "outputs took", run.sink_took),
        ("waiting", frames.waiting, "expected", 0),
    )
    return [f"{left} {a}, {right} {b}" for left, a, right, b in pairs if a != b]
