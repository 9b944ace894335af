"""The pipeline: every stage in order, with sources, sinks and engines that are slow or fail.

Also tests ``edgevision.pipeline.lane``, ``edgevision.pipeline.reading``,
``edgevision.pipeline.rendering``, ``edgevision.pipeline.stream``.
"""

import gc
import os
import signal
import threading
import time
import weakref

import numpy as np
import pytest

from edgevision.drawing.overlay import Overlay
from edgevision.engines.fake import FakeEngine, bright_objects, fake_manifest
from edgevision.errors import EngineError, SinkError, SourceError
from edgevision.model import Model
from edgevision.pipeline import Pipeline, Policy, StopRequest, Stream, rendering, run_stream, runner
from edgevision.types import Detections
from edgevision.video.base import FailReason
from edgevision.video.sources.arrays import ArraySource
from tests.support.models import image_with_block
from tests.support.pipeline import FaultySink, balanced, frame_indices


class FailingSource(ArraySource):
    """Breaks after its last image."""

    def __iter__(self):
        yield from super().__iter__()
        raise SourceError("the cable was pulled")


def images(count):
    """A bright block that moves by one pixel a frame."""
    return [image_with_block(320, 320, (i, 100, i + 20, 140)) for i in range(count)]


def detector(answer=bright_objects, latency_ms=0.0):
    return Model(FakeEngine(answer, fake_manifest(classes=("bright",)), latency_ms))


def run(source, sinks, answer=bright_objects, stop=None, latency_ms=0.0, **options):
    stream = Stream(source=source, sinks=sinks, **options)
    report = run_stream(stream, [detector(answer, latency_ms)], stop=stop)
    assert balanced(report.frames)
    return report


def fail(stream, detector):
    """The ledger of a run that ends by an error, and the error."""
    pipeline = Pipeline([stream], [detector])
    (report,) = pipeline.run().streams
    assert balanced(report.frames)
    assert report.error == str(pipeline.errors[report.name])
    assert (report.state, report.stopped) == ("failed", "error")
    return report.frames, pipeline.errors[report.name]


def test_a_file_loses_nothing_and_keeps_its_order():
    sink = FaultySink(delay_s=0.001)
    report = run(ArraySource(images(100), frame_rate=10), [sink])
    assert frame_indices(sink) == list(range(100))
    assert [result.detections[0].box[0] for result in sink.results] == list(range(100))
    assert (report.frames.captured, report.frames.inferred, report.written) == (100, 100, 100)
    assert report.frames.dropped == {}
    assert report.detections == {"bright": 100}
    assert report.stopped == "end"
    assert sink.closes == 1


def test_only_screens_are_called_on_the_thread_of_the_caller():
    class Screen(FaultySink):
        def refresh(self):
            pass

    file, screen = FaultySink(), Screen()
    run(ArraySource(images(5)), [screen, file])
    assert screen.threads == {threading.current_thread()}
    assert len(file.threads) == 1
    assert file.threads != screen.threads


def test_a_live_source_keeps_the_newest_and_counts_the_rest():
    sink = FaultySink()
    source = ArraySource(images(60), frame_rate=200, is_live=True)
    report = run(source, [sink], latency_ms=20)
    indices = frame_indices(sink)
    assert indices == sorted(set(indices))
    assert report.frames.captured == 60
    assert report.frames.dropped["newer_frame"] > 20
    assert report.frames.inferred == len(indices) < 40
    assert indices[-1] == 59  # the newest is never the one that goes


def test_a_policy_can_be_chosen_against_the_source():
    source = ArraySource(images(20), frame_rate=1000, is_live=True)
    report = run(source, [], latency_ms=3, policy=Policy.WAIT)
    assert report.frames.inferred == 20


@pytest.mark.parametrize("live", [False, True])
def test_max_frames_ends_after_exactly_so_many(live):
    sink = FaultySink()
    report = run(ArraySource(images(200), frame_rate=50, is_live=live), [sink], max_frames=7)
    assert len(sink.results) == report.written == report.frames.inferred == 7
    assert report.stopped == "max_frames"
    if not live:
        assert report.frames.captured == 7  # not one frame was read in vain


