"""The threads that feed the engines: frames of all streams, in batches, in turn."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Sequence

from edgevision.engines.base import describe
from edgevision.model import Model
from edgevision.pipeline.intake import Intake, Taken
from edgevision.pipeline.lane import Lane, common_requests
from edgevision.pipeline.meters import TimeHistogram
from edgevision.pipeline.queue import Policy, QueueEnded
from edgevision.pipeline.statistics import EngineStatistics, Stage
from edgevision.pipeline.stream import Answered, Prepared

Turn = list[tuple[Lane, Prepared]]


class EngineMeter:
    """What one engine did; for any thread."""

    def __init__(self, detector: Model) -> None:
        self._detector = detector
        self._frames = 0
        self._times = TimeHistogram()
        self._lock = threading.Lock()

    def add(self, frames: int, elapsed_ns: int) -> None:
        with self._lock:
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


class InOrder:
    """Does what several threads have finished in the order in which it was begun; nobody waits."""

    def __init__(self) -> None:
        self._next = 0
        self._finished: dict[int, Callable[[], None]] = {}
        self._lock = threading.Lock()

    def finish(self, number: int, deliver: Callable[[], None]) -> None:
        """Calls ``deliver``, now or once everything of a lower number has been finished.

        Args:
            number: each from 0 on exactly once, in any order.
            deliver: quick, and never called at the same time as another one.
        """
        with self._lock:
            self._finished[number] = deliver
            while (ready := self._finished.pop(self._next, None)) is not None:
                self._next += 1
                ready()


class Inference:
    """Runs until every stream has ended, or a model fails: then all of them end with its error.

    Recordings have as many requests in flight as the engines take, for there only the number of frames a
    second counts. As soon as one stream is live it is one request, of the newest frames.

    Attributes:
        requests: threads that shall call :meth:`run`.

    Args:
        intake: where the frames wait.
        lanes: the streams, in the order of the intake's slots.
        models: the main detectors, and the fallback's where there is one.
    """

    def __init__(
        self, intake: Intake[Prepared], lanes: Sequence[Lane], models: Sequence[Sequence[Model]]
    ) -> None:
        self._intake, self._lanes, self._models = intake, lanes, models
        self._meters = [[EngineMeter(detector) for detector in detectors] for detectors in models]
        self._in_order = InOrder()
        self.requests = 1
        if all(lane.policy is Policy.WAIT for lane in lanes):
            self.requests = common_requests(models)
        self._running = self.requests
        self._lock = threading.Lock()

    def run(self) -> None:
        """Takes and answers, on as many threads as :attr:`requests` says."""
        try:
            while True:
                taken = self._intake.take()
                answers: list[Callable[[], None]] = []
                try:
                    self._answer(taken, answers)
                finally:
                    self._in_order.finish(taken.number, functools.partial(_call_all, answers))
        except QueueEnded:
            pass
        except Exception as error:
            for lane in self._lanes:
                lane.fail(error)
        finally:
            with self._lock:
                self._running -= 1
                is_last = self._running == 0
            if is_last:
                for lane in self._lanes:
                    lane.answered_all()

    def _answer(self, taken: Taken[Prepared], answers: list[Callable[[], None]]) -> None:
        """Runs the models; what is to be told of it is added to ``answers``."""
        taken_ns = time.perf_counter_ns()
        turn = [(self._lanes[stream], prepared) for stream, prepared in taken.items]
        for model in dict.fromkeys(prepared.model for _, prepared in turn):
            of_model = [pair for pair in turn if pair[1].model == model]
            answers.append(self._infer(of_model, model, taken_ns))
        answers += [self._lanes[stream].answered_all for stream in taken.ended]

    def _infer(self, turn: Turn, model: int, taken_ns: int) -> Callable[[], None]:
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

        def tell() -> None:
            for i, (lane, prepared) in enumerate(turn):
                lane.clock.add(Stage.INFERENCE, elapsed_ns)
                lane.answered(Answered(prepared, tuple(parts[i] for parts in outputs), taken_ns), len(turn))

        return tell

    def figures(self) -> tuple[EngineStatistics, ...]:
        """Each engine now."""
        return tuple(meter.figures() for meter in itertools.chain.from_iterable(self._meters))


def _call_all(answers: Sequence[Callable[[], None]]) -> None:
    for answer in answers:
        answer()
