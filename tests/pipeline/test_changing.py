"""Streams that come and go while others run. Also tests ``edgevision.pipeline.runner``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from edgevision.engines.fake import FakeEngine, fake_manifest
from edgevision.errors import EngineError
from edgevision.model import Batch, Model
from edgevision.pipeline import Pipeline, StopRequest, Stream, rendering
from edgevision.pipeline.inference import Inference
from edgevision.types import Detections, Frame, FrameResult, Image
from edgevision.video.base import Connection, ConnectionState, Source, SourceInfo, SourceReport
from edgevision.video.sinks.memory import ListSink
from tests.support.broker import wait_until
from tests.support.pipeline import balanced


class Camera(Source):
    """Gives a black frame every five milliseconds until it is closed."""

    def __init__(self, name: str) -> None:
        self.info = SourceInfo(name, is_live=True, frame_rate=200.0)
        self.report = SourceReport()
        self._closed = threading.Event()
        self.is_silent = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        while not self._closed.wait(0.005):
            if self.is_silent.is_set():
                continue
            yield Frame(np.zeros((32, 32, 3), np.uint8), number, number * 5_000_000)
            number += 1

    def close(self) -> None:
        self._closed.set()


class Stuck(ListSink):
    """While it is closed, ``gate`` holds up whoever writes; ``waiting`` says that somebody does."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.waiting = threading.Event(), threading.Event()

    def write(self, result: FrameResult, image: Image) -> None:
        if not self.gate.is_set():
            self.waiting.set()
            self.gate.wait()
        super().write(result, image)


class Losing(ListSink):
    """Counts how often its source was lost."""

    lost = 0

    def source_lost(self) -> None:
        self.lost += 1


class Scene:
    """Tracks nothing, and counts how often the source was lost."""

    layout = None
    lost = 0

    def track(self, result: FrameResult) -> FrameResult:
        return result

    watch = track

    def lose(self) -> None:
        self.lost += 1

    def counts(self) -> None:
        return None


def stream(name: str) -> Stream:
    return Stream(source=Camera(name), sinks=[ListSink()], name=name)


def names(pipeline: Pipeline) -> list[str]:
    return [one.name for one in pipeline.statistics().streams]


def written(pipeline: Pipeline, name: str) -> int:
    return next(one.written for one in pipeline.statistics().streams if one.name == name)


def test_streams_come_and_go_while_others_run_and_every_frame_is_accounted_for() -> None:
    pipeline = Pipeline([], [Model(FakeEngine())], is_kept_open=True)
    stop, ended = StopRequest(), []
    runner = threading.Thread(target=lambda: ended.append(pipeline.run(stop)))
    runner.start()
    time.sleep(0.3)
    assert runner.is_alive()
    pipeline.add(stream("a"))
    pipeline.add(stream("b"))
    wait_until(lambda: written(pipeline, "a") > 5 and written(pipeline, "b") > 5, "frames of both")
    with pytest.raises(ValueError, match="'a' runs already"):
        pipeline.add(stream("a"))
    for number in range(5):  # a place is used again
        gone = pipeline.remove("b")
        assert gone is not None
        assert (gone.stopped, balanced(gone.frames)) == ("removed", True)
        assert names(pipeline) == ["a"]
        pipeline.add(stream("b"))
        wait_until(lambda: written(pipeline, "b") > 2, f"frames of b, time {number}")
    assert pipeline.remove("nothing") is None
    before = written(pipeline, "a")
    wait_until(lambda: written(pipeline, "a") > before + 5, "frames of a")
    stop.reason = "test"
    runner.join(10)
    (run,) = ended
    assert [(one.name, one.stopped) for one in run.streams] == [("a", "test"), ("b", "test")]
    assert all(balanced(one.frames) for one in run.streams)
    assert pipeline.errors == {}
    with pytest.raises(ValueError, match="the run is over"):
        pipeline.add(stream("c"))


def test_a_run_that_is_not_kept_open_needs_a_stream_and_ends_with_its_last() -> None:
    with pytest.raises(ValueError, match="found none"):
        Pipeline([], [Model(FakeEngine())])
    pipeline = Pipeline([stream("a")], [Model(FakeEngine())])
    runner = threading.Thread(target=pipeline.run)
    runner.start()
    wait_until(lambda: written(pipeline, "a") > 3, "frames")
    pipeline.remove("a")
    runner.join(10)
    assert not runner.is_alive()
    assert names(pipeline) == []


class Held(Model):
    """While it is closed, ``gate`` holds up whoever prepares a frame; ``waiting`` says that somebody does."""

    def __init__(self) -> None:
        super().__init__(FakeEngine())
        self.gate, self.waiting = threading.Event(), threading.Event()

    def prepare(self, images: Sequence[Image]) -> Batch:
        if not self.gate.is_set():
            self.waiting.set()
            self.gate.wait()
        return super().prepare(images)


