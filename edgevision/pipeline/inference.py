"""The threads that feed the engines: frames of all streams, in batches, the streams in rotation."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Sequence

from edgevision.model import Model
from edgevision.pipeline.intake import Intake, Taken
from edgevision.pipeline.lane import Lane, common_requests
from edgevision.pipeline.meters import EngineMeter
from edgevision.pipeline.queue import Policy, QueueEnded
from edgevision.pipeline.statistics import EngineStatistics, Stage
from edgevision.pipeline.stream import Answered, Prepared

LaneFrame = tuple[Lane, Prepared]
"""A prepared frame, and the stream that it is of."""


class InOrder:
    """Delivers what several threads have finished in the order in which it was begun; no thread waits."""

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

    Recordings have as many requests in flight as the engines take, because only the number of
    frames a second counts there. With a live stream there is one request at a time, of the newest frames.

    Attributes:
        requests: number of threads that call :meth:`run`.
        is_over: none of them runs any more.

    Args:
        intake: where the frames wait.
        lanes: the streams, in the order of the intake's slots.
        model_sets: the main models, and the fallback where there is one.
    """

    def __init__(
        self, intake: Intake[Prepared], lanes: Sequence[Lane], model_sets: Sequence[Sequence[Model]]
    ) -> None:
        self._intake, self._lanes, self._model_sets = intake, lanes, model_sets
        self._meters = [[EngineMeter(model) for model in models] for models in model_sets]
        self._in_order = InOrder()
        self.requests = 1
        if lanes and all(lane.policy is Policy.WAIT for lane in lanes):
            self.requests = common_requests(model_sets)
        self._running = self.requests
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        return self._running == 0

    def run(self) -> None:
        """Takes and answers, on as many threads as :attr:`requests` says."""
        try:
            while True:
                taken = self._intake.take()
                deliveries: list[Callable[[], None]] = []
                try:
                    self._answer(taken, deliveries)
                finally:
                    self._in_order.finish(taken.number, functools.partial(_call_all, deliveries))
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

    def _answer(self, taken: Taken[Prepared], deliveries: list[Callable[[], None]]) -> None:
        """Runs the models, and adds to ``deliveries`` what hands their outputs to the streams."""
        taken_ns = time.perf_counter_ns()
        frames = [(self._lanes[stream], prepared) for stream, prepared in taken.items]
        for model_set in dict.fromkeys(prepared.model_set for _, prepared in frames):
            of_set = [frame for frame in frames if frame[1].model_set == model_set]
            deliveries.append(self._infer(of_set, model_set, taken_ns))
        deliveries += [self._lanes[stream].answered_all for stream in taken.ended]

    def _infer(self, frames: Sequence[LaneFrame], model_set: int, taken_ns: int) -> Callable[[], None]:
        start_ns = time.perf_counter_ns()
        outputs = []
        try:
            for position, model in enumerate(self._model_sets[model_set]):
                parts = [prepared.batches[position] for _, prepared in frames]
                joined = model.join(parts)
                call_ns = time.perf_counter_ns()
                found = model.infer(joined)
                self._meters[model_set][position].add(len(parts), time.perf_counter_ns() - call_ns)
                outputs.append(model.split(joined, parts, found))
        except Exception:
            for lane, _ in frames:
                lane.ledger.fail()
            raise
        elapsed_ns = time.perf_counter_ns() - start_ns

        def deliver() -> None:
            for i, (lane, prepared) in enumerate(frames):
                lane.clock.add(Stage.INFERENCE, elapsed_ns)
                lane.answered(Answered(prepared, tuple(parts[i] for parts in outputs), taken_ns), len(frames))

        return deliver

    def figures(self) -> tuple[EngineStatistics, ...]:
        """Each engine now."""
        return tuple(meter.figures() for meter in itertools.chain.from_iterable(self._meters))


def _call_all(deliveries: Sequence[Callable[[], None]]) -> None:
    for deliver in deliveries:
        deliver()
