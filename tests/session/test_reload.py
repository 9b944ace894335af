"""A file of streams that is read again while they run. Also tests ``edgevision.session.apply``."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgevision.engines import Engine, load_engine
from edgevision.errors import ConfigError, SourceError
from edgevision.files import content_version
from edgevision.pipeline import OnStatistics, Pipeline, RunStatistics, StopRequest, StreamStatistics
from edgevision.pipeline.statistics import ConfigReload
from edgevision.service.service import Service
from edgevision.session.apply import apply_file
from edgevision.session.changes import StreamChanges
from edgevision.session.reload import Reloader, ReloadRequest, contents
from edgevision.session.request import RunRequest
from edgevision.session.run import Session, SessionObserver
from edgevision.session.running import RunningStreams
from edgevision.session.spec import read_streams
from edgevision.tracking import ZoneLayout, load_zones
from edgevision.types import Frame, FrameResult, Image
from edgevision.video.base import Sink, Source, SourceInfo, SourceReport
from edgevision.web.settings import WebSettings
from tests.support.broker import wait_until
from tests.support.models import image_with_block, write_bright_segmenter, write_colour_model
from tests.support.pipeline import balanced
from tests.support.web import ask

pytest.importorskip("trackers", reason="needs the extra 'track'")

ZONE = "units: relative\nzones:\n- {name: %s, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}\n"


class Camera(Source):
    """Twenty frames a second of a red block that stands still; opened and closed by its address."""

    opened: ClassVar[Counter[str]] = Counter()
    closed: ClassVar[Counter[str]] = Counter()

    def __init__(self, uri: str, *_: Any, **__: Any) -> None:
        if "absent" in uri:
            raise SourceError(f"cannot open {uri}: no such file")
        Camera.opened[uri] += 1
        self.info = SourceInfo(uri, is_live=True, width=160, height=120, frame_rate=20.0)
        self.report = SourceReport()
        self._over = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        while not self._over.wait(0.05):
            self.report.read += 1
            image = image_with_block(160, 120, (40, 40, 80, 90))
            yield Frame(image, number, number * 50_000_000, self.info.name)
            number += 1

    def close(self) -> None:
        if not self._over.is_set():
            Camera.closed[self.info.name] += 1
        self._over.set()


class Watching(SessionObserver):
    """Keeps the latest statistics, and the address of the page.

    Args:
        once_open: called when all streams are open, and nothing is watched yet.
    """

    def __init__(self, once_open: Callable[[], object] = bool) -> None:
        self._once_open = once_open
        self.run: RunStatistics | None = None
        self.url = ""

    def note(self, text: str) -> None:
        if text.startswith("page: "):
            self.url = text.removeprefix("page: ")

    def while_running(self, streams: Sequence[Any]) -> AbstractContextManager[OnStatistics | None]:
        def keep(run: RunStatistics) -> None:
            self.run = run

        self._once_open()
        return contextlib.nullcontext(keep)


class Running:
    """A run whose file can be changed.

    Attributes:
        file: its streams.
        results: the last result of each source.
        reads: what the metrics read.
    """

    def __init__(self, file: Path, watcher: Watching, request: ReloadRequest, session: Session) -> None:
        self.file, self._watcher, self._request, self._session = file, watcher, request, session
        self.results: dict[str, FrameResult] = {}
        self.reads: list[Callable[[], RunStatistics]] = []

    def streams(self) -> dict[str, StreamStatistics]:
        run = self._watcher.run
        return {} if run is None else {one.name: one for one in run.streams}

    def config(self) -> ConfigReload:
        found = self.reads[-1]().config
        assert found is not None
        return found

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def ask(self) -> None:
        self._request.asked += 1

    @property
    def url(self) -> str:
        return self._watcher.url


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "colours.onnx"
    write_colour_model(path)
    return path


@pytest.fixture
def start(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractContextManager[Running]]:
    monkeypatch.setattr("edgevision.session.streams.open_source", Camera)
    monkeypatch.setattr("edgevision.session.running.open_source", Camera)
    Camera.opened.clear()
    Camera.closed.clear()

    reads: list[Callable[[], RunStatistics]] = []

    @contextlib.contextmanager
    def watching(self: Service, read: Callable[[], RunStatistics]) -> Iterator[None]:
        reads.append(read)
        yield None

    monkeypatch.setattr(Service, "watching", watching)

    @contextlib.contextmanager
    def run(
        text: str,
        watch: bool = False,
        given: dict[str, Any] | None = None,
        has_page: bool = False,
        once_read: Callable[[], object] = bool,
        once_open: Callable[[], object] = bool,
    ) -> Iterator[Running]:
        file, stop, asked = tmp_path / "streams.yaml", StopRequest(), ReloadRequest()
        watcher = Watching(once_open)
        if not file.exists():
            file.write_text(text)
        request = RunRequest(
            streams=read_streams(file, given or {}),
            models=[str(model)],
            reload_from=file,
            watch=watch,
            given=given or {},
            append=True,
            web=WebSettings(port=0, folder=tmp_path / "page", allow_local=True) if has_page else None,
            streams_file=file if has_page else None,
        )
        once_read()
        results: dict[str, FrameResult] = {}

        def keep(result: FrameResult) -> None:
            results[result.frame.source] = result

        session = Session(request, observer=watcher, stop=stop, reload=asked, on_frame=keep, raises=False)
        outcomes: list[Any] = []
        thread = threading.Thread(target=lambda: outcomes.extend(session.run()))
        thread.start()
        running = Running(file, watcher, asked, session)
        running.results, running.reads = results, reads
        try:
            wait_until(lambda: has_begun(running.streams()), "frames", 30)
            yield running
        finally:
            stop.reason = "test"
            thread.join(30)
        assert not thread.is_alive()
        assert all(balanced(one.statistics.frames) for one in outcomes if one.error is None)

    return run


def zone_names(run: Running) -> list[str]:
    """Zones of the last frame of a."""
    zones = None if "a" not in run.results else run.results["a"].zones
    return [] if zones is None else [one.name for one in zones.zones]


def gives_maps(run: Running) -> bool:
    """Whether stream a, which is away while it begins again, gives class maps."""
    found = run.streams().get("a")
    return found is not None and bool(found.class_shares)


def has_begun(streams: dict[str, StreamStatistics]) -> bool:
    return bool(streams) and all(one.written > 3 for one in streams.values())


def test_only_what_changed_is_touched(
    start: Callable[..., AbstractContextManager[Running]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of three streams one gets other zones, one goes, and a fourth comes; what runs keeps its counts."""
    caplog.set_level(logging.INFO, "edgevision")
    zones = tmp_path / "zones.yaml"
    zones.write_text(ZONE % "yard")
    first = f"streams:\n- {{source: a, name: a, zones: {zones}}}\n- {{source: b}}\n- {{source: c, name: c}}\n"
    with start(first) as run:
        wait_until(lambda: "a" in run.results and run.results["a"].zones is not None, "a zone")
        ids = run.results["a"].detections.track_ids
        before = run.streams()
        zones.write_text(ZONE % "gate")
        run.write(
            "conf: 0.35\nstreams:\n- {source: d}\n- {source: b}\n"
            f"- {{source: a, name: a, zones: {zones}}}\n"
        )
        run.ask()
        wait_until(lambda: set(run.streams()) == {"a", "b", "d"}, "the streams of the file")
        wait_until(lambda: run.streams()["d"].written > 3, "frames of the new one")
        wait_until(lambda: [one.name for one in run.results["a"].zones.zones] == ["gate"], "the zone")  # type: ignore[union-attr]
        after = run.streams()
        for name in ("a", "b"):
            assert after[name].written > before[name].written
            assert after[name].frames.captured > before[name].frames.captured
        assert list(run.results["a"].detections.track_ids) == list(ids)  # type: ignore[arg-type]
        assert Camera.opened == {"a": 1, "b": 1, "c": 1, "d": 1}
        assert Camera.closed == {"c": 1}
        threads = threading.active_count()
        for _ in range(5):  # the same file again: nothing is touched
            told = len(caplog.messages)
            run.ask()
            wait_until(lambda told=told: len(caplog.messages) > told, "an answer")  # type: ignore[misc]
            assert caplog.messages[-1] == "streams.yaml: nothing has changed"
        assert threading.active_count() == threads
        assert sum(Camera.opened.values()) == 4
    assert any("1 added (d), 1 removed (c), 1 changed (a)" in line for line in caplog.messages)