def test_nothing_takes_the_place_of_a_stream_of_which_a_frame_is_still_prepared() -> None:
    """The frame would come into the next stream, which would end with the one before it."""
    model, stop = Held(), StopRequest()
    pipeline = Pipeline([stream("a")], [model], is_kept_open=True)
    runner = threading.Thread(target=pipeline.run, args=(stop,))
    runner.start()
    assert model.waiting.wait(10)
    with pytest.raises(TimeoutError):
        pipeline.remove("a", timeout_s=0.5)
    model.gate.set()
    wait_until(lambda: names(pipeline) == [], "the end of a")
    pipeline.add(stream("b"))
    wait_until(lambda: written(pipeline, "b") > 5, "frames of b")
    stop.reason = "test"
    runner.join(10)
    assert [(one.name, one.stopped) for one in pipeline.statistics().streams] == [("b", "test")]


def seeing(score: float) -> FakeEngine:
    return FakeEngine(lambda image: one_box(score), fake_manifest(classes=("red",), width=32, height=32), 5.0)


def one_box(score: float) -> Detections:
    return Detections(np.array([[2, 2, 12, 12]]), np.array([score]), np.array([0]))


def test_streams_with_models_of_their_own_share_engines_and_fail_alone() -> None:
    """Two share an engine at different thresholds, in one batch; the third's engine breaks."""

    def break_down(image: Image) -> Detections:
        raise EngineError("the accelerator is gone")

    shared = seeing(0.5)
    broken = FakeEngine(break_down, fake_manifest(width=32, height=32))
    streams = [
        replace(stream("low"), models=[Model(shared, 0.4)]),
        replace(stream("high"), models=[Model(shared, 0.6)]),
        replace(stream("broken"), models=[Model(broken)]),
    ]
    pipeline, stop = Pipeline(streams, []), StopRequest()
    runner = threading.Thread(target=pipeline.run, args=(stop,))
    runner.start()
    wait_until(lambda: written(pipeline, "low") > 5 and written(pipeline, "high") > 5, "frames of both")
    wait_until(lambda: "broken" in pipeline.errors, "the error")
    stop.reason = "test"
    runner.join(10)
    low, high, gone = pipeline.statistics().streams
    assert (low.detections["red"], high.detections) == (low.written, {})
    assert max(low.mean_batch, high.mean_batch) > 1
    assert (gone.stopped, str(pipeline.errors["broken"])) == ("error", "the accelerator is gone")
    assert list(pipeline.errors) == ["broken"]
    seen, _ = pipeline.statistics().engines
    assert seen.frames == low.frames.inferred + high.frames.inferred
    assert all(balanced(one.frames) for one in (low, high, gone))


def test_thresholds_change_while_a_stream_runs_and_counts_go_on_when_it_comes_back() -> None:
    engine, stop = seeing(0.5), StopRequest()
    pipeline = Pipeline([replace(stream("a"), models=[Model(engine, 0.6)])], [])
    runner = threading.Thread(target=pipeline.run, args=(stop,))
    runner.start()
    wait_until(lambda: written(pipeline, "a") > 3, "frames")
    assert pipeline.statistics().streams[0].detections == {}
    pipeline.set_models("a", [Model(engine, 0.4)])
    wait_until(lambda: pipeline.statistics().streams[0].detections.get("red", 0) > 3, "boxes")
    with pytest.raises(ValueError, match="other engines"):
        pipeline.set_models("a", [Model(seeing(0.5))])
    with pytest.raises(ValueError, match="no stream called 'b'"):
        pipeline.set_models("b", [Model(engine)])
    with pipeline.held():  # its only stream: the run waits for the next
        before = pipeline.remove("a")
        assert before is not None
        pipeline.release_engines()
        assert pipeline.statistics().engines == ()
        other = seeing(0.9)
        pipeline.add(replace(stream("a"), models=[Model(other)]))
    wait_until(lambda: written(pipeline, "a") > before.written + 3, "frames of the same name")
    (now,) = pipeline.statistics().streams
    assert now.frames.captured > before.frames.captured
    assert now.detections["red"] > before.detections["red"]
    stop.reason = "test"
    runner.join(10)
    assert not runner.is_alive()
    assert balanced(pipeline.statistics().streams[0].frames)
    assert [engine.frames for engine in pipeline.statistics().engines] == [
        pipeline.statistics().streams[0].frames.inferred - before.frames.inferred
    ]


