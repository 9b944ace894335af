"""Whole runs over archives.

edgevision.archive.work, edgevision.archive.opened, edgevision.archive.split, edgevision.archive.cameras,
edgevision.archive.parts, edgevision.archive.records and edgevision.archive.results too.
"""

import contextlib
import json
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import msgspec
import pytest

import edgevision
from edgevision.archive.crew import ProcessCrew
from edgevision.archive.progress import ArchiveObserver
from edgevision.archive.records import Status, read_summary
from edgevision.archive.room import default_jobs
from edgevision.errors import OutputExistsError, SourceError, UsageError
from edgevision.pipeline import StopRequest
from edgevision.session.models import load_as_it_is
from edgevision.video.selection import Selection
from edgevision.video.sinks.jsonl import read_jsonl
from tests.support.archive import open_fake, open_or_die, process, results
from tests.support.models import image_with_block, write_block_clip
from tests.support.spans import Recipe, flip_bits, in_one_pass
from tests.support.task_models import write_task_model

YARD = """
units: pixels
zones:
  - name: yard
    polygon: [[60, 20], [140, 20], [140, 110], [60, 110]]
"""


def write_image(path, left=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image_with_block(160, 120, (left, 20, left + 40, 60)))
    return path


@pytest.fixture
def folder(tmp_path):
    """Two clips of one name and an image."""
    for name, frames in (("in/a/x.mp4", 8), ("in/b/x.mp4", 13)):
        (tmp_path / name).parent.mkdir(parents=True)
        write_block_clip(tmp_path / name, frames)
    write_image(tmp_path / "in/b/2.png")
    return tmp_path / "in"


