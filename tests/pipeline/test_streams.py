"""Several streams through one engine: each gets its own answers, and what befalls one is its own affair."""

import threading
import time

import pytest

from edgevision.engines.fake import FakeEngine, fake_manifest
from edgevision.errors import EngineError, SinkError, SourceError
from edgevision.model import Model
from edgevision.pipeline import Pipeline, StopRequest, Stream, StreamState
from edgevision.video.sources.arrays import ArraySource
from tests.support.models import image_with_block
from tests.support.pipeline import FaultySink, balanced, frame_indices, identified, number_in


def stream(name, count=20, sinks=None, source=None, **options):
    """Images that say whose they are and which: see :func:`identified`."""
    number = int(name[-1])
    source = source or ArraySource([identified(number, i) for i in range(count)], name=name)
    return Stream(source=source, sinks=[FaultySink()] if sinks is None else sinks, name=name, **options)


def detector(answer=number_in, latency_ms=0.0):
    return Model(FakeEngine(answer, fake_manifest(classes=("thing",)), latency_ms))


def run(streams, *models, **options):
    pipeline = Pipeline(streams, models or [detector()], **options)
    statistics = pipeline.run()
    assert all(balanced(one.frames) for one in statistics.streams)
    return statistics, pipeline.errors


def test_each_stream_gets_its_own_answers_in_order():
    streams = [stream(f"s{i}", count=15 + i) for i in range(5)]
    statistics, errors = run(streams, detector(latency_ms=2))
    assert errors == {}
    for number, (one, figures) in enumerate(zip(streams, statistics.streams, strict=True)):
        (sink,) = one.sinks
        assert frame_indices(sink) == list(range(15 + number))
        found = [tuple(map(round, result.detections[0].box[:2])) for result in sink.results]
        assert found == [(number, i) for i in range(15 + number)]
        assert (figures.name, figures.written) == (f"s{number}", 15 + number)
        assert figures.state is StreamState.ENDED
    assert statistics.engines[0].frames == sum(one.written for one in statistics.streams)


def test_frames_that_are_ready_go_in_one_batch():
    statistics, _ = run([stream(f"s{i}", count=30) for i in range(4)], detector(latency_ms=10))
    (engine,) = statistics.engines
    assert engine.frames == 120
    assert engine.calls < 80
    assert all(1 < one.mean_batch <= 4 for one in statistics.streams)


def test_a_batch_holds_no_more_than_asked():
    sizes = []

    class Counting(FakeEngine):
        def infer(self, inputs):
            sizes.append(len(inputs["frames"]))
            return super().infer(inputs)

    slow = Model(Counting(number_in, fake_manifest(classes=("thing",)), 5))
    run([stream(f"s{i}") for i in range(5)], slow, max_batch=2)
    assert set(sizes) <= {1, 2}
    assert 2 in sizes
    assert sum(sizes) == 100


def test_no_stream_starves():
    """By how much they differ is for benchmarks/pipeline.py, and whose turn it is for the intake's tests."""
    streams = [stream(f"s{i}", count=2000) for i in range(4)]
    pipeline, stop = Pipeline(streams, [detector(latency_ms=5)]), StopRequest()
    threading.Timer(1.5, lambda: setattr(stop, "reason", "enough")).start()
    counts = [one.frames.inferred for one in pipeline.run(stop).streams]
    assert min(counts) > 5
    assert max(counts) <= 2 * min(counts)


class Breaking(ArraySource):
    def __iter__(self):
        yield from super().__iter__()
        raise SourceError("the cable was pulled")


def test_a_source_that_dies_leaves_the_others_alone():
    bad = stream("s1", source=Breaking([identified(1, i) for i in range(5)], name="s1"))
    good = stream("s2", count=40)
    statistics, errors = run([bad, good])
    assert str(errors["s1"]) == "the cable was pulled"
    assert list(errors) == ["s1"]
    assert [one.written for one in statistics.streams] == [5, 40]
    assert [one.state for one in statistics.streams] == [StreamState.FAILED, StreamState.ENDED]
    assert statistics.streams[0].error == "the cable was pulled"


def test_a_sink_that_fails_leaves_the_others_alone():
    statistics, errors = run([stream("s1", count=50, sinks=[FaultySink(fail_at=3)]), stream("s2", count=40)])
    assert isinstance(errors["s1"], SinkError)
    assert [one.written for one in statistics.streams] == [3, 40]
    assert statistics.streams[0].frames.captured < 50


def test_outputs_that_hang_hold_nobody_else_up():
    """The first stream's sink waits until the second stream is through, which is longer than any queue."""
    through = threading.Event()

    class Hanging(FaultySink):
        def write(self, result, image):
            assert through.wait(20), "the other stream was held up"
            super().write(result, image)

    class Telling(FaultySink):
        def close(self):
            through.set()
            super().close()

    statistics, errors = run(
        [stream("s1", count=30, sinks=[Hanging()]), stream("s2", count=60, sinks=[Telling()])]
    )
    assert errors == {}
    assert [one.written for one in statistics.streams] == [30, 60]


