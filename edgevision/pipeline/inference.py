"""The one thread that feeds the engines: frames of all streams, in batches, in turn."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

from edgevision.detector import Detector
from edgevision.engines.base import describe
from edgevision.pipeline.intake import Intake
from edgevision.pipeline.lane import Lane
from edgevision.pipeline.meters import TimeHistogram
from edgevision.pipeline.queue import QueueEnded
from edgevision.pipeline.statistics import EngineStatistics, Stage
from edgevision.pipeline.stream import Answered, Prepared

Turn = list[tuple[Lane, Prepared]]


class EngineMeter:
    """What one engine did; written by the inference thread, read by any."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._frames = 0
        self._times = TimeHistogram()

    def add(self, frames: int, elapsed_ns: int) -> None:
        self._frames += frames
        self._times.add(elapsed_ns / 1e6)

    def figures(self) -> EngineStatistics:
        call = self._times.figures()
        return EngineStatistics(
            model=self._detector.manifest.name,
            engine=describe(self._detector.engine),
            calls=call.count,
            frames=self._frames,
            call=call,
        )


class Inference:
    """Runs until every stream has ended, or a model fails: then all of them end with its error.

    Args:
        intake: where the frames wait.
        lanes: the streams, in the order of the intake's slots.
        models: the main detectors, and the fallback's where there is one.
    """

    def __init__(
        self, intake: Intake[Prepared], lanes: Sequence[Lane], models: Sequence[Sequence[Detector]]
    ) -> None:
        self._intake, self._lanes, self._models = intake, lanes, models
        self._meters = [[EngineMeter(detector) for detector in detectors] for detectors in models]

    def run(self) -> None:
        try:
            while True:
                taken = self._intake.take()
                taken_ns = time.perf_counter_ns()
                turn = [(self._lanes[stream], prepared) for stream, prepared in taken.items]
                for model in dict.fromkeys(prepared.model for _, prepared in turn):
                    self._infer([pair for pair in turn if pair[1].model == model], model, taken_ns)
                for stream in taken.ended:
                    self._lanes[stream].answered_all()
        except QueueEnded:
            pass
        except Exception as error:
            for lane in self._lanes:
                lane.fail(error)
        finally:
            for lane in self._lanes:
                lane.answered_all()

    def _infer(self, turn: Turn, model: int, taken_ns: int) -> None:
        start_ns = time.perf_counter_ns()
        outputs = []
        try:
            for position, detector in enumerate(self._models[model]):
                parts = [prepared.batches[position] for _, prepared in turn]
                joined = detector.join(parts)
                call_ns = time.perf_counter_ns()
                found = detector.infer(joined)
                self._meters[model][position].add(len(parts), time.perf_counter_ns() - call_ns)
                outputs.append(detector.split(joined, parts, found))
        except Exception:
            for lane, _ in turn:
                lane.ledger.fail()
            raise
        elapsed_ns = time.perf_counter_ns() - start_ns
        for i, (lane, prepared) in enumerate(turn):
            lane.clock.add(Stage.INFERENCE, elapsed_ns)
            lane.answered(Answered(prepared, tuple(parts[i] for parts in outputs), taken_ns), len(turn))

    def figures(self) -> tuple[EngineStatistics, ...]:
        """Each engine now."""
        return tuple(meter.figures() for meter in itertools.chain.from_iterable(self._meters))
