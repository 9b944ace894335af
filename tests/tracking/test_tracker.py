"""Ids on made-up objects whose paths are known, and on real clips."""

from __future__ import annotations

import builtins
import itertools
import re
import warnings

import numpy as np
import pytest

from edgevision.engines import load_engine
from edgevision.errors import UsageError
from edgevision.extras import install_command
from edgevision.model import Model
from edgevision.tracking.tracker import MAX_CANDIDATES, RECOVER_THRESHOLD, Tracker
from edgevision.types import Detections
from edgevision.video import open_source
from edgevision.zoo import default_model
from tests.support.paths import SHARED

pytest.importorskip("trackers", reason="needs the extra 'track'")

CLIPS = SHARED / "data" / "videos"
RATE = 25.0
NONE = Detections.empty()


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def seen(*boxes, scores=None, classes=None):
    scores = [0.9] * len(boxes) if scores is None else scores
    return Detections(np.array(boxes, np.float32), scores, [0] * len(boxes) if classes is None else classes)


def walker(x, y=100.0, width=40.0, height=80.0):
    return (x, y, x + width, y + height)


def follow(tracker, frames, rate=RATE):
    return [tracker.update(found, i / rate).track_ids.tolist() for i, found in enumerate(frames)]


def test_an_object_gets_its_number_in_its_second_frame_and_keeps_it():
    ids = follow(Tracker(RATE), [seen(walker(3 * i)) for i in range(50)])
    assert ids == [[None]] + [[1]] * 49


def test_two_that_meet_and_pass_keep_their_numbers():
    """They walk towards each other on neighbouring paths that overlap by half."""
    frames = [seen(walker(4.0 * i), walker(400 - 4.0 * i, y=140.0)) for i in range(100)]
    ids = follow(Tracker(RATE), frames)
    assert ids[1:] == [[1, 2]] * 99


def test_rows_keep_their_order_and_their_values():
    tracker = Tracker(RATE)
    strong, weak = walker(0), walker(300)
    for i in range(3):
        found = seen(strong, weak, scores=[0.9, 0.5], classes=[1, 2])
        ids = tracker.update(found, i / RATE)
    swapped = tracker.update(seen(weak, strong, scores=[0.5, 0.9], classes=[2, 1]), 3 / RATE)
    assert swapped.track_ids.tolist() == ids.track_ids.tolist()[::-1]
    assert swapped.boxes.tolist() == [list(weak), list(strong)]
    assert swapped.class_ids.tolist() == [2, 1]
    assert swapped.scores.tolist() == pytest.approx([0.5, 0.9])


@pytest.mark.parametrize(("gap", "expected"), [(20, 1), (40, 2)])
def test_a_gap_shorter_than_the_patience_keeps_the_number(gap, expected):
    """One second at 25 frames a second: 20 empty frames are bridged, 40 are not."""
    here = seen(walker(100))
    ids = follow(Tracker(RATE, patience_s=1.0), [here] * 5 + [NONE] * gap + [here] * 3)
    assert ids[4] == [1]
    assert ids[5] == []
    assert ids[-1] == [expected]


def test_patience_is_time_not_frames():
    """Frames that a live stream drops do not lengthen a gap: five calls, but 1.5 seconds."""
    tracker = Tracker(RATE, patience_s=1.0)
    here = seen(walker(100))
    for i in range(5):
        tracker.update(here, i / RATE)
    for i in range(5):
        tracker.update(NONE, 0.2 + 0.3 * (i + 1))
    tracker.update(here, 2.0)
    assert tracker.update(here, 2.04).track_ids.tolist() == [2]


def test_dropped_frames_keep_the_number_of_a_moving_object():
    tracker = Tracker(RATE)
    ids = [tracker.update(seen(walker(2.0 * i)), i / RATE).track_ids.tolist() for i in range(0, 120, 4)]
    assert ids[1:] == [[1]] * 29


def test_a_weak_detection_carries_a_track_on_but_begins_none():
    tracker = Tracker(RATE, conf_threshold=0.5)
    known, stranger = walker(100), walker(400)
    for i in range(3):
        tracker.update(seen(known), i / RATE)
    for i in range(3, 60):  # longer than the patience
        assert len(tracker.update(seen(known, stranger, scores=[0.2, 0.2]), i / RATE)) == 0
    found = tracker.update(seen(known, stranger, scores=[0.9, 0.9]), 60 / RATE)
    assert found.track_ids.tolist() == [1, None]
    assert found.boxes.tolist() == [list(known), list(stranger)]


@pytest.mark.parametrize("conf", [0.05, 0.35, 0.6])
def test_what_is_returned_is_what_the_threshold_keeps(conf):
    """A track changes which detections have an id, never which are returned."""
    scores = np.random.default_rng(0).uniform(0.02, 1, (60, 4)).astype(np.float32)
    tracker = Tracker(RATE, conf_threshold=conf)
    for i, row in enumerate(scores):
        row[0] = 0.9 if i < 3 else row[0]
        given = seen(*(walker(150 * k + 2 * i) for k in range(4)), scores=row)
        kept = tracker.update(given, i / RATE)
        assert kept.scores.tolist() == row[row >= conf].tolist()
        assert kept.boxes.tolist() == given.boxes[row >= conf].tolist()


