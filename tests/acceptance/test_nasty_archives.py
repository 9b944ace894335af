"""Archives as nobody would make them on purpose: every file is done or told, and nothing ends the run."""

import contextlib
import csv
import errno
import json
import os
import shutil
import socket
from collections import Counter
from pathlib import Path

import pytest

from edgevision.archive.progress import ArchiveObserver
from edgevision.archive.records import Status
from edgevision.errors import ConfigError, SinkError, SourceError, UsageError
from tests.archive.test_driver import write_image
from tests.support.archive import process, results
from tests.support.models import write_block_clip, write_colour_model

NAMES = [
    b"new\nline.png", b"q\"uo'te.png", b"50%(a)s.png", b"-dash.png", b"lat\xe9.png", b"$(x)`y`.png",
    b" a .png", b"#h?[1]*.png", b"tab\t.png", b"\x1b[31m.png", b"a,b;c.png", b"<b>&amp;.png", b"~.png",
    b"A.png", b"a.png", b"x.png.jsonl.png", b"12:30.png", b"x..png",
]  # fmt: skip


class Notes(ArchiveObserver):
    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_colour_model(tmp_path_factory.mktemp("model") / "colours.onnx")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_block_clip(path, 4)
    return path


def put(source, *paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)


def status(outcome):
    return {one.name: one.status for one in outcome.summaries}


def test_names_of_any_bytes_in_every_format(tmp_path, model):
    image = write_image(tmp_path / "one.png")
    for name in NAMES:
        put(image, tmp_path / "in" / os.fsdecode(name))
    formats = ["csv", "coco", "yolo", "mot", "megadetector"]
    outcome = process([tmp_path / "in"], tmp_path / "out", model, formats=formats)
    assert Counter(one.status for one in outcome.summaries) == {Status.DONE: len(NAMES)}
    names = [one.name for one in outcome.summaries]
    assert len({name.casefold() for name in names}) == len(NAMES)
    coco = json.loads((tmp_path / "out/coco.json").read_text())
    assert sorted(video["name"] for video in coco["videos"]) == sorted(names)
    for name in names:
        with (tmp_path / "out/csv" / f"{name}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == 1
        assert (tmp_path / "out/mot" / name / "seqinfo.ini").is_file()
    report = (tmp_path / "out/report.html").read_text()
    assert "<b>&amp;.png" not in report
    assert process([tmp_path / "in"], tmp_path / "out", model, formats=formats).processed == 0


def test_what_is_no_regular_file_is_told_and_never_waited_for(tmp_path, model, clip):
    folder = tmp_path / "in"
    put(clip, folder / "a.mp4")
    os.mkfifo(folder / "pipe.mp4")
    os.mkfifo(folder / "20261128-194200.png")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "zero.mp4").symlink_to("/dev/zero")
    (folder / "again").symlink_to(".")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path is a short one
        try:
            server.bind("socket.mp4")
        finally:
            os.chdir(here)
        outcome = process([folder], tmp_path / "out", model, timeline_s=60.0, span_s=1.0)
    assert status(outcome) == {
        "20261128-194200.png": Status.FAILED, "a.mp4": Status.DONE, "loop.mp4": Status.FAILED,
        "pipe.mp4": Status.FAILED, "socket.mp4": Status.FAILED, "zero.mp4": Status.FAILED,
    }  # fmt: skip
    reasons = {one.name: one.reason for one in outcome.summaries}
    assert reasons["pipe.mp4"] == f"cannot read {folder}/pipe.mp4: it is not a regular file"
    assert process([folder], tmp_path / "out", model).processed == 0


def test_what_was_taken_away_or_added_between_two_starts(tmp_path, model, clip):
    folder, out = tmp_path / "in", tmp_path / "out"
    put(clip, folder / "a.mp4", folder / "b.mp4", folder / "c.mp4")
    process([folder], out, model)
    before = results(out)
    (out / "results/a.mp4.jsonl").unlink()  # by somebody
    (out / "results/b.mp4.json").write_text("{")
    (out / "index.sqlite").unlink()
    os.utime(folder / "c.mp4", (-5e9, -5e9))
    outcome = process([folder], out, model)
    assert (outcome.processed, outcome.count(Status.DONE)) == (2, 3)
    now = results(out)
    assert {name for name in now if now[name] != before.get(name)} == {"results/c.mp4.json"}  # its time
    (folder / "b.mp4").unlink()
    put(clip, folder / "d.mp4")
    outcome = process([folder], out, model)
    assert (outcome.processed, list(status(outcome))) == (1, ["a.mp4", "b.mp4", "c.mp4", "d.mp4"])


def test_a_file_whose_name_goes_to_another_one_has_one_row(tmp_path, model, clip):
    folder, out = tmp_path / "in", tmp_path / "out"
    put(clip, folder / "a.mp4")
    process([folder], out, model)
    write_block_clip(folder / "A.mp4", 3)
    outcome = process([folder], out, model)
    assert {one.name: (Path(one.path).name, one.frames) for one in outcome.summaries} == {
        "A.mp4": ("A.mp4", 3), "a.mp4~2": ("a.mp4", 4),
    }  # fmt: skip
    assert not (out / "results/a.mp4.jsonl").exists()