@pytest.mark.parametrize("added", ["\n\n", "conf:\n"])
def test_a_blank_line_turns_no_option_back(
    start: Callable[..., AbstractContextManager[Running]], caplog: pytest.LogCaptureFixture, added: str
) -> None:
    """B3 of the reports: what the command line says stays in force when the file is saved."""
    caplog.set_level(logging.INFO, "edgevision")
    text = "streams:\n- {source: a, name: a}\n"
    with start(text, given={"conf": 0.6}) as run:
        run.write(added + text)
        run.ask()
        wait_until(lambda: "streams.yaml: nothing has changed" in caplog.messages, "an answer")
        assert [one.conf for one in read_streams(run.file, {"conf": 0.6})] == [0.6]
        assert Camera.opened == {"a": 1}


def test_thresholds_and_classes_change_while_a_stream_runs_and_other_settings_begin_it_again(
    start: Callable[..., AbstractContextManager[Running]], tmp_path: Path
) -> None:
    with start("streams:\n- {source: a, name: a, track: true}\n- {source: b, name: b}\n") as run:
        wait_until(lambda: run.streams()["a"].detections.get("red", 0) > 3, "boxes")
        run.write("streams:\n- {source: a, name: a, track: true, classes: blue}\n- {source: b, name: b}\n")
        run.ask()
        wait_until(lambda: len(run.results["a"].detections) == 0, "no box of that class")
        run.write("streams:\n- {source: a, name: a, track: true, conf: 0.9}\n- {source: b, name: b}\n")
        run.ask()
        wait_until(lambda: len(run.results["a"].detections) == 1, "a box again")
        assert Camera.opened == {"a": 1, "b": 1}
        seen = run.streams()["a"]
        out = tmp_path / "a.jsonl"
        run.write(f"streams:\n- {{source: a, name: a, save_json: {out}}}\n- {{source: b, name: b}}\n")
        run.ask()
        wait_until(lambda: out.exists() and Camera.opened["a"] == 2, "the stream to begin again")
        wait_until(lambda: run.streams()["a"].written > seen.written + 3, "frames after those before")
        assert run.streams()["a"].frames.captured > seen.frames.captured
        assert (Camera.opened["b"], Camera.closed["b"]) == (1, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("streams:\n- {source: a, nmae: a}\n", "did you mean 'name'"),
        ("streams: [\n", "is not valid YAML"),
        ("streams:\n- {source: a, name: a}\n- {source: absent.mp4}\n", "cannot open absent.mp4"),
        ("streams:\n- {source: a, name: a, classes: blue-ish}\n", "no class 'blue-ish'"),
        ("streams:\n- {source: a, name: a, zones: none.yaml}\n", "none.yaml"),
        ("streams:\n- {source: a, name: a, model: gone.onnx}\n", "gone.onnx"),
    ],
)
def test_a_file_with_a_fault_changes_nothing(
    start: Callable[..., AbstractContextManager[Running]],
    caplog: pytest.LogCaptureFixture,
    text: str,
    said: str,
) -> None:
    with start("streams:\n- {source: a, name: a}\n") as run:
        run.write(text)
        run.ask()
        wait_until(lambda: any("nothing has changed: " in line for line in caplog.messages), "a refusal")
        (line,) = [one for one in caplog.messages if "nothing has changed: " in one]
        assert said in line
        wait_until(lambda: not run.config().successful, "the gauge")
        before = run.streams()["a"].written
        wait_until(lambda: run.streams()["a"].written > before + 2, "further frames")
        assert Camera.opened["a"] == 1
        assert list(run.streams()) == ["a"]


