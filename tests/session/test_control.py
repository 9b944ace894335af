"""Streams that are added, changed, paused and removed through the page of a run that is kept open.

Also tests ``edgevision.session.running``, ``edgevision.web.stream_routes`` and ``edgevision.cli.serve``.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edgevision.errors import SinkError, SourceError, UsageError
from edgevision.session.request import RunRequest
from edgevision.session.run import Session
from edgevision.session.spec import StreamSpec
from tests.support.broker import wait_until
from tests.support.web import ask
from tests.web.test_page_run import MovingBlock, running

HOSTILE = ["gst://videotestsrc ! appsink", "/etc/passwd", "file:///etc/passwd", "webcam", "0", "/dev/video0",
           "v4l2://0", "csi://0", "demo", "chaos://rtsp://a/1?drop=1", "ftp://a/b", "concat:a|b", "pipe:0",
           "rtsp:/a", "rtsp://", "http://", "exec:ls", "*.mp4", "rtsp://a/\n-i", "data://x"]  # fmt: skip


def open_named(uri: str, *_: object, **__: object) -> MovingBlock:
    if "absent" in uri:
        raise SourceError("cannot open rtsp://absent/1: no answer")
    return MovingBlock("camera")


def states(url: str) -> dict[str, str]:
    return {one["name"]: one["state"] for one in ask(url + "api/state").json()["streams"]}


def test_streams_are_added_changed_paused_and_removed_and_the_file_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgevision.session.running.open_source", open_named)
    file = tmp_path / "streams.yaml"
    file.write_text("conf: 0.4\nstreams:\n- source: camera\n  name: gate\n  record: clips\n")
    with running(tmp_path, monkeypatch, kept_open=file, record=str(tmp_path / "clips")) as url:
        added = ask(url + "api/streams", {"source": "rtsp://ann:secret@yard/1", "track": True})
        assert (added.status, added.json()["name"]) == (201, "rtsp://yard/1")
        yard = added.json()["id"]
        wait_until(lambda: states(url) == {"gate": "running", "rtsp://yard/1": "running"}, "both run")
        assert b"secret" not in ask(url + "api/state?curves=yes").data
        kept = yaml.safe_load(file.read_text())
        assert kept["conf"] == 0.4  # what stands at the top, or on the command line, stays there
        assert kept["streams"] == [
            {"source": "camera", "name": "gate", "record": "clips"},
            {"source": "rtsp://ann:secret@yard/1", "name": "rtsp://yard/1", "track": True},
        ]
        assert ask(url + "api/streams", {"source": "rtsp://yard/1"}).status == 409  # the name is taken
        assert ask(f"{url}api/streams/{yard}", {"source": "rtsp://yard/2"}, "PUT").status == 200
        assert yaml.safe_load(file.read_text())["streams"][1]["source"] == "rtsp://yard/2"
        changed = ask(f"{url}api/streams/{yard}", {"track": False, "paused": True}, "PATCH")
        assert (changed.status, states(url)["rtsp://yard/1"]) == (200, "paused")
        (yard_kept,) = yaml.safe_load(file.read_text())["streams"][1:]
        wanted = {"source": "rtsp://yard/2", "name": "rtsp://yard/1", "track": False, "paused": True}
        assert yard_kept == wanted
        assert ask(f"{url}api/streams/{yard}", {"paused": True}, "PATCH").status == 200
        assert ask(f"{url}api/streams/{yard}", {"paused": False, "name": "x"}, "PATCH").status == 400
        assert ask(f"{url}api/streams/{yard}", {"paused": False}, "PATCH").status == 200
        wait_until(lambda: states(url)["rtsp://yard/1"] == "running", "it is read again")
        clips = tmp_path / "clips"
        wait_until(lambda: len(list(clips.glob("gate-*.mp4"))) == 1, "a first recording")
        assert ask(f"{url}api/streams/gate/pause", {}, "POST").status == 200
        assert states(url)["gate"] == "paused"
        assert ask(f"{url}api/streams/gate/pause", {}, "POST").status == 409
        assert ask(f"{url}api/streams/gate/resume", {}, "POST").status == 200
        wait_until(lambda: states(url)["gate"] == "running", "it runs again")
        wait_until(lambda: len(list(clips.glob("gate-*.mp4"))) == 2, "a second recording")
        assert len(ask(f"{url}api/streams/gate/recordings").json()["files"]) == 2
        failed = ask(f"{url}api/streams/{yard}", {"source": "rtsp://absent/1"}, "PUT")
        assert (failed.status, failed.json()["error"]) == (409, "cannot open rtsp://absent/1: no answer")
        assert states(url)["rtsp://yard/1"] == "paused"
        assert ask(f"{url}api/streams/{yard}", method="DELETE").status == 200
        assert states(url) == {"gate": "running"}
        assert len(yaml.safe_load(file.read_text())["streams"]) == 1
        assert file.with_name("streams.yaml.bak").exists()
        file.write_text(file.read_text() + "# by hand\n")
        refused = ask(url + "api/streams", {"source": "rtsp://yard/3"})
        assert (refused.status, "changed by hand" in refused.json()["error"]) == (409, True)


def test_a_paused_stream_is_paused_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def opened(uri: str, *_: object, **__: object) -> MovingBlock:
        asked.append(uri)
        return MovingBlock("camera")

    monkeypatch.setattr("edgevision.session.running.open_source", opened)
    file = tmp_path / "streams.yaml"
    file.write_text("streams:\n- source: camera\n  name: gate\n  paused: true\n")
    with running(tmp_path, monkeypatch, kept_open=file, paused=True) as url:
        assert states(url) == {"gate": "paused"}
        assert ask(url + "api/streams/gate/resume", {}, "POST").status == 200
        wait_until(lambda: states(url) == {"gate": "running"}, "it is read")
        kept = file.read_bytes()
        assert yaml.safe_load(kept) == {"streams": [{"source": "camera", "name": "gate"}]}

        def full(path: Path) -> None:
            raise SinkError(f"cannot write {path.name}: No space left on device")

        monkeypatch.setattr("edgevision.session.streams_file.atomic_path", full)
        refused = ask(url + "api/streams/gate/pause", {}, "POST")
        assert (refused.status, file.read_bytes()) == (409, kept)
        said = (
            "the change is in force, but will not outlast this run: cannot write streams.yaml.bak: No space"
        )
        assert refused.json()["error"].startswith(said)
        assert states(url) == {"gate": "paused"}
        assert ask(url + "api/streams/gate/resume", {}, "POST").status == 409
        wait_until(lambda: states(url) == {"gate": "running"}, "it is read again")
    assert asked == ["camera", "camera"]
    with pytest.raises(UsageError, match="every stream is paused"):
        Session(
            RunRequest(
                streams=[StreamSpec(source="rtsp://a/1", paused=True)],
                models=[str(tmp_path / "colours.onnx")],
            )
        ).run()


def test_no_hostile_source_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("edgevision.session.running.open_source", lambda uri, **_: asked.append(uri))
    with running(tmp_path, monkeypatch, kept_open=True) as url:
        for source in HOSTILE:
            answer = ask(url + "api/streams", {"source": source})
            assert answer.status == 409, source
            assert "addresses of cameras only" in answer.json()["error"]
        for source in HOSTILE[:2]:  # another source for a stream that runs
            for method in ("PUT", "PATCH"):
                changed = ask(url + "api/streams/gate", {"source": source}, method)
                assert (changed.status, "cameras only" in changed.json()["error"]) == (409, True)
        assert states(url) == {"gate": "running"}
        assert ask(url + "api/streams", {"source": "rtsp://a/1", "output": "/etc/x"}).status == 400
        assert ask(url + "api/streams/nothing", method="DELETE").status == 404
        # From another site's page.
        foreign = ask(url + "api/streams", {"source": "rtsp://a/1"}, Origin="http://evil.example")
        assert foreign.status == 403
    assert asked == []


def test_local_sources_are_opened_where_the_start_allows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def opened(uri: str, *_: object, **__: object) -> MovingBlock:
        asked.append(uri)
        return MovingBlock("camera")

    monkeypatch.setattr("edgevision.session.running.open_source", opened)
    with running(tmp_path, monkeypatch, kept_open=True, allow_local=True) as url:
        for source in ("gst://videotestsrc ! appsink", "/dev/video0"):
            added = ask(url + "api/streams", {"source": source, "name": source[:4]})
            assert added.status == 201, added.data
            wait_until(lambda: len(states(url)) == 2 and set(states(url).values()) == {"running"}, "both run")
            assert ask(f"{url}api/streams/{added.json()['id']}", method="DELETE").status == 200
        assert ask(url + "api/streams", {"source": "/x"}, Origin="http://evil.example").status == 403
    assert asked == ["gst://videotestsrc ! appsink", "/dev/video0"]


def test_serve_waits_for_what_is_not_there_and_ends_with_a_signal(tmp_path: Path) -> None:
    (tmp_path / "streams.yaml").write_text("streams:\n- source: absent.mp4\n  name: gate\n")
    command = [sys.executable, "-m", "edgevision", "serve", "streams.yaml", "--web", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "retinanet" in line:
                break
        try:
            (url,) = [line.split()[-1] for line in lines if " page: " in line]
            wait_until(lambda: bool(ask(url + "api/state").json()["streams"]), "the stream to be told")
            state = ask(url + "api/state").json()
            assert (state["can_change_streams"], state["streams"][0]["state"]) == (True, "failed")
            assert "absent.mp4" in state["streams"][0]["remarks"][0]["text"]
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        finally:
            process.kill()
    assert (tmp_path / "edgevision-web" / "events.sqlite").exists()
