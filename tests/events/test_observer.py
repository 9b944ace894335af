"""What is told of objects whose paths are known.

Also tests ``edgevision.events.outlets``, ``edgevision.events.records``.
"""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgevision.errors import DataError, SinkError
from edgevision.events import (
    Event,
    EventFile,
    EventKind,
    EventObserver,
    EventSink,
    ObjectState,
    read_events,
)
from edgevision.events.records import encode
from edgevision.events.sink import jpeg_keeper, open_outlet
from edgevision.tracking.sightings import Sighting
from edgevision.types import Attribute, Detections, Frame, FrameResult, ZoneReport
from tests.support.paths import ROOT

NEW, UPDATE, END = EventKind.NEW, EventKind.UPDATE, EventKind.END
NOON = datetime(2026, 11, 21, 12, 0, 0, 250_000, timezone.utc)


def frame_at(time_s, value=0):
    image = np.full((100, 200, 3), value, np.uint8)
    return Frame(image, round(time_s * 10), round(time_s * 1e9), "clip.mp4")


def seen(score=0.5, track_id=1, box=(50, 20, 70, 60)):
    return Sighting(track_id, "person", score, box)


def watch(observer, frames):
    """Frames are ten a second: a list of sightings, or a pair with the zones of track 1."""
    told = []
    for i, each in enumerate(frames):
        sightings, zones = each if isinstance(each, tuple) else (each, None)
        report = None if zones is None else ZoneReport(dwell_s={1: dict.fromkeys(zones, 0.0)})
        told += observer.update(frame_at(i / 10), sightings, report)
    return told


def observer(**changes):
    return EventObserver(run_id="run", now=lambda: NOON, **changes)


def test_the_life_of_an_object():
    watcher = observer(vanish_s=0.5)
    told = watch(watcher, [[seen()]] * 5 + [[]] * 10)
    assert [event.kind for event in told] == [NEW, END]
    new, end = told
    assert (new.id, new.source, new.at, new.schema) == ("run-1", "clip.mp4", "2026-11-21T12:00:00.250Z", 1)
    assert new.before is None
    assert (new.after.track_id, new.after.class_name, new.after.sightings) == (1, "person", 3)
    assert (new.after.first_s, new.after.last_s) == (0.0, 0.2)
    assert end.id == "run-1"
    assert end.before == new.after
    assert (end.after.last_s, end.after.sightings, end.reason) == (0.4, 5, "vanished")
    assert new.reason is msgspec.UNSET


def test_events_carry_what_a_second_model_said():
    told = Attribute("helmet", 0.87654, "workwear")
    sighting = Sighting(1, "person", 0.5, (50, 20, 70, 60), (told,))
    watching = observer()
    found = [event for i in range(3) for event in watching.update(frame_at(i * 0.04), [sighting])]
    (new,) = found
    assert msgspec.json.decode(encode(new))["after"]["attributes"] == [
        {"class": "helmet", "score": 0.8765, "model": "workwear"}
    ]
    plain = observer()
    events = [event for i in range(3) for event in plain.update(frame_at(i * 0.04), [seen()])]
    assert "attributes" not in msgspec.json.decode(encode(events[0]))["after"]


def test_who_is_seen_twice_only_is_never_told_of():
    watcher = observer(vanish_s=0.5)
    assert watch(watcher, [[seen()], [seen()], *([[]] * 10)]) == []
    assert watcher.finish() == []


def test_numbers_of_events_have_as_many_digits_as_mean_something():
    third = 1 / 3
    watcher = observer()
    for i in range(3):
        watcher.update(frame_at(i / 30), [seen(score=third, box=(50 + third, 20, 70, 60 + third))])
    (event,) = watcher.finish()
    for one in (event.after, event.after.best):
        assert (one.score, one.box) == (0.3333, (50.33, 20, 70, 60.33))
    assert (event.after.last_s, event.after.best.time_s) == (0.066667, 0.0)


def test_a_short_gap_is_one_life():
    told = watch(observer(vanish_s=0.5), [[seen()]] * 3 + [[]] * 4 + [[seen()]] * 3)
    assert [event.kind for event in told] == [NEW]


def test_the_end_of_the_run_ends_everything_once():
    watcher = observer()
    watch(watcher, [[seen(), seen(track_id=2)]] * 3)
    assert [(event.kind, event.id, event.reason) for event in watcher.finish()] == [
        (END, "run-1", "run ended"),
        (END, "run-2", "run ended"),
    ]
    assert watcher.finish() == []


def test_zones_are_told_at_once_and_remembered():
    frames = [([seen()], zones) for zones in ([], [], [], ["yard"], ["yard"], ["yard", "door"], [])]
    new, *updates = watch(observer(), frames)
    assert new.kind is NEW
    assert [event.kind for event in updates] == [UPDATE] * 3
    assert [(event.before.zones, event.after.zones) for event in updates] == [
        ([], ["yard"]),
        (["yard"], ["yard", "door"]),
        (["yard", "door"], []),
    ]
    assert updates[-1].after.visited == ["yard", "door"]