def test_a_model_of_its_own_takes_the_place_of_another_in_one_stream(
    start: Callable[..., AbstractContextManager[Running]], tmp_path: Path
) -> None:
    write_bright_segmenter(tmp_path / "bright.onnx")
    with start("streams:\n- {source: a, name: a}\n") as run:  # its only one: the run does not end in between
        run.write(f"streams:\n- {{source: a, name: a, model: {tmp_path / 'bright.onnx'}}}\n")
        run.ask()
        wait_until(lambda: gives_maps(run), "the other model")
        assert list(run.streams()["a"].models) != ["colours"]


def test_a_model_that_was_replaced_under_its_name_is_noticed(
    start: Callable[..., AbstractContextManager[Running]], tmp_path: Path, model: Path
) -> None:
    with start("streams:\n- {source: a, name: a}\n", watch=True) as run:
        write_bright_segmenter(tmp_path / "new.onnx")
        (tmp_path / "new.onnx").replace(model)
        wait_until(lambda: gives_maps(run), "the other model")
        wait_until(lambda: run.reads[-1]().config is not None, "the reload")
        assert run.config().successful


def end_late(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The first time that a stream is removed, whoever does it has waited too long."""
    remove, late = Pipeline.remove, [name]

    def slowly(self: Pipeline, name: str) -> StreamStatistics | None:
        ended = remove(self, name)
        if name in late:
            late.remove(name)
            raise TimeoutError
        return ended

    monkeypatch.setattr(Pipeline, "remove", slowly)


@pytest.mark.parametrize(("method", "change"), [("PUT", {"source": "a"}), ("PATCH", {"paused": True})])
def test_a_stream_that_ended_too_slowly_for_the_page_is_begun_by_the_next_reload(
    start: Callable[..., AbstractContextManager[Running]],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    change: dict[str, Any],
) -> None:
    end_late(monkeypatch, "a")
    with start("streams:\n- {source: a, name: a}\n- {source: b, name: b}\n", has_page=True) as run:
        refused = ask(f"{run.url}api/streams/a", change, method)
        assert (refused.status, refused.json()["error"]) == (409, "'a' still finishes its outputs; try again")
        (shown,) = [one for one in ask(f"{run.url}api/state").json()["streams"] if one["name"] == "a"]
        assert (shown["state"], "try again" in shown["remarks"][0]["text"]) == ("failed", True)
        run.ask()
        wait_until(lambda: Camera.opened["a"] == 2, "its camera")
        wait_until(lambda: has_begun(run.streams()) and set(run.streams()) == {"a", "b"}, "its frames")
        assert Camera.opened["b"] == 1
        if method == "PATCH":  # once it has ended it is paused, and refused no more
            end_late(monkeypatch, "a")
            assert ask(f"{run.url}api/streams/a", change, method).status == 409
            assert ask(f"{run.url}api/streams/a", change, method).status == 200
            assert {one.name: one.state.value for one in run.reads[-1]().streams} == {"b": "running"}


class Stuck(Sink):
    """Takes frames while its gate is open."""

    def __init__(self) -> None:
        super().__init__("stuck")
        self.gate, self.is_inside = threading.Event(), threading.Event()

    def write(self, result: FrameResult, image: Image) -> None:
        if not self.gate.is_set():
            self.is_inside.set()
            self.gate.wait()


@pytest.mark.parametrize("left", ["removed", "paused"])
def test_what_a_stream_had_that_ended_late_is_let_go(
    start: Callable[..., AbstractContextManager[Running]],
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    left: str,
) -> None:
    """One is removed or paused while a disk takes nothing: its engine, tile and outputs are free then."""
    caplog.set_level(logging.INFO, "edgevision")
    remove, sink, closed = Pipeline.remove, Stuck(), []

    def load(path: Path, *arguments: Any, **options: Any) -> Engine:
        engine = load_engine(path, *arguments, **options)
        close = engine.close
        monkeypatch.setattr(engine, "close", lambda: (closed.append(path.name), close()))
        return engine

    monkeypatch.setattr("edgevision.session.models.load_engine", load)
    monkeypatch.setattr("edgevision.session.streams.open_sink", lambda *_, **__: sink)
    monkeypatch.setattr(Pipeline, "remove", lambda self, name: remove(self, name, 0.0))
    shutil.copy(model, tmp_path / "own.onnx")
    own = f"{{source: a, name: a, model: {tmp_path / 'own.onnx'}, save_json: {tmp_path / 'a.jsonl'}%s}}"
    sink.gate.set()
    with start(f"streams:\n- {own % ''}\n- {{source: b, name: b}}\n", has_page=True) as run:
        tile = f"{run.url}api/streams/a/zones"
        sink.gate.clear()
        assert sink.is_inside.wait(10)
        entry = f"- {own % ', paused: true'}\n" if left == "paused" else ""
        run.write(f"streams:\n- {{source: b, name: b}}\n{entry}")
        run.ask()
        wait_until(lambda: f"streams.yaml: in force: 1 {left} (a)" in caplog.messages, "the reload")
        assert {one.name for one in run.reads[-1]().streams} == {"a", "b"}
        assert "'a' still finishes its outputs; it is over once they are finished" in caplog.messages
        assert "try again" not in caplog.text
        assert (closed, ask(tile).status) == ([], 200)
        sink.gate.set()
        wait_until(lambda: closed == ["own.onnx"], "its engine to be closed")
        assert ask(tile).status == (200 if left == "paused" else 404)
        assert {one.name for one in run.reads[-1]().streams} == {"b"}
        run.write(f"streams:\n- {{source: b, name: b}}\n- {own % ''}\n")
        run.ask()
        wait_until(lambda: "a" in run.streams() and run.streams()["a"].written > 3, "its frames")


def test_a_stream_that_finishes_too_slowly_is_begun_by_the_next_reload(
    start: Callable[..., AbstractContextManager[Running]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "edgevision")
    end_late(monkeypatch, "a")
    with start("streams:\n- {source: a, name: a}\n- {source: b, name: b}\n") as run:
        run.write("streams:\n- {source: c, name: a}\n- {source: b, name: b}\n")
        run.ask()
        wait_until(lambda: "in force: " in caplog.text, "the reload")
        assert caplog.messages[-1] == "streams.yaml: in force: 1 refused (a)"
        assert "this stream does not run: a: 'a' still finishes its outputs; try again" in caplog.text
        assert (Camera.opened["c"], Camera.closed["c"]) == (1, 1)
        run.ask()
        wait_until(lambda: "streams.yaml: in force: 1 begun again (a)" in caplog.messages, "the next reload")
        wait_until(lambda: Camera.opened["c"] == 2, "its camera")
        wait_until(lambda: "a" in run.streams() and run.streams()["a"].written > 3, "its frames")
        run.ask()
        wait_until(lambda: "streams.yaml: nothing has changed" in caplog.messages, "a third reload")
        assert (Camera.opened["c"], Camera.closed["c"]) == (2, 1)


def test_a_reload_that_cannot_track_leaves_the_streams_alone(
    start: Callable[..., AbstractContextManager[Running]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with start("streams:\n- {source: a, name: a}\n") as run:
        monkeypatch.setitem(sys.modules, "trackers", None)
        run.write("streams:\n- {source: a, name: a, track: true}\n")
        run.ask()
        wait_until(lambda: not run.config().successful, "the refusal")
        assert Camera.closed["a"] == 0
    assert "tracking needs trackers, which is not installed" in caplog.text


class Counting:
    """What is reloaded, without a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken: list[str] = []

    def reload(self) -> str:
        text = self.path.read_text()
        if "fault" in text:
            raise ConfigError("a fault")
        self.taken.append(text)
        return "taken"

    def files(self) -> list[Path]:
        return [self.path]

    def let_go(self) -> None:
        pass


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def by_rename(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def by_link(path: Path, text: str) -> None:
    """As Kubernetes swaps a mounted ConfigMap: a link to a folder is pointed elsewhere."""
    folder = path.parent / f"data-{len(list(path.parent.glob('data-*')))}"
    folder.mkdir()
    (folder / path.name).write_text(text)
    (path.parent / "link").unlink(missing_ok=True)
    (path.parent / "link").symlink_to(folder.name)
    if not path.is_symlink():
        path.unlink()
        path.symlink_to(Path("link") / path.name)


def twice(path: Path, text: str) -> None:
    path.write_text("the first of two within a moment")
    path.write_text(text)


def same_time(path: Path, text: str) -> None:
    """The time of the last change says nothing."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("save", [in_place, by_rename, by_link, twice, same_time])
def test_every_way_of_saving_is_noticed(tmp_path: Path, save: Callable[[Path, str], None]) -> None:
    path = tmp_path / "streams.yaml"
    path.write_text("before")
    control = Counting(path)
    with Reloader(control, ReloadRequest(), watch=True):
        save(path, "after")
        wait_until(lambda: control.taken[-1:] == ["after"], "the content")
    assert control.taken[-1] == "after"


def test_a_fault_is_remembered_until_the_next_success_and_no_request_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "streams.yaml"
    path.write_text("good")
    control, request = Counting(path), ReloadRequest()
    with Reloader(control, request) as reloader:
        began = reloader.state.success_time
        path.write_text("fault")
        request.asked += 1
        wait_until(lambda: not reloader.state.successful, "the fault")
        assert reloader.state.success_time == began
        path.write_text("good again")
        request.asked += 2  # two at once are one
        wait_until(lambda: reloader.state.successful, "the success")
        assert reloader.state.success_time > began
    assert control.taken == ["good again"]
    reloader.close()


def test_what_is_saved_while_a_reload_runs_is_taken_after_it(tmp_path: Path) -> None:
    path = tmp_path / "streams.yaml"
    path.write_text("before")

    class Saved(Counting):
        def reload(self) -> str:
            told = super().reload()
            if self.taken == ["first"]:  # its cameras are opened now
                path.write_text("second")
            return told

    control = Saved(path)
    with Reloader(control, ReloadRequest(), watch=True):
        path.write_text("first")
        wait_until(lambda: control.taken == ["first", "second"], "what was saved meanwhile")


def test_a_file_that_a_reload_names_first_is_no_change(tmp_path: Path) -> None:
    path, zones = tmp_path / "streams.yaml", tmp_path / "zones.yaml"
    path.write_text("before")
    zones.write_text("")

    class Naming(Counting):
        looks = 0

        def files(self) -> list[Path]:
            self.looks += 1
            return [path, zones] if path.read_text() == "first" else [path]

    control = Naming(path)
    with Reloader(control, ReloadRequest(), watch=True):
        path.write_text("first")
        wait_until(lambda: control.taken == ["first"], "the reload")
        looks = control.looks
        wait_until(lambda: control.looks > looks + 4, "further looks")
        assert control.taken == ["first"]
        zones.write_text("other")
        wait_until(lambda: control.taken == ["first", "first"], "the zones")


def test_zones_are_noticed_that_were_saved_while_a_reload_named_them_first(
    start: Callable[..., AbstractContextManager[Running]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zones = tmp_path / "zones.yaml"
    zones.write_text(ZONE % "yard")

    def load(*arguments: Any) -> ZoneLayout:
        layout = load_zones(*arguments)
        zones.write_text(ZONE % "gate")  # by somebody else, once it was read
        return layout

    monkeypatch.setattr("edgevision.session.streams.load_zones", load)
    with start("streams:\n- {source: a, name: a}\n", watch=True) as run:
        run.write(f"streams:\n- {{source: a, name: a, zones: {zones}}}\n")
        wait_until(lambda: zone_names(run) == ["gate"], "the zone that was saved meanwhile")


@pytest.mark.parametrize(
    ("saved", "when"),
    [("streams", "once_read"), ("streams", "once_open"), ("zones", "once_open"), ("model", "once_open")],
)
def test_what_is_saved_while_a_run_starts_is_noticed(
    start: Callable[..., AbstractContextManager[Running]], tmp_path: Path, model: Path, saved: str, when: str
) -> None:
    zones, new = tmp_path / "zones.yaml", tmp_path / "new.onnx"
    zones.write_text(ZONE % "yard")
    write_bright_segmenter(new)
    text = f"streams:\n- {{source: a, name: a, zones: {zones}}}\n" if saved == "zones" else ""
    text = text or "streams:\n- {source: a, name: a}\n"
    saves: dict[str, Callable[[], object]] = {
        "streams": lambda: (tmp_path / "streams.yaml").write_text(f"{text}- {{source: b, name: b}}\n"),
        "zones": lambda: zones.write_text(ZONE % "gate"),
        "model": lambda: new.replace(model),
    }
    noticed: dict[str, Callable[[Running], bool]] = {
        "streams": lambda run: set(run.streams()) == {"a", "b"},
        "zones": lambda run: zone_names(run) == ["gate"],
        "model": gives_maps,
    }
    with start(text, watch=True, **{when: saves[saved]}) as run:
        wait_until(lambda: noticed[saved](run), "what was saved")
        assert run.config().successful


def test_what_is_saved_while_a_run_starts_is_not_overwritten_by_the_page(
    start: Callable[..., AbstractContextManager[Running]], tmp_path: Path
) -> None:
    """The streams stand in another order than those that run."""
    first, second = ("- {source: a, name: a}\n", "- {source: b, name: b}\n")
    file, text = tmp_path / "streams.yaml", "streams:\n%s%s"
    with start(
        text % (first, second), has_page=True, once_read=lambda: file.write_text(text % (second, first))
    ) as run:
        refused = ask(f"{run.url}api/streams/b", {"paused": True}, "PATCH")
        assert (refused.status, "changed by hand" in refused.json()["error"]) == (409, True)
        assert file.read_text() == text % (second, first)
        run.ask()
        url = f"{run.url}api/streams/b"
        wait_until(lambda: ask(url, {"paused": True}, "PATCH").status == 200, "the reload")
        assert [one.paused for one in read_streams(file, {})] == [True, False]


def test_zones_that_were_saved_while_they_were_read_are_not_overwritten_by_the_page(
    start: Callable[..., AbstractContextManager[Running]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, and by a reload: the page shows what is in force, and its version is of that."""
    zones, saved = tmp_path / "zones.yaml", ["gate", "road"]
    zones.write_text(ZONE % "yard")

    def load(*arguments: Any) -> ZoneLayout:
        layout = load_zones(*arguments)
        if saved:
            zones.write_text(ZONE % saved.pop(0))  # by somebody else, once it was read
        return layout

    monkeypatch.setattr("edgevision.session.streams.load_zones", load)
    text = f"streams:\n- {{source: a, name: a, track: true, zones: {zones}}}\n"
    with start(text, has_page=True) as run:
        url = f"{run.url}api/streams/a/zones"

        def look() -> tuple[str, str]:
            found = ask(url).json()
            return found["layout"]["zones"][0]["name"], found["version"]

        def put(version: str) -> int:
            return ask(url, {"version": version, "zones": [], "lines": []}, "PUT").status

        seen, version = look()
        assert (seen, put(version), zones.read_text()) == ("yard", 412, ZONE % "gate")
        assert look() == ("gate", content_version(zones))
        zones.write_text(ZONE % "door")
        run.ask()
        wait_until(lambda: look()[0] == "door", "the reload")
        seen, version = look()
        assert (seen, put(version), zones.read_text()) == ("door", 412, ZONE % "road")
        zones.write_text("# by hand\n" + ZONE % "road")  # the same zones in another file
        run.ask()
        wait_until(lambda: look() == ("road", content_version(zones)), "the version")
        run.write("streams:\n- {source: a, name: a, track: true}\n")
        run.ask()
        wait_until(lambda: ask(url).json()["layout"] is None, "no zones")
        mine = [{"name": "mine", "polygon": [[0, 0], [1, 0], [1, 1]]}]
        given = {"version": ask(url).json()["version"], "zones": mine, "lines": []}
        assert ask(url, given, "PUT").status == 200
        assert zones.read_text() == "# by hand\n" + ZONE % "road"  # it is the stream's no more


def test_what_is_saved_while_a_reload_takes_force_is_a_change_by_hand(
    start: Callable[..., AbstractContextManager[Running]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in force: a change in the page does not replace it, and the reload is none that failed."""
    later = "streams:\n- {source: b, name: b, conf: 0.9}\n"

    def apply(streams: RunningStreams, file: Path) -> StreamChanges:
        changes = apply_file(streams, file)
        file.write_text(later)
        return changes

    monkeypatch.setattr("edgevision.session.control.apply_file", apply)
    with start("streams:\n- {source: a, name: a}\n- {source: b, name: b}\n", has_page=True) as run:
        began = run.config().success_time
        run.ask()
        wait_until(lambda: run.config().success_time > began, "the reload")
        refused = ask(f"{run.url}api/streams/b", {"paused": True}, "PATCH")
        assert (refused.status, "changed by hand" in refused.json()["error"]) == (409, True)
        assert run.file.read_text() == later


def test_zones_that_refused_a_reload_are_watched_too(
    start: Callable[..., AbstractContextManager[Running]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    zones = tmp_path / "zones.yaml"
    zones.write_text("zones: [")
    with start("streams:\n- {source: a, name: a}\n", watch=True) as run:
        run.write(f"streams:\n- {{source: a, name: a, zones: {zones}}}\n")
        wait_until(lambda: "not in force, and nothing has changed: " in caplog.text, "the refusal")
        zones.write_text(ZONE % "yard")
        wait_until(lambda: zone_names(run) == ["yard"], "the zone")


def test_a_file_that_is_away_for_a_moment_is_no_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert contents([path]) == ((str(path), ""),)
    path.write_text("x")
    assert contents([path])[0][1] != ""


def test_a_model_counts_as_another_where_its_file_is_another(tmp_path: Path) -> None:
    path, other = tmp_path / "a.onnx", tmp_path / "b"
    path.write_bytes(b"1")
    before = contents([path])
    assert contents([path]) == before
    other.write_bytes(b"2")
    other.replace(path)
    assert contents([path]) != before


def test_a_stream_is_paused_and_resumed_through_the_file(
    start: Callable[..., AbstractContextManager[Running]],
) -> None:
    with start("streams:\n- {source: a, name: a}\n- {source: b, name: b}\n") as run:
        run.write("streams:\n- {source: a, name: a, paused: true}\n- {source: b, name: b}\n")
        run.ask()
        wait_until(lambda: list(run.streams()) == ["b"], "the pause")
        run.write("streams:\n- {source: a, name: a}\n- {source: b, name: b}\n")
        run.ask()
        wait_until(lambda: "a" in run.streams(), "the stream again")
        assert Camera.opened == {"a": 2, "b": 1}
