"""Zones and lines: walks worked out by hand, and what must hold for every walk."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.tracking import ZoneLayout, ZoneMonitor, load_zones
from edgevision.tracking.zone_monitor import greatest_depth
from edgevision.tracking.zones import Line, Units, Zone
from edgevision.types import Attribute, ZoneEventKind
from tests.support.zones import DOOR, SIZE, YARD, at, layout_of

ENTER, EXIT, IN, OUT = ZoneEventKind.ENTER, ZoneEventKind.EXIT, ZoneEventKind.IN, ZoneEventKind.OUT


def walk(monitor, frames, step_s=1.0):
    """Reports of frames that are ``step_s`` apart; each frame is a list of sightings."""
    return [monitor.update(seen, i * step_s, SIZE) for i, seen in enumerate(frames)]


def events(reports):
    return [(event.kind, event.place, event.time_s) for report in reports for event in report.events]


def test_through_the_yard(tmp_path):
    """In at 2 s, out at 5 s: three seconds inside."""
    monitor = ZoneMonitor(layout_of(tmp_path, YARD))
    reports = walk(monitor, [[at(x, 50)] for x in (0, 10, 30, 50, 70, 90, 100)])
    assert events(reports) == [(ENTER, "yard", 2.0), (EXIT, "yard", 5.0)]
    assert [report.dwell_s.get(1, {}).get("yard") for report in reports] == [None, None, 0, 1, 2, None, None]
    assert reports[5].events[0].dwell_s == 3.0
    (count,) = reports[3].zones
    assert (count.inside, count.entries, count.exits) == ({"person": 1}, {"person": 1}, {})
    (count,) = reports[6].zones
    assert (count.inside, count.entries, count.exits) == ({}, {"person": 1}, {"person": 1})


def test_who_is_inside_at_first_sight_has_entered(tmp_path):
    reports = walk(ZoneMonitor(layout_of(tmp_path, YARD)), [[at(50, 50)]])
    assert events(reports) == [(ENTER, "yard", 0.0)]


def test_counts_are_by_class(tmp_path):
    monitor = ZoneMonitor(layout_of(tmp_path, YARD))
    reports = walk(
        monitor, [[at(50, 50, 1), at(60, 50, 2, "car"), at(70, 50, 3)], [at(50, 50, 1), at(0, 0, 2, "car")]]
    )
    assert reports[0].zones[0].inside == {"person": 2, "car": 1}
    assert reports[1].zones[0].inside == {"person": 2}  # the third is only out of sight
    assert reports[1].zones[0].exits == {"car": 1}


def said(sighting, *names):
    return replace(sighting, attributes=tuple(Attribute(name, 0.9) for name in names))


def layout_by(folder, text, classes):
    path = folder / "zones.yaml"
    path.write_text(f"{text}    classes: {classes}\n")
    return load_zones(path, ["person", "car"], ["helmet"])


def test_a_zone_counts_by_what_a_second_model_says(tmp_path):
    """It enters once that is said, and stays whatever is said later, until it leaves."""
    monitor = ZoneMonitor(layout_by(tmp_path, YARD, '["person:helmet"]'))
    steps = [said(at(50, 50)), said(at(50, 50), "helmet"), said(at(50, 50)), said(at(0, 50))]
    other = said(at(60, 50, 2, "car"), "helmet")
    reports = walk(monitor, [[one, other] for one in steps])
    assert events(reports) == [(ENTER, "yard", 1.0), (EXIT, "yard", 3.0)]
    assert [report.zones[0].inside for report in reports] == [{}, {"person": 1}, {"person": 1}, {}]
    assert reports[1].zones[0].attributes == {"helmet": 1}


def test_a_line_counts_who_it_was_said_of_when_it_crosses(tmp_path):
    monitor = ZoneMonitor(layout_by(tmp_path, DOOR, '[":helmet"]'))
    steps = [(40, []), (60, []), (40, ["helmet"]), (60, ["helmet"])]
    reports = walk(monitor, [[said(at(50, y), *names)] for y, names in steps])
    assert events(reports) == [(OUT, "door", 2.0), (IN, "door", 3.0)]
    assert reports[3].lines[0].inward == {"person": 1}


def test_only_the_named_classes_count(tmp_path):
    monitor = ZoneMonitor(layout_of(tmp_path, YARD + "    classes: [car]\n"))
    (report,) = walk(monitor, [[at(50, 50, 1), at(60, 50, 2, "car")]])
    assert report.zones[0].inside == {"car": 1}
    assert list(report.dwell_s) == [2]


def test_the_feet_decide_unless_the_centre_is_asked_for(tmp_path):
    """A box from y=65 to y=85: its feet are below the yard, its centre inside."""
    tall = [[at(50, 85)]]
    assert events(walk(ZoneMonitor(layout_of(tmp_path, YARD)), tall)) == []
    centre = layout_of(tmp_path, YARD + "    anchor: centre\n")
    assert events(walk(ZoneMonitor(centre), tall)) == [(ENTER, "yard", 0.0)]


def test_who_vanishes_inside_has_left_when_last_seen(tmp_path):
    """Seen from 0 s to 2 s, then never again: with 3 s of patience the exit comes in the frame at 6 s."""
    monitor = ZoneMonitor(layout_of(tmp_path, YARD + "vanish_s: 3\n"))
    reports = walk(monitor, [[at(50, 50)]] * 3 + [[]] * 5)
    assert [len(report.events) for report in reports] == [1, 0, 0, 0, 0, 0, 1, 0]
    (gone,) = reports[6].events
    assert (gone.kind, gone.time_s, gone.dwell_s) == (EXIT, 2.0, 2.0)
    assert reports[5].zones[0].inside == {"person": 1}
    assert reports[6].zones[0].inside == {}


def test_a_short_absence_is_no_exit_and_counts_as_time_inside(tmp_path):
    monitor = ZoneMonitor(layout_of(tmp_path, YARD + "vanish_s: 3\n"))
    reports = walk(monitor, [[at(50, 50)], [], [], [at(55, 50)], [at(95, 50)]])
    assert events(reports) == [(ENTER, "yard", 0.0), (EXIT, "yard", 4.0)]
    assert reports[4].events[0].dwell_s == 4.0


def test_trembling_on_the_border_counts_once(tmp_path):
    """The border is x = 20; boxes tremble by 2 pixels and the margin is 3."""
    trembling = [[at(x, 50)] for x in (10, 19, 21, 18, 22, 19, 21, 24, 21, 18, 22, 16)]
    quiet = ZoneMonitor(layout_of(tmp_path, YARD.replace("margin: 0", "margin: 3")))
    assert events(walk(quiet, trembling)) == [(ENTER, "yard", 7.0), (EXIT, "yard", 11.0)]
    nervous = ZoneMonitor(layout_of(tmp_path, YARD))
    assert len(events(walk(nervous, trembling))) == 8


def test_a_line_is_crossed_in_downward_and_out_upward(tmp_path):
    """From the left end to the right one, the right hand side is below."""
    monitor = ZoneMonitor(layout_of(tmp_path, DOOR))
    reports = walk(monitor, [[at(50, y)] for y in (30, 45, 55, 70, 55, 45, 30)])
    assert events(reports) == [(IN, "door", 2.0), (OUT, "door", 5.0)]
    assert (reports[-1].lines[0].inward, reports[-1].lines[0].outward) == ({"person": 1}, {"person": 1})


def test_past_the_end_of_a_line_is_not_over_it(tmp_path):
    monitor = ZoneMonitor(layout_of(tmp_path, DOOR))
    assert events(walk(monitor, [[at(90, 40)], [at(90, 60)], [at(10, 60)], [at(10, 40)]])) == []


def test_standing_on_the_line_counts_once_the_side_is_clear(tmp_path):
    monitor = ZoneMonitor(layout_of(tmp_path, DOOR))
    reports = walk(monitor, [[at(50, y)] for y in (40, 50, 50, 50, 60)])
    assert events(reports) == [(IN, "door", 4.0)]


def test_trembling_on_a_line_is_no_crossing(tmp_path):
    monitor = ZoneMonitor(layout_of(tmp_path, DOOR.replace("margin: 0", "margin: 3")))
    reports = walk(monitor, [[at(50, y)] for y in (40, 49, 51, 48, 52, 49, 40)])
    assert events(reports) == []


def test_a_jump_over_the_line_counts(tmp_path):
    """A fast object, or frames that were dropped in between."""
    monitor = ZoneMonitor(layout_of(tmp_path, DOOR))
    assert events(walk(monitor, [[at(50, 5)], [at(50, 95)]])) == [(IN, "door", 1.0)]


def test_relative_zones_go_with_the_size_of_the_stream(tmp_path):
    layout = layout_of(
        tmp_path,
        "units: relative\nzones: [{name: a, polygon: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}]",
    )
    monitor = ZoneMonitor(layout)
    assert monitor.update([at(40, 50)], 0.0, (100, 100)).zones[0].inside == {"person": 1}
    assert monitor.update([at(80, 100)], 1.0, (200, 200)).zones[0].inside == {"person": 1}
    assert monitor.update([at(120, 100)], 2.0, (200, 200)).zones[0].inside == {}


def test_a_change_of_size_is_no_crossing(tmp_path):
    layout = layout_of(
        tmp_path, "units: relative\nlines: [{name: door, from: [0, 0.5], to: [1, 0.5]}]\nmargin: 0"
    )
    monitor = ZoneMonitor(layout)
    monitor.update([at(50, 40)], 0.0, (100, 100))
    assert monitor.update([at(100, 80)], 1.0, (200, 200)).events == ()
    assert monitor.update([at(100, 120)], 2.0, (200, 200)).lines[0].inward == {"person": 1}


def test_a_clock_that_goes_back_gives_no_negative_times(tmp_path):
    monitor = ZoneMonitor(layout_of(tmp_path, YARD))
    monitor.update([at(50, 50)], 10.0, SIZE)
    report = monitor.update([at(95, 50)], 3.0, SIZE)
    assert (report.events[0].time_s, report.events[0].dwell_s) == (10.0, 0.0)


def test_an_earlier_report_does_not_change(tmp_path):
    monitor = ZoneMonitor(layout_of(tmp_path, YARD))
    first, second = walk(monitor, [[at(50, 50, 1)], [at(50, 50, 1), at(60, 50, 2)]])
    assert first.zones[0].inside == {"person": 1}
    assert second.zones[0].inside == {"person": 2}


SPOTS = st.tuples(st.integers(1, 4), st.integers(0, 100), st.integers(0, 100))


@given(
    frames=st.lists(st.lists(SPOTS, max_size=4, unique_by=lambda spot: spot[0]), max_size=60),
    margin=st.sampled_from([0.0, 5.0]),
)
def test_entries_less_exits_are_inside(frames, margin):
    layout = ZoneLayout(
        units=Units.PIXELS,
        zones=[
            Zone(name="left", polygon=[(0, 0), (60, 0), (60, 100), (0, 100)]),
            Zone(name="wedge", polygon=[(40, 0), (100, 50), (40, 100)], classes=["person"]),
        ],
        lines=[Line(name="door", start=(50, -10), end=(50, 110))],
        margin=margin,
        vanish_s=2.0,
    )
    monitor = ZoneMonitor(layout)
    kinds = {1: "person", 2: "car", 3: "person", 4: "dog"}
    happened = []
    for i, spots in enumerate(frames):
        report = monitor.update([at(x, y, number, kinds[number]) for number, x, y in spots], i, SIZE)
        happened += report.events
        for zone in report.zones:
            present = [number for number, stays in report.dwell_s.items() if zone.name in stays]
            assert sum(zone.inside.values()) == len(present)
            for kind in kinds.values():
                change = zone.entries.get(kind, 0) - zone.exits.get(kind, 0)
                assert change == zone.inside.get(kind, 0)
                assert change == sum(kinds[number] == kind for number in present)
    for event in happened:
        assert (event.kind is EXIT) == (event.dwell_s is not None)
        assert event.dwell_s is None or event.dwell_s >= 0
    for number in kinds:  # nobody goes the same way twice in a row, unless it vanished in between
        crossed = [event.kind for event in happened if event.place == "door" and event.track_id == number]
        seen_always = all(any(spot[0] == number for spot in spots) for spots in frames)
        assert not seen_always or all(a is not b for a, b in itertools.pairwise(crossed))
    walk(monitor, [])
    last = monitor.update([], len(frames) + 10.0, SIZE)
    assert all(zone.inside == {} for zone in last.zones)
    assert last.dwell_s == {}


@pytest.mark.parametrize("count", [0, 50])
def test_no_report_is_shared_with_the_next_frame(tmp_path, count):
    monitor = ZoneMonitor(layout_of(tmp_path, YARD))
    report = monitor.update([at(50, 50, i) for i in range(count)], 0.0, SIZE)
    assert len(report.events) == len(report.dwell_s) == count


def test_what_a_second_model_said_is_counted_of_those_inside(tmp_path):
    helmet, vest = Attribute("helmet", 0.9), Attribute("vest", 0.8)
    monitor = ZoneMonitor(layout_of(tmp_path, YARD))
    first = replace(at(50, 50, 1), attributes=(helmet, vest))
    second = replace(at(60, 50, 2), attributes=(helmet, helmet))
    reports = [
        monitor.update([first, second], 0.0, SIZE),
        monitor.update([replace(first, attributes=(vest,)), second], 1.0, SIZE),
        monitor.update([at(5, 5, 1), second], 2.0, SIZE),
    ]
    assert [report.zones[0].attributes for report in reports] == [
        {"helmet": 2, "vest": 1},
        {"vest": 1, "helmet": 1},
        {"helmet": 1},
    ]
    assert [event.attributes for event in reports[0].events] == [("helmet", "vest"), ("helmet",)]
    assert reports[2].zones[0].inside == {"person": 1}


def zone(*corners):
    return Zone(name="it", polygon=list(corners))


def line(start, end):
    return Line(name="it", start=start, end=end)


@pytest.mark.parametrize(
    ("place", "margin", "reason"),
    [
        (zone((0, 50), (100, 50), (100, 53), (0, 53)), 2, "zone 'it' is too thin: no point of it is further"),
        (zone((0, 50), (100, 50), (100, 53), (0, 53)), 1, None),
        (zone((10, 10), (60, 60), (58, 62), (8, 12)), 2, "zone 'it' is too thin"),
        (zone((200, 10), (300, 10), (300, 90)), 1, r"zone 'it' lies outside the image \(100x100\)"),
        (zone((90, 10), (300, 10), (300, 90), (90, 90)), 4, None),
        (zone((99, 10), (300, 10), (300, 90), (99, 90)), 4, "zone 'it' is too thin"),
        (
            line((0, 100), (100, 100)),
            2,
            "line 'it' leaves no room on one of its sides beyond the margin of 2 px",
        ),
        (line((0, 95), (100, 95)), 2, None),
        (line((150, 0), (150, 100)), 2, "line 'it' leaves no room"),
        (line((120, 60), (180, 60)), 2, r"line 'it' lies outside the image"),
        (line((50, 0), (50, 100)), 60, "line 'it' leaves no room"),
    ],
)
def test_a_place_that_can_count_nothing_is_said_once(caplog, place, margin, reason):
    layout = ZoneLayout(
        units=Units.PIXELS,
        margin=margin,
        zones=[place] if isinstance(place, Zone) else [],
        lines=[place] if isinstance(place, Line) else [],
    )
    monitor = ZoneMonitor(layout)
    for number in range(3):
        monitor.update([], number, (100, 100))
    monitor.update([], 3, (100, 101))
    assert len(caplog.records) == (reason is not None)
    if reason is not None:
        assert re.match(reason, caplog.records[0].getMessage())
        assert "\n" not in caplog.records[0].getMessage()


def test_the_depth_of_a_zone_is_that_of_its_largest_circle():
    square = np.array([(10, 10), (50, 10), (50, 50), (10, 50)], np.float32)
    assert greatest_depth(square, (100, 100)) == pytest.approx(20, abs=0.1)
    # an equilateral triangle of side 60: its inner circle has a radius of 60 / (2 sqrt(3)) = 17.32
    triangle = np.array([(10, 80), (70, 80), (40, 80 - 51.96)], np.float32)
    assert greatest_depth(triangle, (100, 100)) == pytest.approx(17.32, abs=0.1)
    assert greatest_depth(square + 100, (100, 100)) is None


def test_who_is_inside_when_the_source_is_lost_has_left(tmp_path):
    """The exit is told with the next frame, with the time when it was last seen."""
    monitor = ZoneMonitor(layout_of(tmp_path, YARD))
    walk(monitor, [[at(50, 50)], [at(50, 50)]])
    report = monitor.lose()
    assert (report.zones[0].inside, report.zones[0].exits, report.dwell_s) == ({}, {"person": 1}, {})
    after = monitor.update([at(50, 50, track_id=2)], 60.0, SIZE)
    assert [(event.kind, event.track_id, event.time_s, event.reason) for event in after.events] == [
        (EXIT, 1, 1.0, "source lost"),
        (ENTER, 2, 60.0, None),
    ]
    assert after.events[:1] == report.events


def test_a_zone_that_is_changed_is_left(tmp_path):
    monitor = ZoneMonitor(layout_of(tmp_path, YARD))
    walk(monitor, [[at(50, 50)], [at(50, 50)]])
    moved = ZoneMonitor(layout_of(tmp_path, YARD.replace("[80, 20]", "[90, 20]")), monitor)
    report = moved.update([at(50, 50)], 2.0, SIZE)
    assert [(event.kind, event.dwell_s, event.reason) for event in report.events] == [
        (EXIT, 1.0, "zone changed"),
        (ENTER, None, None),
    ]
