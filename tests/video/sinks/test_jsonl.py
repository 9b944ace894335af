import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgevision.contract.manifest import TASKS
from edgevision.errors import DataError, SinkError
from edgevision.masks import InstanceMasks
from edgevision.types import (
    Attribute,
    Classification,
    Detections,
    Frame,
    FrameResult,
    LineCount,
    SegmentationMap,
    Skeleton,
    ZoneCount,
    ZoneEvent,
    ZoneEventKind,
    ZoneReport,
)
from edgevision.video.sinks.jsonl import (
    AttributeRecord,
    DetectionRecord,
    FrameRecord,
    JsonlSink,
    LabelRecord,
    read_jsonl,
)
from tests.support.paths import ROOT

PICTURE = np.zeros((10, 20, 3), np.uint8)
CLASSES = ("person", "car")


def result(*results, index=0, time_ns=0):
    return FrameResult(Frame(PICTURE, index, time_ns, "clip.mp4"), results)


def detections(**changes):
    fields = {
        "boxes": [[1.23456, 2, 3.999, 9.5], [0, 0, 5, 5]],
        "scores": [0.912345, 0.5],
        "class_ids": [1, 0],
    }
    return Detections(**{**fields, "names": CLASSES, **changes})


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_what_the_docs_publish(tmp_path):
    path = tmp_path / "out.jsonl"
    with JsonlSink(path) as sink:
        sink.write(result(detections(), index=3, time_ns=123_456_789), PICTURE)
        sink.write(result(Detections.empty(), index=4, time_ns=200_000_000), PICTURE)
    assert lines(path) == [
        {
            "schema": 1,
            "frame": 3,
            "time_s": 0.123457,
            "source": "clip.mp4",
            "size": [20, 10],
            "detections": [
                {"class": "car", "score": 0.9123, "box": [1.23, 2.0, 4.0, 9.5]},
                {"class": "person", "score": 0.5, "box": [0.0, 0.0, 5.0, 5.0]},
            ],
        },
        {"schema": 1, "frame": 4, "time_s": 0.2, "source": "clip.mp4", "size": [20, 10], "detections": []},
    ]
    assert list(lines(path)[0]) == ["schema", "frame", "time_s", "source", "size", "detections"]
    assert path.read_bytes().endswith(b"}\n")


def test_the_bytes_of_schema_1_stay_as_they_are(tmp_path):
    path = tmp_path / "out.jsonl"
    found = detections(track_ids=[7, None], model="voc")
    zones = ZoneReport(
        zones=(ZoneCount("yard", {"car": 1}, {"car": 2}, {"car": 1}),),
        lines=(LineCount("door", {"car": 1}, {}),),
        events=(ZoneEvent(ZoneEventKind.EXIT, "yard", 5, "car", 0.08, 1.23456),),
        dwell_s={7: {"yard": 0.12345}},
    )
    segmentation = SegmentationMap(np.zeros((10, 20), np.uint8), ("road", "sky"), "streets")
    frame = Frame(PICTURE, 3, 123_456_789, "clip.mp4")
    with JsonlSink(path) as sink:
        sink.write(FrameResult(frame, (found, segmentation), zones), PICTURE)
    assert path.read_text() == (
        '{"schema":1,"frame":3,"time_s":0.123457,"source":"clip.mp4","size":[20,10],"detections":['
        '{"class":"car","score":0.9123,"box":[1.23,2.0,4.0,9.5],"track_id":7,"zones":["yard"],'
        '"dwell_s":{"yard":0.123},"model":"voc"},'
        '{"class":"person","score":0.5,"box":[0.0,0.0,5.0,5.0],"zones":[],"model":"voc"}],'
        '"segmentation":{"road":1.0},'
        '"zones":{"yard":{"inside":{"car":1},"entries":{"car":2},"exits":{"car":1}}},'
        '"lines":{"door":{"in":{"car":1},"out":{}}},'
        '"zone_events":[{"event":"exit","place":"yard","track_id":5,"class":"car","time_s":0.08,'
        '"dwell_s":1.235}]}\n'
    )