def test_every_file_has_its_results_and_a_row(folder, tmp_path, model):
    outcome = process([folder], tmp_path / "out", model)
    assert [(one.name, one.status, one.frames) for one in outcome.summaries] == [
        ("a/x.mp4", Status.DONE, 8), ("b/2.png", Status.DONE, 1), ("b/x.mp4", Status.DONE, 13),
    ]  # fmt: skip
    assert (outcome.processed, outcome.stopped) == (3, None)
    rows = [json.loads(line) for line in (tmp_path / "out/index.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["a/x.mp4", "b/2.png", "b/x.mp4"]
    records = list(read_jsonl(tmp_path / "out/results/b/x.mp4.jsonl"))
    assert [record.frame for record in records] == list(range(13))
    first = outcome.summaries[0]
    found = [
        one for record in read_jsonl(tmp_path / "out/results/a/x.mp4.jsonl") for one in record.detections
    ]
    assert first.classes["red"].detections == len(found) == sum(first.classes["red"].bins)
    assert (first.width, first.height, first.decoded, first.packets) == (160, 120, 8, 8)
    assert first == read_summary(tmp_path / "out/results/a/x.mp4.json")


@pytest.mark.parametrize("settings", [{}, {"track": True}, {"classes": ["red"], "conf_threshold": 0.5}])
def test_results_are_those_of_run(folder, tmp_path, model, settings):
    process([folder], tmp_path / "out", model, **settings)
    names = {"conf_threshold": "conf"}
    given = {names.get(name, name): value for name, value in settings.items()}
    with edgevision.Model(open_fake(model, "auto", None)) as opened:
        for name in ("a/x.mp4", "b/x.mp4"):
            alone = tmp_path / "run.jsonl"
            edgevision.run(opened, folder / name, save_json=alone, overwrite=True, **given)
            assert (tmp_path / "out/results" / f"{name}.jsonl").read_bytes() == alone.read_bytes()


@pytest.mark.parametrize("settings", [{}, {"on": ["red"], "every_track": True}], ids=["all", "tracks"])
def test_a_second_model_looks_at_what_the_first_finds(folder, tmp_path, model, settings):
    label = write_task_model(tmp_path / "label.onnx", "classification")
    outcome = process(
        [folder],
        tmp_path / "out",
        model,
        then=str(label),
        open_engine=open_fake_or_real,
        span_s=0.2,
        **settings,
    )
    assert {one.spans for one in outcome.summaries} == {1}
    with edgevision.Model(open_fake(model, "auto", None)) as opened:
        alone = tmp_path / "run.jsonl"
        edgevision.run(opened, folder / "b/x.mp4", save_json=alone, then=label, **settings)
    assert b'"attributes"' in alone.read_bytes()
    assert (tmp_path / "out/results/b/x.mp4.jsonl").read_bytes() == alone.read_bytes()
    with pytest.raises(UsageError, match=r"other settings: .*then"):
        process([folder], tmp_path / "out", model)


def open_fake_or_real(path, *settings):
    return load_as_it_is(path, *settings) if path.name == "label.onnx" else open_fake(path, *settings)


class Notes(ArchiveObserver):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize("settings", [{}, {"track": True, "timeline_s": 60.0}], ids=["plain", "camera"])
def test_a_range_is_of_recordings_and_images_are_all_processed(folder, tmp_path, model, settings):
    told = Notes()
    wanted = Selection.parse(every="2", start="200ms")
    outcome = process([folder], tmp_path / "out", model, selection=wanted, observer=told, **settings)
    assert {one.name: (one.status, one.frames) for one in outcome.summaries} == {
        "a/x.mp4": (Status.DONE, 3), "b/2.png": (Status.DONE, 1), "b/x.mp4": (Status.DONE, 6),
    }  # fmt: skip
    assert "images have no time and are all processed (1)" in told.notes[0]


def test_a_second_start_has_nothing_to_do(folder, tmp_path, model):
    process([folder], tmp_path / "out", model)
    before = results(tmp_path / "out")
    outcome = process([folder], tmp_path / "out", model)
    assert outcome.processed == 0
    assert results(tmp_path / "out") == before


def test_a_run_that_is_stopped_goes_on(folder, tmp_path, model):
    class AfterOne(ArchiveObserver):
        def while_running(self):
            def look(progress):
                stop.reason = "SIGTERM" if progress.files else None

            return contextlib.nullcontext(look)

    process([folder], tmp_path / "whole", model)
    stop = StopRequest()
    outcome = process([folder], tmp_path / "out", model, stop=stop, observer=AfterOne())
    assert (outcome.stopped, outcome.processed) == ("SIGTERM", 1)
    outcome = process([folder], tmp_path / "out", model)
    assert outcome.processed == 2
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_damaged_files_are_told_and_the_rest_is_done(folder, tmp_path, model):
    whole = (folder / "b/x.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "text.mp4").write_text("not a video")
    (folder / "empty.png").write_bytes(b"")
    secret = write_image(folder / "secret.png")
    (folder / "gone.mp4").symlink_to(tmp_path / "nowhere")
    outcome = process([folder], tmp_path / "out", model, open_file=refuse_secrets)
    status = {one.name: one.status for one in outcome.summaries}
    assert status.pop("cut.mp4") in (Status.PARTIAL, Status.FAILED)
    assert status == {
        "a/x.mp4": Status.DONE, "b/2.png": Status.DONE, "b/x.mp4": Status.DONE, "text.mp4": Status.FAILED,
        "empty.png": Status.FAILED, "gone.mp4": Status.FAILED, "secret.png": Status.FAILED,
    }  # fmt: skip
    reasons = {one.name: one.reason for one in outcome.summaries}
    assert "contains text, not video" in reasons["text.mp4"]
    assert "0 bytes" in reasons["empty.png"]
    assert "No such file" in reasons["gone.mp4"]
    assert reasons["secret.png"] == f"cannot read {secret}: Permission denied"
    assert not (tmp_path / "out/results/text.mp4.jsonl").exists()


def raise_at_an_image(uri):
    from edgevision.video import open_source

    if uri.endswith("2.png"):
        raise LookupError("no such codec")
    return open_source(uri)


def test_what_a_library_raises_at_one_file_is_told_and_the_rest_is_done(folder, tmp_path, model):
    outcome = process([folder], tmp_path / "out", model, open_file=raise_at_an_image)
    assert [(one.name, one.status) for one in outcome.summaries] == [
        ("a/x.mp4", Status.DONE), ("b/2.png", Status.FAILED), ("b/x.mp4", Status.DONE),
    ]  # fmt: skip
    assert outcome.summaries[1].reason == (f"cannot process {folder / 'b/2.png'}: LookupError: no such codec")


def refuse_secrets(uri):
    """For whoever runs the tests as root, from whom no file can be hidden."""
    from edgevision.errors import SourceError
    from edgevision.video import open_source

    if uri.endswith("secret.png"):
        raise SourceError(f"cannot read {uri}: Permission denied")
    return open_source(uri)


def test_retry_does_what_went_wrong_and_nothing_else(folder, tmp_path, model):
    (folder / "late.png").write_bytes(b"")
    process([folder], tmp_path / "out", model)
    assert process([folder], tmp_path / "out", model).processed == 0
    assert process([folder], tmp_path / "out", model, retry=True).processed == 1
    write_image(folder / "late.png")  # it has come
    outcome = process([folder], tmp_path / "out", model)
    assert outcome.processed == 1
    assert outcome.count(Status.DONE) == 4


def test_a_file_that_is_written_to_has_no_results(folder, tmp_path, model):
    outcome = process([folder], tmp_path / "out", model, open_file=append_while_reading)
    changed = next(one for one in outcome.summaries if one.name == "a/x.mp4")
    assert (changed.status, changed.frames) == (Status.CHANGED, 0)
    assert "bytes and is" in changed.reason
    assert not (tmp_path / "out/results/a/x.mp4.jsonl").exists()
    outcome = process([folder], tmp_path / "out", model)  # it is complete now
    assert (outcome.processed, outcome.count(Status.DONE)) == (1, 3)


def append_while_reading(uri):
    from edgevision.video import open_source

    source = open_source(uri)
    if uri.endswith("a/x.mp4"):
        with Path(uri).open("ab") as file:
            file.write(b"\0" * 100)
    return source


def test_a_changed_file_is_processed_again_and_a_touched_one_is_not(folder, tmp_path, model):
    process([folder], tmp_path / "out", model)
    os.utime(folder / "a/x.mp4", ns=(1, 10**18))
    assert process([folder], tmp_path / "out", model).processed == 0
    write_block_clip(folder / "a/x.mp4", 5)
    outcome = process([folder], tmp_path / "out", model)
    assert outcome.processed == 1
    assert outcome.summaries[0].frames == 5


def test_other_settings_are_refused_or_done_again(folder, tmp_path, model):
    process([folder], tmp_path / "out", model)
    before = results(tmp_path / "out")
    with pytest.raises(UsageError, match=r"other settings: conf \(0.35, now 0.5\); .*`redo`"):
        process([folder], tmp_path / "out", model, conf_threshold=0.5)
    with pytest.raises(UsageError, match="every_frames"):
        process([folder], tmp_path / "out", model, selection=Selection.parse("5"))
    assert results(tmp_path / "out") == before
    outcome = process([folder], tmp_path / "out", model, conf_threshold=0.5, redo=True)
    assert outcome.processed == 3
    assert process([folder], tmp_path / "out", model, conf_threshold=0.5).processed == 0


def test_folders_that_are_not_of_this_archive_are_refused(folder, tmp_path, model):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/photo.jpg").write_text("")
    with pytest.raises(OutputExistsError, match="not empty"):
        process([folder], tmp_path / "full", model)
    process([folder], tmp_path / "out", model)
    with pytest.raises(UsageError, match="give the same sources"):
        process([folder / "a"], tmp_path / "out", model)
    with pytest.raises(UsageError, match="lies inside the input"):
        process([folder], folder / "out", model)


def test_two_runs_over_one_archive_are_refused(folder, tmp_path, model):
    class Twice(ArchiveObserver):
        def while_running(self):
            with pytest.raises(UsageError, match="by another program"):
                process([folder], tmp_path / "out", model)
            return super().while_running()

    assert process([folder], tmp_path / "out", model, observer=Twice()).processed == 3


@pytest.mark.parametrize(
    ("every", "frames"), [("5", [0, 5, 10]), ("300ms", [0, 3, 6, 9, 12]), ("1s", [0, 10])]
)
def test_every_few_frames(folder, tmp_path, model, every, frames):
    process([folder / "b/x.mp4"], tmp_path / "out", model, selection=Selection.parse(every))
    assert [one.frame for one in read_jsonl(tmp_path / "out/results/x.mp4.jsonl")] == frames


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"track": True},
        {"zones": True},
        {"selection": Selection.parse("5")},
        {"selection": Selection.parse("700ms", "1s", "4s"), "track": True},
        {"selection": Selection.parse(start="5s")},
    ],
    ids=["all", "track", "zones", "every", "range", "start"],
)
def test_parts_of_a_file_join_to_what_one_pass_gives(tmp_path, model, settings):
    clip = tmp_path / "in" / "long.mp4"
    clip.parent.mkdir()
    write_block_clip(clip, 75)
    if "zones" in settings:
        settings = {"zones": str(tmp_path / "zones.yaml")}
        (tmp_path / "zones.yaml").write_text(YARD)
    one = process([clip], tmp_path / "one", model, **settings)
    assert (one.summaries[0].spans, one.summaries[0].status) == (1, Status.DONE)
    for seconds in (0.6, 1.0, 1.2):
        out = tmp_path / f"parts{seconds}"
        outcome = process([clip], out, model, span_s=seconds, **settings)
        summary = outcome.summaries[0]
        assert summary.spans > 2, summary.in_one_go
        places = ("results/long.mp4.jsonl", "results/long.mp4.crops", "index.jsonl")
        for place in places:
            assert (out / place).read_bytes() == (tmp_path / "one" / place).read_bytes(), place
        assert msgspec.structs.replace(summary, spans=1) == one.summaries[0]


