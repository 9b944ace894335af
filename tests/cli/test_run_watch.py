"""``edgevision run`` with ids, zones, events and recordings: from options to files and topics.

Also tests ``edgevision.session.watchers``.
"""

from __future__ import annotations

import json
import re

import av
import pytest

from edgevision.cli import main
from edgevision.events import EventKind, read_events
from edgevision.video.sinks.jsonl import read_jsonl
from tests.support.broker import MOSQUITTO, Broker, Listener, wait_until
from tests.support.models import image_with_block, write_colour_model

pytest.importorskip("trackers", reason="needs the extra 'track'")

FRAMES = 24
RATE = 10
ZONES = """
units: relative
margin: 0
zones:
  - name: middle
    polygon: [[0.3, 0], [0.6, 0], [0.6, 1], [0.3, 1]]
lines:
  - name: half
    from: [0.5, 1]
    to: [0.5, 0]
"""


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A model, and a clip of a red block of 30x40 that moves right by four pixels a frame."""
    folder = tmp_path_factory.mktemp("material")
    write_colour_model(folder / "colours.onnx")
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"crf": "10", "g": "6"}
        for i in range(FRAMES):
            image = image_with_block(160, 120, (10 + 4 * i, 40, 40 + 4 * i, 80))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode())
    return folder


@pytest.fixture
def run(material, capsys, tmp_path, monkeypatch):
    """Runs the program in an empty folder: (exit code, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)

    def call(*arguments, sources=1):
        clips = ["--source", str(material / "clip.mp4")] * sources
        with pytest.raises(SystemExit) as ended:
            main(["run", *clips, "--model", str(material / "colours.onnx"), *map(str, arguments)])
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        return ended.value.code or 0, " ".join(shown.split())

    return call


def frames_of(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_track_gives_one_number(run, tmp_path):
    code, shown = run("--track", "--save-json", "o.jsonl")
    assert code == 0, shown
    ids = [found.track_id for record in read_jsonl(tmp_path / "o.jsonl") for found in record.detections]
    assert ids[1:] == [1] * (FRAMES - 1)


def test_zones_count_what_passes(run, tmp_path):
    """The feet begin at x = 25 and move right: into the zone at 48, over the line at 80, out at 96."""
    (tmp_path / "zones.yaml").write_text(ZONES)
    code, shown = run("--zones", "zones.yaml", "--save-json", "o.jsonl")
    assert code == 0, shown
    records = list(read_jsonl(tmp_path / "o.jsonl"))
    happened = [(event.event, event.place) for record in records for event in record.zone_events]
    assert happened == [("enter", "middle"), ("in", "half"), ("exit", "middle")]
    assert records[-1].zones["middle"].exits == {"red": 1}
    assert records[-1].lines["half"].inward == {"red": 1}
    assert not list(tmp_path.glob("*.mp4"))


def test_events_go_to_a_file_and_images_to_a_folder(run, tmp_path):
    code, shown = run("--events", "e.jsonl", "--event-pictures", "images")
    assert code == 0, shown
    events = list(read_events(tmp_path / "e.jsonl"))
    assert [events[0].kind, events[-1].kind] == [EventKind.NEW, EventKind.END]
    assert len({event.id for event in events}) == 1
    assert events[-1].after.class_name == "red"
    assert (tmp_path / events[-1].after.best.image).is_file()
    assert not list(tmp_path.glob("*.mp4"))


@pytest.mark.skipif(MOSQUITTO is None, reason="needs Debian's package mosquitto")
def test_events_go_to_a_broker(run, tmp_path):
    with Broker(tmp_path) as broker, Listener(broker.port) as listener:
        code, shown = run("--events", f"mqtt://127.0.0.1:{broker.port}/yard")
        assert code == 0, shown
        wait_until(lambda: listener.of("yard/availability")[-1:] == [b"offline"], "the goodbye")
        kinds = [json.loads(payload)["kind"] for payload in listener.of("yard/events")]
        assert [kinds[0], kinds[-1]] == ["new", "end"]
        run("--events", f"mqtt://127.0.0.1:{broker.port}/site", sources=2)
        wait_until(lambda: len(listener.of("availability")) == 6, "both goodbyes")
    assert {topic for topic, *_ in listener.messages if topic.startswith("site")} == {
        "site/clip/events",
        "site/clip/availability",
        "site/clip-2/events",
        "site/clip-2/availability",
    }


def test_record_rotates(run, tmp_path):
    code, shown = run("--record", "recorded", "--rotate", "1s", "--keep", "1GB")
    assert code == 0, shown
    files = sorted((tmp_path / "recorded").glob("clip-*.mp4"))
    assert [frames_of(path) for path in files] == [10, 10, 4]
    with av.open(str(files[0])) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert (image.std(axis=2).max(axis=0) > 20).any()  # drawn: not all is grey beside the block


def test_record_on_makes_a_clip(run, tmp_path):
    code, shown = run("--record", "clips", "--record-on", "red", "--post", "500ms")
    assert code == 0, shown
    (path,) = (tmp_path / "clips").glob("*.mp4")
    assert frames_of(path) == FRAMES
    assert run("--record", "none", "--record-on", "blue")[0] == 0
    assert not list((tmp_path / "none").glob("*.mp4"))


def test_streams_that_record_into_one_folder_have_files_of_their_own(run, tmp_path):
    code, shown = run("--record", "all", "--events", "told", sources=2)
    assert code == 0, shown
    recorded = [path.name for path in (tmp_path / "all").glob("*.mp4")]
    assert len(recorded) == 2
    assert len([name for name in recorded if re.match(r"clip-2-\d{8}T", name)]) == 1
    assert sorted(path.name for path in (tmp_path / "told").iterdir()) == [
        "clip-2.events.jsonl",
        "clip.events.jsonl",
    ]


def test_streams_of_a_file_say_it_each_for_themselves(run, material, tmp_path, capsys):
    (tmp_path / "streams.yaml").write_text(
        f"streams:\n"
        f"  - {{name: north, source: {material / 'clip.mp4'}, record: north, record_on: red}}\n"
        f"  - {{name: south, source: {material / 'clip.mp4'}, events: [south.jsonl]}}\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["run", "--streams", "streams.yaml", "--model", str(material / "colours.onnx")])
    assert not ended.value.code, capsys.readouterr().err
    assert len(list((tmp_path / "north").glob("north-*.mp4"))) == 1
    assert list(read_events(tmp_path / "south.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rotate", "10m"], "--rotate needs --record"),
        (["--keep", "1GB"], "--keep needs --record"),
        (["--record", "r", "--pre", "5s"], "--pre needs --record-on"),
        (["--record", "r", "--rotate", "ten"], "cannot rotate at 'ten'"),
        (["--record", "r", "--keep", "20"], "'20' is not a valid size"),
        (["--record", "r", "--record-on", "red", "--post", "5"], "'5' is not a valid duration"),
        (["--record", "r", "--record-on", "rad"], "did you mean 'red'"),
        (["--record", "no/such", "--rotate", "1m"], "does not exist"),
        (["--events", "e.txt"], "expected a .jsonl file, a folder or mqtt://host/prefix"),
        (["--events", "mqtt://ann:hunter22@host/a+b"], "wildcard"),
        (["--event-pictures", "p"], "--event-pictures needs --events"),
        (["--zones", "none.yaml"], "not found"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run, tmp_path, arguments, message):
    code, shown = run(*arguments)
    assert code in (1, 2)
    assert message in shown
    assert "hunter22" not in shown
    assert not list(tmp_path.glob("*.mp4"))
