"""Recordings over HTTP: only what the stream recorded, by ranges of bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.recording.segment import notes_path
from edgevision.web.hub import Hub
from edgevision.web.recording_routes import RecordingRoutes, recorded_files
from tests.support.web import ask, open_view, served

FIRST, SECOND = "gate-20261121T155124.120Z.mp4", "gate-20261121T155124.120Z-2.mp4"


def test_files_of_the_stream_are_listed_and_played(tmp_path: Path) -> None:
    for name in (FIRST, SECOND, "other-20261121T155124.120Z.mp4", "gate-notes.mp4", "secret.txt"):
        (tmp_path / name).write_bytes(b"0123456789")
    (tmp_path / "gate-20261121T155125.000Z.mp4").symlink_to(tmp_path / "secret.txt")
    hub = Hub()
    view = open_view(hub)
    view.recordings, view.stem = tmp_path, "gate"
    with served(hub, RecordingRoutes(hub).routes) as server:
        url = server.url + "api/streams/gate/recordings"
        files = ask(url).json()["files"]
        assert [one["name"] for one in files] == [FIRST, SECOND]
        assert (files[0]["start_ms"], files[0]["size"]) == (1795276284120, 10)
        part = ask(f"{url}/{FIRST}", Range="bytes=0-1")
        assert (part.status, part.data) == (206, b"01")
        kept = ask(f"{url}/{FIRST}?download=yes")
        assert kept.headers["content-disposition"] == f'attachment; filename="{FIRST}"'
        for name in ("secret.txt", "..%2fsecret.txt", "gate-20261121T155125.000Z.mp4", "gate-notes.mp4",
                     "gate-20261121T155129.000Z.mp4", "other-20261121T155124.120Z.mp4"):  # fmt: skip
            assert ask(f"{url}/{name}").status == 404, name


def test_a_file_that_is_removed_while_they_are_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (FIRST, SECOND):
        (tmp_path / name).write_bytes(b"0123456789")

    def removed(path: Path) -> Path:
        if path.name == FIRST:
            path.unlink()  # rotation makes room
        return notes_path(path)

    monkeypatch.setattr("edgevision.web.recording_routes.notes_path", removed)
    view = open_view(Hub())
    view.recordings, view.stem = tmp_path, "gate"
    assert [one.name for one in recorded_files(view)] == [SECOND]


def test_a_stream_that_is_not_recorded_has_none() -> None:
    hub = Hub()
    open_view(hub)
    with served(hub, RecordingRoutes(hub).routes) as server:
        assert ask(server.url + "api/streams/gate/recordings").json() == {"files": []}
        assert ask(f"{server.url}api/streams/gate/recordings/{FIRST}").status == 404