@pytest.fixture(scope="module")
def varying(tmp_path_factory):
    """A clip of 120 frames at uneven times, with a key frame every six."""
    path = tmp_path_factory.mktemp("varying") / "clip.mkv"
    recipe = Recipe(".mkv", "libx264", 6, 2, is_open=False, is_varying=True, is_fragmented=False, frames=120)
    return recipe.write(path, 5)


@pytest.mark.parametrize("every", ["5", "1s"])
def test_every_few_frames_of_uneven_times_in_parts(tmp_path, model, varying, every):
    moments = [frame[1] for frame in in_one_pass(varying)]
    firsts = {moment // 10**9: index for index, moment in reversed([*enumerate(moments)])}
    wanted = list(range(0, 120, 5)) if every == "5" else sorted(firsts.values())
    assert len({later - earlier for earlier, later in pairwise(moments)}) > 2
    found = {}
    for frames in (None, 50, 17):
        span_s = None if frames is None else frames * moments[-1] / 120e9
        out = tmp_path / f"{frames}"
        (one,) = process(
            [varying], out, model, span_s=span_s, selection=Selection.parse(every), track=True
        ).summaries
        lines = out / "results" / f"{one.name}.jsonl"
        found[one.spans] = lines.read_bytes()
        assert [record.frame for record in read_jsonl(lines)] == wanted
    assert list(found) == [1, 2, 7]
    assert len(set(found.values())) == 1


def test_damaged_files_are_the_same_with_any_number_of_threads(tmp_path, model):
    """Decoders that share the work of a damaged file give other frames, and other ones each time."""
    paths = []
    for seed in range(10):
        recipe = Recipe.draw(seed)
        path = replace(recipe, frames=25).write(tmp_path / f"{seed}{recipe.suffix}", seed)
        flip_bits(path, seed)
        paths.append(path)
    found = []
    for threads in (1, 2, 4):
        lines = []
        for path in paths:
            out = tmp_path / f"{threads}-{path.name}.jsonl"
            with contextlib.suppress(SourceError):
                edgevision.run(model, path, save_json=out, threads=threads)
            lines.append(out.read_bytes() if out.exists() else b"")
        found.append(lines)
    assert found[0] == found[1] == found[2]
    assert sum(map(bool, found[0])) >= 8


def test_parts_that_are_done_are_not_done_again(tmp_path, model):
    from edgevision.archive.parts import PartFolder
    from edgevision.archive.records import ResultPlaces

    clip = tmp_path / "in" / "long.mp4"
    clip.parent.mkdir()
    write_block_clip(clip, 60)
    process([clip], tmp_path / "whole", model, span_s=1.0)
    stop = StopRequest()

    class AfterParts(ArchiveObserver):
        def while_running(self):
            def look(progress):
                stop.reason = "SIGTERM" if progress.share > 0.4 else None

            return contextlib.nullcontext(look)

    process([clip], tmp_path / "out", model, span_s=1.0, stop=stop, observer=AfterParts())
    parts = PartFolder(ResultPlaces(tmp_path / "out").spans("long.mp4"))
    kept = sorted(parts.folder.glob("[0-9].json"))
    assert kept
    times = [path.stat().st_mtime_ns for path in kept]
    lines = [path.with_suffix(".jsonl").stat().st_mtime_ns for path in kept]

    class Look(ArchiveObserver):
        def while_running(self):
            assert [path.stat().st_mtime_ns for path in kept] == times
            return super().while_running()

    process([clip], tmp_path / "out", model, span_s=1.0, observer=Look())
    assert lines
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert not parts.folder.exists()


def test_a_file_that_cannot_be_split_is_processed_in_one_go_and_said(tmp_path, model):
    clip = tmp_path / "in" / "long.mp4"
    clip.parent.mkdir()
    write_block_clip(clip, 60, options={"movflags": "empty_moov"})
    data = bytearray(clip.read_bytes())
    data[len(data) // 2] ^= 0xFF
    clip.write_bytes(data)
    one = process([clip], tmp_path / "one", model)
    parts = process([clip], tmp_path / "parts", model, span_s=1.0)
    summary = parts.summaries[0]
    if summary.spans == 1:
        assert summary.in_one_go
    assert (tmp_path / "one/results/long.mp4.jsonl").read_bytes() == (
        tmp_path / "parts/results/long.mp4.jsonl"
    ).read_bytes()
    assert one.summaries[0].status == summary.status


def test_workers_are_processes_and_a_file_that_kills_them_is_told(folder, tmp_path, model):
    write_image(folder / "a" / "killer.png")
    outcome = process([folder], tmp_path / "out", model, crew=ProcessCrew, open_file=open_or_die)
    status = {one.name: one.status for one in outcome.summaries}
    assert status == {
        "a/killer.png": Status.CRASHED, "a/x.mp4": Status.DONE,
        "b/2.png": Status.DONE, "b/x.mp4": Status.DONE,
    }  # fmt: skip
    killed = next(one for one in outcome.summaries if one.status is Status.CRASHED)
    assert killed.reason == "its process was ended by SIGKILL"


def test_workers_by_cores_and_memory(tmp_path):
    assert default_jobs([tmp_path / "a.onnx"], "auto") >= 1
    assert default_jobs([tmp_path / "a.engine"], "auto") <= 2


@pytest.mark.slow
def test_two_hundred_files_of_which_ten_are_bad(tmp_path, model):
    data = write_image(tmp_path / "one.png").read_bytes()
    folder = tmp_path / "in"
    for number in range(200):
        path = folder / f"{number % 7}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if number % 20 else data[: number % 50])
    outcome = process([folder], tmp_path / "out", model, formats=["csv"])
    assert outcome.count(Status.DONE) == 190
    assert outcome.count(Status.FAILED) == 10
    assert len((tmp_path / "out/index.jsonl").read_text().splitlines()) == 200
    assert process([folder], tmp_path / "out", model, formats=["csv"]).processed == 0