def test_a_model_that_fails_ends_them_all():
    calls = []

    def answer(image):
        calls.append(1)
        if len(calls) == 10:
            raise EngineError("out of memory")
        return number_in(image)

    statistics, errors = run([stream(f"s{i}", count=100) for i in range(3)], detector(answer))
    assert set(errors) == {"s0", "s1", "s2"}
    assert {str(error) for error in errors.values()} == {"out of memory"}
    assert 1 <= sum(one.frames.failed.get("model", 0) for one in statistics.streams) <= 3
    for one in statistics.streams:
        assert one.written == one.frames.inferred < 100


def test_closing_one_window_ends_that_stream_only():
    window = FaultySink(close_at=5, delay_s=0.01)
    statistics, _ = run([stream("s1", count=300, sinks=[window]), stream("s2", count=30)])
    first, second = statistics.streams
    assert (first.stopped, second.stopped) == ("window", "end")
    assert first.written < 300
    assert second.written == 30


def test_a_stop_request_ends_them_all():
    streams = [stream(f"s{i}", count=5000) for i in range(3)]
    pipeline, stop = Pipeline(streams, [detector(latency_ms=2)]), StopRequest()
    threading.Timer(0.2, lambda: setattr(stop, "reason", "SIGTERM")).start()
    for one in pipeline.run(stop).streams:
        assert one.stopped == "SIGTERM"
        assert balanced(one.frames)
        assert one.written == one.frames.inferred


def test_images_of_different_sizes_meet_in_one_batch():
    wide = ArraySource([image_with_block(640, 320, (i, 0, i + 40, 40)) for i in range(20)], name="s1")
    tall = ArraySource([image_with_block(100, 200, (0, i, 10, i + 20)) for i in range(20)], name="s2")
    streams = [stream("s1", source=wide), stream("s2", source=tall)]
    statistics, _ = run(streams, Model(FakeEngine(latency_ms=5)))
    assert statistics.streams[0].mean_batch > 1
    for one, expected in zip(streams, ((40, 40), (10, 20)), strict=True):
        (sink,) = one.sinks
        for result in sink.results:
            x1, y1, x2, y2 = result.detections[0].box
            assert (x2 - x1, y2 - y1) == pytest.approx(expected, abs=2)


def test_names_tell_streams_apart():
    with pytest.raises(ValueError, match="a name each; found s1, s1"):
        Pipeline([stream("s1"), stream("s1")], [detector()])
    with pytest.raises(ValueError, match="found none"):
        Pipeline([], [detector()])


def live(name, count, frame_rate=100.0, **options):
    images = [identified(int(name[-1]), i) for i in range(count)]
    return stream(name, source=ArraySource(images, frame_rate=frame_rate, is_live=True, name=name), **options)


def test_the_fallback_model_takes_over_where_the_latency_cannot_be_held():
    main = Model(FakeEngine(number_in, fake_manifest(classes=("thing",)), 40))
    small = Model(FakeEngine(number_in, fake_manifest(classes=("thing",), width=160, height=160), 1))
    one = live("s1", 400, max_latency_ms=30)
    statistics, errors = run([one], main, fallback=[small])
    assert errors == {}
    (figures,) = statistics.streams
    control = figures.latency_control
    assert control.switches >= 1
    assert control.fallback_frames > 0
    assert control.skipped == figures.frames.dropped.get("latency", 0)
    assert [engine.calls > 0 for engine in statistics.engines] == [True, True]
    indices = frame_indices(one.sinks[0])
    assert indices == sorted(set(indices))


def test_statistics_can_be_read_from_any_thread_at_any_moment():
    streams = [live("s1", 60, max_latency_ms=50), stream("s2", count=200), stream("s3", count=200)]
    pipeline, over, seen = Pipeline(streams, [detector(latency_ms=3)]), threading.Event(), []

    def watch():
        while not over.is_set():
            seen.append(pipeline.statistics())
            time.sleep(0.001)

    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    pipeline.run()
    over.set()
    for watcher in watchers:
        watcher.join()
    assert len(seen) > 10
    for statistics in seen:
        assert 0 <= statistics.busy <= 1
        for one in statistics.streams:
            entry = one.frames
            settled = entry.inferred + sum(entry.dropped.values()) + sum(entry.failed.values())
            assert entry.captured == settled + entry.waiting
            assert entry.waiting >= 0
            assert one.written <= entry.inferred


def test_a_stream_that_is_over_lets_go_of_its_source_at_once():
    """A camera that is silent, as one that is reconnecting, is closed while the other streams go on."""
    closed = threading.Event()

    class Silent(ArraySource):
        def __iter__(self):
            yield from super().__iter__()
            closed.wait(20)

        def close(self):
            closed.set()
            super().close()

    images = [identified(1, i) for i in range(3)]
    camera = Silent(images, frame_rate=100, is_live=True, name="s1")
    waiting = stream("s1", source=camera, sinks=[FaultySink(close_at=1)])

    class Patient(ArraySource):
        def __iter__(self):
            yield from super().__iter__()
            assert closed.wait(20), "the camera was still open when the other stream ended"

    patient = stream("s2", source=Patient([identified(2, i) for i in range(5)], name="s2"))
    statistics, errors = run([waiting, patient])
    assert errors == {}
    assert statistics.streams[0].stopped == "window"