def test_tracks_appear_when_known(tmp_path):
    path = tmp_path / "out.jsonl"
    with JsonlSink(path) as sink:
        sink.write(result(detections(track_ids=[7, 9])), PICTURE)
    assert [found["track_id"] for found in lines(path)[0]["detections"]] == [7, 9]


def test_a_segmenter_gives_shares(tmp_path):
    path = tmp_path / "out.jsonl"
    class_map = np.zeros((10, 20), np.uint8)
    class_map[:, :5] = 1
    with JsonlSink(path) as sink:
        sink.write(result(SegmentationMap(class_map, ("road", "sky", "sign"))), PICTURE)
    assert lines(path)[0]["segmentation"] == {"road": 0.75, "sky": 0.25}
    assert lines(path)[0]["detections"] == []


def test_several_models_are_told_apart(tmp_path):
    path = tmp_path / "out.jsonl"
    second = Detections([[0, 0, 1, 1]], [0.25], [0], ("dog",), "dogs")
    maps = SegmentationMap(np.zeros((10, 20), np.uint8), ("road",), "streets")
    with JsonlSink(path) as sink:
        sink.write(result(detections(model="voc"), second, maps), PICTURE)
    line = lines(path)[0]
    assert [(found["class"], found["model"]) for found in line["detections"]] == [
        ("car", "voc"),
        ("person", "voc"),
        ("dog", "dogs"),
    ]
    assert line["segmentation"] == {"road": 1.0}


MASKS = InstanceMasks((np.ones((2, 3), bool), np.zeros((0, 0), bool)), [[1, 2], [0, 0]], (10, 20))
POSES = {
    "skeleton": Skeleton(("nose", "tail"), ((0, 1),)),
    "keypoints": [[[1.234, 2, 0.98764], [-3, 40, 0.1]], [[0, 0, 0], [0, 0, 0]]],
}


def test_masks_poses_and_angles_are_schema_2(tmp_path):
    path = tmp_path / "out.jsonl"
    with JsonlSink(path) as sink:
        sink.write(result(detections(masks=MASKS)), PICTURE)
        sink.write(result(detections(**POSES)), PICTURE)
        sink.write(result(detections(rotated_boxes=[[2, 3, 4, 1, 0.123456], [1, 1, 2, 2, 0]])), PICTURE)
        sink.write(result(detections(masks=MASKS)[:0]), PICTURE)
    masks, poses, angles, empty = lines(path)
    assert [line["schema"] for line in lines(path)] == [2, 2, 2, 2]
    assert masks["detections"][0] == {
        "class": "car",
        "score": 0.9123,
        "box": [1.23, 2.0, 4.0, 9.5],
        "mask": {"size": [10, 20], "counts": MASKS.rle(0)},
    }
    assert poses["detections"][0]["keypoints"] == {"nose": [1.23, 2.0, 0.9876], "tail": [-3.0, 40.0, 0.1]}
    assert angles["detections"][0]["rotated_box"] == [2.0, 3.0, 4.0, 1.0, 0.1235]
    assert empty["detections"] == []
    first, *_ = read_jsonl(path)
    assert first.detections[0].mask.size == (10, 20)


def test_attributes_of_a_second_model(tmp_path):
    path = tmp_path / "out.jsonl"
    said = [(Attribute("helmet", 0.87654, "ppe", (1, 2, 3, 4.567)), Attribute("vest", 0.5)), ()]
    attributes = np.empty(2, object)
    attributes[:] = said
    zones = ZoneReport(
        zones=(ZoneCount("yard", {"car": 1}, {"car": 1}, {}, {"helmet": 1}),),
        events=(ZoneEvent(ZoneEventKind.ENTER, "yard", 5, "car", 0.08, None, ("helmet", "vest")),),
    )
    with JsonlSink(path) as sink:
        frame = Frame(PICTURE, 0, 0, "clip.mp4")
        sink.write(FrameResult(frame, (detections(attributes=attributes),), zones), PICTURE)
    (line,) = lines(path)
    assert line["schema"] == 2
    assert [found.get("attributes") for found in line["detections"]] == [
        [
            {"class": "helmet", "score": 0.8765, "model": "ppe", "box": [1.0, 2.0, 3.0, 4.57]},
            {"class": "vest", "score": 0.5},
        ],
        None,
    ]
    assert line["zones"]["yard"]["attributes"] == {"helmet": 1}
    assert line["zone_events"][0]["attributes"] == ["helmet", "vest"]
    assert next(read_jsonl(path)).detections[0].attributes[1].class_name == "vest"


