import csv
from datetime import datetime

import av
import pytest

from edgevision.archive.timeline import camera_of, read_starts, start_by_container, start_by_name
from edgevision.errors import ConfigError, UsageError
from edgevision.video.sinks.jsonl import read_jsonl
from tests.support.archive import process, results
from tests.support.models import image_with_block, write_block_clip

MOMENT = datetime(2026, 11, 28, 19, 42, 30)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cam1_20261128-194230.mp4", MOMENT),
        ("gate/2026-11-28 19.42.30.mkv", MOMENT),
        ("20261128T194230Z.ts", MOMENT),
        ("VID_20261128_194230.mp4", MOMENT),
        ("2026-11-28_19-42-30_gate.avi", MOMENT),
        ("20261128_1942.mp4", MOMENT.replace(second=0)),
        ("2026-11-28_19h42m30.mp4", MOMENT),
        ("20260230_194230.mp4", None),
        ("20261328_194230.mp4", None),
        ("2026/11/28/19.mp4", None),
        ("x.mp4", None),
        ("1120261128194230.mp4", None),
    ],
)
def test_starts_in_names(name, expected):
    assert start_by_name(name) == expected


def test_a_start_in_a_container(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(path, "w") as container:
        container.metadata["creation_time"] = "2026-11-28T19:42:30.000000Z"
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    assert start_by_container(path) == MOMENT
    (tmp_path / "b.mp4").write_text("no video")
    assert start_by_container(tmp_path / "b.mp4") is None


def test_a_table_of_starts(tmp_path):
    table = tmp_path / "starts.csv"
    table.write_text('file,start\ngate/1.mp4,2026-11-28 19:42:30\n\n"a,b.mp4",2026-11-28T19:42:30\n')
    assert read_starts(table) == {"gate/1.mp4": MOMENT, "a,b.mp4": MOMENT}
    table.write_text("file,start\na.mp4,soon\n")
    with pytest.raises(ConfigError, match="line 2: 'soon' is not a time"):
        read_starts(table)
    table.write_text("a.mp4\n")
    with pytest.raises(ConfigError, match="line 1: 1 columns"):
        read_starts(table)
    with pytest.raises(ConfigError, match="cannot read"):
        read_starts(tmp_path / "none.csv")


def test_cameras_are_folders():
    assert [camera_of(name) for name in ("a/b/1.mp4", "1.mp4")] == ["a/b", ""]


def test_files_of_a_camera_are_one_timeline(tmp_path, model):
    for camera, names in (
        ("gate", ("20261128_095958", "20261128_100002")),
        ("yard", ("20261128_100100", "x")),
    ):
        (tmp_path / "in" / camera).mkdir(parents=True)
        for name in names:
            write_block_clip(tmp_path / "in" / camera / f"{name}.mp4", 30)
    outcome = process([tmp_path / "in"], tmp_path / "out", model, timeline_s=300.0)
    with (tmp_path / "out/timeline.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["camera"], row["start"], row["class"]) for row in rows] == [
        ("gate", "2026-11-28 09:55:00", "red"),
        ("gate", "2026-11-28 10:00:00", "red"),
        ("yard", "2026-11-28 10:00:00", "red"),
    ]
    by_file = {one.name: one.classes["red"].detections for one in outcome.summaries}
    gate = [int(row["detections"]) for row in rows if row["camera"] == "gate"]
    assert sum(gate) == by_file["gate/20261128_095958.mp4"] + by_file["gate/20261128_100002.mp4"]
    assert int(rows[2]["detections"]) == by_file["yard/20261128_100100.mp4"]  # nobody knows of x.mp4
    assert 0 < gate[0] < by_file["gate/20261128_095958.mp4"]  # a file over a border counts on both sides


def write_part(path, lefts):
    """A clip of 10 frames a second with a block at each of these places; None for no block."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10", "g": "6"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for left in lefts:
            box = (0, 0, 0, 0) if left is None else (left, 40, left + 30, 80)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image_with_block(160, 120, box), "bgr24")))
        container.mux(stream.encode(None))


PARTS = {
    "cam_20261128_100000.mp4": [*[60] * 6, *[None] * 12, *[90] * 2],  # one object, and the next one begins
    "cam_20261128_100002.mp4": [90] * 8,  # which stands on
    "cam_20261128_100100.mp4": [90] * 8,  # after a minute it is another one
}


def ids(out, name):
    found = [
        one.track_id for record in read_jsonl(out / f"results/{name}.jsonl") for one in record.detections
    ]
    return sorted({number for number in found if isinstance(number, int)})


@pytest.fixture
def camera(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, lefts in PARTS.items():
        write_part(folder / name, lefts)
    return folder


def test_ids_run_on_through_the_files_of_a_camera(camera, tmp_path, model):
    process([camera], tmp_path / "alone", model, track=True)
    assert [ids(tmp_path / "alone", name) for name in PARTS] == [[1, 2], [1], [1]]
    (camera / "cam_20261128_100030.mp4").write_text("no video")
    outcome = process([camera], tmp_path / "out", model, track=True, timeline_s=60.0)
    assert [ids(tmp_path / "out", name) for name in PARTS] == [[1, 2], [2], [3]]
    assert [one.status.value for one in outcome.summaries] == ["done", "done", "failed", "done"]
    with (tmp_path / "out/timeline.csv").open(newline="") as file:
        assert [(row["start"][-8:], row["tracks"]) for row in csv.DictReader(file)] == [
            ("10:00:00", "2"), ("10:01:00", "1"),
        ]  # fmt: skip
    # Times are those of each file, whatever the camera's clock says.
    assert next(read_jsonl(tmp_path / "out/results/cam_20261128_100100.mp4.jsonl")).time_s == 0.0


def test_a_file_that_comes_later_costs_a_join_alone(camera, tmp_path, model):
    settings = {"track": True, "timeline_s": 60.0}
    process([camera], tmp_path / "whole", model, **settings)
    late = camera / "cam_20261128_100002.mp4"
    data = late.read_bytes()
    late.unlink()
    process([camera], tmp_path / "out", model, **settings)
    assert ids(tmp_path / "out", "cam_20261128_100100.mp4") == [3]
    raw = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/.work/spans").rglob("0.jsonl")}
    assert len(raw) == 2
    late.write_bytes(data)
    process([camera], tmp_path / "out", model, **settings)
    assert {path: path.stat().st_mtime_ns for path in raw} == raw
    without_times = (".work", "index.sqlite", "report.html", "results")
    assert results(tmp_path / "out", without_times) == results(tmp_path / "whole", without_times)
    for name in PARTS:
        place = f"results/{name}.jsonl"
        assert (tmp_path / "out" / place).read_bytes() == (tmp_path / "whole" / place).read_bytes()
    assert process([camera], tmp_path / "out", model, **settings).processed == 0


def test_what_does_not_go_with_ids_that_run_on(camera, tmp_path, model):
    with pytest.raises(UsageError, match="`video` draws files alone"):
        process([camera], tmp_path / "out", model, track=True, timeline_s=60.0, video=True)
    with pytest.raises(UsageError, match="`starts` needs `timeline`"):
        process([camera], tmp_path / "out", model, starts=tmp_path / "starts.csv")
