"""What a soak is judged by."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgevision.address import display
from edgevision.pipeline import LedgerEntry, StreamStatistics
from edgevision.soak.process import Sample
from edgevision.soak.trend import Slope, fit_slope

MEMORY_LIMIT_MIB_PER_HOUR = 1e6 / 2**20
"""One megabyte."""
FEWEST_RESTS = 6
"""Fewer have no 95 % interval."""
_IN_FLIGHT = 32
"""Frames that may be in progress; more in the ledger means that some were lost."""


class SoakCheck(msgspec.Struct, frozen=True):
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
        gives_back: the allocator returned freed memory at once; otherwise memory varies for about an hour.
        memory: growth of resident memory at rest, MiB an hour, after the warm-up.
        memory_in_motion: the same through ``blocks``; frames in progress make it far less certain.
        rests: the process at rest, see :mod:`edgevision.soak.rest`.
        blocks: medians of the samples over half a minute each, taken about once a second while it works.
        streams: the statistics of each run; a source that ends is opened again.
    """

    passed: bool
    checks: tuple[SoakCheck, ...]
    source: str
    seconds: float
    warm_up_s: float
    gives_back: bool
    memory: Slope
    memory_in_motion: Slope
    rests: tuple[Sample, ...]
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
    rests: Sequence[Sample],
    blocks: Sequence[Sample],
    runs: Sequence[Counted],
    waiting: tuple[int, int],
    seconds: float,
    warm_up_s: float,
    gives_back: bool,
) -> SoakReport:
    """The verdict.

    Args:
        uri: of the source.
        rests: the process at rest.
        blocks: the process at work, see :class:`~edgevision.soak.process.Blocks`.
        runs: each run of the pipeline.
        waiting: fewest and most frames in progress.
        seconds: how long everything took.
        warm_up_s: samples before this are left out.
        gives_back: see :func:`~edgevision.allocator.give_back_freed_memory`.
    """
    settled = [rest for rest in rests if rest.seconds >= warm_up_s]
    memory = fit_slope([(rest.seconds, rest.memory_mib) for rest in settled])
    moving = [(block.seconds, block.memory_mib) for block in blocks if block.seconds >= warm_up_s]
    checks = (
        _steady_memory(memory),
        _constant("handles", [rest.handles for rest in settled]),
        _constant("threads", [rest.threads for rest in settled]),
        _ledger(runs, waiting),
    )
    return SoakReport(
        passed=all(check.passed for check in checks),
        checks=checks,
        source=display(uri),
        seconds=round(seconds, 1),
        warm_up_s=warm_up_s,
        gives_back=gives_back,
        memory=memory,
        memory_in_motion=fit_slope(moving),
        rests=tuple(rests),
        blocks=tuple(blocks),
        streams=tuple(run.statistics for run in runs),
    )


def _steady_memory(memory: Slope) -> SoakCheck:
    """Whether memory is shown to grow by less than the limit: the whole interval lies below it."""
    expected = f"less than {MEMORY_LIMIT_MIB_PER_HOUR:.2f} MiB (1 MB) an hour, shown by the whole interval"
    if memory.points < FEWEST_RESTS:
        found = f"{memory.points} readings at rest after the warm-up; a fit needs {FEWEST_RESTS}; run longer"
        return SoakCheck("memory", False, found, expected)
    found = f"{memory.per_hour:+.2f} MiB an hour at rest (95 %: {memory.low:+.2f} to {memory.high:+.2f})"
    return SoakCheck("memory", memory.high < MEMORY_LIMIT_MIB_PER_HOUR, found, expected)


def _constant(name: str, counts: Sequence[int]) -> SoakCheck:
    """Whether there were always as many."""
    expected = "the same number at each pause"
    if not counts:
        return SoakCheck(name, False, "no pause after the warm-up", expected)
    least, most = min(counts), max(counts)
    return SoakCheck(name, least == most, f"{most}" if least == most else f"{least} to {most}", expected)


def _ledger(runs: Sequence[Counted], waiting: tuple[int, int]) -> SoakCheck:
    wrong = [problem for run in runs for problem in _imbalances(run)]
    least, most = waiting
    if not 0 <= least <= most <= _IN_FLIGHT:
        wrong.append(f"{least} to {most} frames in progress")
    captured = sum(run.statistics.frames.captured for run in runs)
    return SoakCheck(
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
