"""All faults of a file of streams, and where values come from. Also tests ``edgevision.cli.check``."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.cli import main
from edgevision.session.check import check_streams
from tests.support.models import write_block_clip, write_bright_segmenter, write_colour_model

ZONES = "units: relative\nzones:\n- {name: door, polygon: [[0, 0], [1, 0], [1, 1]], classes: [%s]}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_colour_model(tmp_path / "colours.onnx")
    write_bright_segmenter(tmp_path / "bright.onnx")
    write_block_clip(tmp_path / "a.mp4", 2)
    (tmp_path / "zones.yaml").write_text(ZONES % "red")
    return tmp_path


def test_each_value_is_told_with_its_origin(place: Path) -> None:
    """B6 of the reports: which of several values is in force can be seen."""
    file = place / "streams.yaml"
    file.write_text(
        "conf: 0.5\nmodel: colours.onnx\ntrack: true\n"
        "streams:\n- {source: a.mp4, name: gate, conf: 0.3, zones: zones.yaml}\n"
        "- {source: a.mp4, name: yard}\n"
    )
    found = check_streams(file, {"engine": "onnxruntime"})
    assert found.faults == []
    gate, yard = ({(one.setting, one.origin): one.value for one in each.values} for each in found.streams)
    assert gate[("conf", "stream")] == "0.3"
    assert gate[("classes", "zone 'door'")] == "red"
    assert gate[("engine", "command line")] == "onnxruntime"
    assert yard[("conf", "top of the file")] == "0.5"
    assert yard[("track", "top of the file")] == "yes"
    assert yard[("classes", "default")] == "all"
    assert ("rotate", "default") not in yard  # it means nothing without a recording
    again = check_streams(file, {"conf": 0.6})
    assert all(("conf", "0.6", "command line") in map(told, each.values) for each in again.streams)


def test_a_threshold_of_a_zone_is_refused_and_that_of_the_stream_is_in_force(place: Path) -> None:
    """B6: 0.5 for all, 0.3 for the stream; 0.2 for a zone would do nothing, which is said and not ignored."""
    file = place / "streams.yaml"
    file.write_text(
        "conf: 0.5\nmodel: colours.onnx\n"
        "streams:\n- {source: a.mp4, name: gate, conf: 0.3, zones: zones.yaml}\n"
    )
    (place / "zones.yaml").write_text((ZONES % "red").replace("{name: door", "{name: door, conf: 0.2"))
    found = check_streams(file, {})
    (fault,) = found.faults
    assert "zones.yaml" in fault
    assert "unknown key 'zones.0.conf'" in fault
    assert ("conf", "0.3", "stream") in map(told, found.streams[0].values)
    (place / "zones.yaml").write_text(ZONES % "red")
    assert check_streams(file, {}).faults == []


def told(value):  # type: ignore[no-untyped-def]
    return value.setting, value.value, value.origin


@pytest.fixture
def without_srt(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a library that was built without SRT, which that of another machine may have."""
    for place in ("sinks", "sources"):
        monkeypatch.setattr(f"edgevision.video.{place}.network.has_protocol", lambda scheme: scheme != "srt")