def test_more_max_frames_than_there_are():
    report = run(ArraySource(images(5)), [], max_frames=50)
    assert (report.written, report.stopped) == (5, "end")


def test_a_stop_request_finishes_what_is_inferred():
    stop = StopRequest()

    class Stopping(FaultySink):
        def write(self, result, image):
            super().write(result, image)
            if len(self.results) == 10:
                stop.reason = "SIGINT"

    sink = Stopping(delay_s=0.005)
    report = run(ArraySource(images(300)), [sink], stop=stop)
    assert report.stopped == "SIGINT"
    assert 10 <= len(sink.results) < 300
    assert report.frames.inferred == len(sink.results)
    assert frame_indices(sink) == list(range(len(sink.results)))
    assert sink.closes == 1


def test_a_signal_that_takes_long_to_be_noticed_ends_the_run():
    """As on a busy machine, where the main thread gets its turn after its time to wait is over."""
    stop = StopRequest()

    def ask(number, frame):
        time.sleep(0.3)
        stop.reason = "SIGTERM"

    previous = signal.signal(signal.SIGTERM, ask)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        report = run(ArraySource(images(200), frame_rate=20, is_live=True), [FaultySink()], stop=stop)
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, previous)
    assert report.stopped == "SIGTERM"
    assert report.frames.captured < 100


def test_a_closed_window_ends_the_run():
    """What was read before it is noticed is bounded by the queues, however slow the machine is."""
    let_go = threading.Event()

    class Source(ArraySource):
        def close(self):
            let_go.set()
            super().close()

    class Window(FaultySink):
        def write(self, result, image):
            super().write(result, image)
            if self.closed:
                assert let_go.wait(60), "nobody noticed that the window was closed"

    window, file = Window(close_at=10), FaultySink()
    report = run(Source(images(200)), [window, file])
    assert report.stopped == "window"
    assert 10 <= len(file.results) < 30
    assert window.closes == file.closes == 1


def test_a_camera_that_blocks_does_not_hang_the_end(monkeypatch):
    monkeypatch.setattr("edgevision.pipeline.runner._JOIN_S", 0.2)
    release = threading.Event()

    class Stuck(ArraySource):
        def __iter__(self):
            yield from super().__iter__()
            release.wait(20)

    stop = StopRequest()
    threading.Timer(0.2, lambda: setattr(stop, "reason", "SIGTERM")).start()
    start = time.perf_counter()
    report = run(Stuck(images(3), frame_rate=1000, is_live=True), [FaultySink()], stop=stop)
    assert time.perf_counter() - start < 5
    assert report.stopped == "SIGTERM"
    release.set()


def test_a_failing_source_surfaces_after_its_frames_are_written():
    sink = FaultySink()
    with pytest.raises(SourceError, match="cable"):
        run(FailingSource(images(12)), [sink])
    assert len(sink.results) == 12
    assert sink.closes == 1


def test_a_failing_model_stops_everything_and_surfaces_once():
    calls = []

    def answer(image):
        calls.append(1)
        if len(calls) == 5:
            raise EngineError("out of memory")
        return Detections.empty()

    sink = FaultySink()
    entry, error = fail(Stream(source=ArraySource(images(100)), sinks=[sink]), detector(answer))
    assert isinstance(error, EngineError)
    assert "out of memory" in str(error)
    assert (entry.inferred, entry.failed) == (4, {"model": 1})
    assert len(sink.results) == 4
    assert sink.closes == 1


@pytest.mark.parametrize("fail_at", [0, 3])
def test_a_full_disk_stops_everything_and_closes_every_sink(fail_at):
    bad, good = FaultySink(fail_at=fail_at), FaultySink()
    _, error = fail(Stream(source=ArraySource(images(100)), sinks=[good, bad]), detector())
    assert isinstance(error, SinkError)
    assert "disk full" in str(error)
    assert len(good.results) == fail_at + 1
    assert bad.closes == good.closes == 1
    assert not [thread for thread in threading.enumerate() if thread.name.endswith(("arrays", "inference"))]


def test_the_first_error_is_the_one_that_surfaces():
    sink = FaultySink(fail_at=2, fail_on_close=True)
    with pytest.raises(SinkError, match="disk full"):
        run(ArraySource(images(10)), [sink])
    with pytest.raises(SinkError, match="cannot finish"):
        run(ArraySource(images(10)), [FaultySink(fail_on_close=True)])