def test_of_too_many_detections_the_strongest_are_tracked_and_a_warning_says_so(caplog):
    """10,000 detections took 26 seconds a frame; all of them are still returned."""
    tracker = Tracker(RATE, conf_threshold=0.35)
    many = 10_000
    places = np.arange(many)
    corners = np.stack([places % 100, places // 100], axis=1) * 20.0
    found = Detections(np.hstack([corners, corners + 10]), np.linspace(0.4, 1, many), [0] * many)
    for i in range(2):
        tracked = tracker.update(found, i / RATE)
    assert len(tracked) == many
    has_id = [track_id is not None for track_id in tracked.track_ids]
    assert has_id == [False] * (many - MAX_CANDIDATES) + [True] * MAX_CANDIDATES
    assert caplog.messages == [
        "a frame has 10000 detections; of more than 500, only those of the highest scores are tracked"
    ]


def test_a_single_strong_detection_among_weak_ones_is_no_beginning():
    """The library begins a track with it; a number takes two in a row."""
    tracker = Tracker(RATE, conf_threshold=0.5)

    def ids(scores):
        found = (seen(walker(100), scores=[score]) if score else NONE for score in scores)
        return [tracker.update(one, i / RATE).track_ids.tolist() for i, one in enumerate(found)]

    no = None
    assert ids([0.9, 0.2, 0.2, 0.9, 0.2, 0.9, 0, 0.9]) == [[no], [], [], [no], [], [no], [], [no]]
    assert ids([0.9, 0.9, 0.2, 0.9]) == [[1], [1], [], [1]]  # the second in a row, and the third


@pytest.mark.parametrize(
    ("conf", "scores", "first"),
    [
        # Above 0.4475 is evidence and 0.0975 is enough; the first detection does not count.
        (0.35, [0.60] * 2, 1),  # 0.1525
        (0.35, [0.50] * 3, 2),  # 0.0525, 0.105
        (0.35, [0.46] * 60, 8),  # 0.0125 each
        (0.35, [0.40] * 60, None),
        (0.35, [0.50, 0.50, 0.36, 0.50, 0.50], 4),  # 0.0525 - 0.0875 is kept at 0: 0.0525, 0.105
        (0.35, [0.36, 0.90], 1),
        (0.35, [0.90, 0.36] * 20, 2),  # 0, 0.4525
        (0.95, [0.97] * 2, 1),  # above 0.9575; 0.0075 is enough
        (1.00, [1.00] * 2, 1),
    ],
)
def test_an_object_that_stands_gets_its_id_with_enough_evidence(conf, scores, first):
    frames = [seen(walker(100), scores=[score]) for score in scores]
    ids = [one for (one,) in follow(Tracker(RATE, conf_threshold=conf), frames)]
    assert ids == [None if first is None or i < first else 1 for i in range(len(scores))]


def test_a_weak_object_gets_its_id_once_it_has_moved_by_its_shorter_side():
    """4 pixels a frame, 40 wide, from where the library first reports it: the second frame."""
    frames = [seen(walker(4.0 * i), scores=[0.4]) for i in range(20)]
    assert follow(Tracker(RATE, conf_threshold=0.35), frames) == [[None]] * 11 + [[1]] * 9


def test_a_weak_object_that_moves_down_counts_its_shorter_side_too():
    frames = [seen(walker(100, y=8.0 * i), scores=[0.4]) for i in range(20)]
    assert follow(Tracker(RATE, conf_threshold=0.35), frames) == [[None]] * 6 + [[1]] * 14


def test_a_gap_interrupts_evidence():
    """The library keeps a track of two detections over a gap; what it collected starts anew."""
    here, gap = seen(walker(100), scores=[0.5]), NONE
    assert follow(Tracker(RATE), [here, here, gap, here, gap, here, here]) == [
        [None], [None], [], [None], [], [None], [1]
    ]  # fmt: skip


def test_a_weak_box_within_a_better_one_of_its_class_begins_no_track():
    """A head and shoulders that are found beside the whole person, for as long as it walks."""
    whole = [walker(4.0 * i) for i in range(40)]
    part = [(x1 + 5, y1, x2 - 5, y1 + 40) for x1, y1, x2, _ in whole]
    pairs = [seen(*boxes, scores=[0.9, 0.5]) for boxes in zip(whole, part, strict=True)]
    assert follow(Tracker(RATE), pairs)[1:] == [[1, None]] * 39
    other_class = [seen(*boxes, scores=[0.9, 0.5], classes=[0, 1]) for boxes in zip(whole, part, strict=True)]
    assert follow(Tracker(RATE), other_class)[2:] == [[1, 2]] * 38
    clear = [seen(*boxes, scores=[0.9, 0.7]) for boxes in zip(whole, part, strict=True)]
    assert follow(Tracker(RATE), clear)[1:] == [[1, 2]] * 39


def test_who_is_half_hidden_behind_another_keeps_its_id():
    """Two clear objects side by side; then one is found weakly, and covered by half."""
    apart = seen(walker(100), walker(200))
    near = [seen(walker(100), walker(200 - 4 * i), scores=[0.9, 0.4]) for i in range(20)]
    ids = follow(Tracker(RATE), [apart] * 5 + near)
    assert ids[1:] == [[1, 2]] * 24


def test_what_the_library_forgot_is_forgotten():
    tracker = Tracker(RATE, patience_s=0.1)
    for i in range(300):
        x = 10_000 * (i // 3)  # somebody else every third frame
        tracker.update(seen(walker(x), walker(x + 300), scores=[0.9, 0.9 if i % 3 == 0 else 0.1]), i / RATE)
    assert len(tracker._ids) <= 4
    assert len(tracker._tentative) <= 4


def test_a_detection_above_the_threshold_is_given_back_before_it_has_a_number():
    found = Tracker(RATE, conf_threshold=0.5).update(seen(walker(0), scores=[0.6]), 0.0)
    assert found.track_ids.tolist() == [None]


def test_classes_never_share_a_track():
    """The same place, first a person, then a car: the car is another object."""
    ids = follow(Tracker(RATE), [seen(walker(100), classes=[0])] * 5 + [seen(walker(100), classes=[1])] * 5)
    assert ids[4] == [1]
    assert ids[5] == [None]
    assert ids[6:] == [[2]] * 4


def test_trackers_of_two_models_share_the_numbers_out():
    pairs = [Tracker(RATE, first_id=1, id_step=2), Tracker(RATE, first_id=2, id_step=2)]
    frames = [seen(walker(100), walker(300))] * 3
    assert [sorted(follow(tracker, frames)[-1]) for tracker in pairs] == [[1, 3], [2, 4]]


def test_numbers_belong_to_the_instance():
    for _ in range(2):
        assert follow(Tracker(RATE), [seen(walker(100))] * 2)[-1] == [1]


def test_a_clock_that_stands_or_jumps_back_moves_on_by_a_frame():
    tracker = Tracker(RATE)
    here = seen(walker(100))
    times = [10.0, 10.04, 10.04, 0.0, 0.04]
    assert [tracker.update(here, time_s).track_ids.tolist() for time_s in times][1:] == [[1]] * 4


def test_nothing_at_all_is_fine():
    found = Tracker(None).update(NONE, 0.0)
    assert len(found) == 0
    assert found.track_ids.tolist() == []


@pytest.mark.parametrize("patience_s", [-1.0, float("nan"), float("inf")])
def test_impossible_patience_is_refused(patience_s):
    with pytest.raises(UsageError, match="patience"):
        Tracker(RATE, patience_s=patience_s)


def test_without_the_library_one_line_names_the_extra(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "trackers":
            raise ModuleNotFoundError("No module named 'trackers'", name="trackers")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="needs trackers.*" + re.escape(install_command("track"))):
        Tracker(RATE)


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs ../shared/data/videos")
@pytest.mark.parametrize(
    ("clip", "name", "first", "last", "most"),
    [
        ("03_pedestrians_ahmetozlu.mp4", "person", 0, 45, 6),
        ("04_vehicles_ahmetozlu.mp4", "car", 0, 130, 10),  # 8 where this was written
        ("06_intel_one-by-one-person-detection.mp4", "person", 58, 85, 1),  # one person walks in
    ],
)
def test_few_numbers_for_all_clear_objects_of_real_clips(clip, name, first, last, most):
    """Each number that an object loses is one more object in every count, each box without one is none."""
    found, rate = objects(clip, name, first, last)
    given, clear, numbered = [], 0, 0
    for floor in (RECOVER_THRESHOLD, 0.35):
        tracker, ids = Tracker(rate, conf_threshold=0.35), set()
        for i, one in enumerate(found):
            tracked = tracker.update(one[one.scores >= floor], i / rate)
            ids.update(tracked.track_ids)
            is_clear = tracked.scores >= 0.5
            clear += int(is_clear.sum())
            numbered += sum(track_id is not None for track_id in tracked.track_ids[is_clear])
        given.append(len(ids - {None}))
    weak, none = given
    assert 1 <= weak <= min(most, none)
    assert numbered / clear > 0.9


def objects(clip, name, first, last):
    """Detections of one class of 0.05 or more in frames ``first`` to ``last``, and the frame rate."""
    with load_engine(default_model().path) as engine, open_source(str(CLIPS / clip)) as source:
        detector = Model(engine, 0.05, [name])
        frames = itertools.islice(source, first, last)
        return [detector([frame.image])[0] for frame in frames], source.info.frame_rate
