"""The file of streams as a run keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edgevision.errors import SinkError, UsageError
from edgevision.session.streams_file import StreamsFile


def test_a_change_is_kept_with_the_file_before_it_and_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "streams.yaml"
    path.write_text("conf: 0.4\nstreams:\n- source: rtsp://a/1\n  name: gate\n")
    path.chmod(0o640)
    before = path.read_bytes()
    file = StreamsFile(path)
    file.name(["gate"])
    assert (file.document, file.entries) == (
        {"conf": 0.4},
        {"gate": {"source": "rtsp://a/1", "name": "gate"}},
    )
    file.entries["yard"] = {"source": "rtsp://a/2"}
    file.save()
    assert yaml.safe_load(path.read_text())["streams"][1] == {"source": "rtsp://a/2"}
    assert (tmp_path / "streams.yaml.bak").read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o640
    file.refuse_changed()  # what it wrote itself is no change by hand


def test_a_change_by_hand_is_refused_until_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "streams.yaml"
    path.write_text("streams:\n- source: a\n")
    file = StreamsFile(path)
    file.name(["a"])
    path.write_text("streams:\n- source: b\n")
    with pytest.raises(UsageError, match=r"streams\.yaml was changed by hand; reload it"):
        file.refuse_changed()
    file = StreamsFile(path)
    file.name(["b"])
    file.refuse_changed()
    assert file.entries == {"b": {"source": "b"}}
    file.name(["b", "c"])  # others are in force than it has
    with pytest.raises(UsageError, match="changed by hand"):
        file.refuse_changed()


def test_a_new_file_is_private_and_one_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    file = StreamsFile(path)
    file.entries["a"] = {"source": "rtsp://ann:secret@a/1"}
    file.save()
    assert path.stat().st_mode & 0o777 == 0o600
    lost = StreamsFile(tmp_path / "absent" / "streams.yaml")
    with pytest.raises(SinkError, match="in force, but will not outlast this run"):
        lost.save()


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    file = StreamsFile(None)
    file.name(["a"])
    file.save()
    file.refuse_changed()
    assert (file.entries, list(tmp_path.iterdir())) == ({}, [])
