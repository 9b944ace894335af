import contextlib
import os
import random
import signal
import sqlite3
import time

import pytest

from edgevision.archive.index import ArchiveIndex, index_row
from edgevision.archive.records import (
    ClassSummary,
    FileFacts,
    FileSummary,
    ResultPlaces,
    Status,
    write_summary,
)


def summary(name, status=Status.DONE, **changes):
    red = ClassSummary(detections=3, most=2, tracks=1, first_s=0.5, last_s=2.5, bins=[1, 0, 2])
    return FileSummary(
        name=name, path=f"/in/{name}", answers="key", status=status, classes={"red": red},
        facts=FileFacts(size=1, mtime_ns=2, digest="00"), **changes,
    )  # fmt: skip


@pytest.fixture
def places(tmp_path):
    found = ResultPlaces(tmp_path)
    found.results.mkdir()
    return found


def test_a_row_is_entered_replaced_and_removed(places):
    with ArchiveIndex(places) as index:
        index.enter(summary("b.mp4", frames=1))
        index.enter(summary("a.mp4"))
        index.enter(summary("b.mp4", frames=2))
        assert [(one.name, one.frames) for one in index.summaries()] == [("a.mp4", 0), ("b.mp4", 2)]
        index.remove(["a.mp4"])
    with ArchiveIndex(places) as index:
        assert index.summaries() == [summary("b.mp4", frames=2)]
        assert index.rebuilt == 0


def test_what_was_committed_and_not_entered_is_taken_in(places):
    write_summary(places, summary("deep/er/a.mp4"))
    write_summary(places, summary("new\nline.mp4", Status.FAILED, reason="no"))
    with ArchiveIndex(places) as index:
        assert index.rebuilt == 2
        assert index.summaries() == [
            summary("deep/er/a.mp4"),
            summary("new\nline.mp4", Status.FAILED, reason="no"),
        ]


@pytest.mark.parametrize("damage", [b"", b"not a database at all" * 100, None])
def test_an_index_that_is_lost_or_damaged_is_built_again(places, damage):
    with ArchiveIndex(places) as index:
        for number in range(30):
            one = summary(f"{number:02}.mp4")
            write_summary(places, one)
            index.enter(one)
        whole = index.summaries()
        index.export()
    exported = (places.out / "index.jsonl").read_bytes()
    if damage is None:
        places.index.unlink()
    else:
        places.index.write_bytes(damage)
    with ArchiveIndex(places) as index:
        assert index.rebuilt == 30
        assert index.summaries() == whole
        index.export()
    assert (places.out / "index.jsonl").read_bytes() == exported


def test_a_writer_that_is_killed_thirty_times_loses_no_row(places):
    draw, written = random.Random(3), 0
    for _ in range(30):
        end, begin = os.pipe()
        child = os.fork()
        if child == 0:  # nothing of this process is used but the index
            with contextlib.suppress(BaseException), ArchiveIndex(places) as index:
                for number in range(written, written + 400):
                    one = summary(f"{number:05}.mp4", frames=number)
                    write_summary(places, one)
                    index.enter(one)
                    os.write(begin, b".")
            os._exit(0)
        os.close(begin)
        with os.fdopen(end, "rb") as said:
            written += len(said.read(draw.randint(1, 8)))
            time.sleep(draw.uniform(0.0, 0.005))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            written += len(said.read())
    with ArchiveIndex(places) as index:
        rows = index.summaries()
        index.export()
    assert written >= 30
    assert rows[:written] == [summary(f"{number:05}.mp4", frames=number) for number in range(written)]
    exported = (places.out / "index.jsonl").read_bytes()
    places.index.unlink()
    with ArchiveIndex(places) as index:
        index.export()
    assert (places.out / "index.jsonl").read_bytes() == exported


def test_others_can_read_it_while_it_is_open(places):
    with ArchiveIndex(places) as index:
        index.enter(summary("a.mp4", frames=7))
        with sqlite3.connect(places.index) as database:
            assert database.execute("SELECT name, status, frames FROM files").fetchall() == [
                ("a.mp4", "done", 7)
            ]


def test_a_row_says_when_something_was_seen():
    row = index_row(summary("a.mp4"))
    assert (row["first_s"], row["last_s"], row["detections"]) == (0.5, 2.5, '{"red": 3}')
    assert index_row(FileSummary(name="a", path="a", answers="", status=Status.FAILED))["first_s"] is None
