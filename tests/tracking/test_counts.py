"""What a stream has counted: worked out by hand."""

from __future__ import annotations

from edgevision.tracking import ZoneMonitor
from edgevision.tracking.counts import LineTotals, SceneCounter, ZoneTotals
from tests.support.zones import DOOR, SIZE, YARD, at, layout_of


def count(counter, monitor, frames, begin_s=0.0):
    for number, seen in enumerate(frames):
        time_s = begin_s + number
        counter.add(seen, monitor.update(seen, time_s, SIZE), time_s)


def test_objects_are_counted_by_id_and_not_by_frame():
    counter = SceneCounter()
    for number in range(20):
        found = counter.add([at(50, 50, 1), at(70, 50, 2, "car")], None, float(number))
    assert found == {"person": 1, "car": 1}
    assert counter.add([at(50, 50, 3)], None, 20.0) == {"person": 2, "car": 1}
    counts = counter.counts(None)
    assert (counts.objects, counts.in_view) == ({"person": 2, "car": 1}, {"person": 1})
    assert (counts.zones, counts.lines) == ({}, {})


def test_every_place_stands_at_zero_before_the_first_object(tmp_path):
    layout = layout_of(tmp_path, YARD + "    classes: [person, car]\n" + DOOR.split("margin: 0")[1])
    counts = SceneCounter().counts(layout)
    assert counts.zones == {"yard": ZoneTotals(classes=("person", "car"))}
    assert counts.lines == {"door": LineTotals()}


def test_entries_exits_stays_and_crossings(tmp_path):
    """One person is in the yard from 1 s to 3 s; another from 2 s on, at 4 s for two seconds."""
    layout = layout_of(tmp_path, YARD + DOOR.split("margin: 0")[1])
    counter, monitor = SceneCounter(), ZoneMonitor(layout)
    first = [(0, 40), (30, 40), (30, 60), (95, 60), (99, 60)]
    second = [None, None, (60, 40), (60, 40), (60, 40)]
    frames = [[at(*a, 1), *([] if b is None else [at(*b, 2)])] for a, b in zip(first, second, strict=True)]
    count(counter, monitor, frames)
    counts = counter.counts(layout)
    yard, door = counts.zones["yard"], counts.lines["door"]
    assert (yard.entries, yard.exits, yard.inside) == ({"person": 2}, {"person": 1}, {"person": 1})
    assert (yard.dwell_s, yard.mean_dwell_s, yard.longest_dwell_s) == (2.0, 2.0, 2.0)
    assert (door.inward, door.outward) == ({"person": 1}, {})


def test_a_lost_source_is_counted_once_and_empties_every_gauge(tmp_path):
    layout = layout_of(tmp_path, YARD)
    counter, monitor = SceneCounter(), ZoneMonitor(layout)
    count(counter, monitor, [[at(50, 50)], [at(50, 50)]])
    counter.lose(monitor.lose())
    for _ in range(2):
        counts = counter.counts(layout)
        assert (counts.in_view, counts.zones["yard"].inside) == ({}, {})
        assert counts.zones["yard"].exits == {"person": 1}
        count(counter, monitor, [[]], 30.0)  # tells the exit again


def test_counts_go_on_where_zones_change_and_streams_are_replaced(tmp_path):
    layout = layout_of(tmp_path, YARD)
    counter, monitor = SceneCounter(), ZoneMonitor(layout)
    count(counter, monitor, [[at(50, 50)], [at(0, 0)]])
    moved = layout_of(tmp_path, YARD.replace("[80, 20]", "[90, 20]"))
    count(counter, ZoneMonitor(moved, monitor), [[at(50, 50, 2)]], 2.0)
    assert counter.counts(moved).zones["yard"].entries == {"person": 2}
    after = SceneCounter()
    after.take_over(counter)
    after.take_over(after)
    count(after, ZoneMonitor(moved), [[at(50, 50, 1)]])
    counts = after.counts(moved)
    assert (counts.objects, counts.zones["yard"].entries) == ({"person": 3}, {"person": 3})
    assert counter.counts(moved).objects == {"person": 2}


def test_memory_does_not_grow_with_the_ids():
    counter = SceneCounter()
    for number in range(3000):
        counter.add([at(50, 50, number)], None, float(number))
    assert counter.counts(None).objects == {"person": 3000}
    assert len(counter._last_s) <= 1201
