"""The run itself: capture, inference and output as concurrent stages.

A capture thread decodes, an inference thread letterboxes and infers, and the calling thread draws and
writes (a window must live on the main thread). Bounded queues join them, so none runs ahead. Decoding,
inference and encoding release the GIL, so the stages really overlap.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgevision.detector import Detector
from edgevision.engines.base import describe
from edgevision.overlay import Overlay, render
from edgevision.pipeline.control import StopRequest
from edgevision.pipeline.ledger import FrameLedger
from edgevision.pipeline.meters import RateMeter, StageClock, Tally, TimeHistogram
from edgevision.pipeline.queue import BoundedQueue, Policy, QueueEmpty, QueueEnded
from edgevision.pipeline.statistics import (
    EngineStatistics,
    RunStatistics,
    Stage,
    StreamState,
    StreamStatistics,
)
from edgevision.types import DropReason, Frame, Result
from edgevision.video.base import Screen, Sink, Source

_POLL_S = 0.1
_JOIN_S = 3.0
_PROGRESS_S = 0.1
_REFRESH_S = 0.02


@dataclass(frozen=True, slots=True)
class _Captured:
    frame: Frame
    captured_ns: int


@dataclass(frozen=True, slots=True)
class _Answered:
    frame: Frame
    captured_ns: int
    results: tuple[Result, ...]


class Pipeline:
    """Reads a source, runs models on each frame, and hands pictures and results to sinks.

    Args:
        source: read on a thread of its own, and closed there.
        detectors: every one runs on every frame.
        sinks: called on the thread that calls :meth:`run`, and closed there on every way out.
        overlays: one for each detector; none where no sink looks at the picture, and nothing is drawn.
        policy: by default files wait and live sources keep the newest.
        max_frames: end after so many frames; None reads to the end.
        show_status: write frame rate and latency on the picture.
    """

    def __init__(
        self,
        source: Source,
        detectors: Sequence[Detector],
        sinks: Sequence[Sink],
        overlays: Sequence[Overlay] = (),
        *,
        policy: Policy | None = None,
        max_frames: int | None = None,
        show_status: bool = False,
    ) -> None:
        self.ledger = FrameLedger()
        self._source, self._detectors, self._sinks, self._overlays = source, detectors, sinks, overlays
        self._policy = policy or (Policy.KEEP_NEWEST if source.info.is_live else Policy.WAIT)
        self._max_frames = max_frames
        self._show_status = show_status
        capacity = 1 if self._policy is Policy.KEEP_NEWEST else 4
        self._frames: BoundedQueue[_Captured] = BoundedQueue(capacity, self._policy)
        self._answers: BoundedQueue[_Answered] = BoundedQueue(capacity)
        self._clock = StageClock()
        self._latency = TimeHistogram()
        self._calls = TimeHistogram()
        self._last_latency_ms = self._time_s = 0.0
        self._start = 0.0
        self._seconds: float | None = None
        self._rate = RateMeter()
        self._tally = Tally([detector.manifest.classes for detector in detectors])
        self._status = ""
        self._written = 0
        self._held_s = 0.0
        self._stopped = "end"
        self._failures: list[BaseException] = []

    def run(
        self, stop: StopRequest | None = None, on_progress: Callable[[RunStatistics], None] | None = None
    ) -> StreamStatistics:
        """Runs to the end of the source, or until it is asked to stop. Call it once.

        Args:
            stop: set its reason, from anywhere, to end early.
            on_progress: called on this thread, at most ten times a second.

        Raises:
            SourceError: the source failed; the frames before are in the outputs.
            EngineError: a model failed; the frames before are in the outputs.
            SinkError: an output could not be written or finished.
        """
        self._start = time.perf_counter()
        threads = [
            threading.Thread(target=self._capture, name="capture", daemon=True),
            threading.Thread(target=self._infer, name="inference", daemon=True),
        ]
        try:
            with contextlib.ExitStack() as opened:
                for sink in self._sinks:
                    opened.callback(self._close, sink)
                try:
                    for thread in threads:
                        thread.start()
                    self._consume(stop or StopRequest(), on_progress)
                except Exception as error:
                    self._failures.append(error)
                finally:
                    self._end_early()
                    self._answers.abort()  # inference may be waiting for room that nobody will make
        finally:
            for thread in threads:
                # A camera can block for ever in its driver; the thread is a daemon and is left behind.
                thread.join(_JOIN_S)
        self._seconds = time.perf_counter() - self._start - self._held_s
        self.ledger.close()
        if self._failures:
            raise self._failures[0]
        return self.statistics().streams[0]

    def _capture(self) -> None:
        try:
            frames = iter(self._source)
            # A live source goes on delivering until enough frames are inferred, for some are dropped.
            for _ in self._turns() if self._policy is Policy.WAIT else itertools.count():
                start_ns = time.perf_counter_ns()
                frame = next(frames, None)
                captured_ns = time.perf_counter_ns()
                self.ledger.source_failed(self._source.report.failed)
                if frame is None:
                    break
                self._clock.add(Stage.DECODE, captured_ns - start_ns)
                self.ledger.capture()
                try:
                    displaced = self._frames.put(_Captured(frame, captured_ns))
                except QueueEnded:
                    self.ledger.drop(DropReason.SHUTDOWN)
                    break
                if displaced is not None:
                    self.ledger.drop(DropReason.NEWER_FRAME)
        except Exception as error:
            self._failures.append(error)
        finally:
            self._frames.finish()
            with contextlib.suppress(Exception):  # what went wrong before matters more
                self._source.close()

    def _infer(self) -> None:
        try:
            for _ in self._turns():
                captured = self._frames.get()
                try:
                    results = tuple(self._detect(detector, captured.frame) for detector in self._detectors)
                except Exception:
                    self.ledger.fail()
                    raise
                self.ledger.infer()
                self._answers.put(_Answered(captured.frame, captured.captured_ns, results))
            self._stopped = "max_frames"
        except QueueEnded:
            pass
        except Exception as error:
            self._failures.append(error)
        finally:
            self._end_early()
            self._answers.finish()

    def _detect(self, detector: Detector, frame: Frame) -> Result:
        with self._clock.measure(Stage.PREPROCESS):
            batch = detector.prepare([frame.image])
        with self._clock.measure(Stage.INFERENCE):
            start_ns = time.perf_counter_ns()
            outputs = detector.infer(batch)
            self._calls.add((time.perf_counter_ns() - start_ns) / 1e6)
        with self._clock.measure(Stage.POSTPROCESS):
            return detector.finish(batch, outputs)[0]

    def _consume(self, stop: StopRequest, on_progress: Callable[[RunStatistics], None] | None) -> None:
        next_progress = 0.0
        while True:
            self._notice_stop(stop)
            try:
                answered = self._answers.get(_POLL_S)
            except QueueEmpty:
                self._refresh()
                continue
            except QueueEnded:
                self._hold_still(stop)
                return
            self._write(answered)
            latency_ms = (time.perf_counter_ns() - answered.captured_ns) / 1e6
            self._latency.add(latency_ms)
            self._last_latency_ms, self._time_s = latency_ms, answered.frame.time_s
            self._tally.add(answered.results)
            rate = self._rate.tick()
            if self._show_status:
                self._status = f"{rate:.1f} fps  {latency_ms:.0f} ms"
            now = time.perf_counter()
            if on_progress is not None and now >= next_progress:
                next_progress = now + _PROGRESS_S
                on_progress(self.statistics())

    def _write(self, answered: _Answered) -> None:
        frame, picture = answered.frame, answered.frame.image
        if self._overlays:
            with self._clock.measure(Stage.OVERLAY):
                picture = render(picture, self._overlays, answered.results, self._status)
        with self._clock.measure(Stage.SINKS):
            for sink in self._sinks:
                sink.write(frame, picture, answered.results)
        self._written += 1

    def _notice_stop(self, stop: StopRequest) -> None:
        reason = stop.reason
        if reason is None and any(sink.closed for sink in self._sinks):
            reason = "window"
        if reason is not None and self._stopped == "end":
            self._stopped = reason
            self._end_early()

    def _refresh(self) -> bool:
        """Keeps screens alive while no frame comes; True where there is one that is not closed."""
        screens = [sink for sink in self._sinks if isinstance(sink, Screen)]
        for screen in screens:
            screen.refresh()
        return bool(screens) and not any(sink.closed for sink in self._sinks)

    def _hold_still(self, stop: StopRequest) -> None:
        """Leaves a single picture on the screen until somebody closes it, or asks the run to end."""
        if not self._source.info.is_image or self._failures:
            return
        start = time.perf_counter()
        while stop.reason is None and self._refresh():
            time.sleep(_REFRESH_S)
        self._notice_stop(stop)
        self._held_s = time.perf_counter() - start

    def _turns(self) -> Iterable[int]:
        return itertools.count() if self._max_frames is None else range(self._max_frames)

    def _end_early(self) -> None:
        """Stops capture and inference; what is already inferred is still written."""
        self.ledger.drop(DropReason.SHUTDOWN, len(self._frames.abort()))

    def _close(self, sink: Sink) -> None:
        try:
            sink.close()
        except Exception as error:
            self._failures.append(error)

    def statistics(self) -> RunStatistics:
        """The run now, from any thread."""
        now = time.perf_counter()
        seconds = self._seconds if self._seconds is not None else now - (self._start or now)
        engines = tuple(
            EngineStatistics(
                model=detector.manifest.name,
                engine=describe(detector.engine),
                calls=(calls := self._calls.figures()).count,
                frames=calls.count,
                call=calls,
            )
            for detector in self._detectors
        )
        busy = sum(engine.call.total_s for engine in engines) / seconds if seconds else 0.0
        return RunStatistics(
            seconds=seconds, busy=min(1.0, busy), streams=(self._stream(seconds),), engines=engines
        )

    def _stream(self, seconds: float) -> StreamStatistics:
        source = self._source.report
        notes = [note for detector in self._detectors for note in detector.notes]
        notes += source.notes + [note for sink in self._sinks for note in sink.notes]
        over = self._seconds is not None
        state = StreamState.ENDED if over else StreamState.RUNNING
        return StreamStatistics(
            name=self._source.info.name,
            source=self._source.info.name,
            is_live=self._source.info.is_live,
            state=StreamState.FAILED if over and self._failures else state,
            models={detector.manifest.name: describe(detector.engine) for detector in self._detectors},
            frames=self.ledger.entry(),
            written=self._written,
            skipped=source.skipped,
            time_s=self._time_s,
            detections=self._tally.detections(),
            class_shares=self._tally.shares(),
            seconds=seconds,
            frames_per_second=self._written / seconds if seconds > 0 else 0.0,
            recent_frames_per_second=self._rate.rate(),
            latency=self._latency.figures(),
            last_latency_ms=self._last_latency_ms,
            stages=self._clock.figures(),
            queues={"preprocess": len(self._frames), "overlay": len(self._answers)},
            mean_batch=1.0,
            stopped=self._stopped if over else None,
            error=str(self._failures[0]) if self._failures else None,
            problem=source.problem,
            notes=tuple(dict.fromkeys(notes)),
        )
