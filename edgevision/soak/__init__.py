"""A long run under faults, and the verdict on it: does anything grow, leak, or get lost?

The real pipeline runs on a source that misbehaves on purpose, draws, encodes and writes, while resident
memory, open file handles, threads and the frame ledger are sampled. At intervals all of it
comes to rest for a moment; growth is judged by what is left there. Needs Linux's ``/proc``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgevision.allocator import give_back_freed_memory
from edgevision.drawing.overlay import Overlay
from edgevision.errors import UsageError
from edgevision.model import Model
from edgevision.pipeline import Pipeline, RunStatistics, StopRequest, Stream
from edgevision.soak.caches import fill_caches
from edgevision.soak.process import Blocks, Sample, read_sample
from edgevision.soak.rest import REST_EVERY_S, RestingSource, Rests
from edgevision.soak.segments import SegmentSink
from edgevision.soak.verdict import FEWEST_RESTS, Counted, SoakCheck, SoakReport, judge
from edgevision.video import open_sink, open_source

__all__ = [
    "DEADLINE",
    "OnSample",
    "Sample",
    "SoakCheck",
    "SoakReport",
    "check_length",
    "default_source",
    "soak",
]

DEADLINE = "soak time is over"
_SAMPLE_S = 1.0
_DEMO = "demo://?seconds=60&rounds=1440"
_FAULTS = "drop=0.02&corrupt=0.02&freeze=0.002&resize=0.005&disconnect=0.002&jitter=20ms&live=yes"


def default_source() -> str:
    """The demo as a bad camera on a bad network, for a day; then it is opened again.

    A stream that ends takes with it what grew during it, so short ones would hide such growth.
    """
    return f"chaos://{_DEMO}?{_FAULTS}&seed=1"


OnSample = Callable[[Sample, RunStatistics], None]


def check_length(minutes: float, warm_up_s: float) -> None:
    """Refuses what leaves too little for a verdict.

    Raises:
        UsageError: too few rests are left after the warm-up, or a time is impossible.
    """
    if not (0 < minutes < 1e6 and 0 <= warm_up_s < 1e6):
        raise UsageError(
            f"{minutes:g} minutes with a warm-up of {warm_up_s / 60:g} are not possible; expected more than 0"
        )
    needed_s = 1.5 * FEWEST_RESTS * REST_EVERY_S  # on a busy machine rests take longer
    if minutes * 60 < warm_up_s + needed_s:
        raise UsageError(
            f"{minutes:g} minutes are too short: a fit needs {needed_s / 60:.1f} after the warm-up of "
            f"{warm_up_s / 60:g}; choose more `minutes` or a shorter `warm_up`"
        )


def soak(
    uri: str,
    models: Sequence[Model],
    folder: Path,
    *,
    minutes: float,
    warm_up_s: float,
    stop: StopRequest,
    on_sample: OnSample | None = None,
) -> SoakReport:
    """Runs the pipeline on ``uri`` for ``minutes``, drawing and writing into ``folder``.

    Args:
        uri: see :func:`edgevision.video.open_source`; opened again when it ends.
        models: every one runs on every frame.
        folder: for recordings, of which only the newest is kept, and JSON lines.
        minutes: how long.
        warm_up_s: left out of the fit of memory and of the comparison of handles and threads.
        stop: ends it early; the verdict is then on what there was.
        on_sample: called about once a second.

    Raises:
        UsageError: this is not Linux.
        SourceError, EngineError, SinkError: the run failed.
    """
    gives_back = give_back_freed_memory()
    watch = _Watch(minutes * 60, stop, on_sample)
    while stop.reason is None:
        watch.runs.append(_run_once(uri, models, folder, stop, watch))
        gc.collect()  # a run and its decoder refer to each other; see edgevision.pipeline.runner
    watch.blocks.finish()
    waiting = (watch.least_waiting, watch.most_waiting)
    return judge(
        uri, watch.rests, watch.blocks.done, watch.runs, waiting, watch.elapsed_s, warm_up_s, gives_back
    )


class _Watch:
    """Takes samples while the pipeline runs, and ends it in time."""

    def __init__(self, seconds: float, stop: StopRequest, on_sample: OnSample | None) -> None:
        self.rests: list[Sample] = []
        self.blocks = Blocks()
        self.runs: list[Counted] = []
        self.most_waiting = self.least_waiting = 0
        self._seconds, self._stop, self._on_sample = seconds, stop, on_sample
        self._start, self._next = time.monotonic(), 0.0

    def look(self, run: RunStatistics) -> None:
        elapsed = time.monotonic() - self._start
        waiting = [stream.frames.waiting for stream in run.streams]
        self.most_waiting = max(self.most_waiting, *waiting)
        self.least_waiting = min(self.least_waiting, *waiting)
        if elapsed >= self._seconds and self._stop.reason is None:
            self._stop.reason = DEADLINE
        if elapsed >= self._next:
            self._next = elapsed + _SAMPLE_S
            sample = read_sample(elapsed)
            self.blocks.add(sample)
            if self._on_sample is not None:
                self._on_sample(sample, run)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._start


def _run_once(uri: str, models: Sequence[Model], folder: Path, stop: StopRequest, watch: _Watch) -> Counted:
    with RestingSource(open_source(uri)) as source:
        segments = SegmentSink(folder, source.info)
        rests = Rests(source, segments, watch.rests)
        records = open_sink(str(folder / "soak.jsonl"), info=source.info, overwrite=True)
        overlays = [Overlay(model.manifest) for model in models]
        fill_caches(source.info, models, overlays)
        stream = Stream(source=source, sinks=[segments, records], overlays=overlays, show_status=True)
        pipeline = Pipeline([stream], models)

        def look(run: RunStatistics) -> None:
            watch.look(run)
            if stop.reason is None:
                rests.look(run, watch.elapsed_s)
            else:
                source.go_on()

        run = pipeline.run(stop, look)
    for error in pipeline.errors.values():
        raise error
    report = source.report
    return Counted(run.streams[0], report.read, report.skipped, segments.took)