def test_labels_of_the_whole_image(tmp_path):
    path = tmp_path / "out.jsonl"
    one = Classification([0.7, 0.2, 0.1], ("cat", "dog", "cow"), "animals", threshold=0.15)
    none = Classification([0.2, 0.2], ("day", "night"), "times", threshold=0.5)
    several = Classification([0.7, 0.2, 0.9], ("wet", "dark", "foggy"), "weather", True, 0.5)
    with JsonlSink(path) as sink:
        sink.write(result(one), PICTURE)
        sink.write(result(none), PICTURE)
        sink.write(result(one, several), PICTURE)
    assert [line["classification"] for line in lines(path)] == [
        [{"class": "cat", "score": 0.7}],
        [],
        [
            {"class": "cat", "score": 0.7, "model": "animals"},
            {"class": "foggy", "score": 0.9, "model": "weather"},
            {"class": "wet", "score": 0.7, "model": "weather"},
        ],
    ]
    assert [line["schema"] for line in lines(path)] == [2, 2, 2]


def test_read_back(tmp_path):
    path = tmp_path / "out.jsonl"
    with JsonlSink(path) as sink:
        sink.write(result(detections(), index=5, time_ns=10**9), PICTURE)
    (record,) = read_jsonl(path)
    assert (record.frame, record.time_s, record.size) == (5, 1.0, (20, 10))
    assert record.detections[0].class_name == "car"
    assert record.detections[0].box == (1.23, 2.0, 4.0, 9.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"schema": 1}\n', "line 1: .*frame"), ("[]\n", "line 1"), ("half", "line 1")],
)
def test_reading_what_is_not_ours(tmp_path, content, message):
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        list(read_jsonl(path))


def test_reading_another_schema(tmp_path):
    path = tmp_path / "x.jsonl"
    with JsonlSink(path) as sink:
        sink.write(result(detections()), PICTURE)
    path.write_text(path.read_text().replace('"schema":1', '"schema":3'))
    with pytest.raises(DataError, match="found schema 3, expected 1 or 2"):
        list(read_jsonl(path))


