"""The threads that feed the engines: frames of all streams, in batches, the streams in rotation."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from edgevision.engines import Engine
from edgevision.model import Batch, Model
from edgevision.pipeline.intake import Intake, Taken
from edgevision.pipeline.lane import Lane, common_requests
from edgevision.pipeline.meters import EngineMeter
from edgevision.pipeline.queue import Policy, QueueEnded
from edgevision.pipeline.statistics import EngineStatistics, Stage
from edgevision.pipeline.stream import Answered, Prepared


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


class SharedEngine:
    """One engine, and what it did; no more calls run at a time than it takes, whoever asks.

    Args:
        model: one of those that run on it.

    Attributes:
        engine: as the model has it.
    """

    def __init__(self, model: Model) -> None:
        self.engine: Engine = model.engine
        self._meter = EngineMeter(model)
        self._turns = threading.BoundedSemaphore(max(1, model.engine.requests))

    def infer(self, model: Model, parts: Sequence[Batch]) -> list[dict[str, NDArray[Any]]]:
        """The outputs of prepared batches, run as one.

        Args:
            model: runs on this engine.
            parts: of models that run on this engine.

        Raises:
            EngineError: the engine failed.
        """
        joined = model.join(parts)
        with self._turns:
            begun_ns = time.perf_counter_ns()
            found = model.infer(joined)
            self._meter.add(len(parts), time.perf_counter_ns() - begun_ns)
            return model.split(joined, parts, found)

    def figures(self) -> EngineStatistics:
        """The engine now."""
        return self._meter.figures()


@dataclass(slots=True)
class _Asked:
    """A frame on its way through the engines of its stream.

    Attributes:
        models: those that it was prepared for.
        outputs: of the models that have answered, by their position.
        elapsed_ns: wall time of the batches that it was in.
        batch: frames in the first of them.
    """

    lane: Lane
    prepared: Prepared
    models: Sequence[Model]
    outputs: dict[int, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    elapsed_ns: int = 0
    batch: int = 0

    @property
    def is_answered(self) -> bool:
        return len(self.outputs) == len(self.models)

    def deliver(self, taken_ns: int) -> None:
        self.lane.clock.add(Stage.INFERENCE, self.elapsed_ns)
        outputs = tuple(self.outputs[position] for position in range(len(self.models)))
        self.lane.answered(Answered(self.prepared, outputs, taken_ns), self.batch)


class Inference:
    """The streams of the same engines, and the threads that feed these until :attr:`intake` is closed.

    A model that fails ends all of its streams with its error; those of other engines run on.

    Recordings have as many requests in flight as the engines take, because only the number of
    frames a second counts there. With a live stream there is one request at a time, of the newest frames.

    Args:
        lanes: the streams that begin together.
        engines: those of the streams, by the ``id`` of each; engines of streams that are added later, too.
        max_batch: maximum number of frames in a call of an engine.

    Attributes:
        intake: where the frames wait.
        requests: number of threads that feed the engines.
        has_failed: a model did, and no stream can be added any more.
    """

    def __init__(self, lanes: Sequence[Lane], engines: Mapping[int, SharedEngine], max_batch: int) -> None:
        self._lanes = list(lanes)
        self._engines = engines
        self.intake: Intake[Prepared] = Intake([lane.slot for lane in lanes], max_batch, is_kept_open=True)
        for number, lane in enumerate(self._lanes):
            lane.number, lane.intake = number, self.intake
        self._in_order = InOrder()
        self.requests = 1
        if all(lane.policy is Policy.WAIT for lane in lanes):
            self.requests = min(common_requests(lane.model_sets) for lane in lanes)
        self._running = self.requests
        self.has_failed = False
        self._lock = threading.Lock()

    @property
    def lanes(self) -> Sequence[Lane]:
        return tuple(self._lanes)

    def start(self) -> list[threading.Thread]:
        """Begins; returns the threads."""
        threads = [
            threading.Thread(target=self._run, name="inference", daemon=True) for _ in range(self.requests)
        ]
        for thread in threads:
            thread.start()
        return threads

    def add(self, lane: Lane, instead: Lane | None = None) -> bool:
        """A further stream of the same engines.

        Args:
            lane: the stream.
            instead: one that is over, whose place it takes; None for a new place.

        Returns:
            False where a model has failed, and the stream was not added.
        """
        with self._lock:
            if self.has_failed:
                return False
            lane.intake = self.intake
            lane.number = self.intake.add(lane.slot, None if instead is None else instead.number)
            if instead is None:
                self._lanes.append(lane)
            else:
                self._lanes[lane.number] = lane
            return True

    def _run(self) -> None:
        try:
            while True:
                taken = self.intake.take()
                deliveries: list[Callable[[], None]] = []
                try:
                    self._answer(taken, deliveries)
                finally:
                    self._in_order.finish(taken.number, functools.partial(_call_all, deliveries))
        except QueueEnded:
            pass
        except Exception as error:
            with self._lock:
                self.has_failed = True  # those added before fail now, and none is added later
            for lane in self._lanes:
                lane.fail(error)
            self.intake.close()  # ends the other threads
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
        asked = []
        for number, prepared in taken.items:
            lane = self._lanes[number]
            asked.append(_Asked(lane, prepared, lane.model_sets[prepared.model_set]))
        try:
            for engine, users in self._by_engine(asked):
                _infer(engine, users)
        except Exception:
            for one in asked:
                if not one.is_answered:
                    one.lane.ledger.fail()
            raise
        finally:
            deliveries += [functools.partial(one.deliver, taken_ns) for one in asked if one.is_answered]
        deliveries += [self._lanes[number].answered_all for number in taken.ended]

    def _by_engine(self, asked: Sequence[_Asked]) -> list[tuple[SharedEngine, list[tuple[_Asked, int]]]]:
        """For each engine the frames that it gets, with the position of the model that runs on it."""
        users: dict[int, list[tuple[_Asked, int]]] = {}
        for one in asked:
            for position, model in enumerate(one.models):
                users.setdefault(id(model.engine), []).append((one, position))
        return [(self._engines[key], found) for key, found in users.items()]


def _infer(engine: SharedEngine, users: Sequence[tuple[_Asked, int]]) -> None:
    start_ns = time.perf_counter_ns()
    first, position = users[0]
    outputs = engine.infer(first.models[position], [one.prepared.batches[at] for one, at in users])
    elapsed_ns = time.perf_counter_ns() - start_ns
    for (one, at), found in zip(users, outputs, strict=True):
        one.outputs[at] = found
        one.elapsed_ns += elapsed_ns
        one.batch = one.batch or len(users)


def _call_all(deliveries: Sequence[Callable[[], None]]) -> None:
    for deliver in deliveries:
        deliver()
