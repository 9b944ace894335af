"""Requests in flight: several at a time for recordings, answers in order all the same."""

import itertools
import random
import threading

import pytest

from edgevision.engines.fake import FakeEngine, fake_manifest
from edgevision.errors import EngineError
from edgevision.model import Model
from edgevision.pipeline import Pipeline, Stream
from edgevision.pipeline.inference import EngineMeter, InOrder
from edgevision.video.sources.arrays import ArraySource
from tests.support.pipeline import FaultySink, balanced, frame_indices, identified, number_in


class Meeting:
    """An answer that comes only once ``size`` calls run at the same time, and notes how many did."""

    def __init__(self, size):
        self.barrier = threading.Barrier(size)

    def __call__(self, image):
        self.barrier.wait(timeout=10)
        return number_in(image)


def detector(answer=number_in, requests=1, **options):
    manifest = fake_manifest(width=32, height=32)
    return Model(FakeEngine(answer, manifest, requests=requests, **options))


def images(count, stream=0):
    return [identified(stream, i) for i in range(count)]


def boxes(sink):
    return [tuple(map(int, result.detections[0].box[:2])) for result in sink.results]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_what_is_finished_in_any_order_is_delivered_in_one(order):
    in_order, delivered = InOrder(), []
    for count, number in enumerate(order, 1):
        in_order.finish(number, lambda number=number: delivered.append(number))
        finished = set(order[:count])
        assert delivered == list(itertools.takewhile(finished.__contains__, itertools.count()))


def test_requests_of_a_recording_run_at_the_same_time():
    sink = FaultySink()
    meeting = Meeting(3)  # breaks, and so fails the run, unless three calls meet each time
    pipeline = Pipeline([Stream(source=ArraySource(images(30)), sinks=[sink])], [detector(meeting, 3)])
    run = pipeline.run()
    assert pipeline.errors == {}
    assert boxes(sink) == [(0, i) for i in range(30)]
    assert run.engines[0].calls == run.engines[0].frames == 30


def test_answers_of_requests_that_overtake_each_other_come_in_order():
    chance = random.Random(5)
    waits = [chance.choice((0.0, 0.0, 0.004)) for _ in range(30)]

    def answer(image):
        found = number_in(image)
        threading.Event().wait(waits[int(found.boxes[0, 1])])
        return found

    sinks = [FaultySink(), FaultySink()]
    streams = [
        Stream(source=ArraySource(images(30, i)), sinks=[sink], name=str(i)) for i, sink in enumerate(sinks)
    ]
    pipeline = Pipeline(streams, [detector(answer, 4)])
    run = pipeline.run()
    assert pipeline.errors == {}
    for i, sink in enumerate(sinks):
        assert boxes(sink) == [(i, frame) for frame in range(30)]
        assert frame_indices(sink) == list(range(30))
        assert balanced(run.streams[i].frames)


@pytest.mark.parametrize("live", [False, True])
def test_one_live_stream_makes_it_one_request_of_the_newest_frames(live):
    running, most = [], []

    def answer(image):
        running.append(image)
        most.append(len(running))
        threading.Event().wait(0.002)
        running.pop()
        return number_in(image)

    streams = [
        Stream(source=ArraySource(images(40), is_live=live, frame_rate=400), sinks=[FaultySink()], name="a"),
        Stream(source=ArraySource(images(40)), sinks=[FaultySink()], name="b"),
    ]
    pipeline = Pipeline(streams, [detector(answer, 2)], max_batch=1)
    pipeline.run()
    assert pipeline.errors == {}
    assert max(most) == (1 if live else 2)


def test_the_slowest_engine_of_several_sets_the_requests():
    sink = FaultySink()
    stream = Stream(source=ArraySource(images(10)), sinks=[sink])
    names = fake_manifest(width=32, height=32, classes=("other",))
    single = Model(FakeEngine(number_in, names))
    pipeline = Pipeline([stream], [detector(requests=3), single])
    (inference,) = pipeline._inferences.values()
    assert inference.requests == 1


def test_a_model_that_fails_in_one_of_several_requests_ends_the_run_with_what_came_before():
    def answer(image):
        found = number_in(image)
        if found.boxes[0, 1] == 20:
            raise EngineError("the accelerator is gone")
        return found

    sink = FaultySink()
    pipeline = Pipeline([Stream(source=ArraySource(images(60)), sinks=[sink])], [detector(answer, 3)])
    (report,) = pipeline.run().streams
    assert str(pipeline.errors[report.name]) == "the accelerator is gone"
    shown = [frame for _, frame in boxes(sink)]
    assert shown[:20] == list(range(20))
    assert 20 not in shown
    assert shown == sorted(shown)
    assert balanced(report.frames)
    assert report.frames.failed == {"model": 1}


def test_one_failure_ends_all_requests_and_with_them_a_run_that_waits_for_streams():
    def answer(image):
        found = number_in(image)
        if found.boxes[0, 1] == 5:
            raise EngineError("the accelerator is gone")
        return found

    stream = Stream(source=ArraySource(images(20)), sinks=[FaultySink()])
    pipeline = Pipeline([stream], [detector(answer, 3)], is_kept_open=True)
    runner = threading.Thread(target=pipeline.run, daemon=True)
    runner.start()
    runner.join(10)
    assert not runner.is_alive()
    assert not any(one.name == "inference" and one.is_alive() for one in pipeline._threads)


def test_the_number_of_frames_that_was_asked_for_is_exact():
    sink = FaultySink()
    stream = Stream(source=ArraySource(images(60)), sinks=[sink], max_frames=17)
    (report,) = Pipeline([stream], [detector(requests=4)]).run().streams
    assert boxes(sink) == [(0, i) for i in range(17)]
    assert report.stopped == "max_frames"
    assert balanced(report.frames)


def test_the_meter_counts_batches_and_their_time():
    meter = EngineMeter(detector())
    meter.add(3, 2_500_000)
    meter.add(1, 1_500_000)
    figures = meter.figures()
    assert (figures.calls, figures.frames, figures.call.count) == (2, 4, 2)
    assert figures.call.total_s == pytest.approx(0.004)