def test_a_second_interrupt_still_closes_the_sinks():
    def interrupt(statistics):
        raise KeyboardInterrupt

    sink = FaultySink(delay_s=0.01)
    stream = Stream(source=ArraySource(images(500)), sinks=[sink])
    with pytest.raises(KeyboardInterrupt):
        run_stream(stream, [detector()], on_statistics=interrupt)
    assert sink.closes == 1
    assert len(sink.results) < 100
    assert not [thread for thread in threading.enumerate() if thread.name.endswith(("arrays", "inference"))]


def test_drawing_happens_only_where_somebody_looks():
    source_images = images(3)
    plain, drawn = FaultySink(), FaultySink()
    report = run(ArraySource(source_images), [plain])
    assert "overlay" not in report.stages
    assert plain.images[0] is plain.results[0].frame.image
    report = run(ArraySource(source_images), [drawn], overlays=[Overlay(fake_manifest(classes=("bright",)))])
    assert report.stages["overlay"].count == 3
    assert (drawn.images[0] != drawn.results[0].frame.image).any()
    assert (drawn.results[0].frame.image == images(1)[0]).all()


def test_several_models_answer_for_every_frame():
    sink = FaultySink()
    two = [detector(), detector(lambda image: Detections.empty())]
    run_stream(Stream(source=ArraySource(images(6)), sinks=[sink]), two)
    assert [[len(found) for found in result.results] for result in sink.results] == [[1, 0]] * 6


def test_stages_overlap():
    """Capture, inference and output are once busy at the same moment; each waits for the others to be."""
    busy, together, lock = set(), threading.Event(), threading.Lock()

    def work(stage):
        with lock:
            busy.add(stage)
            if len(busy) == 3:
                together.set()
        together.wait(1)
        with lock:
            busy.discard(stage)

    class Source(ArraySource):
        def __iter__(self):
            for frame in super().__iter__():
                work("capture")
                yield frame

    class Writer(FaultySink):
        def write(self, result, image):
            work("output")
            super().write(result, image)

    def answer(image):
        work("inference")
        return bright_objects(image)

    report = run(Source(images(5)), [Writer()], answer=answer)
    assert together.is_set()
    assert set(report.stages) >= {"decode", "inference", "sinks"}


def test_the_report_carries_what_people_should_know():
    source = ArraySource([np.zeros((320, 320, 3), np.uint8)] * 3, name="clip")
    source.report.failed[FailReason.UNDECODABLE], source.report.problem = 2, "cut off"
    source.report.notes.append("a note of the source")
    report = run(source, [FaultySink(), FaultySink()])
    assert (report.source, report.skipped, report.problem) == ("clip", 2, "cut off")
    assert report.notes == ("a note of the source", "a note of the sink")
    assert report.models == {"fake": "fake engine"}


def test_what_refers_to_itself_is_freed_during_the_run(monkeypatch):
    """As the containers of PyAV do when they are closed, of 50 MB each."""
    monkeypatch.setattr("edgevision.pipeline.runner._COLLECT_S", 0.05)
    knots = []

    class Tying(FaultySink):
        def write(self, result, image):
            super().write(result, image)
            self.tie()

        def tie(self):
            knot = threading.Event()
            knot.itself = knot
            knots.append(weakref.ref(knot))

    gc.disable()
    try:
        run_stream(Stream(source=ArraySource(images(30)), sinks=[Tying(delay_s=0.02)]), [Model(FakeEngine())])
        alive = [number for number, knot in enumerate(knots) if knot() is not None]
    finally:
        gc.enable()
    assert len(knots) == 30
    assert 0 not in alive


def test_progress_is_told_on_the_way():
    told = []
    stream = Stream(source=ArraySource(images(60)), sinks=[FaultySink()])
    report = run_stream(stream, [detector(latency_ms=10)], on_statistics=told.append)
    assert 3 <= len(told) <= 2 + 5 * report.seconds
    written = [run.streams[0].written for run in told]
    assert written == sorted(written)
    assert told[-1].streams[0].recent_frames_per_second > 0
    assert told[-1].streams[0].last_latency_ms >= 10


