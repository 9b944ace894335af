"""The state of one stream that its threads share."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from edgevision.engines.base import describe
from edgevision.model import Model
from edgevision.pipeline.intake import Intake, Slot
from edgevision.pipeline.latency import PACES, LatencyController
from edgevision.pipeline.ledger import DropReason, FrameLedger
from edgevision.pipeline.meters import RateMeter, StageClock, Tally, TimeHistogram
from edgevision.pipeline.queue import BoundedQueue, Policy, QueueEnded
from edgevision.pipeline.statistics import Outage, StreamState, StreamStatistics
from edgevision.pipeline.stream import Answered, Captured, Drawn, Prepared, SourceLost, Stream
from edgevision.tracking.counts import SceneCounter
from edgevision.video.base import Connection, ConnectionState, Delivery

_FILE_DEPTH = (
    4  # beyond what the engines hold: drawing and encoding overlap, and one slow frame stops no stage
)
_FILE_QUEUE = 2


@dataclass(frozen=True, slots=True)
class LaneCounts:
    """What a stream has counted when it is over; the numbers are of all streams of its name before it, too.

    Attributes:
        ledger, clock, latency, tally, written: see :class:`Lane`.
        answered: frames with the engines' outputs.
        batched: sum of the sizes of the batches that they were in.
        reconnects: how often the source was lost and restored.
        failed_attempts: attempts to reconnect that failed.
        counter: objects, zones and lines; None where nothing was tracked.
        deliveries: of the outputs, by name and kind.
    """

    ledger: FrameLedger = field(default_factory=FrameLedger)
    clock: StageClock = field(default_factory=StageClock)
    latency: TimeHistogram = field(default_factory=TimeHistogram)
    tally: Tally = field(default_factory=Tally)
    answered: int = 0
    batched: int = 0
    written: int = 0
    reconnects: int = 0
    failed_attempts: int = 0
    counter: SceneCounter | None = None
    deliveries: Mapping[tuple[str, str], Delivery] = field(default_factory=dict)


class Lane:
    """The queues of a stream, its account, and its end.

    Frames go from queue to queue in bounded numbers: ``captured`` and the intake have a capacity, and the
    intake lets no more than ``depth`` frames go behind it, so ``answers`` and ``drawn`` are never full. The
    engines' thread is the only one that all lanes share, and it never waits for a lane.

    Args:
        stream: what to run.
        number: its place in the intake.
        model_sets: the main models, and the fallback where there is one; others on the same engines, with
            other thresholds or classes, may take their place at any time.
        before: counts of a stream of this name that is over, which go on.

    Attributes:
        ledger, clock, latency, tally, rate, written, time_s, last_latency_ms: what is counted; see
            :class:`~edgevision.pipeline.statistics.StreamStatistics`.
        error: the first error, else None.
        stopped: why it ended early, else None.
        seconds: how long it ran; None until its outputs are closed.
        is_prepared: set once nothing more is prepared. Until then its place in the intake is in use.
    """

    def __init__(
        self,
        stream: Stream,
        number: int,
        model_sets: Sequence[Sequence[Model]],
        before: LaneCounts | None = None,
    ) -> None:
        self.stream, self.number, self.model_sets = stream, number, model_sets
        self.name = stream.name or stream.source.info.name
        self.policy = stream.policy or (Policy.KEEP_NEWEST if stream.source.info.is_live else Policy.WAIT)
        keeps_newest = self.policy is Policy.KEEP_NEWEST
        self.controller: LatencyController | None = None
        if stream.max_latency_ms is not None:
            self.controller = LatencyController(stream.max_latency_ms, has_fallback=len(model_sets) > 1)
        self._depth = PACES[0].depth if keeps_newest else _FILE_DEPTH + common_requests(model_sets)
        capacity = 1 if keeps_newest else _FILE_QUEUE
        self.slot: Slot[Prepared] = Slot(
            self.policy, capacity, self._depth, self._admit, self._skip, stream.max_frames
        )
        self.intake: Intake[Prepared] = Intake([self.slot], 1)  # alone, until the run joins all slots
        self.captured: BoundedQueue[Captured] = BoundedQueue(capacity, self.policy)
        self.answers: BoundedQueue[Answered] = BoundedQueue(self._depth)
        self.drawn: BoundedQueue[Drawn | SourceLost] = BoundedQueue(self._depth)

        before = LaneCounts() if before is None else before
        self._before = before
        self.ledger, self.clock, self.latency, self.tally = (
            before.ledger,
            before.clock,
            before.latency,
            before.tally,
        )
        if before.counter is not None and stream.scene is not None:
            stream.scene.counter.take_over(before.counter)
        self.rate = RateMeter()
        self.answered_frames, self.batched, self.written = before.answered, before.batched, before.written
        self.time_s = self.last_latency_ms = 0.0
        self.error: Exception | None = None
        self.stopped: str | None = None
        self.seconds: float | None = None
        self.is_prepared = threading.Event()
        self._lock = threading.Lock()

    def counts(self) -> LaneCounts:
        """What is counted, for a stream that takes this one's place once it is over."""
        self.ledger.next_source()
        scene = self.stream.scene
        return LaneCounts(
            self.ledger,
            self.clock,
            self.latency,
            self.tally,
            self.answered_frames,
            self.batched,
            self.written,
            *self.reconnects(),
            self._before.counter if scene is None else scene.counter,
            {**self._before.deliveries, **{(one.output, one.kind): one for one in self.deliveries()}},
        )

    def deliveries(self) -> tuple[Delivery, ...]:
        """Of each output, with what the same one had delivered and lost before."""
        found = [one for sink in self.stream.sinks for one in sink.deliveries()]
        earlier = self._before.deliveries
        nothing = Delivery(output="", kind="events")
        pairs = [(one, earlier.get((one.output, one.kind), nothing)) for one in found]
        return tuple(
            msgspec.structs.replace(
                one, delivered=one.delivered + before.delivered, lost=one.lost + before.lost
            )
            for one, before in pairs
        )

    def reconnects(self) -> tuple[int, int]:
        """How often the source came back, and attempts that failed."""
        connection = self.stream.source.report.connection
        back, failed = (0, 0) if connection is None else (connection.reconnects, connection.failed_attempts)
        return self._before.reconnects + back, self._before.failed_attempts + failed

    def end(self, reason: str) -> None:
        """Stops reading and preparing; frames that the engines have are still written. For any thread."""
        with self._lock:
            self.stopped = self.stopped or reason
        left = self.captured.abort()
        for prepared in self.intake.abort(self.number):
            self.drop(prepared, DropReason.SHUTDOWN)
        self.ledger.drop(DropReason.SHUTDOWN, len(left))
        if self.stream.source.info.is_live:
            self.stream.source.close()  # otherwise its thread would wait for a frame that may never come

    def record_error(self, error: Exception) -> None:
        """Records an error, of which the first counts; the stream runs to its end. For any thread."""
        with self._lock:
            self.error = self.error or error

    def fail(self, error: Exception) -> None:
        """Ends with an error; frames that the engines have answered are still written. For any thread."""
        self.record_error(error)
        self.end("error")

    def abandon(self) -> None:
        """Ends without writing what is under way."""
        self.end("interrupted")
        self.answers.abort()
        self.drawn.abort()

    def drop(self, prepared: Prepared, reason: DropReason) -> None:
        """Counts a frame that does not reach the engines, and returns its memory."""
        self.ledger.drop(reason)
        for model, batch in zip(self.model_sets[prepared.model_set], prepared.batches, strict=True):
            model.discard(batch)

    def _admit(self, prepared: Prepared) -> bool:
        return self.controller is None or self.controller.admit(prepared.captured_ns)

    def _skip(self, prepared: Prepared) -> None:
        self.drop(prepared, DropReason.LATENCY)

    def answered(self, answered: Answered, batch: int) -> None:
        """The engines' outputs for a frame that was in a batch of that size. Never waits."""
        self.answered_frames += 1
        self.batched += batch
        with contextlib.suppress(QueueEnded):  # abandoned
            self.answers.put(answered)

    def answered_all(self) -> None:
        """The engines have no more for this lane."""
        self.answers.finish()
        if self.slot.limit == 0:
            self.end("max_frames")

    def done(self, drawn: Drawn) -> None:
        """A frame has left the sinks, or was dropped after inference."""
        if self.controller is not None:
            self.controller.rendered(drawn.captured_ns, drawn.taken_ns, drawn.model_set)
        self.release()

    def release(self) -> None:
        """Lets the engines take another frame of this stream."""
        self.intake.done(self.number, self._depth if self.controller is None else self.controller.depth)


