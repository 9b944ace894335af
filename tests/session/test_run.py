"""A session as a library: outcomes and callbacks, no console, no signals, nothing left behind."""

import contextlib
import json
import signal
import threading

import cv2
import pytest

from edgevision.errors import SinkError, SourceError
from edgevision.pipeline import StopRequest, runner
from edgevision.service.service import Service
from edgevision.session import run as run_module
from edgevision.session.request import RunRequest
from edgevision.session.run import Session, SessionObserver
from edgevision.session.spec import StreamSpec
from edgevision.video.sinks.jsonl import JsonlSink
from tests.support.models import write_block_clip, write_bright_segmenter, write_colour_model
from tests.support.video import probe

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_colour_model(folder / "colours.onnx")
    write_block_clip(folder / "a.mp4", 6)
    write_block_clip(folder / "b.mp4", 9)
    (folder / "text.mp4").write_text("only text\n" * 50)
    return folder


class Followed(SessionObserver):
    """Keeps what it is told."""

    def __init__(self):
        self.notes, self.refused, self.ended, self.running = [], [], [], []

    def note(self, text):
        self.notes.append(text)

    def stream_refused(self, name, error):
        self.refused.append((name, error))

    def while_running(self, streams):
        self.running.append([stream.total for stream in streams])
        return super().while_running(streams)

    def stream_ended(self, outcome):
        self.ended.append(outcome)


class Interrupting(SessionObserver):
    """Interrupts the run once ``inside`` is set."""

    def __init__(self, inside):
        self._inside = inside

    def while_running(self, streams):
        return contextlib.nullcontext(self._interrupt)

    def _interrupt(self, statistics):
        if self._inside.is_set():
            raise KeyboardInterrupt


def session(material, *names, stop=None, observer=None, request=None, on_frame=None, **fields):
    specs = [StreamSpec(source=str(material / name), **fields) for name in names]
    request = RunRequest(streams=specs, models=[str(material / "colours.onnx")], **(request or {}))
    return Session(request, observer=observer, stop=stop, on_frame=on_frame)


def test_a_session_gives_outcomes_and_tells_its_observer(material, capfd, place):
    observer = Followed()
    outcomes = session(
        material, "a.mp4", "b.mp4", observer=observer, save_json="out", request={"stats": place / "s.json"}
    ).run()
    assert [(one.statistics.written, one.error) for one in outcomes] == [(6, None), (9, None)]
    assert [one.outputs for one in outcomes] == [("out/a.edgevision.jsonl",), ("out/b.edgevision.jsonl",)]
    assert observer.ended == outcomes
    assert observer.running == [[6, 9]]
    assert observer.notes[0].startswith("colours: ONNX Runtime")
    assert [one["written"] for one in json.loads((place / "s.json").read_text())] == [6, 9]
    assert capfd.readouterr() == ("", "")


def test_a_session_leaves_the_process_as_it_was(material):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        found = []

        class Look(SessionObserver):
            def while_running(self, streams):
                found.append(
                    (cv2.getNumThreads(), [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)])
                )
                return super().while_running(streams)

        session(material, "a.mp4", save_json="a.jsonl", observer=Look()).run()
        assert found == [(1, handlers)]
        assert cv2.getNumThreads() == 2
        with pytest.raises(SourceError):
            session(material, "text.mp4", save_json="b.jsonl").run()
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_one_bad_stream_of_several_is_an_outcome_and_the_only_one_an_error(material):
    observer = Followed()
    good, bad = session(material, "a.mp4", "text.mp4", save_json="out", observer=observer).run()
    assert good.error is None
    assert isinstance(bad.error, SourceError)
    assert bad.statistics is None
    assert observer.refused == [(bad.name, bad.error)]
    with pytest.raises(SourceError):
        session(material, "text.mp4").run()


def test_a_stream_that_cannot_be_opened_stands_in_the_statistics(material, place):
    """In the file, and while the others run in what the service reads."""

    class Watched(Service):
        @contextlib.contextmanager
        def watching(self, read):
            yield
            seen.append({one.name: (one.state, one.error) for one in read().streams})

    seen = []
    settings = {"stats": place / "s.json", "service": Watched()}
    good, bad = session(material, "a.mp4", "text.mp4", save_json="out", request=settings).run()
    first, second = json.loads((place / "s.json").read_text())
    assert (first["name"], first["state"], first["error"]) == (good.name, "ended", None)
    assert (second["name"], second["state"], second["error"]) == (bad.name, "failed", str(bad.error))
    assert second["frames"]["captured"] == second["written"] == 0
    assert seen == [{good.name: ("ended", None), bad.name: ("failed", str(bad.error))}]


def test_an_only_stream_that_dies_leaves_its_statistics_and_one_that_never_ran_no_file(material, place):
    def fail(result):
        raise SourceError("enough")

    with pytest.raises(SourceError, match="enough"):
        session(
            material, "a.mp4", save_json="a.jsonl", request={"stats": place / "s.json"}, on_frame=fail
        ).run()
    report = json.loads((place / "s.json").read_text())
    assert (report["state"], report["error"], report["stopped"]) == ("failed", "enough", "error")
    with pytest.raises(SourceError):
        session(material, "text.mp4", save_json="b.jsonl", request={"stats": place / "t.json"}).run()
    assert not (place / "t.json").exists()