def test_images_and_videos_with_each_other_s_names(tmp_path, model, clip):
    folder, out = tmp_path / "in", tmp_path / "out"
    put(clip, folder / "a.mp4", folder / "clip.jpg")
    put(write_image(tmp_path / "one.png"), folder / "image.mp4", folder / "one.png")
    outcome = process([folder], out, model, video=True, clips_of=["red"])
    assert outcome.processed == 4
    told = {one.name: one.status for one in outcome.summaries if one.status is not Status.DONE}
    assert set(told) <= {"clip.jpg", "image.mp4"}
    assert all(one.reason for one in outcome.summaries if one.name in told)
    assert (out / "video/a.mp4.mp4").is_file()
    assert json.loads((out / "clips/one.png/clips.json").read_text())["clips"] == []
    assert process([out / "video"], tmp_path / "second", model).count(Status.DONE) >= 1
    with pytest.raises(UsageError, match="lies inside"):
        process([out], out, model)


def test_starts_of_any_kind(tmp_path, model, clip):
    folder, table = tmp_path / "in", tmp_path / "starts.csv"
    for name in ("20261025-025959.mp4", "b_20261025-025959.mp4", "end.mp4", "20261025-020000.mp4"):
        put(clip, folder / "gate" / name)
    rows = "gate/end.mp4,9999-12-31T23:59:59\r\nnone.mp4,2026-01-01\r\n20261025-020000.mp4,2026-01-01\r\n"
    table.write_bytes(f"\ufeff{rows}".encode())
    notes = Notes()
    settings = {"track": True, "timeline_s": 300.0, "starts": table, "observer": notes}
    outcome = process([folder], tmp_path / "out", model, **settings)
    assert outcome.count(Status.DONE) == 4
    assert "`starts` names no file of the archive: none.mp4 and 1 more" in notes.lines[0]
    assert notes.lines[1].endswith("gate/end.mp4")
    with (tmp_path / "out/timeline.csv").open(newline="") as file:
        starts = {row["start"] for row in csv.DictReader(file)}
    assert starts == {"2026-10-25 02:00:00", "2026-10-25 02:55:00"}


def test_a_disk_that_is_full_in_between(tmp_path, model, monkeypatch):
    for number in range(8):
        write_image(tmp_path / "in" / f"{number}.png", left=8 + number)
    process([tmp_path / "in"], tmp_path / "whole", model)
    fsync, room = os.fsync, [10]

    def full(descriptor):
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SinkError, match="No space left"):
        process([tmp_path / "in"], tmp_path / "out", model)
    for more in range(11, 40):
        room[0] = more
        with contextlib.suppress(SinkError):
            process([tmp_path / "in"], tmp_path / "out", model)
    monkeypatch.setattr(os, "fsync", fsync)
    outcome = process([tmp_path / "in"], tmp_path / "out", model)
    assert outcome.count(Status.DONE) == 8
    assert process([tmp_path / "in"], tmp_path / "out", model).processed == 0
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_folders_of_results_that_are_none(tmp_path, model, clip):
    folder, out = tmp_path / "in", tmp_path / "out"
    put(clip, folder / "a.mp4")
    for place in ("/proc/self/none", str(folder / "a.mp4"), "/dev/null"):
        with pytest.raises((SinkError, UsageError)):
            process([folder], Path(place), model)
    process([folder], out, model)
    (out / "csv").write_text("")
    with pytest.raises(SinkError, match="csv"):
        process([folder], out, model, formats=["csv"])
    (out / "csv").unlink()
    (out / "index.sqlite").unlink()
    (out / "index.sqlite").mkdir()
    assert process([folder], out, model).processed == 0
    settings = (out / "process.json").read_bytes()
    (out / "process.json").write_bytes(settings[:20])
    with pytest.raises(ConfigError, match="`redo`"):
        process([folder], out, model)
    shutil.rmtree(out / ".work")
    (out / ".work").write_text("")
    (out / "process.json").write_bytes(settings)
    with pytest.raises(SinkError, match="work"):
        process([folder], out, model)


def test_a_deep_tree_and_a_source_that_is_gone(tmp_path, model, clip):
    deep = tmp_path / "in"
    for _ in range(8):
        deep = deep / ("d" * 200)
    put(clip, deep / ("n" * 240 + ".mp4"))
    out = tmp_path / "out"
    assert process([tmp_path / "in"], out, model).count(Status.DONE) == 1
    (tmp_path / "in").rename(tmp_path / "moved")
    with pytest.raises(SourceError, match="not found"):
        process([tmp_path / "in"], out, model)
    outcome = process([tmp_path / "moved"], out, model)  # the same files at another place
    assert (outcome.processed, outcome.count(Status.DONE)) == (0, 1)
    assert outcome.summaries[0].path.startswith(str(tmp_path / "moved"))
    put(write_image(tmp_path / "one.png"), tmp_path / "other/x.png")
    with pytest.raises(UsageError, match="give the same sources"):
        process([tmp_path / "other"], out, model)