def test_the_best_frame_has_the_highest_score():
    scores = [0.5, 0.9, 0.7, 0.6]
    (new,) = watch(observer(), [[seen(score)] for score in scores])
    assert (new.after.best.frame, new.after.best.score, new.after.best.time_s) == (1, 0.9, 0.1)


@pytest.mark.parametrize(
    ("box", "frame"),
    [
        ((0.5, 20, 20, 60), 1),  # cut off: the second sighting is better, however weak
        ((50, 0.5, 70, 40), 1),
        ((180, 20, 199.5, 60), 1),
        ((50, 60, 70, 99.5), 1),
        ((1.5, 1.5, 198.5, 98.5), 0),
    ],
)
def test_a_box_within_a_pixel_of_any_edge_is_cut_off(box, frame):
    (new,) = watch(observer(), [[seen(0.95, box=box)], [seen(0.6)], [seen(0.5)]])
    assert new.after.best.frame == frame


def test_an_object_that_the_image_cuts_off_is_best_only_while_there_is_no_better():
    """The first box touches the left edge; later ones do not, though their scores are lower."""
    cut = seen(0.95, box=(0, 20, 20, 60))
    (new,) = watch(observer(), [[cut], [seen(0.6)], [seen(0.5)]])
    assert (new.after.best.frame, new.after.best.score) == (1, 0.6)


def test_better_sightings_are_told_once_a_second_at_most():
    """The score rises by 0.1 in each of frames 3 to 6; the new event was in frame 2."""
    rising = [[seen(0.3 + 0.1 * max(0, min(i, 6) - 2))] for i in range(20)]
    told = watch(observer(), rising)
    assert [(event.kind, event.after.last_s) for event in told] == [(NEW, 0.2), (UPDATE, 1.2)]
    assert told[1].after.best.frame == 6


def test_crops_are_copies_of_the_best_sighting_with_a_margin():
    kept = []
    watcher = observer(keep_image=lambda name, crop: kept.append((name, crop)) or f"{name}.jpg")
    frames = [frame_at(0.0, 10), frame_at(0.1, 20), frame_at(0.2, 30)]
    told = []
    for frame, score in zip(frames, (0.5, 0.9, 0.6), strict=True):
        told += watcher.update(frame, [seen(score)])
        frame.image[:] = 0  # a source that uses its buffer again
    ((name, crop),) = kept
    assert name == "run-1"
    assert crop.shape == (49, 25, 3)  # a box of 20 x 40, a tenth more on each side
    assert (crop == 20).all()
    assert told[0].after.best.image == "run-1.jpg"


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((50, 0, 70, 40), (0, 45), (48, 73)),  # top: 4 rows of margin below only
        ((50, 60, 70, 100), (56, 100), (48, 73)),
        ((0, 20, 20, 60), (16, 65), (0, 23)),
        ((180, 20, 200, 60), (16, 65), (178, 200)),
        ((0, 0, 200, 100), (0, 100), (0, 200)),
        ((0, 0, 0, 0), (0, 1), (0, 1)),
    ],
)
def test_a_box_at_the_edge_gives_a_crop_inside_the_image(box, rows, columns):
    kept = []
    watcher = observer(keep_image=lambda name, crop: kept.append(crop))
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    for i in range(3):
        watcher.update(Frame(image, i, i * 100_000_000, "clip.mp4"), [seen(box=box)])
    assert np.array_equal(kept[0], image[slice(*rows), slice(*columns)])


def test_ids_of_two_runs_differ():
    first, second = (watch(EventObserver(), [[seen()]] * 3)[0].id for _ in range(2))
    assert first != second


def result_of(frame, *ids):
    boxes = [[50 + 10 * i, 20, 70 + 10 * i, 60] for i in ids]
    class_ids = [i % 2 for i in ids]
    found = Detections(boxes, [0.9] * len(ids), class_ids, ("person", "car"), track_ids=list(ids))
    return FrameResult(frame, (found,))


def test_the_sink_writes_lines_that_read_back(tmp_path):
    path = tmp_path / "events.jsonl"
    with EventSink([open_outlet(str(path))]) as sink:
        for i in range(3):
            frame = frame_at(i / 10)
            sink.write(result_of(frame, 2, 3), frame.image)
    told = list(read_events(path))
    assert [(event.kind, event.after.class_name) for event in told] == [
        (NEW, "person"),
        (NEW, "car"),
        (END, "person"),
        (END, "car"),
    ]
    assert sink.counts == {NEW: 2, UPDATE: 0, END: 2}
    assert sink.notes == [f"{path}: 4 events"]


