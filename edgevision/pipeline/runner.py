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
from edgevision.pipeline.control import Progress, StopRequest
from edgevision.pipeline.ledger import FrameLedger
from edgevision.pipeline.queue import BoundedQueue, Policy, QueueEmpty, QueueEnded
from edgevision.pipeline.statistics import (
    LatencyHistogram,
    RateMeter,
    RunReport,
    Stage,
    StageClock,
    Tally,
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
        self._latency = LatencyHistogram()
        self._rate = RateMeter()
        self._tally = Tally([detector.manifest.classes for detector in detectors])
        self._status = ""
        self._written = 0
        self._held_s = 0.0
        self._stopped = "end"
        self._failures: list[BaseException] = []

    def run(
        self, stop: StopRequest | None = None, on_progress: Callable[[Progress], None] | None = None
    ) -> RunReport:
        """Runs to the end of the source, or until it is asked to stop. Call it once.

        Args:
            stop: set its reason, from anywhere, to end early.
            on_progress: called on this thread, at most ten times a second.

        Raises:
            SourceError: the source failed; the frames before are in the outputs.
            EngineError: a model failed; the frames before are in the outputs.
            SinkError: an output could not be written or finished.
        """
        start = time.perf_counter()
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
        if self._failures:
            raise self._failures[0]
        return self._report(time.perf_counter() - start - self._held_s)

    def _capture(self) -> None:
        try:
            frames = iter(self._source)
            # A live source goes on delivering until enough frames are inferred, for some are dropped.
            for _ in self._turns() if self._policy is Policy.WAIT else itertools.count():
                start_ns = time.perf_counter_ns()
                frame = next(frames, None)
                captured_ns = time.perf_counter_ns()
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
            outputs = detector.infer(batch)
        with self._clock.measure(Stage.POSTPROCESS):
            return detector.finish(batch, outputs)[0]

    def _consume(self, stop: StopRequest, on_progress: Callable[[Progress], None] | None) -> None:
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
            self._tally.add(answered.results)
            rate = self._rate.tick()
            if self._show_status:
                self._status = f"{rate:.1f} fps  {latency_ms:.0f} ms"
            now = time.perf_counter()
            if on_progress is not None and now >= next_progress:
                next_progress = now + _PROGRESS_S
                on_progress(
                    Progress(self._written, answered.frame.time_s, rate, latency_ms, self.ledger.entry())
                )

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

    def _report(self, seconds: float) -> RunReport:
        source = self._source.report
        notes = [note for detector in self._detectors for note in detector.notes]
        notes += source.notes + [note for sink in self._sinks for note in sink.notes]
        return RunReport(
            source=self._source.info.name,
            is_live=self._source.info.is_live,
            models={detector.manifest.name: describe(detector.engine) for detector in self._detectors},
            frames=self.ledger.entry(),
            written=self._written,
            skipped=source.skipped,
            detections=self._tally.detections(),
            class_shares=self._tally.shares(),
            seconds=seconds,
            frames_per_second=self._written / seconds if seconds > 0 else 0.0,
            latency_ms=self._latency.figures(),
            stages=self._clock.figures(),
            stopped=self._stopped,
            problem=source.problem,
            notes=tuple(dict.fromkeys(notes)),
        )