def test_counts_go_on_where_the_outputs_took_longer_than_who_removed_the_stream_waited() -> None:
    """Another stream may have its place by then."""
    sink, stop = Stuck(), StopRequest()
    sink.gate.set()
    pipeline = Pipeline([replace(stream("a"), sinks=[sink])], [Model(FakeEngine())], is_kept_open=True)
    runner = threading.Thread(target=pipeline.run, args=(stop,), daemon=True)
    runner.start()
    wait_until(lambda: written(pipeline, "a") > 3, "frames")
    sink.gate.clear()
    assert sink.waiting.wait(10)
    with pytest.raises(TimeoutError):
        pipeline.remove("a", timeout_s=0.0)
    sink.gate.set()
    wait_until(lambda: names(pipeline) == [], "the end of a")
    pipeline.add(stream("b"))
    pipeline.add(stream("a"))
    assert written(pipeline, "a") >= len(sink.results) > 3
    stop.reason = "test"
    runner.join(10)
    assert all(balanced(one.frames) for one in pipeline.statistics().streams)


def test_engines_are_released_after_their_streams_went_on_with_others() -> None:
    """So does a reload: all streams first, then the engines. Places on the others are used again."""
    first, second, stop = FakeEngine(), FakeEngine(), StopRequest()
    on_first, on_second = [Model(first)], [Model(second)]
    pipeline = Pipeline([replace(stream(name), models=on_first) for name in "ab"], [], is_kept_open=True)
    runner = threading.Thread(target=pipeline.run, args=(stop,))
    runner.start()
    (released,) = pipeline._inferences.values()
    for name in "ab":
        assert pipeline.remove(name) is not None
        pipeline.add(replace(stream(name), models=on_second))
        assert names(pipeline) == ["a", "b"]
    pipeline.release_engines()
    assert len(pipeline.statistics().engines) == 1
    (kept,) = pipeline._inferences.values()
    assert kept is not released
    for _ in range(3):
        pipeline.remove("b")
        pipeline.add(replace(stream("b"), models=on_second))
        assert len(kept.lanes) == 2
    wait_until(lambda: written(pipeline, "a") > 3 and written(pipeline, "b") > 3, "frames of both")
    stop.reason = "test"
    runner.join(10)
    assert not runner.is_alive()
    assert all(balanced(one.frames) for one in pipeline.statistics().streams)


def test_a_stream_that_is_added_while_its_engine_fails_fails_too(monkeypatch) -> None:
    """The engine fails, and its thread ends, after the run has decided to add the stream there."""
    fail = threading.Event()

    def answer(image: Image) -> Detections:
        if fail.is_set():
            raise EngineError("the accelerator is gone")
        return one_box(0.5)

    pipeline = Pipeline([stream("a")], [Model(FakeEngine(answer))], is_kept_open=True)
    runner = threading.Thread(target=pipeline.run, daemon=True)
    runner.start()
    wait_until(lambda: written(pipeline, "a") > 3, "frames")
    add = Inference.add

    def add_late(*arguments: Any) -> bool:
        fail.set()
        threads = [one for one in pipeline._threads if one.name == "inference"]
        wait_until(lambda: not any(one.is_alive() for one in threads), "the end of the engine's thread")
        return add(*arguments)

    monkeypatch.setattr(Inference, "add", add_late)
    pipeline.add(stream("b"))
    runner.join(10)  # nothing is left to wait for
    assert not runner.is_alive()
    assert {name: str(error) for name, error in pipeline.errors.items()} == dict.fromkeys(
        ("a", "b"), "the accelerator is gone"
    )


def test_a_source_that_is_away_is_told_to_the_outputs_once_each_time(monkeypatch) -> None:
    """What was in view is gone, in the counts and for every output, although no frame comes."""
    monkeypatch.setattr(rendering, "LOST_AFTER_S", 0.5)  # the frame under way has come by then
    monkeypatch.setattr(rendering, "_LOOK_S", 0.01)
    camera = Camera("gate")
    connection = camera.report.connection = Connection()
    sink = Losing()
    scene = Scene()
    pipeline = Pipeline(
        [Stream(source=camera, sinks=[sink], name="gate", scene=cast("Any", scene))], [Model(FakeEngine())]
    )
    stop = StopRequest()
    runner = threading.Thread(target=pipeline.run, args=[stop], daemon=True)
    runner.start()
    for times in (1, 2):
        before = written(pipeline, "gate")
        connection.state = ConnectionState.CONNECTED
        camera.is_silent.clear()
        wait_until(lambda before=before: written(pipeline, "gate") > before + 3, "frames")
        camera.is_silent.set()
        connection.state = ConnectionState.RECONNECTING
        wait_until(lambda times=times: sink.lost == times, "the loss")
        time.sleep(0.1)
        assert (sink.lost, scene.lost) == (times, times)
    stop.reason = "test"
    runner.join(10)
    assert {result.stream for result in sink.results} == {"gate"}