def test_only_the_named_classes_are_told_of(tmp_path):
    path = tmp_path / "events.jsonl"
    with EventSink([EventFile(path)], only=["car"]) as sink:
        for i in range(3):
            frame = frame_at(i / 10)
            sink.write(result_of(frame, 2, 3), frame.image)
    assert {event.after.class_name for event in read_events(path)} == {"car"}


def test_the_image_of_an_event_is_a_jpeg_on_disk(tmp_path):
    path = tmp_path / "events.jsonl"
    with EventSink([EventFile(path)], EventObserver(jpeg_keeper(tmp_path))) as sink:
        for i in range(3):
            frame = frame_at(i / 10, 77)
            sink.write(result_of(frame, 2), frame.image)
    image = next(read_events(path)).after.best.image
    assert b'"picture":' in path.read_bytes()  # its name in the published schema
    assert abs(int(cv2.imread(image).mean()) - 77) <= 2
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_written_costs_the_images_only(tmp_path, caplog):
    path = tmp_path / "events.jsonl"
    watcher = EventObserver(jpeg_keeper(tmp_path / "none"))
    with EventSink([EventFile(path)], watcher) as sink:
        for i in range(3):
            frame = frame_at(i / 10)
            sink.write(result_of(frame, 2, 4), frame.image)
    assert [event.after.best.image for event in read_events(path)] == [msgspec.UNSET] * 4
    assert len([record for record in caplog.records if "images" in record.message]) == 1


def test_a_full_disk_loses_events_and_says_so_once(caplog):
    outlet = EventFile(Path("/dev/full"))
    (new,) = watch(observer(), [[seen()]] * 3)
    for _ in range(3):
        outlet.publish(new)
    assert (outlet.taken, outlet.lost) == (0, 3)
    assert (outlet.delivery().lost, "No space left" in outlet.delivery().alarm) == (3, True)
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text


def test_a_file_that_took_no_event_at_all_is_an_error(tmp_path):
    sink = EventSink([EventFile(Path("/dev/full")), EventFile(tmp_path / "good.jsonl")])
    for index in range(5):
        sink.write(result_of(frame_at(index / 10), 1), None)
    with pytest.raises(SinkError, match=r"No space left on device.*none of \d+ events was written"):
        sink.close()
    sink.close()
    assert len((tmp_path / "good.jsonl").read_text().splitlines()) == 2


class Outside(EventFile):
    """Does in its ``publish`` or ``close`` what it is given."""

    def __init__(self, path, call, act):
        super().__init__(path)
        self.call, self.act = call, act

    def publish(self, event):
        if self.call == "publish" and event.kind is END:
            self.act()
        super().publish(event)

    def close(self):
        if self.call == "close":
            self.act()
        super().close()


@pytest.mark.parametrize("call", ["publish", "close"])
@pytest.mark.parametrize("position", [0, 1])
def test_an_outlet_that_takes_long_at_the_end_keeps_no_other_open(tmp_path, call, position):
    is_closed, waited = threading.Event(), []
    outlets = [Outside(tmp_path / "other.jsonl", "close", is_closed.set)]
    slow = Outside(tmp_path / "slow.jsonl", call, lambda: waited.append(is_closed.wait(10)))
    outlets.insert(position, slow)
    with EventSink(outlets) as sink:
        for i in range(3):
            frame = frame_at(i / 10)
            sink.write(result_of(frame, 2), frame.image)
    assert waited == [True]
    assert sink.counts == {NEW: 1, UPDATE: 0, END: 1}
    assert sink.notes == [f"{one.name}: 2 events" for one in outlets]


def test_an_outlet_that_fails_at_the_end_keeps_no_other_open(tmp_path):
    def fail():
        raise OSError("the disk went away")

    good = tmp_path / "good.jsonl"
    sink = EventSink([Outside(tmp_path / "bad.jsonl", "close", fail), EventFile(good)])
    for i in range(3):
        sink.write(result_of(frame_at(i / 10), 2), None)
    with pytest.raises(OSError, match="the disk went away"):
        sink.close()
    assert [event.kind for event in read_events(good)] == [NEW, END]
    assert f"{good}: 2 events" in sink.notes


def test_a_line_that_is_no_event_is_named(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"schema":1}\n')
    with pytest.raises(DataError, match="line 1"):
        list(read_events(path))


def test_the_page_names_every_field_and_its_example_reads_back(tmp_path):
    text = (ROOT / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
    for kind in (Event, ObjectState):
        for name in kind.__struct_encode_fields__:
            assert f"`{name}`" in text
    (example,) = [line for line in text.splitlines() if line.startswith('{"schema"')]
    path = tmp_path / "events.jsonl"
    path.write_text(example)
    (event,) = read_events(path)
    assert (event.kind, event.after.zones) == (UPDATE, ["yard"])
