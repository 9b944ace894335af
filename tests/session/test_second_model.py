"""A second model on what the first found, and every new task, through whole sessions.

Also tests ``edgevision.session.models`` and ``edgevision.session.streams`` where they open it.
"""

import json

import pytest

import edgevision as ev
from edgevision.errors import UsageError
from tests.support.models import write_block_clip, write_bright_segmenter, write_colour_model
from tests.support.task_models import write_task_model

ENGINES = ["onnxruntime", "openvino"]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("second")
    write_block_clip(folder / "clip.mp4", 8)
    write_colour_model(folder / "first.onnx")
    write_bright_segmenter(folder / "bright.onnx")
    write_task_model(folder / "label.onnx", "classification")
    for task in ("instance-segmentation", "pose", "obb"):
        write_task_model(folder / f"{task}.onnx", task)
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("model", "field"),
    [("instance-segmentation", "mask"), ("pose", "keypoints"), ("obb", "rotated_box")],
)
def test_a_model_of_each_task_is_run_tracked_written_and_drawn(material, tmp_path, model, field, engine):
    zones = tmp_path / "zones.yaml"
    zones.write_text(
        "units: pixels\nmargin: 0\nzones:\n  - name: all\n"
        "    polygon: [[0, 0], [160, 0], [160, 120], [0, 120]]\n"
    )
    statistics = ev.run(
        material / f"{model}.onnx",
        material / "clip.mp4",
        engine=engine,
        zones=zones,
        output=tmp_path / "drawn.mp4",
        save_json=tmp_path / "out.jsonl",
    )
    assert statistics.detections == {"red": 8}
    assert lines(tmp_path / "out.jsonl")[-1]["zones"]["all"]["inside"] == {"red": 1}
    rows = [found for line in lines(tmp_path / "out.jsonl") for found in line["detections"]]
    assert all(field in row for row in rows)
    assert [row.get("track_id") for row in rows] == [None] + [1] * 7
    assert (tmp_path / "drawn.mp4").stat().st_size > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_classifier_is_run_written_and_drawn(material, tmp_path, engine):
    statistics = ev.run(
        material / "label.onnx",
        material / "clip.mp4",
        engine=engine,
        output=tmp_path / "drawn.mp4",
        save_json=tmp_path / "out.jsonl",
    )
    assert statistics.detections == {"red": 8}
    assert {one["class"] for line in lines(tmp_path / "out.jsonl") for one in line["classification"]} == {
        "red"
    }


def test_once_for_each_track_or_in_every_frame(material, tmp_path):
    shared = {"then": material / "label.onnx", "on": "red,blue"}
    seen = {}
    for name, settings in (("once", {"every_track": True}), ("always", {})):
        path = tmp_path / f"{name}.jsonl"
        ev.run(material / "first.onnx", material / "clip.mp4", save_json=path, **shared, **settings)
        seen[name] = [found for line in lines(path) for found in line["detections"]]
    names = [[one["class"] for one in row.get("attributes", [])] for row in seen["always"]]
    assert names == [["red"]] * 8
    assert "track_id" not in seen["always"][-1]
    once = [row.get("attributes") for row in seen["once"]]
    assert once[0] is None  # it has no number yet
    assert once[1][0]["class"] == "red"
    assert all(one == once[1] for one in once[2:])  # the same answer, to the last digit


def test_events_and_zones_know_what_the_second_model_said(material, tmp_path):
    zones = tmp_path / "zones.yaml"
    zones.write_text(
        "units: pixels\nmargin: 0\nzones:\n  - name: all\n"
        "    polygon: [[0, 0], [160, 0], [160, 120], [0, 120]]\n"
    )
    runs = []
    ev.run(
        material / "first.onnx",
        material / "clip.mp4",
        then=material / "label.onnx",
        on_statistics=runs.append,
        zones=zones,
        events=str(tmp_path / "events.jsonl"),
        save_json=tmp_path / "out.jsonl",
    )
    last = lines(tmp_path / "out.jsonl")[-1]
    assert last["zones"]["all"]["attributes"] == {"red": 1}
    happened = [event for line in lines(tmp_path / "out.jsonl") for event in line["zone_events"]]
    assert [event["attributes"] for event in happened] == [["red"]]
    told = lines(tmp_path / "events.jsonl")
    kinds = [(one["kind"], one["after"]["attributes"][0]["class"]) for one in told]
    assert kinds == [("new", "red"), ("end", "red")]
    assert [one.model for one in runs[-1].engines] == ["colours", "classification"]


@pytest.mark.parametrize(("wanted", "kinds"), [("blue:red,:red", ["new", "end"]), ("red:blue", [])])
def test_events_and_zones_of_what_the_second_model_said(material, tmp_path, wanted, kinds):
    zones = tmp_path / "zones.yaml"
    zones.write_text(
        "units: pixels\nmargin: 0\nzones:\n  - name: all\n    classes: ['red:red']\n"
        "    polygon: [[0, 0], [160, 0], [160, 120], [0, 120]]\n"
        "  - name: none\n    classes: [':blue']\n    polygon: [[0, 0], [160, 0], [160, 120], [0, 120]]\n"
    )
    ev.run(
        material / "first.onnx",
        material / "clip.mp4",
        then=material / "label.onnx",
        zones=zones,
        events=str(tmp_path / "events.jsonl"),
        event_classes=wanted.split(","),
        save_json=tmp_path / "out.jsonl",
    )
    told = lines(tmp_path / "events.jsonl") if (tmp_path / "events.jsonl").exists() else []
    assert [one["kind"] for one in told] == kinds
    last = lines(tmp_path / "out.jsonl")[-1]
    assert [last["zones"][name]["inside"] for name in ("all", "none")] == [{"red": 1}, {}]


def test_a_loop_has_the_attributes_too(material):
    with ev.load(material / "label.onnx") as second:
        found = [
            [said.name for one in result.detections for said in one.attributes]
            for result in ev.stream(material / "first.onnx", material / "clip.mp4", then=second, max_frames=2)
        ]
    assert found == [["red"], ["red"]]


@pytest.mark.parametrize(
    ("models", "settings", "message"),
    [
        (["first"], {"on": "red"}, "`on` needs `then`"),
        (["first"], {"every_track": True}, "`every_track` needs `then`"),
        (
            ["first"],
            {"then": "label", "on": "rde"},
            "`on` 'rde': no model has this class",
        ),
        (["first"], {"then": "bright"}, "`then` brightness gives class maps"),
        (["first"], {"events": "e.jsonl", "event_classes": "red:x"}, "`event_classes`: 'red:x' asks what"),
        (
            ["bright"],
            {"then": "label"},
            "objects; brightness finds none",
        ),
        (["first"], {"then": "first"}, "2 models are called 'colours'"),
        (["label"], {"track": True}, "need a model that finds objects; classification finds none"),
    ],
)
def test_what_does_not_go_together_is_one_line(material, tmp_path, models, settings, message):
    if "then" in settings:
        settings = {**settings, "then": material / f"{settings['then']}.onnx"}
    with pytest.raises(UsageError, match=message):
        ev.run(
            [material / f"{name}.onnx" for name in models],
            material / "clip.mp4",
            save_json=tmp_path / "out.jsonl",
            **settings,
        )
    assert not (tmp_path / "out.jsonl").exists()
