"""Events in SQLite: none is lost to locks, kills, damage or time zones, and both bounds hold.

Also tests ``edgevision.web.outlet`` and ``edgevision.web.event_database``.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from edgevision.errors import UsageError
from edgevision.events import BestFrame, Event, EventKind, ObjectState
from edgevision.recording import Recorder, Rotation, SegmentStore
from edgevision.types import Frame, FrameResult
from edgevision.video.base import SourceInfo
from edgevision.web.event_database import _connect
from edgevision.web.event_records import Entry, Query, why
from edgevision.web.event_routes import EventRoutes
from edgevision.web.event_store import EventStore
from edgevision.web.outlet import StoreOutlet
from tests.support.broker import wait_until
from tests.support.disk import fill, small_disk
from tests.support.web import ask, served

NOON = (datetime.now(timezone.utc) - timedelta(days=2)).replace(hour=12, minute=0, second=0, microsecond=0)


def state(last_s: float = 2.0, zones: tuple[str, ...] = (), score: float = 0.5) -> ObjectState:
    best = BestFrame(frame=3, time_s=1.0, score=score, box=(0, 0, 9, 9))
    return ObjectState(
        track_id=1, class_name="person", score=score, box=(0, 0, 9, 9), first_s=0.5, last_s=last_s,
        sightings=3, zones=list(zones), visited=list(zones), best=best,
    )  # fmt: skip


def event(
    number: int = 1, kind: EventKind = EventKind.NEW, at: datetime = NOON, zones: tuple[str, ...] = ()
) -> Event:
    text = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    before = None if kind is EventKind.NEW else state()
    return Event(
        schema=1, kind=kind, id=f"run-{number}", source="gate", at=text, before=before,
        after=state(zones=zones),
        reason="vanished" if kind is EventKind.END else msgspec.UNSET,
    )  # fmt: skip


def settled(store: EventStore) -> None:
    wait_until(lambda: store.delivery().waiting == 0, "everything is written")


def test_an_object_has_one_row_and_its_changes(tmp_path: Path) -> None:
    with EventStore(tmp_path / "page") as store:
        outlet = StoreOutlet(store, "gate")
        outlet.publish(event())
        outlet.publish(event(kind=EventKind.UPDATE, at=NOON + timedelta(seconds=1), zones=("yard",)))
        outlet.publish(event(kind=EventKind.END, at=NOON + timedelta(seconds=9), zones=("yard",)))
        settled(store)
        (one,) = store.database.listed(Query())
        first_ms = round(NOON.timestamp() * 1e3) - 1500  # it was first seen 1.5 s before
        assert (one.stream, one.class_name, one.first_ms) == ("gate", "person", first_ms)
        assert (one.last_ms, one.is_over, one.zones) == (first_ms + 10_500, True, ["yard"])
        found = store.database.find("run-1")
        assert found is not None
        assert [change.why for change in found[1]] == [
            "seen 3 times, last with a score of 0.50", "entered yard", "no longer seen"
        ]  # fmt: skip
        assert store.database.find("other") is None
        assert (outlet.taken, outlet.lost, outlet.delivery().delivered) == (3, 0, 3)


def test_a_folder_stays_claimed_until_a_slow_database_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, let_go = threading.Event(), threading.Event()
    store = EventStore(tmp_path)
    write = store.database.write

    def write_slowly(batch: list[Entry]) -> None:
        begun.set()
        assert let_go.wait(30)
        write(batch)

    monkeypatch.setattr(store.database, "write", write_slowly)
    monkeypatch.setattr(store._thread, "join", lambda seconds: None)
    store.add("gate", event())
    assert begun.wait(30)
    store.close()
    with pytest.raises(UsageError, match="belongs to another run"):
        EventStore(tmp_path)
    let_go.set()
    threading.Thread.join(store._thread, 30)
    assert store.delivery().delivered == 1
    assert (tmp_path / "events.pending.jsonl").read_bytes() == b""
    with EventStore(tmp_path) as again:
        assert [one.id for one in again.database.listed(Query())] == ["run-1"]


def test_lists_are_filtered_and_go_on_where_they_ended(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        for number in range(30):
            zones = ("a \"quoted\" 'zone'",) if number % 3 == 0 else ()
            store.add(
                "gate" if number % 2 else "yard",
                event(number, at=NOON + timedelta(minutes=number), zones=zones),
            )
        settled(store)
        first = store.database.listed(Query(limit=20))
        rest = store.database.listed(Query(limit=20, before=(first[-1].first_ms, first[-1].id)))
        assert [one.id for one in first + rest] == [f"run-{number}" for number in reversed(range(30))]
        assert len(store.database.listed(Query(stream="gate"))) == 15
        assert len(store.database.listed(Query(zone="a \"quoted\" 'zone'"))) == 10
        assert store.database.listed(Query(class_name="' OR 1=1 --")) == []
        start = round(NOON.timestamp() * 1e3)
        assert len(store.database.listed(Query(from_ms=start, to_ms=start + 5 * 60_000))) == 6
        counts = store.database.counts(Query(from_ms=start - 60_000, to_ms=start + 30 * 60_000), 31)
        assert {name: sum(row) for name, row in counts.items()} == {"gate": 15, "yard": 15}
        assert store.database.names() == (["gate", "yard"], ["person"])


def test_objects_are_counted_in_the_part_of_the_time_in_which_they_were_first_seen(tmp_path: Path) -> None:
    start = round(NOON.timestamp() * 1e3)
    rows = [  # first and last time after the start, in seconds
        ("gate", -90, -1), ("gate", -90, 0), ("gate", 0, 0), ("gate", 59, 61), ("gate", 60, 60),
        ("gate", 239, 500), ("gate", 240, 240), ("gate", 241, 300), ("yard", 120, 121), ("yard", -5, 900),
    ]  # fmt: skip
    with EventStore(tmp_path) as store:
        for number, (stream, first_s, last_s) in enumerate(rows):
            seen = msgspec.structs.replace(state(), first_s=0.0, last_s=float(last_s - first_s))
            at = NOON + timedelta(seconds=last_s)
            one = msgspec.structs.replace(event(number, at=at), after=seen)
            store.add(stream, one)
        settled(store)
        times = {"from_ms": start, "to_ms": start + 240_000}
        found = store.database.counts(Query(**times), 4)
        assert found == {"gate": [3, 1, 0, 2], "yard": [1, 0, 1, 0]}
        assert store.database.counts(Query(stream="yard", **times), 4) == {"yard": [1, 0, 1, 0]}
        assert store.database.counts(Query(class_name="person", **times), 1) == {"gate": [6], "yard": [2]}
        assert store.database.counts(Query(zone="none", **times), 4) == {}


def test_a_day_of_25_hours_neither_loses_nor_doubles(tmp_path: Path) -> None:
    start = datetime(2026, 10, 24, 22, 0, tzinfo=timezone.utc)  # clocks go back that night in Europe
    with EventStore(tmp_path) as store:
        for number in range(100):
            store.add("gate", event(number, at=start + timedelta(minutes=15 * number)))
        settled(store)
        found = store.database.listed(Query(limit=200))
        assert len(found) == 100
        assert [one.first_ms for one in found] == sorted({one.first_ms for one in found}, reverse=True)


def test_a_foreign_lock_delays_and_loses_nothing(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        store.add("gate", event(0))
        settled(store)
        other = sqlite3.connect(tmp_path / "events.sqlite", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        for number in range(1, 200):
            store.add("gate", event(number))
        wait_until(lambda: store.delivery().alarm is not None, "an alarm")
        assert store.delivery().waiting == 199
        other.execute("ROLLBACK")
        other.close()
        settled(store)
        assert store.delivery().alarm is None
        assert len(store.database.listed(Query(limit=200))) == 200


KILLED = """
import sqlite3, sys, time
from pathlib import Path
from edgevision.web.event_store import EventStore
from tests.web.test_event_store import event
store = EventStore(Path(sys.argv[1]))
other = sqlite3.connect(Path(sys.argv[1]) / "events.sqlite", isolation_level=None)
other.execute("BEGIN EXCLUSIVE")
for number in range(1000):
    store.add("gate", event(number))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_kill_while_the_database_is_locked_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
    with (tmp_path / "events.pending.jsonl").open("ab") as journal:
        journal.write(b'{"key": "cut o')
    with EventStore(tmp_path) as store:
        settled(store)
        assert store.delivery().delivered == 1000
    assert (tmp_path / "events.pending.jsonl").stat().st_size == 0
    with EventStore(tmp_path) as store, sqlite3.connect(tmp_path / "events.sqlite") as database:
        assert database.execute("SELECT COUNT(*) FROM objects").fetchone() == (1000,)
        assert store.delivery().delivered == 0


