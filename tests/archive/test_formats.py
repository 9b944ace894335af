import configparser
import csv
import json

import pytest

from edgevision.data.formats.yolo import read_yolo
from edgevision.errors import UsageError
from edgevision.video.sinks.jsonl import read_jsonl
from tests.archive.test_driver import write_image
from tests.support.archive import process, results
from tests.support.models import write_block_clip

ALL = ("csv", "parquet", "coco", "yolo", "mot", "megadetector")


@pytest.fixture(scope="module")
def archive(tmp_path_factory, model):
    """Every format of two clips, an image and a file that is none, with tracks."""
    place = tmp_path_factory.mktemp("formats")
    for name, frames in (("in/a/x.mp4", 12), ("in/b/x.mp4", 7)):
        (place / name).parent.mkdir(parents=True)
        write_block_clip(place / name, frames)
    write_image(place / "in/b/2.png")
    (place / "in/b/text.mp4").write_text("no video")
    outcome = process([place / "in"], place / "out", model, formats=ALL, track=True)
    return place / "out", outcome


def records(out, name):
    return list(read_jsonl(out / "results" / f"{name}.jsonl"))


def rows(out, name):
    return [(record, one) for record in records(out, name) for one in record.detections]


def test_csv_has_a_row_for_each_detection(archive):
    out, _ = archive
    with (out / "csv/a/x.mp4.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    expected = rows(out, "a/x.mp4")
    assert len(found) == len(expected) > 5
    for row, (record, one) in zip(found, expected, strict=True):
        assert (int(row["frame"]), float(row["time_s"])) == (record.frame, record.time_s)
        assert (row["class"], float(row["score"])) == (one.class_name, one.score)
        assert tuple(float(row[side]) for side in ("x1", "y1", "x2", "y2")) == one.box
        assert row["track_id"] == (str(one.track_id) if isinstance(one.track_id, int) else "")


def test_coco_is_read_by_pycocotools(archive, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    out, outcome = archive
    found = coco.COCO(str(out / "coco.json"))
    capsys.readouterr()
    frames = sum(one.frames for one in outcome.summaries)
    assert len(found.getImgIds()) == frames == 20
    assert [video["name"] for video in found.dataset["videos"]] == ["a/x.mp4", "b/2.png", "b/x.mp4"]
    labels = found.loadAnns(found.getAnnIds())
    assert len(labels) == sum(len(rows(out, name)) for name in ("a/x.mp4", "b/2.png", "b/x.mp4"))
    first, (record, one) = labels[0], rows(out, "a/x.mp4")[0]
    image = found.loadImgs([first["image_id"]])[0]
    assert (image["frame_id"], image["width"], image["height"]) == (record.frame, 160, 120)
    x1, y1, x2, y2 = one.box
    assert first["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=0.01)
    assert found.loadCats([first["category_id"]])[0]["name"] == "red"
    tracked = [label for label in labels if "track_id" in label]
    assert tracked
    assert all(label["instance_id"] == label["track_id"] for label in tracked)


def test_megadetector_has_frames_and_failures(archive):
    out, _ = archive
    document = json.loads((out / "megadetector.json").read_text())
    entries = {entry["file"]: entry for entry in document["images"]}
    assert document["info"]["format_version"] == "1.5"
    assert entries["a/x.mp4"]["frames_processed"] == list(range(12))
    assert "contains text" in entries["b/text.mp4"]["failure"]
    assert entries["b/text.mp4"]["detections"] is None
    assert "frame_number" not in entries["b/2.png"]["detections"][0]
    found, (record, one) = entries["a/x.mp4"]["detections"][0], rows(out, "a/x.mp4")[0]
    assert document["detection_categories"][found["category"]] == one.class_name
    left, top, width, height = found["bbox"]
    assert [left * 160, top * 120] == pytest.approx(one.box[:2], abs=0.01)
    assert [(left + width) * 160, (top + height) * 120] == pytest.approx(one.box[2:], abs=0.01)
    assert found["frame_number"] == record.frame


def test_mot_counts_frames_from_1(archive):
    out, _ = archive
    lines = (out / "mot/a/x.mp4/det.txt").read_text().splitlines()
    expected = rows(out, "a/x.mp4")
    assert len(lines) == len(expected)
    for line, (record, one) in zip(lines, expected, strict=True):
        frame, track, left, _, width, _, score = map(float, line.split(",")[:7])
        assert frame == record.frame + 1
        assert track == (one.track_id if isinstance(one.track_id, int) else -1)
        assert (left, left + width) == pytest.approx((one.box[0], one.box[2]), abs=0.02)
        assert score == pytest.approx(one.score, abs=1e-4)
    sequence = configparser.ConfigParser()
    sequence.read(out / "mot/a/x.mp4/seqinfo.ini")
    assert dict(sequence["Sequence"]) == {
        "name": "a/x.mp4", "seqlength": "12", "imwidth": "160", "imheight": "120"
    }  # fmt: skip


def test_yolo_is_read_by_our_own_reader(archive, tmp_path):
    out, _ = archive
    folder = tmp_path / "set"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("blue\ngreen\nred\n")
    by_frame: dict[int, list[str]] = {}
    for line in (out / "yolo/a/x.mp4.txt").read_text().splitlines():
        frame, *label, score = line.split()
        by_frame.setdefault(int(frame), []).append(" ".join(label))
        assert 0 < float(score) <= 1
    for record in records(out, "a/x.mp4"):
        write_image(folder / "images" / f"{record.frame}.png")
        (folder / "labels" / f"{record.frame}.txt").write_text("\n".join(by_frame.get(record.frame, [])))
    read = {int(image.path.stem): image for image in read_yolo(folder).images}
    for record in records(out, "a/x.mp4"):
        image = read[record.frame]
        assert list(image.names) == [one.class_name for one in record.detections]
        for box, one in zip(image.boxes.tolist(), record.detections, strict=True):
            assert box == pytest.approx(list(one.box), abs=0.01)


def test_parquet_keeps_frames_without_detections(archive):
    parquet = pytest.importorskip("pyarrow.parquet")
    out, _ = archive
    frames = parquet.read_table(out / "frames.parquet").to_pylist()
    detections = parquet.read_table(out / "detections.parquet").to_pylist()
    assert len(frames) == 20
    assert sum(row["detections"] for row in frames) == len(detections)
    assert any(row["detections"] == 0 for row in frames)
    first, (record, one) = detections[0], rows(out, "a/x.mp4")[0]
    assert (first["file"], first["frame"], first["class"]) == ("a/x.mp4", record.frame, one.class_name)
    assert (first["x1"], first["y2"]) == pytest.approx((one.box[0], one.box[3]), abs=0.01)
    index = parquet.read_table(out / "index.parquet").to_pylist()
    assert [row["status"] for row in index] == ["done", "done", "failed", "done"]


def test_trackeval_against_itself_is_1(archive, tmp_path):
    trackeval = pytest.importorskip("trackeval", reason="needs the dependency group 'bench'")
    out, _ = archive
    truth, given = tmp_path / "gt/x/gt", tmp_path / "trackers/ours/data"
    truth.mkdir(parents=True)
    given.mkdir(parents=True)
    lines = (out / "mot/a/x.mp4/det.txt").read_text().splitlines()
    tracked = [line for line in lines if line.split(",")[1] != "-1"]
    (given / "x.txt").write_text("\n".join(tracked))
    (truth / "gt.txt").write_text(
        "\n".join(",".join([*line.split(",")[:6], "1", "1", "1"]) for line in tracked)
    )
    (truth.parent / "seqinfo.ini").write_bytes((out / "mot/a/x.mp4/seqinfo.ini").read_bytes())
    data = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(tmp_path / "gt"), "TRACKERS_FOLDER": str(tmp_path / "trackers"),
            "SEQ_INFO": {"x": 12}, "SKIP_SPLIT_FOL": True, "DO_PREPROC": False, "PRINT_CONFIG": False,
            "SPLIT_TO_EVAL": "train", "BENCHMARK": "x",
        }
    )  # fmt: skip
    raw = data.get_raw_seq_data("ours", "x")
    figures = trackeval.metrics.HOTA().eval_sequence(data.get_preprocessed_seq_data(raw, "pedestrian"))
    assert tracked
    assert float(figures["HOTA"].mean()) == pytest.approx(1.0)


def test_a_format_that_is_asked_for_later_is_made_of_the_results(tmp_path, model):
    write_image(tmp_path / "in/1.png")
    process([tmp_path / "in"], tmp_path / "out", model)
    first = results(tmp_path / "out")
    outcome = process([tmp_path / "in"], tmp_path / "out", model, formats=["csv", "coco"])
    now = results(tmp_path / "out")
    assert outcome.summaries[0].frames == 1
    assert {"csv/1.png.csv", "coco.json"} == set(now) - set(first)
    assert all(now[name] == first[name] for name in first)


def test_what_is_there_never_says_what_was(tmp_path, model):
    image = write_image(tmp_path / "in/1.png")
    process([tmp_path / "in"], tmp_path / "out", model, formats=["csv", "coco"], timeline_s=60.0)
    write_image(tmp_path / "in/2.png")
    write_image(image, left=40)
    process([tmp_path / "in"], tmp_path / "out", model)
    now = results(tmp_path / "out")
    assert {"csv/1.png.csv", "csv/2.png.csv", "coco.json"} <= set(now)
    assert "timeline.csv" not in now  # nobody asked for it, and it lacked the second
    assert len(json.loads(now["coco.json"])["images"]) == 2
    process([tmp_path / "in"], tmp_path / "out", model, redo=True, conf_threshold=0.5)
    assert not {"coco.json", "csv/1.png.csv"} & set(results(tmp_path / "out"))


def test_unknown_formats_are_named(tmp_path, model):
    with pytest.raises(UsageError, match=r"unknown format 'cocoo'; did you mean 'coco'\?"):
        process(["in"], tmp_path / "out", model, formats=["cocoo"])