@pytest.mark.usefixtures("without_srt")
def test_all_faults_are_told_at_once(place: Path) -> None:
    (place / "wrong.yaml").write_text(ZONES % "rde")
    (place / "streams.yaml").write_text(
        "model: colours.onnx\ncnof: 1\n"
        "streams:\n"
        "- {source: gone.mp4, name: one, output: same.mp4}\n"
        "- {source: a.mp4, name: two, output: same.mp4, zones: wrong.yaml}\n"
        "- {source: a.mp4, name: three, classes: blu, record: clips, record_on: gren}\n"
        "- {source: a.mp4, name: four, model: bright.onnx, track: true}\n"
        "- {source: a.mp4, name: five, model: none.onnx}\n"
        "- {source: a.mp4, name: six, save_masks: masks, save_json: a.mp4}\n"
        "- {source: a.mp4, name: seven, output: nowhere/b.mp4, max_latency: 100ms}\n"
        "- {source: a.mp4, name: eight, zones: none.yaml}\n"
        "- {source: 'srt://cam:9000', name: nine, output: 'srt://host:9000'}\n"
        "- {source: a.mp4, name: ten, output: 'rstp://host/live'}\n"
    )
    found = check_streams(place / "streams.yaml", {})
    expected = [
        "unknown key 'cnof'; did you mean 'conf'",
        "one: `source`: gone.mp4 does not exist",
        "two: wrong.yaml: 'door'",
        "two: `output` same.mp4 is written by one",
        "three: `classes` 'blu': colours has no such class; did you mean 'blue'",
        "three: `record_on`",
        "four: `track`, `zones` and `events` need a model that finds objects",
        "five: ",
        "six: `save_masks` needs a segmentation model",
        "six: `save_json` a.mp4 would overwrite an input",
        "seven: `max_latency` is for live sources",
        "seven: `output` nowhere/b.mp4: the folder nowhere does not exist",
        "eight: ",
        "nine: cannot read srt://cam:9000: the installed FFmpeg (of PyAV) was built without srt; it",
        "nine: `output`: cannot send to srt://host:9000: the installed FFmpeg (of PyAV) was built without",
        "ten: `output`: unknown kind of output: rstp://host/live; did you mean 'rtsp'",
    ]
    for part in expected:
        assert any(fault.startswith(part) for fault in found.faults), (part, found.faults)
    assert len(found.faults) == len(expected), found.faults
    assert not (place / "clips").exists()  # nothing is made
    assert not (place / "masks").exists()


def test_pipes_and_addresses_belong_to_one_stream(place: Path) -> None:
    (place / "streams.yaml").write_text(
        "model: colours.onnx\nstreams:\n"
        "- {source: '-', name: one, output: '-'}\n"
        "- {source: '-', name: two, output: '-.mjpg'}\n"
        "- {source: '-', name: three, paused: true, output: 'rtmp://u:pw@host/a/key'}\n"
        "- {source: a.mp4, name: four, output: 'rtmp://u:pw@host/a/key'}\n"
    )
    assert check_streams(place / "streams.yaml", {}).faults == [
        "two: standard input is read by another stream, and nobody can read it twice; "
        "expected one stream with the source -",
        "two: `output` -.mjpg is written by one too; give each its own",
        "four: `output` rtmp://host/a/... is written by three too; give each its own",
    ]


def test_sources_are_opened_only_where_that_is_asked_for(place: Path) -> None:
    (place / "text.mp4").write_text("no video\n" * 20)
    (place / "streams.yaml").write_text(
        "streams:\n- {source: a.mp4, model: colours.onnx}\n- {source: text.mp4}\n"
    )
    assert check_streams(place / "streams.yaml", {}).faults == []
    (fault,) = check_streams(place / "streams.yaml", {}, connect=True).faults
    assert "text.mp4" in fault


def test_the_command_prints_values_hides_passwords_and_ends_in_0_or_2(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = place / "streams.yaml"
    file.write_text(
        "streams:\n- {source: 'rtsp://ann:secret@gate/1', model: colours.onnx, output: 'rtmp://u:pw@x/y'}\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["check", "streams.yaml", "--conf", "0.6"])
    printed = capsys.readouterr()
    assert ended.value.code in (0, None), printed.err
    assert "nothing is wrong" in printed.out
    assert [line.split() for line in printed.out.splitlines() if "conf" in line] == [
        ["conf", "0.6", "command", "line"]
    ]
    assert "secret" not in printed.out
    assert "pw" not in printed.out
    file.write_text("streams: [\n")
    for text in ("streams: [\n", "streams:\n- {sorce: a, conf: 2}\n"):
        file.write_text(text)
        with pytest.raises(SystemExit) as refused:
            main(["check", "streams.yaml"])
        assert refused.value.code == 2
        assert capsys.readouterr().err.startswith("error: ")