def common_requests(model_sets: Sequence[Sequence[Model]]) -> int:
    """Requests that every one of the engines can have in flight."""
    return min(model.engine.requests for models in model_sets for model in models)


def stream_statistics(lane: Lane, seconds: float, over: bool) -> StreamStatistics:
    """The stream now, from any thread.

    Args:
        lane: the stream.
        seconds: how long it has run.
        over: True once its outputs are closed.
    """
    source, sinks = lane.stream.source, lane.stream.sinks
    report, connection = source.report, source.report.connection
    counts = None if lane.stream.scene is None else lane.stream.scene.counts()
    reconnects, failed_attempts = lane.reconnects()
    outage = None if connection is None or over else _outage(connection)
    models = [model for models in lane.model_sets for model in models]
    notes = [note for model in models for note in model.notes]
    notes += report.notes + [note for sink in sinks for note in sink.notes]
    return StreamStatistics(
        name=lane.name,
        source=source.info.name,
        is_live=source.info.is_live,
        state=_state(lane, over),
        models={model.manifest.name: describe(model.engine) for model in models},
        frames=lane.ledger.entry(),
        written=lane.written,
        skipped=report.skipped,
        time_s=lane.time_s,
        classes=_wanted_classes(lane.model_sets[0]),
        detections=lane.tally.detections(),
        objects=None if counts is None else counts.objects,
        in_view={} if outage is not None else lane.tally.last() if counts is None else counts.in_view,
        zones={} if counts is None else counts.zones,
        lines={} if counts is None else counts.lines,
        class_shares=lane.tally.shares(),
        seconds=seconds,
        frames_per_second=lane.written / seconds if seconds > 0 else 0.0,
        recent_frames_per_second=lane.rate.rate(),
        latency=lane.latency.figures(),
        last_latency_ms=lane.last_latency_ms,
        stages=lane.clock.figures(),
        queues={
            "preprocess": len(lane.captured),
            "inference": lane.intake.waiting(lane.number),
            "overlay": len(lane.answers),
            "sinks": len(lane.drawn),
        },
        mean_batch=lane.batched / lane.answered_frames if lane.answered_frames else 0.0,
        reconnects=reconnects,
        failed_attempts=failed_attempts,
        lost=outage,
        latency_control=lane.controller.figures() if lane.controller else None,
        deliveries=lane.deliveries(),
        stopped=(lane.stopped or ("error" if lane.error else "end")) if over else None,
        error=str(lane.error) if lane.error else None,
        problem=report.problem,
        notes=tuple(dict.fromkeys(notes)),
    )


def _wanted_classes(models: Sequence[Model]) -> tuple[str, ...]:
    """Classes of objects, or of whole images, that the models look for, each once."""
    found = [model.classes or model.names for model in models if model.task != "segmentation"]
    return tuple(dict.fromkeys(name for names in found for name in names))


def _outage(connection: Connection) -> Outage | None:
    since_s = connection.since_s
    if connection.state is not ConnectionState.RECONNECTING or since_s is None:
        return None
    reason = connection.error or ""
    return Outage(seconds=time.monotonic() - since_s, attempts=connection.failed_now, reason=reason)


def _state(lane: Lane, over: bool) -> StreamState:
    if over:
        return StreamState.FAILED if lane.error else StreamState.ENDED
    connection = lane.stream.source.report.connection
    lost = connection is not None and connection.state is ConnectionState.RECONNECTING
    return StreamState.RECONNECTING if lost else StreamState.RUNNING
