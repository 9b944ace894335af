"""Ids and zones on one stream, from results to JSON lines."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edgevision.tracking import ZoneLayout
from edgevision.tracking.scene import LateScene, Scene
from edgevision.tracking.sightings import Sighting, sightings
from edgevision.tracking.zones import Units, Zone
from edgevision.types import Detections, Frame, FrameResult, SegmentationMap
from edgevision.video.sinks.jsonl import JsonlSink, read_jsonl
from tests.support.zones import DOOR, YARD, layout_of

pytest.importorskip("trackers", reason="needs the extra 'track'")

NAMES = ("person", "car")


def frame_of(i):
    return Frame(np.zeros((100, 100, 3), np.uint8), i, i * 40_000_000, "clip")


def person_at(x, y=50.0, score=0.9):
    return Detections([[x - 10, y - 40, x + 10, y]], [score], [0], NAMES)


def test_a_walk_through_a_zone_ends_up_in_json_lines(tmp_path):
    scene = Scene(1, 0.35, 25.0, layout_of(tmp_path, YARD))
    path = tmp_path / "out.jsonl"
    with JsonlSink(path) as sink:
        for i, x in enumerate(range(10, 100, 4)):
            frame = frame_of(i)
            sink.write(scene.update(FrameResult(frame, (person_at(x),))), frame.image)
    rows = list(read_jsonl(path))
    first, inside, last = rows[0], rows[5], rows[-1]
    assert (first.detections[0].zones, first.zones["yard"].inside) == ([], {})
    assert inside.detections[0].track_id == 1
    assert inside.detections[0].zones == ["yard"]
    assert inside.detections[0].dwell_s == {"yard": 0.08}  # inside since x = 22, frame 3
    assert inside.zones["yard"].entries == {"person": 1}
    assert last.zones["yard"].exits == {"person": 1}
    happened = [event for row in rows for event in row.zone_events]
    assert [(event.event, event.place, event.track_id) for event in happened] == [
        ("enter", "yard", 1),
        ("exit", "yard", 1),
    ]
    assert happened[1].dwell_s == pytest.approx(0.6)  # out at x = 82, frame 18


def test_without_zones_lines_have_ids_only(tmp_path):
    scene = Scene(1, 0.35, 25.0)
    path = tmp_path / "out.jsonl"
    with JsonlSink(path) as sink:
        for i in range(2):
            frame = frame_of(i)
            sink.write(scene.update(FrameResult(frame, (person_at(50),))), frame.image)
    first, second = path.read_text().splitlines()
    assert '"track_id"' not in first
    assert '"track_id":1' in second
    assert "zone" not in first + second


def test_rows_and_zones_keep_to_the_threshold(tmp_path):
    """A tracked object enters with a weak detection only: it is neither reported nor counted there."""
    scene = Scene(1, 0.35, 25.0, layout_of(tmp_path, YARD))
    scores = [0.9] * 3 + [0.2] * 8 + [0.9]
    results = [
        scene.update(FrameResult(frame_of(i), (person_at(10 + 4 * i, score=score),)))
        for i, score in enumerate(scores)
    ]
    assert [len(result.detections) for result in results] == [1] * 3 + [0] * 8 + [1]
    events = [(i, event.track_id) for i, result in enumerate(results) for event in result.zones.events]
    assert events == [(11, 1)]  # the box is inside from frame 3 on
    assert results[10].zones.zones[0].inside == {}
    assert results[11].zones.zones[0].inside == {"person": 1}


def test_two_models_share_numbers_and_zones(tmp_path):
    scene = Scene(3, 0.35, 25.0, layout_of(tmp_path, YARD))
    trees = SegmentationMap(np.zeros((100, 100), np.uint8), ("tree",))
    for i in range(2):
        result = scene.update(FrameResult(frame_of(i), (person_at(50), trees, person_at(52))))
    assert result.results[1] is trees
    assert [one.track_id for one in result.detections] == [1, 3]
    assert result.zones.zones[0].inside == {"person": 2}


def test_sightings_name_what_is_tracked_and_leave_out_the_rest():
    found = Detections([[0, 0, 1, 2], [3, 3, 4, 4]], [0.5, 0.25], [1, 0], NAMES, track_ids=[7, None])
    assert sightings(FrameResult(frame_of(0), (found,))) == [Sighting(7, "car", 0.5, (0, 0, 1, 2))]


def test_who_has_no_number_yet_crosses_no_line(tmp_path):
    """Two that are seen at new places on the other side each time: no track, so no crossing.

    Where all that is not confirmed shares the id -1, each is taken for the other (roboflow/supervision#2578).
    """
    scene = Scene(1, 0.35, 25.0, layout_of(tmp_path, DOOR))
    for i in range(12):
        above, below = (30, 62) if i % 2 else (62, 30)
        pair = Detections(
            [[20, above - 10, 24, above], [70, below - 10, 74, below]], [0.9, 0.9], [0, 0], NAMES
        )
        result = scene.update(FrameResult(frame_of(i), (pair,)))
        assert all(one.track_id is None for one in result.detections)
        assert result.zones.events == ()
    (door,) = result.zones.lines
    assert (dict(door.inward), dict(door.outward)) == ({}, {})


def zone(name, left, right):
    corners = [(left, 0.0), (right, 0.0), (right, 1.0), (left, 1.0)]
    return Zone(name=name, polygon=corners)


def test_zones_change_while_it_runs_and_places_that_stay_keep_their_counts():
    scene = Scene(1, 0.35, 25.0, ZoneLayout(units=Units.RELATIVE, zones=[zone("left", 0, 0.5)]))
    for i in range(10):
        scene.update(FrameResult(frame_of(i), (person_at(30),)))
    both = ZoneLayout(units=Units.RELATIVE, zones=[zone("left", 0, 0.5), zone("all", 0, 1)])
    scene.change_layout(both)
    first = scene.update(FrameResult(frame_of(10), (person_at(30),))).zones
    assert [(one.name, dict(one.inside), dict(one.entries)) for one in first.zones] == [
        ("left", {"person": 1}, {"person": 1}),
        ("all", {"person": 1}, {"person": 1}),
    ]
    assert first.dwell_s[1]["left"] > 0.3
    scene.change_layout(ZoneLayout(units=Units.RELATIVE, zones=[zone("left", 0, 0.4), zone("all", 0, 1)]))
    second = scene.update(FrameResult(frame_of(11), (person_at(30),))).zones
    assert dict(second.zones[1].entries) == {"person": 1}  # it did not enter again
    scene.change_layout(None)
    assert scene.update(FrameResult(frame_of(12), (person_at(30),))).zones is None


def test_a_stream_that_is_not_tracked_is_from_its_first_zones_on():
    late = LateScene(lambda threshold: Scene(1, threshold, 25.0), 0.35)
    before = late.update(FrameResult(frame_of(0), (person_at(30),)))
    assert (before.detections.track_ids, before.zones, late.layout) == (None, None, None)
    late.change_layout(ZoneLayout(units=Units.RELATIVE, zones=[zone("all", 0, 1)]))
    for i in range(1, 5):
        after = late.update(FrameResult(frame_of(i), (person_at(30),)))
    assert after.detections[0].track_id is not None
    assert dict(after.zones.zones[0].inside) == {"person": 1}


def test_two_who_draw_the_first_zones_at_once_begin_one_tracking():
    first, second = (ZoneLayout(units=Units.RELATIVE, zones=[zone(one, 0, 1)]) for one in ("a", "b"))
    made = []

    def make(threshold):
        made.append(threshold)
        if len(made) == 1:
            for other in others:
                other.start()
                other.join(0.3)  # it waits until this scene is there
        return Scene(1, threshold, 25.0)

    late = LateScene(make, 0.35)
    others = [
        threading.Thread(target=late.change_layout, args=[second]),
        threading.Thread(target=late.change_threshold, args=[0.7]),
    ]
    late.change_layout(first)
    for other in others:
        other.join(10)
    assert (made, late.next_layout) == ([0.35], second)
    found = late.update(FrameResult(frame_of(0), (person_at(30, score=0.6),)))
    assert (len(found.detections), late.layout) == (0, second)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_threshold_changes_while_ids_go_on(is_late):
    scene = LateScene(lambda threshold: Scene(1, threshold, 25.0), 0.35) if is_late else Scene(1, 0.35, 25.0)
    layout = ZoneLayout(units=Units.RELATIVE, zones=[zone("all", 0, 1)])
    scene.change_layout(layout)
    assert scene.next_layout == layout

    def seen(first, score):
        for i in range(first, first + 4):
            found = scene.update(FrameResult(frame_of(i), (person_at(30, score=score),))).detections
        return [one.track_id for one in found]

    (track_id,) = seen(0, 0.6)
    scene.change_threshold(0.7)
    assert seen(4, 0.6) == []
    scene.change_threshold(0.5)
    assert seen(8, 0.6) == [track_id]
