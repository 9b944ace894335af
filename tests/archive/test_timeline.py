import csv
from datetime import datetime

import av
import pytest

from edgevision.archive.timeline import camera_of, read_starts, start_by_container, start_by_name
from edgevision.errors import ConfigError
from tests.support.archive import process
from tests.support.models import write_block_clip

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
