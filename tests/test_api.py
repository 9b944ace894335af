"""The public names, used as somebody else's program would.

Also tests ``edgevision.session.shared``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

import edgevision as ev
from edgevision.errors import ConfigError, ModelError, SourceError, UsageError
from edgevision.pipeline import StopRequest
from edgevision.session.spec import StreamSpec
from edgevision.video.sources.arrays import ArraySource
from tests.support.models import (
    colour_manifest,
    image_with_block,
    write_block_clip,
    write_bright_segmenter,
    write_colour_model,
)

pytestmark = pytest.mark.usefixtures("place")
FRAMES = 12


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_colour_model(folder / "colours.onnx")
    write_colour_model(folder / "other.onnx", colour_manifest(name="other"))
    write_bright_segmenter(folder / "bright.onnx")
    write_block_clip(folder / "clip.mp4", FRAMES)
    write_block_clip(folder / "short.mp4", 5)
    (folder / "text.mp4").write_text("only text\n" * 50)
    (folder / "clips").mkdir()
    for name in ("c", "d"):
        write_block_clip(folder / "clips" / f"{name}.mp4", 3)
    return folder


@pytest.fixture(scope="module")
def model(material):
    with ev.load(material / "colours.onnx", conf=0.5) as opened:
        yield opened


def test_the_public_names_are_these():
    assert ev.__all__ == [
        "Classification",
        "Detections",
        "EdgeVisionError",
        "Frame",
        "FrameResult",
        "Model",
        "SegmentationMap",
        "load",
        "open_source",
        "run",
        "stream",
    ]
    assert set(ev.__all__) <= set(dir(ev))
    for name in ev.__all__:
        assert getattr(ev, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        ev.laod  # noqa: B018


def test_importing_loads_nothing():
    code = (
        "import sys; before = set(sys.modules); import edgevision\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['edgevision']"


# load, and the model


def test_one_image_gives_one_result_and_a_list_gives_a_list(model):
    image = image_with_block(160, 120, (40, 30, 90, 70))
    found = model(image)
    assert isinstance(found, ev.Detections)
    (one,) = found
    assert (one.name, one.class_id, one.track_id, one.model) == ("red", 2, None, "colours")
    assert np.abs(np.array(one.box) - (40, 30, 90, 70)).max() <= 160 / 64
    several = model([image, image[:60]])
    assert [len(each) for each in several] == [1, 1]
    assert model(np.stack([image, image]))[1][0].box == one.box
    assert model([]) == []
    assert (model.name, model.names, model.task) == ("colours", ("blue", "green", "red"), "detection")
    assert repr(model).startswith("<Model colours: detection of 3 classes, ONNX Runtime")


def test_a_segmenter_gives_a_class_map(material):
    with ev.load(material / "bright.onnx") as segmenter:
        found = segmenter(image_with_block(160, 120, (40, 30, 90, 70)))
    assert isinstance(found, ev.SegmentationMap)
    assert found.class_map.shape == (120, 160)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (cv2.imread("no such file.jpg"), "found None, as cv2.imread gives for a file it cannot read"),
        (np.zeros((4, 4), np.uint8), r"found uint8 \[4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), r"found float32 \[4, 4, 3\]"),
        ([np.zeros((4, 4, 3), np.uint8), "street.jpg"], "found <class 'str'>"),
    ],
)
def test_what_is_no_image_is_said_in_one_line(model, image, message):
    with pytest.raises(UsageError, match=r"an image is uint8 \[H, W, 3\] in BGR; " + message):
        model(image)


def test_load_takes_classes_and_refuses_what_the_model_lacks(material):
    image = image_with_block(160, 120, (40, 30, 90, 70))
    with ev.load(material / "colours.onnx", classes=["green", "blue"]) as opened:
        assert len(opened(image)) == 0
    with ev.load(material / "colours.onnx", classes="red, blue") as opened:
        assert len(opened(image)) == 1
    for wrong, error, message in (
        ({"classes": "rad"}, UsageError, "did you mean 'red'"),
        ({"engine": "tensort"}, UsageError, "did you mean 'tensorrt'"),
        ({"conf": 40}, UsageError, "expected 0 to 1"),
    ):
        with pytest.raises(error, match=message):
            ev.load(material / "colours.onnx", **wrong)
    with pytest.raises(ModelError, match="unknown model 'retinanet-lihgt'; did you mean 'retinanet-light'"):
        ev.load("retinanet-lihgt")
    with pytest.raises(ModelError, match="model file not found"):
        ev.load("no/such.onnx")


# stream


def test_a_loop_over_a_file_gets_every_frame(model, material):
    results = list(ev.stream(model, material / "clip.mp4"))
    assert [result.frame.index for result in results] == list(range(FRAMES))
    assert all(isinstance(result, ev.FrameResult) for result in results)
    lefts = [result.detections[0].box[0] for result in results]
    assert lefts == sorted(lefts)
    assert model(results[3].frame.image)[0].box == results[3].detections[0].box
    assert [one.frame.index for one in ev.stream(model, str(material / "clip.mp4"), every=5)] == [0, 5, 10]
    assert len(list(ev.stream(model, material / "clip.mp4", max_frames=4))) == 4


def test_a_model_by_name_or_several_models(model, material):
    results = list(ev.stream(material / "colours.onnx", material / "short.mp4"))
    assert len(results) == 5
    for result in ev.stream([material / "colours.onnx", material / "bright.onnx"], material / "short.mp4"):
        assert len(result.detections) == 1
        assert len(result.class_maps) == 1
    with pytest.raises(UsageError, match="2 models are called 'colours'"):
        next(ev.stream([model, material / "colours.onnx"], material / "short.mp4"))
    with ev.load(material / "other.onnx", conf=0.1) as other:
        with pytest.raises(UsageError, match=r"thresholds of 0\.1 and 0\.5; say which holds with `conf`"):
            next(ev.stream([model, other], material / "short.mp4"))
        (both,) = ev.stream([model, other], material / "short.mp4", conf=0.2, max_frames=1)
    assert [one.model for one in both.detections] == ["colours", "other"]


def fading(count):
    """A block that moves right and whose score falls from 0.94 to 0.31."""
    images = []
    for i in range(count):
        image = np.full((120, 160, 3), 20, np.uint8)
        image[40:80, 20 + 3 * i : 60 + 3 * i, 2] = 240
        images.append(image)
    return images


def test_tracking_gives_numbers_and_keeps_to_the_users_threshold(material):
    pytest.importorskip("trackers", reason="needs the extra 'track'")
    with ev.load(material / "colours.onnx", conf=0.9) as model:
        lowest = []
        make = model.with_threshold
        model.with_threshold = lambda conf: lowest.append(conf) or make(conf)
        results = list(ev.stream(model, ArraySource(fading(10)), track=True))
        strict = list(ev.stream(model, ArraySource(fading(10)), track=True, conf=0.97))
    assert lowest == [pytest.approx(0.15), pytest.approx(0.15)]
    ids = [[one.track_id for one in result.detections] for result in results]
    assert ids == [[None], *[[1]] * 9]
    assert [len(result.detections) for result in strict] == [0] * 10  # the block's score is 0.94


def test_zones_imply_tracking(model, place):
    pytest.importorskip("trackers", reason="needs the extra 'track'")
    (place / "zones.yaml").write_text(
        "units: relative\nlines:\n- {name: half, from: [0.35, 1], to: [0.35, 0]}\n"
    )
    results = list(ev.stream(model, ArraySource(fading(10)), zones="zones.yaml"))
    (line,) = results[-1].zones.lines
    assert (line.name, line.inward) == ("half", {"red": 1})
    (place / "wrong.yaml").write_text("zonse: []\n")
    with pytest.raises(ConfigError, match="did you mean 'zones'"):
        next(ev.stream(model, ArraySource(fading(2)), zones="wrong.yaml"))
    with pytest.raises(ConfigError, match="not found"):
        next(ev.stream(model, ArraySource(fading(2)), zones="absent.yaml"))


def test_leaving_the_loop_closes_the_source(model):
    before = threading.active_count()
    source = ArraySource(fading(10) * 20, frame_rate=50, is_live=True)
    for result in ev.stream(model, source):
        assert result.frame.index >= 0
        break
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
    assert source._closed
    assert len(model(fading(1)[0])) == 1  # the caller's model stays open


@pytest.mark.parametrize(
    ("source", "settings", "error", "message"),
    [
        ("absent.mp4", {}, SourceError, "source not found: absent.mp4"),
        ("", {}, UsageError, "`source` is empty"),
        ("demo", {"every": 0}, UsageError, "`every` 0 is not valid"),
        ("demo", {"max_frames": -1}, UsageError, "`max_frames` -1 is not valid"),
        ("demo", {"conf": 2}, UsageError, "expected 0 to 1"),
    ],
)
def test_a_wrong_request_of_a_loop_is_one_line(model, source, settings, error, message):
    with pytest.raises(error, match=message):
        next(ev.stream(model, source, **settings))


def test_a_folder_of_videos_is_several_sources(model, material):
    with pytest.raises(SourceError, match="2 videos, which are separate sources; open one at a time"):
        next(ev.stream(model, material / "clips"))


# run


def test_a_run_writes_what_was_named_and_calls_back(material, place):
    seen = []
    statistics = ev.run(
        material / "colours.onnx",
        material / "clip.mp4",
        output="out.mp4",
        save_json=place / "out.jsonl",
        stats="stats.json",
        on_frame=lambda result: seen.append((result.frame.index, result.detections[0].name)),
    )
    assert seen == [(i, "red") for i in range(FRAMES)]
    assert (statistics.written, statistics.detections) == (FRAMES, {"red": FRAMES})
    assert json.loads((place / "stats.json").read_text())["written"] == FRAMES
    assert {path.name for path in place.iterdir()} == {"out.mp4", "out.jsonl", "stats.json"}


def test_a_run_without_outputs_writes_nothing(model, material, place, capfd):
    statistics = ev.run(model, material / "clip.mp4", max_frames=3)
    assert (statistics.written, statistics.stopped) == (3, "max_frames")
    assert list(place.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert len(model(fading(1)[0])) == 1  # the caller's model stays open


def test_the_command_line_is_the_same_way(material, place):
    from edgevision.cli import main

    arguments = ["--model", str(material / "colours.onnx"), "--conf", "0.5", "--track"]
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", str(material / "clip.mp4"), "--save-json", "a.jsonl", *arguments])
    assert not ended.value.code
    ev.run(material / "colours.onnx", material / "clip.mp4", save_json="b.jsonl", conf=0.5, track=True)
    assert (place / "a.jsonl").read_bytes() == (place / "b.jsonl").read_bytes()


def test_a_callback_that_raises_ends_its_stream_with_the_outputs_finished(model, material, place):
    def fail_at_four(result):
        if result.frame.index == 4:
            raise ZeroDivisionError("a mistake of the caller")

    with pytest.raises(ZeroDivisionError, match="a mistake of the caller"):
        ev.run(model, material / "clip.mp4", save_json="out.jsonl", output="out.mp4", on_frame=fail_at_four)
    assert [json.loads(line)["frame"] for line in (place / "out.jsonl").read_text().splitlines()] == [
        *range(5)
    ]
    with ev.open_source("out.mp4") as source:
        assert sum(1 for _ in source) == 5


def test_several_streams_give_an_outcome_each(model, material):
    sources = [str(material / name) for name in ("clip.mp4", "text.mp4", "short.mp4")]
    inside, most = 0, 0

    def count(result):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.001)
        inside -= 1

    clip, text, short = ev.run(model, sources, on_frame=count)
    assert most == 1
    assert (clip.statistics.written, short.statistics.written) == (FRAMES, 5)
    assert (clip.error, short.error) == (None, None)
    assert isinstance(text.error, ev.EdgeVisionError)
    assert text.statistics is None


def test_a_list_of_one_gives_an_outcome_too(model, material, place):
    (refused,) = ev.run(model, [material / "text.mp4"], stats="stats.json")
    assert isinstance(refused.error, ev.EdgeVisionError)
    assert refused.statistics is None
    report = json.loads((place / "stats.json").read_text())
    assert (report["state"], report["error"]) == ("failed", str(refused.error))

    def fail(result):
        raise ZeroDivisionError("a mistake of the caller")

    (failed,) = ev.run(model, [material / "short.mp4"], on_frame=fail)
    assert isinstance(failed.error, ZeroDivisionError)
    assert failed.statistics is not None


def test_specs_have_outputs_of_their_own(model, material, place):
    specs = [
        StreamSpec(source=str(material / "clip.mp4"), name="gate", save_json="gate.jsonl"),
        StreamSpec(source=str(material / "short.mp4"), output="yard.mp4"),
    ]
    gate, yard = ev.run(model, specs)
    assert (gate.name, gate.outputs, yard.outputs) == ("gate", ("gate.jsonl",), ("yard.mp4",))
    with pytest.raises(UsageError, match="`track` belongs into each StreamSpec"):
        ev.run(model, specs, track=True)


def test_the_videos_of_a_folder_run_in_turn(model, material):
    assert [one.statistics.written for one in ev.run(model, [material / "clips"])] == [3, 3]
    with pytest.raises(UsageError, match="clips is several videos; give "):
        ev.run(model, material / "clips")


def test_a_run_is_stopped_from_elsewhere(model):
    stop = StopRequest()

    def end(result):
        stop.reason = "enough"

    statistics = ev.run(model, "chaos://demo://?seconds=60?live=yes", on_frame=end, stop=stop)
    assert statistics.stopped == "enough"


def test_a_callback_that_exits_ends_the_run_and_the_program(model, material, place):
    def leave(result):
        if result.frame.index == 4:
            sys.exit("seen enough")

    with pytest.raises(SystemExit, match="seen enough"):
        ev.run(model, material / "clip.mp4", save_json="out.jsonl", on_frame=leave)
    assert len((place / "out.jsonl").read_text().splitlines()) >= 5


@pytest.mark.parametrize(
    ("model", "source", "message"),
    [
        (None, "demo", "a model is a name, a path or what load() gave; found NoneType"),
        ([], "demo", "no model; expected"),
        ("retinanet-light", None, "a source is an address, a path or the number of a camera; found NoneType"),
        ("retinanet-light", [ArraySource([])], "the number of a camera; found ArraySource"),
        ("retinanet-light", [], "no source"),
    ],
)
def test_a_run_of_something_else_is_one_line(model, source, message):
    with pytest.raises(UsageError) as refused:
        ev.run(model, source)
    assert message in str(refused.value)


def test_results_are_short_where_python_shows_them(model, material):
    result = next(ev.stream(model, str(material / "clip.mp4")))
    text = repr(result)
    assert "Detections: red 0." in text
    assert "Frame 0 of" in text
    assert "160x120" in text
    assert len(text) < 400


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"on_frame": 3}, "`on_frame` is not a function; found int"),
        ({"save_json": 7}, "`save_json` is a whole number; expected text"),
        ({"track": "yes"}, "`track` is text; expected true or false"),
        ({"conf": "0.4"}, "confidence threshold '0.4' is not valid"),
        ({"max_frames": "3"}, "`max_frames` '3' is not valid"),
        ({"ouput": "x.mp4"}, "unknown setting 'ouput'; did you mean 'output'"),
        ({"record_on": ["red"]}, "`record_on` needs `record`"),
        ({"max_latency": "150ms"}, "`max_latency` is for live sources"),
        ({"output": "x.mp4", "stats": "x.mp4"}, "`output` and `stats` both name x.mp4"),
        ({"classes": ["rad"]}, "did you mean 'red'"),
        ({"metrics_host": "0.0.0.0"}, "`metrics_host` 0.0.0.0 needs `metrics_port`"),
        ({"events": "e.txt"}, "events cannot go to 'e.txt'"),
    ],
)
def test_a_wrong_setting_of_a_run_is_one_line(material, place, settings, message):
    with pytest.raises(UsageError, match=message):
        ev.run(material / "colours.onnx", material / "clip.mp4", **settings)
    assert list(place.iterdir()) == []


def test_ctrl_c_is_the_callers_and_outputs_are_finished(material, place):
    """The library takes no signals: Python's own handler raises, and what was written can be read."""
    code = (
        "import edgevision as ev, sys\n"
        "def tell(result):\n"
        "    print(result.frame.index, flush=True)\n"
        "try:\n"
        f"    ev.run({str(material / 'colours.onnx')!r}, 'chaos://demo://?seconds=60?live=yes',\n"
        "           output='out.mp4', save_json='out.jsonl', on_frame=tell)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert rest.splitlines()[-1] == "interrupted"
    with ev.open_source("out.mp4") as source:
        assert sum(1 for _ in source) >= 5
    assert len((place / "out.jsonl").read_text().splitlines()) >= 5


def test_a_second_run_appends_where_it_is_asked_to(model, material, place):
    for _ in range(2):
        ev.run(model, material / "clip.mp4", save_json="o.jsonl", stats="s.json", append=True)
    frames = [json.loads(line)["frame"] for line in (place / "o.jsonl").read_text().splitlines()]
    assert frames == [*range(len(frames) // 2)] * 2
    assert len(list(place.glob("s*.json"))) == 2  # the first was renamed
    with pytest.raises(ev.EdgeVisionError, match="exists"):
        ev.run(model, material / "clip.mp4", save_json="o.jsonl")
