"""``edgevision run`` with several sources, latency control, tracking and zones."""

import _thread
import contextlib
import json
import threading
import time
from pathlib import Path

import av
import pytest

from edgevision.cli import main
from edgevision.pipeline import ThreadBudget
from edgevision.session import streams as run_streams
from edgevision.session.spec import StreamSpec
from edgevision.video.sources.arrays import ArraySource
from tests.support.console import without_times
from tests.support.models import colour_manifest, image_with_block, write_block_clip, write_colour_model

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_colour_model(folder / "colours.onnx")
    write_colour_model(folder / "small.onnx", colour_manifest(32, name="small"), 32)
    write_colour_model(folder / "less.onnx", colour_manifest(32), 32)
    write_colour_model(folder / "other.onnx", colour_manifest(name="other", classes=("a", "b", "c")))
    for name, frames in (("a", 12), ("b", 20)):
        write_block_clip(folder / f"{name}.mp4", frames)
    (folder / "text.mp4").write_text("only text\n" * 50)
    (folder / "clips").mkdir()
    write_block_clip(folder / "clips" / "c.mp4", 3)
    write_block_clip(folder / "clips" / "d.mp4", 3)
    return folder


@pytest.fixture
def run(material, capsys):
    """Runs the program in this process on sources by name: (exit code, lines on stderr)."""

    def call(*arguments, sources=(), model="colours.onnx"):
        named = [text for name in sources for text in ("--source", str(material / name))]
        with pytest.raises(SystemExit) as ended:
            main(["run", *named, "--model", str(material / model), *map(str, arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return ended.value.code or 0, without_times(captured.err).splitlines()

    return call


def frame_count(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def records(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_several_sources_run_together_each_with_its_own_outputs(run, material):
    code, lines = run(
        "--output", "out", "--save-json", "out", "--stats", "s.json", sources=["a.mp4", "b.mp4"]
    )
    assert code == 0
    for name, frames in (("a", 12), ("b", 20)):
        assert frame_count(f"out/{name}.edgevision.mp4") == frames
        found = records(f"out/{name}.edgevision.jsonl")
        assert [record["frame"] for record in found] == list(range(frames))
        assert {record["source"] for record in found} == {str(material / f"{name}.mp4")}
        lefts = [record["detections"][0]["box"][0] for record in found]
        assert lefts == sorted(lefts)
    stats = json.loads(Path("s.json").read_text())
    assert [one["written"] for one in stats] == [12, 20]
    assert [one["frames"]["inferred"] for one in stats] == [12, 20]
    assert sum(line.startswith("colours: ONNX Runtime") for line in lines) == 1
    assert any("a.mp4: 12 frames" in line for line in lines)
    assert any("b.mp4: 20 frames" in line for line in lines)


def test_a_bad_stream_is_told_of_and_does_not_disturb_the_others(run, material):
    code, lines = run("--save-json", "out", sources=["a.mp4", "text.mp4", "b.mp4"])
    assert code == 1
    assert len(records("out/a.edgevision.jsonl")) == 12
    assert len(records("out/b.edgevision.jsonl")) == 20
    assert lines[0].startswith(f"warning: this stream does not run: {material / 'text.mp4'} ")
    assert lines[-1].startswith(f"error: {material / 'text.mp4'} contains text")
    assert lines[-1].endswith("(exit status 1)")


def test_standard_input_is_read_by_one_stream_alone(monkeypatch):
    source = ArraySource([image_with_block(32, 32, (4, 4, 9, 9))])
    monkeypatch.setattr(run_streams, "open_source", lambda *given, **named: source)
    budget = ThreadBudget.of(None, 2)
    with contextlib.ExitStack() as opened:
        first, second = run_streams.open_sources([StreamSpec(source="-")] * 2, budget, opened)
        assert first is source
        assert "standard input is read by another stream" in str(second)


def test_all_bad_is_an_error(run):
    code, lines = run("--save-json", "out", sources=["text.mp4", "absent.mp4"])
    assert code == 1
    assert sum(line.startswith("error: ") for line in lines) == 2


def test_the_same_name_twice_gets_a_number_and_its_own_file_or_none(run):
    code, lines = run("--save-json", "out", sources=["a.mp4", "a.mp4"])
    assert code == 2
    assert "two streams write out/a.edgevision.jsonl; give them outputs of their own" in lines[-1]
    assert "a.mp4 (2)" in lines[-1]
    assert len(records("out/a.edgevision.jsonl")) == 12


def test_streams_of_a_file(run, material):
    Path("streams.yaml").write_text(
        f"""
        streams:
          - source: {material / "a.mp4"}
            name: gate
            output: gate.mp4
          - source: {material / "b.mp4"}
            name: yard no. 2
            save_json: found/
        """
    )
    Path("found").mkdir()
    code, lines = run("--streams", "streams.yaml", "--stats", "s.json")
    assert code == 0
    assert frame_count("gate.mp4") == 12
    assert len(records("found/yard_no._2.edgevision.jsonl")) == 20
    assert [one["name"] for one in json.loads(Path("s.json").read_text())] == ["gate", "yard no. 2"]
    assert any(line.startswith("gate: 12 frames") for line in lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("streams: []", "no stream; expected at least one"),
        (
            "streams:\n- source: a.mp4\n  outptu: x.mp4",
            "unknown key 'streams.0.outptu'; did you mean 'output'",
        ),
        ("streams:\n- name: gate", "missing required field `source`"),
        ("streams:\n- source: ''", "streams.0: `source` is empty"),
        ("streams:\n- {source: a, name: x}\n- {source: b, name: x}", "2 streams are called 'x'"),
        ("- source: a.mp4", "expected keys and values"),
        (
            "streams:\n- {source: a, max_latency: 150}",
            "streams.0: `max_latency` 150: expected a number with a unit, such as 150ms",
        ),
    ],
)
def test_a_wrong_streams_file_is_one_line(run, content, message):
    Path("streams.yaml").write_text(content)
    code, lines = run("--streams", "streams.yaml")
    assert code == 2
    (line,) = lines
    assert line.startswith("error: streams.yaml: ")
    assert message in line


@pytest.mark.parametrize(
    ("sources", "arguments", "message"),
    [
        ([], [], "no source; name one with --source"),
        (["a.mp4"], ["--streams", "s.yaml"], "--streams and --source do not go together"),
        (["a.mp4", "clips"], [], "clips is 2 videos; run a folder of videos by itself"),
        (["a.mp4", "b.mp4"], ["--output", "x.mp4"], "2 sources need a folder"),
        (["a.mp4"], ["--max-latency", "150"], "--max-latency 150: expected"),
        (["a.mp4"], ["--max-latency", "0ms"], "--max-latency 0ms"),
        (["a.mp4"], ["--max-latency", "150ms"], "is for live sources, of which frames may be left out"),
        (["a.mp4"], ["--fallback-model", "x.onnx"], "--max-latency may fall back on; give both"),
        (["a.mp4"], ["--threads", "0"], "--threads 0 is not valid"),
    ],
)
def test_an_impossible_request_is_one_line(run, place, sources, arguments, message):
    code, lines = run(*arguments, sources=sources)
    assert code == 2
    (line,) = lines
    assert message in line
    assert list(place.iterdir()) == []


@pytest.fixture
def camera(monkeypatch):
    """``webcam`` is a live source of 60 images, one every 10 ms."""

    def open_camera(uri, options=None, **settings):
        images = [image_with_block(160, 120, (40, 40, 80, 80))] * 60
        return ArraySource(images, frame_rate=100, is_live=True, name=uri)

    monkeypatch.setattr(run_streams, "open_source", open_camera)


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize(("fallback", "name"), [("small.onnx", "small"), ("less.onnx", "colours-fallback")])
def test_a_latency_that_is_held_is_in_the_statistics(material, capsys, fallback, name):
    """A fallback may be called like its model, as one of another precision is."""
    arguments = ["--max-latency", "60s", "--fallback-model", str(material / fallback)]
    arguments += ["--stats", "s.json", "--save-json", "o.jsonl", "--model", str(material / "colours.onnx")]
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", "webcam", *arguments])
    assert not ended.value.code
    stream = json.loads(Path("s.json").read_text())
    assert list(stream["models"]) == ["colours", name]
    assert stream["latency_control"]["bound_ms"] == 60_000
    lines = without_times(capsys.readouterr().err).splitlines()
    assert any(line.startswith(f"{name} (fallback): ONNX Runtime") for line in lines)
    assert any(line.startswith("  held 60000 ms except for 0 of ") for line in lines)


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize(("bound", "said"), [("1us", None), ("0.001ms", "  could not hold 0.001 ms: ")])
def test_a_latency_that_cannot_be_held_is_said_so(material, capsys, bound, said):
    arguments = ["--max-latency", bound, "--save-json", "o.jsonl", "--model", str(material / "colours.onnx")]
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", "webcam", *arguments])
    lines = without_times(capsys.readouterr().err).splitlines()
    assert (ended.value.code or 0) == (0 if said else 2)
    assert any(line.startswith(said or "error: --max-latency 1us: expected a number") for line in lines)


@pytest.mark.usefixtures("camera")
def test_the_model_itself_is_no_fallback(material, capsys):
    arguments = ["--max-latency", "500ms", "--fallback-model", str(material / "colours.onnx")]
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", "webcam", "--model", str(material / "colours.onnx"), *arguments])
    assert ended.value.code == 2
    assert "--fallback-model is colours itself; give a faster model" in capsys.readouterr().err


@pytest.mark.usefixtures("camera")
def test_a_fallback_with_other_classes_is_refused(material, capsys):
    arguments = ["--max-latency", "500ms", "--fallback-model", str(material / "other.onnx")]
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", "webcam", "--model", str(material / "colours.onnx"), *arguments])
    assert ended.value.code == 2
    assert "other cannot stand in for colours" in capsys.readouterr().err


def test_a_budget_of_threads(run):
    code, _ = run("--threads", "1", "--save-json", "o.jsonl", sources=["a.mp4"])
    assert code == 0
    assert len(records("o.jsonl")) == 12


def test_numbers_that_stay_and_a_line_that_is_crossed(run):
    pytest.importorskip("trackers", reason="the extra 'track' is not installed")
    Path("zones.yaml").write_text(
        """
        units: relative
        lines:
          - {name: middle, from: [0.5, 1.0], to: [0.5, 0.0]}
        """
    )
    code, _ = run("--zones", "zones.yaml", "--save-json", "o.jsonl", "--output", "o.mp4", sources=["b.mp4"])
    assert code == 0
    found = records("o.jsonl")
    ids = [one["track_id"] for record in found for one in record["detections"] if "track_id" in one]
    assert len(ids) >= 18
    assert len(set(ids)) == 1
    assert frame_count("o.mp4") == 20
    assert found[-1]["lines"]["middle"]["in"] == {"red": 1}


def test_zones_of_a_missing_file_are_one_line(run):
    code, lines = run("--zones", "absent.yaml", "--save-json", "o.jsonl", sources=["a.mp4"])
    assert code == 2
    assert "absent.yaml" in lines[-1]


def test_what_a_library_raises_at_one_source_ends_that_stream_alone(run, monkeypatch):
    really_open = run_streams.open_source

    def open_source(uri, *arguments, **named):
        if uri.endswith("b.mp4"):
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        return really_open(uri, *arguments, **named)

    monkeypatch.setattr(run_streams, "open_source", open_source)
    code, lines = run("--save-json", "out", sources=["a.mp4", "b.mp4"])
    assert code == 1
    assert len(records("out/a.edgevision.jsonl")) == 12
    (line,) = [line for line in lines if line.startswith("error:")]
    assert "b.mp4" in line
    assert "invalid start byte" in line


def test_a_part_of_a_recording_and_every_few_frames(run, material):
    code, _ = run("--every", "5", "--save-json", "five.jsonl", sources=["b.mp4"])
    assert code == 0
    assert [one["frame"] for one in records("five.jsonl")] == [0, 5, 10, 15]
    code, _ = run("--every", "500ms", "--start", "0.7s", "--end", "1.6s", "--save-json", "part.jsonl",
                  "--output", "part.mp4", sources=["b.mp4"])  # fmt: skip
    assert code == 0
    assert [(one["frame"], one["time_s"]) for one in records("part.jsonl")] == [(10, 1.0), (15, 1.5)]
    assert frame_count("part.mp4") == 2
    code, lines = run("--start", "1m", "--save-json", "none.jsonl", sources=["b.mp4"])
    assert "the last one read is at 1.90 s" in " ".join(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "0"], "--every 0 is not valid"),
        (["--start", "x"], "--start x is not valid"),
        (["--start", "2s", "--end", "2s"], "--end 2s is not after --start 2s"),
        (["--tiles", "2"], "--tiles 2 is not valid; expected columns x rows"),
    ],
)
def test_wrong_parts_are_one_line(run, arguments, message):
    code, lines = run(*arguments, "--save-json", "x.jsonl", sources=["b.mp4"])
    assert code == 2
    assert message in lines[-1]


def test_tiles_are_looked_at_too(run):
    assert run("--save-json", "whole.jsonl", sources=["a.mp4"])[0] == 0
    assert run("--tiles", "2x2", "--conf", "0.1", "--save-json", "tiles.jsonl", sources=["a.mp4"])[0] == 0
    whole, tiles = records("whole.jsonl"), records("tiles.jsonl")
    assert [one["frame"] for one in tiles] == [one["frame"] for one in whole]
    scores = [[found["score"] for one in lines for found in one["detections"]] for lines in (whole, tiles)]
    assert scores[0] != scores[1]
    assert len(scores[1]) >= len(scores[0])


def test_sources_are_closed_where_opening_is_interrupted(monkeypatch):
    closed, go_on = [], threading.Event()

    class Noted(ArraySource):
        def close(self):
            closed.append(self.info.name)
            super().close()

    def open_source(address, options, threads):
        if address == "late":
            _thread.interrupt_main()  # Ctrl-C while one does not answer
            go_on.wait(10)
        return Noted([image_with_block(32, 32, (4, 4, 9, 9))], name=address)

    monkeypatch.setattr(run_streams, "open_source", open_source)
    specs = [StreamSpec(source="quick"), StreamSpec(source="late")]
    with contextlib.ExitStack() as opened, pytest.raises(KeyboardInterrupt):
        run_streams.open_sources(specs, ThreadBudget.of(2), opened)
    for names in (["quick"], ["quick", "late"]):
        ends = time.monotonic() + 10
        while closed != names and time.monotonic() < ends:
            time.sleep(0.01)
        assert closed == names
        go_on.set()