def test_an_empty_source_is_an_empty_run():
    report = run(ArraySource([]), [FaultySink()])
    assert (report.written, report.frames.captured, report.latency.p50_ms) == (0, 0, 0)


@pytest.mark.parametrize("call", ["write", "close"])
def test_an_interrupt_finishes_all_outputs_but_the_one_that_takes_nothing(monkeypatch, caplog, call):
    monkeypatch.setattr(runner, "_JOIN_S", 0.05)
    monkeypatch.setattr(runner, "_FINISH_S", 60.0)
    inside, resume = threading.Event(), threading.Event()

    class Stalled(FaultySink):
        def stall(self, method):
            if method == call and len(self.results) == 3:
                inside.set()
                resume.wait()

        def write(self, result, image):
            self.stall("write")
            super().write(result, image)

        def close(self):
            self.stall("close")
            super().close()

    def interrupt(statistics):
        if inside.is_set():
            raise KeyboardInterrupt

    before, stalled, after = FaultySink(), Stalled(), FaultySink()
    stalled.name = "stalled"
    sinks, max_frames = [before, stalled, after], 3 if call == "close" else None
    stream = Stream(source=ArraySource(images(500)), sinks=sinks, name="yard", max_frames=max_frames)
    pipeline = Pipeline([stream], [detector()])
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(on_statistics=interrupt)
    assert pipeline.unfinished == ("yard",)
    assert [record.message for record in caplog.records] == [
        "yard: outputs that take nothing any more could not be finished: stalled"
    ]
    written = [4, 3, 3] if call == "write" else [3, 3, 3]
    assert [len(sink.results) for sink in sinks] == written
    assert [sink.closes for sink in sinks] == [1, 0, 1]
    (writer,) = [one for one in threading.enumerate() if one.name == "write yard"]
    resume.set()
    writer.join(30)
    assert not writer.is_alive()
    assert pipeline.unfinished == ()
    written[1] = 4 if call == "write" else 3  # the image that it was in
    assert [len(sink.results) for sink in sinks] == written
    assert [sink.closes for sink in sinks] == [1, 1, 1]


class ClosedLast(FaultySink):
    """Its close ends only once another one's has."""

    def __init__(self, name, other):
        super().__init__()
        self.name, self.other = name, other

    def close(self):
        assert self.other.is_closed.wait(60)
        super().close()


class Noting(FaultySink):
    def __init__(self):
        super().__init__()
        self.is_closed = threading.Event()

    def close(self):
        super().close()
        self.is_closed.set()


def test_outputs_that_take_long_to_finish_keep_no_other_open(monkeypatch, caplog):
    monkeypatch.setattr(rendering, "_CLOSE_S", 0.0)
    last = Noting()
    sinks = [ClosedLast("first", last), ClosedLast("second", last), last]
    report = run(ArraySource(images(3)), sinks, name="yard")
    assert (report.state, report.written) == ("ended", 3)
    assert [sink.closes for sink in sinks] == [1, 1, 1]
    assert [record.message for record in caplog.records] == [
        "yard: first takes long to finish; no other output waits for it"
    ]


def test_an_interrupt_finishes_the_outputs_behind_one_whose_end_takes_nothing(monkeypatch):
    monkeypatch.setattr(runner, "_JOIN_S", 0.05)
    monkeypatch.setattr(runner, "_FINISH_S", 120.0)
    inside, resume = threading.Event(), threading.Event()

    class Stalled(FaultySink):
        def write(self, result, image):
            inside.set()
            resume.wait()

    def interrupt(statistics):
        if inside.is_set():
            raise KeyboardInterrupt

    last = Noting()
    sinks = [Stalled(), ClosedLast("second", last), last]
    pipeline = Pipeline([Stream(source=ArraySource(images(500)), sinks=sinks, name="yard")], [detector()])
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(on_statistics=interrupt)
    assert [sink.closes for sink in sinks] == [0, 1, 1]
    (writer,) = [one for one in threading.enumerate() if one.name == "write yard"]
    resume.set()
    writer.join(30)
    assert [sink.closes for sink in sinks] == [1, 1, 1]