def test_a_full_disk_delays_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "400k"), EventStore(tmp_path / "disk") as store:
        store.add("gate", event(0))
        settled(store)
        filler = tmp_path / "disk" / "filler"
        fill(filler)
        for number in range(1, 300):
            store.add("gate", event(number))
        wait_until(lambda: "full" in str(store.delivery().alarm), "an alarm")
        assert store.delivery().waiting > 200
        filler.unlink()
        settled(store)
        assert (store.delivery().alarm, store.delivery().lost) == (None, 0)
        counts = store.database.counts(Query(from_ms=0, to_ms=2**42), 1)
        assert counts == {"gate": [300]}


def test_what_a_full_disk_never_took_is_counted_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", "400k"):
        store = EventStore(tmp_path / "disk")
        fill(tmp_path / "disk" / "filler")
        for number in range(300):
            store.add("gate", event(number))
        store.close()
        lost = store.delivery().lost
        assert 200 < lost <= 300
        assert f"{lost} events are lost: " in caplog.text
        (tmp_path / "disk" / "filler").unlink()
        with EventStore(tmp_path / "disk") as store:
            settled(store)
            assert store.delivery().delivered == 300 - lost


def test_a_folder_belongs_to_one_run_and_objects_of_a_killed_one_are_over(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED.replace("BEGIN EXCLUSIVE", "SELECT 1"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(UsageError, match=r"`web_data` .* belongs to another run that goes on"):
            EventStore(tmp_path)
        os.kill(process.pid, signal.SIGKILL)
    with EventStore(tmp_path) as store:
        store.add("gate", event(2000, at=NOON + timedelta(hours=1)))

        def are_over() -> list[bool]:
            return [one.is_over for one in store.database.listed(Query(limit=200))]

        wait_until(lambda: are_over() == [False] + [True] * 199, "the others are over")
        found = store.database.find("run-7")
        assert found is not None
        assert [one.why for one in found[1]][1:] == ["the run ended without notice"]


def test_an_event_that_cannot_be_kept_does_not_hold_up_the_others(tmp_path: Path) -> None:
    broken = Entry(key="k", stream="gate", run="r", event=msgspec.structs.replace(event(1), at="yesterday"))
    (tmp_path / "events.pending.jsonl").write_bytes(msgspec.json.encode(broken) + b"\n")
    with EventStore(tmp_path) as store:
        for number in range(2, 5):
            store.add("gate", event(number))
        settled(store)
        assert [one.id for one in store.database.listed(Query())] == ["run-4", "run-3", "run-2"]
        assert store.delivery().lost == 1


def test_the_first_page_of_a_long_list_costs_what_that_of_a_short_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watched(path: Path) -> sqlite3.Connection:
        database = _connect(path)
        database.set_progress_handler(step, 10)
        return database

    def cost(store: EventStore) -> int:
        nonlocal steps
        steps = 0
        start = round(NOON.timestamp() * 1e3)
        store.database.names()
        store.database.listed(Query(limit=20))
        store.database.listed(Query(limit=20, stream="gate", class_name="person"))
        store.database.listed(Query(limit=20, from_ms=start - 86_400_000, to_ms=start + 10**9))
        return steps

    def fill_with(store: EventStore, numbers: range) -> None:
        moments = [NOON + timedelta(seconds=number) for number in numbers]
        rows = zip(numbers, moments, strict=True)
        entries = [Entry(key=f"k{i}", stream="gate", run="r", event=event(i, at=at)) for i, at in rows]
        store.database.write(entries)

    monkeypatch.setattr("edgevision.web.event_database._connect", watched)
    with EventStore(tmp_path) as store:
        fill_with(store, range(100))
        few = cost(store)
        fill_with(store, range(100, 3000))
        assert cost(store) < 1.5 * few


def test_a_damaged_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "events.sqlite").write_bytes(b"not a database " * 1000)
    with EventStore(tmp_path) as store:
        store.add("gate", event())
        settled(store)
        assert len(store.database.listed(Query())) == 1
    (kept,) = [path for path in tmp_path.glob("events.*.sqlite") if path.name != "events.sqlite"]
    assert kept.read_bytes().startswith(b"not a database")


def test_old_events_go_and_so_do_the_oldest_beyond_the_size(tmp_path: Path) -> None:
    now = datetime.now(timezone.utc)
    with EventStore(tmp_path, keep_days=2, keep_bytes=600_000) as store:
        for number in range(60):
            at = now - timedelta(days=3) if number < 10 else now - timedelta(minutes=60 - number)
            store.add("gate", event(number, EventKind.END, at))
            (store.database.images / f"run-{number}.jpg").write_bytes(bytes(20_000))
        settled(store)
        store.database.prune()
        left = store.database.listed(Query(limit=200))
        assert left[0].id == "run-59"
        assert all(one.has_image for one in left)
        assert {path.stem for path in store.database.images.iterdir()} == {one.id for one in left}
        size = sum(path.stat().st_size for path in store.database.images.iterdir())
        size += (tmp_path / "events.sqlite").stat().st_size
        assert 500_000 < size <= 606_000


def test_a_clip_begins_before_the_object_and_is_listed_only_while_it_is_there(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.mp4" for name in "abc"]
    with EventStore(tmp_path) as store:
        for path, first_s in zip(paths, (0.0, 0.3, 1.9), strict=True):
            path.write_bytes(b"x")
            store.add_file("gate", path, first_s, 0)
        store.add("gate", event())
        settled(store)
        clip = store.database.clip("run-1")
        assert clip is not None
        assert (clip.path, round(clip.start_s, 3), round(clip.end_s, 3)) == (paths[1].resolve(), 0.2, 1.7)
        paths[1].unlink()
        assert not store.database.listed(Query())[0].has_clip
        assert store.database.clip("run-1") is None
        assert store.database.image("run-1") is None


def test_a_clip_is_not_listed_where_its_recording_ended_before_the_object(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    with EventStore(tmp_path) as store:
        store.add_file("gate", path, 0.0, 0)
        store.add("gate", event())  # first seen after half a second
        settled(store)
        assert store.database.clip("run-1") is not None  # the file goes on
        store.end_file("gate", path, 0.6)
        settled(store)
        assert store.database.clip("run-1") is not None
        store.end_file("gate", path, 0.4)
        settled(store)
        assert store.database.clip("run-1") is None
        assert not store.database.listed(Query())[0].has_clip


def test_on_a_full_disk_every_clip_that_is_listed_shows_its_object(tmp_path: Path) -> None:
    disk, rate = tmp_path / "disk", 10.0
    noise = np.random.default_rng(0).integers(0, 255, (10, 96, 160, 3), np.uint8)
    with small_disk(disk, "900k"):
        filler = disk / "filler"
        filler.write_bytes(bytes(100_000))
        with EventStore(disk / "page") as store:
            recorder = Recorder(
                SegmentStore(disk / "clips", "gate"),
                SourceInfo("gate", is_live=True, frame_rate=rate),
                Rotation(seconds=2),
                on_file=lambda path, first_s, age_s: store.add_file("gate", path, first_s, 0),
                on_file_end=lambda path, last_s: store.end_file("gate", path, last_s),
                reserve=0,
            )
            for number in range(150):
                image = noise[number % 10]
                recorder.write(FrameResult(Frame(image, number, round(number / rate * 1e9)), ()), image)
                if number % 10 == 5:
                    at_s = number / rate
                    found = event(number, EventKind.END, NOON + timedelta(seconds=at_s))
                    seen = msgspec.structs.replace(found.after, first_s=at_s, last_s=at_s + 0.5)
                    store.add("gate", msgspec.structs.replace(found, after=seen))
            recorder.close()
            assert "No space left on device" in str(recorder.alarm)
            filler.unlink()
            settled(store)
            listed = store.database.listed(Query(limit=200))
            clips = {one.id: store.database.clip(one.id) for one in listed if one.has_clip}
            assert (len(listed), store.delivery().lost) == (15, 0)
            assert 2 <= len(clips) < 15
            for name, clip in clips.items():
                assert clip is not None, name
                with av.open(str(clip.path)) as container:
                    last_s = max(float(frame.time or 0) for frame in container.decode(video=0))
                assert 0 < clip.start_s <= last_s, name
            with served(routes=EventRoutes(store).routes) as server:
                part = ask(f"{server.url}api/events/{next(iter(clips))}/clip.mp4", Range="bytes=0-1")
            assert (part.status, len(part.data)) == (206, 2)


def test_why_an_event_was_sent_is_said_in_words() -> None:
    better = msgspec.structs.replace(event(kind=EventKind.UPDATE), after=state(score=0.9))
    assert why(better) == "seen better, with a score of 0.90"
    ended = msgspec.structs.replace(event(kind=EventKind.END), reason="run ended")
    assert why(ended) == "run ended"
    left = msgspec.structs.replace(event(kind=EventKind.UPDATE), before=state(zones=("yard",)))
    assert why(left) == "left yard"