def test_a_stop_request_ends_it_with_its_outputs_finished(material, place):
    stop = StopRequest()

    class Stopping(SessionObserver):
        def while_open(self):
            stop.reason = "enough"
            return super().while_open()

    (outcome,) = session(material, "a.mp4", save_json="a.jsonl", stop=stop, observer=Stopping()).run()
    assert outcome.statistics.stopped == "enough"
    assert (place / "a.jsonl").is_file()


def test_an_engine_is_opened_by_what_is_handed_in(material):
    from edgevision.session.models import load_as_it_is

    asked = []

    def open_engine(path, engine, policy, threads=None, requests=1):
        asked.append((path.name, engine, policy.rebuild))
        return load_as_it_is(path, engine, policy, threads, requests)

    request = RunRequest(
        streams=[StreamSpec(source=str(material / "a.mp4"), save_json="a.jsonl")],
        models=[str(material / "colours.onnx")],
    )
    Session(request, open_engine=open_engine).run()
    assert asked == [("colours.onnx", "auto", False)]


def test_what_a_library_raises_at_the_outputs_of_one_stream_ends_that_stream_alone(material, monkeypatch):
    really_open = run_module.open_stream

    def open_stream(spec, *arguments):
        if spec.source.endswith("b.mp4"):
            raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")
        return really_open(spec, *arguments)

    monkeypatch.setattr(run_module, "open_stream", open_stream)
    good, bad = session(material, "a.mp4", "b.mp4", save_json="out").run()
    assert (good.error, good.statistics.written) == (None, 6)
    assert isinstance(bad.error, SinkError)
    assert "cannot open the outputs of" in str(bad.error)
    assert "surrogates not allowed" in str(bad.error)


def test_streams_of_one_run_have_their_own_models_thresholds_and_classes(material, place):
    """Two on one engine; the third on another: each gives what it would give alone."""
    write_bright_segmenter(place / "bright.onnx")
    clip = str(material / "a.mp4")
    specs = [
        StreamSpec(source=clip, name="all", save_json="all.jsonl"),
        StreamSpec(source=clip, name="none", conf=1.0, save_json="none.jsonl", max_frames=4),
        StreamSpec(source=clip, name="area", model=str(place / "bright.onnx"), save_json="area.jsonl"),
        StreamSpec(source=clip, name="blue", classes=["blue"], save_json="blue.jsonl"),
    ]
    observer = Followed()
    request = RunRequest(streams=specs, models=[str(material / "colours.onnx")])
    outcomes = {one.name: one.statistics for one in Session(request, observer=observer).run()}
    written = {name: one.written for name, one in outcomes.items()}
    assert written == {"all": 6, "none": 4, "area": 6, "blue": 6}
    assert outcomes["all"].detections["red"] >= 6
    assert (outcomes["none"].detections, "red" in outcomes["blue"].detections) == ({}, False)
    assert outcomes["area"].class_shares
    assert len(observer.notes) == 2
    assert observer.notes[1].startswith(*outcomes["area"].models)


def test_an_interrupt_while_a_callback_does_not_come_back_finishes_the_outputs(material, place, monkeypatch):
    monkeypatch.setattr(runner, "_JOIN_S", 0.05)
    monkeypatch.setattr(runner, "_FINISH_S", 60.0)
    inside, resume, seen = threading.Event(), threading.Event(), []

    def stall(result):
        seen.append(result.frame.index)
        if len(seen) == 3:
            inside.set()
            resume.wait()

    def written():
        lines = (place / "a.jsonl").read_text().splitlines()
        return len(lines), len(probe(place / "out.mp4")[0])

    settings = {"output": "out.mp4", "save_json": "a.jsonl"}
    with pytest.raises(KeyboardInterrupt):
        session(material, "a.mp4", on_frame=stall, observer=Interrupting(inside), **settings).run()
    assert written() == (3, 3)
    (writer,) = [one for one in threading.enumerate() if one.name.startswith("write ")]
    resume.set()
    writer.join(30)
    assert (written(), seen) == ((3, 3), [0, 1, 2])


def test_an_interrupt_leaves_an_output_that_takes_nothing_to_its_thread(material, place, monkeypatch):
    monkeypatch.setattr(runner, "_JOIN_S", 0.05)
    monkeypatch.setattr(runner, "_FINISH_S", 60.0)
    inside, resume, closers = threading.Event(), threading.Event(), []
    write, close = JsonlSink.write, JsonlSink.close

    def stalling_write(sink, result, image):
        write(sink, result, image)
        if result.frame.index == 2:
            inside.set()
            resume.wait()

    def noting_close(sink):
        closers.append(threading.current_thread().name)
        close(sink)

    monkeypatch.setattr(JsonlSink, "write", stalling_write)
    monkeypatch.setattr(JsonlSink, "close", noting_close)
    settings = {"output": "out.mp4", "save_json": "a.jsonl"}
    with pytest.raises(KeyboardInterrupt):
        session(material, "a.mp4", observer=Interrupting(inside), **settings).run()
    assert (closers, len(probe(place / "out.mp4")[0])) == ([], 3)
    (writer,) = [one for one in threading.enumerate() if one.name.startswith("write ")]
    resume.set()
    writer.join(30)
    assert closers == [writer.name]