def test_a_kill_leaves_whole_lines(tmp_path):
    path = tmp_path / "out.jsonl"
    program = (
        "import os, signal, sys\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from edgevision.types import Detections, Frame, FrameResult\n"
        "from edgevision.video.sinks.jsonl import JsonlSink\n"
        "image = np.zeros((10, 20, 3), np.uint8)\n"
        "boxes = np.tile([1.5, 2, 3, 4], (300, 1))\n"  # lines of about 15 kB
        "found = Detections(boxes, np.full(300, 0.5), np.zeros(300), ('person',))\n"
        "sink = JsonlSink(Path(sys.argv[1]))\n"
        "for index in range(20):\n"
        "    sink.write(FrameResult(Frame(image, index, index), (found,)), image)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [record.frame for record in read_jsonl(path)] == list(range(20))


def test_a_full_disk_leaves_whole_lines(tmp_path):
    # A limit on the file's size stands for the full disk: the third line is written by half, then refused.
    path = tmp_path / "out.jsonl"
    program = (
        "import resource, signal, sys\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from edgevision.errors import SinkError\n"
        "from edgevision.types import Detections, Frame, FrameResult\n"
        "from edgevision.video.sinks.jsonl import JsonlSink\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (230, 230))\n"
        "image = np.zeros((10, 20, 3), np.uint8)\n"
        "try:\n"
        "    with JsonlSink(Path(sys.argv[1])) as sink:\n"
        "        for index in range(9):\n"
        "            sink.write(FrameResult(Frame(image, index, index), ()), image)\n"
        "except SinkError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True
    )
    assert done.stdout == f"cannot write {path}: File too large; earlier lines are kept\n"
    assert done.stderr == ""
    assert [record.frame for record in read_jsonl(path)] == [0, 1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_no_space_left():
    with (
        JsonlSink(Path("/dev/full")) as sink,
        pytest.raises(SinkError, match="No space left on device; earlier lines are kept"),
    ):
        sink.write(result(detections()), PICTURE)


def a_frame(source, index=0, time_ns=0, size=(480, 640)):
    return Frame(np.zeros((*size, 3), np.uint8), index, time_ns, source)


def one_box(names, score=0.9127, box=(10, 20, 60.5, 120), **further):
    return Detections([box], [score], [0], names, **further)


def lines_of_each_task():
    """A frame of each task, and of a second model."""
    half = SegmentationMap(np.repeat([[0], [1], [1], [1]], 6, axis=1).astype(np.uint8), ("sky", "road"))
    mask = np.array([[0, 1, 1], [1, 1, 0]], bool)
    points = [[[33.1, 28.45, 0.9712], [12.2, 80, 0.31]]]
    skeleton = Skeleton(("nose", "left_wrist"), ((0, 1),))
    said = np.empty(1, object)
    said[0] = (Attribute("helmet", 0.93123, "workwear"),)
    sure = Classification([0.8801, 0.1199], ("training", "rest"), threshold=0.35)
    return {
        "detection": FrameResult(a_frame("street.mp4", 12, 480_000_000), (one_box(("person",)),)),
        "segmentation": FrameResult(a_frame("road.png", size=(4, 6)), (half,)),
        "instance-segmentation": FrameResult(
            a_frame("ships.png", size=(6, 5)),
            (one_box(("ship",), 0.75, (1, 2, 4, 4), masks=InstanceMasks((mask,), [[1, 2]], (6, 5))),),
        ),
        "pose": FrameResult(
            a_frame("gym.mp4", 7, 280_000_000),
            (one_box(("person",), keypoints=points, skeleton=skeleton),),
        ),
        "obb": FrameResult(
            a_frame("harbour.jpg"),
            (one_box(("ship",), 0.5, (100, 80, 180, 130), rotated_boxes=[[140, 105, 76, 28, 0.5236]]),),
        ),
        "classification": FrameResult(a_frame("gym.mp4", 8, 320_000_000), (sure,)),
        "a second model": FrameResult(
            a_frame("site.mp4", 9, 360_000_000),
            (one_box(("person",), track_ids=[3], attributes=said),),
        ),
    }


def test_the_docs_have_a_line_of_each_task(tmp_path):
    text = (ROOT / "docs" / "reference" / "jsonl.md").read_text(encoding="utf-8")
    for task, frame in lines_of_each_task().items():
        path = tmp_path / "one.jsonl"
        with JsonlSink(path) as sink:
            sink.write(frame, frame.frame.image)
        assert path.read_text().strip() in text.splitlines(), task
    assert set(TASKS) < set(lines_of_each_task())


def test_the_examples_of_the_docs_are_of_this_schema(tmp_path):
    text = (ROOT / "docs" / "reference" / "jsonl.md").read_text(encoding="utf-8")
    examples = [line for line in text.splitlines() if line.startswith('{"schema"')]
    assert len(examples) == 11
    path = tmp_path / "docs.jsonl"
    path.write_text("\n".join(examples))
    assert [record.frame for record in read_jsonl(path)] == [0, 1, 12, 0, 0, 7, 0, 8, 9, 52, 0]
    kinds = (FrameRecord, DetectionRecord, LabelRecord, AttributeRecord)
    fields = [field for kind in kinds for field in kind.__struct_encode_fields__]
    for field in fields:
        assert f"| `{field}` |" in text
