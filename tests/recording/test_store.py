"""Which files a recording names, and which it removes."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edgevision.errors import SinkError
from edgevision.recording import SegmentStore
from tests.support.paths import ROOT

NOON = datetime(2026, 11, 21, 12, 0, 0, 250_000, timezone.utc)


class Clock:
    def __init__(self):
        self.time = NOON

    def __call__(self):
        self.time += timedelta(seconds=1)
        return self.time


def store_in(folder, keep=None, stem="yard"):
    return SegmentStore(folder, stem, keep, now=Clock())


def fill(store, size):
    path = store.new_path()
    path.write_bytes(bytes(size))
    store.finished(path)
    return path


def names(folder):
    return sorted(path.name for path in folder.glob("*.mp4"))


def test_names_say_when_and_never_collide(tmp_path):
    store = SegmentStore(tmp_path / "new", "yard", now=lambda: NOON)
    first = store.new_path()
    first.touch()
    assert first == tmp_path / "new" / "yard-20261121T120000.250Z.mp4"
    assert store.new_path().name == "yard-20261121T120000.250Z-2.mp4"


def test_the_oldest_go_until_the_rest_fits(tmp_path):
    store = store_in(tmp_path, keep=1000)
    paths = [fill(store, 400) for _ in range(4)]
    store.settle()
    assert names(tmp_path) == [path.name for path in paths[2:]]
    assert (store.total, store.made, store.removed) == (800, 4, 2)


def test_the_one_that_grows_stays_and_counts(tmp_path):
    store = store_in(tmp_path, keep=1000)
    fill(store, 400)
    current = store.new_path()
    current.write_bytes(bytes(900))
    store.settle(current)
    assert names(tmp_path) == [current.name]
    current.write_bytes(bytes(5000))
    store.settle(current)
    assert names(tmp_path) == [current.name]


def test_files_of_others_stay_whatever_their_names(tmp_path):
    """A file of the user with a name like ours, another stream's segment, and one that was renamed."""
    (tmp_path / "yard-20250101T000000.000Z.mp4").write_bytes(bytes(5000))
    other = fill(store_in(tmp_path, stem="yard-north"), 5000)
    store = store_in(tmp_path, keep=1000)
    kept = fill(store, 900)
    kept.rename(tmp_path / "evidence.mp4")
    for _ in range(3):
        fill(store, 900)
        store.settle()
    left = names(tmp_path)
    assert {"yard-20250101T000000.000Z.mp4", other.name, "evidence.mp4"} < set(left)
    assert len(left) == 4


def test_a_later_run_knows_the_segments_of_an_earlier_one(tmp_path):
    for _ in range(2):
        old = [fill(store_in(tmp_path), 400)]
    store = SegmentStore(tmp_path, "yard", 1000, now=lambda: NOON + timedelta(days=1))
    assert store.total == 400 * len(set(names(tmp_path)))
    fill(store, 700)
    store.settle()
    store.close()
    assert old[0].name not in names(tmp_path)
    assert SegmentStore(tmp_path, "yard", 1000).total == 700


def test_an_index_with_foreign_lines_harms_nobody(tmp_path):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(bytes(5000))
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "yard-link.mp4").symlink_to(secret)
    (folder / ".yard.segments").write_text(
        "../secret.mp4\nyard-../../secret.mp4\nyard-link.mp4\n/etc/passwd\n\n"
    )
    store = store_in(folder, keep=1000)
    assert store.total == 0
    fill(store, 2000)
    store.settle()
    assert secret.stat().st_size == 5000
    assert (folder / "yard-link.mp4").is_symlink()


def test_a_segment_without_a_byte_is_removed(tmp_path):
    store = store_in(tmp_path)
    path = store.new_path()
    path.touch()
    store.finished(path)
    assert names(tmp_path) == []
    assert store.made == 0


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "a" / "b", Path("/proc/here")):
        with pytest.raises(SinkError, match="cannot record in"):
            SegmentStore(folder, "yard")


def test_two_processes_in_one_folder_have_names_of_their_own(tmp_path, caplog):
    script = """
import sys
from pathlib import Path
from edgevision.recording import SegmentStore
store = SegmentStore(Path(sys.argv[1]), "yard", 1000)
for _ in range(4):
    path = store.new_path()
    path.write_bytes(bytes(400))
    store.finished(path)
    store.settle()
print(store.stem, store.made, store.removed)
"""
    first = store_in(tmp_path, keep=1000)
    kept = [fill(first, 400) for _ in range(2)]
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "yard~2 4 2\n"
    assert all(path.exists() for path in kept)
    third = store_in(tmp_path)
    assert third.stem == "yard~2"
    assert third.total == 800  # what the other process left
    assert "another process records yard" in caplog.text
    first.close()
    first.close()
    again = store_in(tmp_path)
    assert (again.stem, again.total) == ("yard", 800)


def test_nothing_is_written_through_symbolic_links(tmp_path):
    outside = tmp_path / "outside"
    for name in (".yard.segments", ".yard.lock"):
        folder = tmp_path / name.strip(".")
        folder.mkdir()
        (folder / name).symlink_to(outside)
        with pytest.raises(SinkError, match="cannot record in"):
            SegmentStore(folder, "yard")
    assert not outside.exists()
