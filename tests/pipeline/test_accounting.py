"""Every frame is accounted for: whatever the timing, the faults and the moment of the end."""

import contextlib
import random
import time
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgevision.engines.fake import FakeEngine, fake_manifest
from edgevision.errors import EngineError, SourceError
from edgevision.model import Model
from edgevision.pipeline import FrameLedger, Pipeline, Policy, StopRequest, Stream
from edgevision.video.base import FailReason
from edgevision.video.sources.arrays import ArraySource
from tests.support.pipeline import FaultySink, balanced, frame_indices, identified, number_in


class RestlessSource(ArraySource):
    """Takes random times, loses frames, and may die; counts for itself what it gave."""

    def __init__(self, number, count, seed, dies):
        super().__init__([identified(number, i) for i in range(count)], name=f"s{number}")
        self.chance, self.dies, self.given = random.Random(seed), dies, 0

    def __iter__(self):
        for frame in super().__iter__():
            pause(self.chance)
            if self.chance.random() < 0.1:
                self.report.failed[self.chance.choice(list(FailReason))] += 1
            self.given += 1
            yield frame
        if self.dies:
            raise SourceError("gone")


class RestlessSink(FaultySink):
    def __init__(self, seed, fail_at):
        super().__init__(fail_at=fail_at)
        self.chance = random.Random(seed)

    def write(self, result, image):
        pause(self.chance)
        super().write(result, image)


def pause(chance):
    if chance.random() < 0.3:
        time.sleep(chance.random() * 0.004)


@contextlib.contextmanager
def unsettled_at_the_end():
    """How many frames each ledger had lost sight of when it was closed, which would count them as dropped."""
    found, close = [], FrameLedger.close

    def look(ledger):
        found.append(ledger.entry().waiting)
        return close(ledger)

    with mock.patch.object(FrameLedger, "close", look):
        yield found


stream_kinds = st.fixed_dictionaries(
    {
        "count": st.integers(0, 30),
        "policy": st.sampled_from(list(Policy)),
        "dies": st.booleans(),
        "fail_at": st.none() | st.integers(0, 20),
        "max_frames": st.none() | st.integers(1, 25),
        "max_latency_ms": st.none() | st.floats(1, 20),
    }
)


@given(
    kinds=st.lists(stream_kinds, min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
    model_fails_at=st.none() | st.integers(1, 60),
    stop_after=st.none() | st.integers(0, 6),
    max_batch=st.integers(1, 4),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_ledger_is_exact(kinds, seed, model_fails_at, stop_after, max_batch):
    chance, calls = random.Random(seed), []

    def answer(image):
        pause(chance)
        calls.append(1)
        if len(calls) == model_fails_at:
            raise EngineError("out of memory")
        return number_in(image)

    streams = [
        Stream(
            source=RestlessSource(number, kind["count"], seed + number, kind["dies"]),
            sinks=[RestlessSink(seed - number, kind["fail_at"])],
            policy=kind["policy"],
            max_frames=kind["max_frames"],
            max_latency_ms=kind["max_latency_ms"] if kind["policy"] is Policy.KEEP_NEWEST else None,
        )
        for number, kind in enumerate(kinds)
    ]
    pipeline = Pipeline(
        streams, [Model(FakeEngine(answer, fake_manifest(classes=("thing",))))], max_batch=max_batch
    )
    stop, moments = StopRequest(), []

    def watch(statistics):
        moments.append(statistics)
        if stop_after is not None and len(moments) > stop_after:
            stop.reason = "enough"

    with unsettled_at_the_end() as unsettled:
        final = pipeline.run(stop, watch)
    assert unsettled == [0] * len(streams)

    for statistics in moments:
        for one in statistics.streams:
            settled = one.frames.inferred + sum(one.frames.dropped.values()) + sum(one.frames.failed.values())
            assert one.frames.captured == settled + one.frames.waiting
    for stream, kind, one in zip(streams, kinds, final.streams, strict=True):
        source, (sink,) = stream.source, stream.sinks
        assert balanced(one.frames)
        lost_by_source = sum(source.report.failed.values())
        assert one.frames.captured == source.given + lost_by_source  # counted by the source itself
        assert one.written == len(sink.results) <= one.frames.inferred
        assert sink.closes == 1
        indices = frame_indices(sink)
        assert indices == sorted(set(indices))
        if kind["policy"] is Policy.WAIT:
            assert indices == list(range(len(indices)))  # no hole
        if one.error is None and one.stopped == "end":
            assert one.written == one.frames.inferred
            assert "shutdown" not in one.frames.dropped
            if kind["policy"] is Policy.WAIT:
                assert one.written == kind["count"]
        if kind["max_frames"] is not None:
            assert one.frames.inferred <= kind["max_frames"]
        own = [round(float(result.detections.boxes[0, 0])) for result in sink.results]
        assert own == [round(source_number(stream))] * len(own)
    assert sum(one.frames.failed.get("model", 0) for one in final.streams) <= max_batch


def source_number(stream):
    return int(stream.source.info.name[1:])
