"""Live sources on stand-ins: losses, reconnection, times, changes of size.

Also tests ``edgevision.video.base``.
"""

import logging
import threading
import time

import numpy as np
import pytest

from edgevision.engines.fake import FakeEngine
from edgevision.errors import SourceError, SourceTimeoutError
from edgevision.model import Model
from edgevision.pipeline import Pipeline, StopRequest, Stream
from edgevision.video.base import ConnectionState, FailReason, SourceInfo
from edgevision.video.sources.feed import FeedFrame
from edgevision.video.sources.live import Backoff, LiveSource
from edgevision.video.sources.options import SourceOptions
from tests.support.video import eventually

FAST = Backoff(first_s=0.01, longest_s=0.02)


def image(value, time_ms=None, size=(8, 6)):
    pixels = np.full((size[1], size[0], 3), value, np.uint8)
    return FeedFrame(pixels, None if time_ms is None else time_ms * 1_000_000, time.monotonic_ns())


class Hang:
    """In a script: a driver that does not return until it is let go."""

    def __init__(self):
        self.let_go = threading.Event()


class ScriptedFeed:
    """Delivers what it is given; raises what is an error; hangs where a Hang stands."""

    def __init__(self, script, is_live=True, notes=()):
        self.script, self.notes, self.closed = script, list(notes), False
        self.info = SourceInfo("feed", is_live, 8, 6, 25.0)

    def __iter__(self):
        for item in self.script:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Hang):
                item.let_go.wait(30)
                continue
            yield item

    def close(self):
        self.closed = True


class Camera:
    """Each connection gets the next script; a script that is an error refuses it."""

    def __init__(self, *scripts, **keywords):
        self.scripts, self.keywords, self.feeds, self.attempts = list(scripts), keywords, [], 0

    def __call__(self):
        self.attempts += 1
        script = self.scripts.pop(0)
        if isinstance(script, Exception):
            raise script
        if isinstance(script, Hang):
            script.let_go.wait(30)
            script = []
        self.feeds.append(ScriptedFeed(script, **self.keywords))
        return self.feeds[-1]


def live(camera, backoff=FAST, **options):
    options = {"read_timeout_s": 5.0, "connect_timeout_s": 5.0, **options}
    return LiveSource("cam", camera, SourceOptions(**options), advice="check it", backoff=backoff)


LOST = SourceError("lost cam: the server closed the connection")
REFUSED = SourceError("cannot open cam: Connection refused")


def values(frames):
    return [int(frame.image[0, 0, 0]) for frame in frames]


def test_it_comes_back_and_goes_on_counting(caplog):
    caplog.set_level(logging.DEBUG, "edgevision")
    camera = Camera([image(1), image(2), LOST], REFUSED, REFUSED, [image(3), LOST], [image(4)])
    with live(camera) as source:
        assert source.connection.state is ConnectionState.CONNECTED
        frames = list(source)
    assert values(frames) == [1, 2, 3, 4]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    times = [frame.timestamp_ns for frame in frames]
    assert times == sorted(set(times))
    assert times[0] == 0
    assert {frame.source for frame in frames} == {"cam"}
    connection = source.report.connection
    assert (connection.reconnects, connection.failed_attempts) == (2, 2)
    assert connection.state is ConnectionState.CLOSED
    assert 0.02 < connection.lost_s < 5
    assert source.report.read == 4
    assert all(feed.closed for feed in camera.feeds)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" after ")[0] for line in lines] == [
        "lost cam: the server closed the connection; reconnecting",
        "reconnect attempt 1 failed",
        "reconnect attempt 2 failed",
        "cam reconnected",
        "lost cam: the server closed the connection; reconnecting",
        "cam reconnected",
    ]
    assert lines[1].endswith(": cannot open cam: Connection refused")
    assert sum(record.levelno >= logging.INFO for record in caplog.records) == 4  # two for each loss
    assert lines[3].endswith("(attempt 3)")


def test_the_state_can_be_seen_while_it_is_away():
    there = threading.Event()
    hang = Hang()
    camera = Camera([image(1), LOST], REFUSED, hang, [image(2)])
    seen = []
    with live(camera) as source:
        thread = threading.Thread(target=lambda: [seen.append(frame) or there.set() for frame in source])
        thread.start()
        assert there.wait(10)
        assert eventually(lambda: source.connection.failed_attempts == 1)
        assert source.connection.state is ConnectionState.RECONNECTING
        assert source.connection.error == str(REFUSED)
        hang.let_go.set()
        thread.join(10)
    assert values(seen) == [1]  # the second connection ended in good order


def test_a_server_that_takes_every_call_and_hangs_up_is_no_success():
    camera = Camera([image(1), LOST], [LOST], [LOST], [LOST], [image(2)])
    start = time.monotonic()
    with live(camera, Backoff(first_s=0.05, factor=2, jitter=0)) as source:
        assert values(source) == [1, 2]
    assert time.monotonic() - start > 0.05 + 0.1 + 0.2 + 0.4
    assert (source.connection.reconnects, source.connection.failed_attempts) == (1, 3)


@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_of_attempts(limit):
    camera = Camera([image(1), LOST], *[REFUSED] * 10)
    with live(camera, max_attempts=limit) as source:
        frames = iter(source)
        next(frames)
        with pytest.raises(SourceError, match=f"Connection refused; gave up after {limit} attempt"):
            next(frames)
    assert camera.attempts == 1 + limit


def test_no_attempts_at_all_says_what_happened():
    with live(Camera([image(1), LOST]), max_attempts=0) as source, pytest.raises(SourceError) as caught:
        list(source)
    assert caught.value is LOST


def test_what_cannot_be_opened_is_an_error_unless_it_is_waited_for(caplog):
    with pytest.raises(SourceError, match="Connection refused"):
        live(Camera(REFUSED))
    with live(Camera(REFUSED, REFUSED, [image(1)]), wait=True) as source:
        assert source.info == SourceInfo("cam", True)
        assert source.connection.state is not ConnectionState.CONNECTED
        assert values(source) == [1]
    assert caplog.messages[0] == "cannot open cam: Connection refused; reconnecting"


def test_a_silent_connection_is_left_behind():
    hang = Hang()
    camera = Camera([image(1), hang, image(99)], [image(2)])
    with live(camera, read_timeout_s=0.1) as source:
        assert values(source) == [1, 2]
    assert source.connection.error == "lost cam: no data for 0.1 s; check it"
    hang.let_go.set()
    assert eventually(lambda: camera.feeds[0].closed)  # by its own thread, once its driver let it go


@pytest.mark.parametrize(("is_live", "expected"), [(True, [19, 20, 21]), (False, list(range(1, 22)))])
def test_what_came_before_anybody_read_is_not_shown_as_new(monkeypatch, is_live, expected):
    """Models and outputs take seconds to open; a camera's images of that time are old by then."""
    monkeypatch.setattr("edgevision.video.sources.feed._UNREAD_S", 0.01)
    given = threading.Event()

    def script():
        for value in range(1, 21):
            yield image(value)
        given.set()
        yield image(21)

    with live(Camera(script(), is_live=is_live)) as source:
        if is_live:
            assert given.wait(30)
            seen = values(source)
            assert seen in (expected, expected[1:])  # the last may have come before reading began
        else:
            time.sleep(0.1)
            assert values(source) == expected


def test_a_connection_that_is_not_made_in_time():
    hang = Hang()
    with pytest.raises(SourceTimeoutError, match=r"^cannot open cam: no data for 0\.1 s; check it$"):
        live(Camera(hang), connect_timeout_s=0.1)
    hang.let_go.set()


@pytest.mark.parametrize("where", ["reading", "connecting", "waiting"])
def test_closing_from_another_thread_ends_it_at_once(where):
    hang = Hang()
    second = {"reading": [hang], "connecting": hang, "waiting": [image(2)]}[where]
    backoff = Backoff(first_s=60) if where == "waiting" else FAST
    source = live(Camera([image(1), LOST], second), backoff)
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(values(source)))
    thread.start()
    assert eventually(lambda: source.connection.state is ConnectionState.RECONNECTING)
    time.sleep(0.1)
    start = time.monotonic()
    source.close()
    thread.join(10)
    assert time.monotonic() - start < 1.0
    assert seen == [1]
    assert source.connection.state is ConnectionState.CLOSED
    source.close()
    hang.let_go.set()


@pytest.mark.parametrize("where", ["reading", "connecting", "waiting"])
def test_a_run_on_a_stalled_stream_ends_within_a_second(where):
    hang = Hang()
    second = {"reading": [hang], "connecting": hang, "waiting": [image(2)]}[where]
    source = live(Camera([image(1), LOST], second), Backoff(first_s=60) if where == "waiting" else FAST)
    stop, ended = StopRequest(), []
    pipeline = Pipeline([Stream(source=source, sinks=[])], [Model(FakeEngine(), 0.5)])
    thread = threading.Thread(target=lambda: ended.append(pipeline.run(stop)))
    thread.start()
    assert eventually(lambda: source.connection.state is ConnectionState.RECONNECTING)
    time.sleep(0.1)
    start = time.monotonic()
    stop.reason = "SIGINT"
    thread.join(10)
    assert time.monotonic() - start < 1.0
    (statistics,) = ended[0].streams
    frames = statistics.frames
    assert (statistics.stopped, frames.captured, frames.waiting) == ("SIGINT", 1, 0)
    hang.let_go.set()


def test_a_frozen_image_counts_as_lost_once():
    class Frozen:
        """The same image every 10 ms, for ever."""

        def __iter__(self):
            while True:
                time.sleep(0.01)
                yield image(7)

    camera = Camera([image(1), *[image(2)] * 3], [])
    camera.scripts[0] = _then(camera.scripts[0], Frozen())
    camera.scripts[1] = _then([], Frozen())
    with live(camera, freeze_s=0.1) as source:
        frames = iter(source)
        seen = [next(frames) for _ in range(60)]
    assert source.connection.reconnects == 1  # the new connection showed the same: it is the scene
    assert source.connection.error == "lost cam: identical frames for 0.1 s"
    assert set(values(seen)) == {1, 2, 7}


def _then(first, rest):
    yield from first
    yield from rest


def test_what_fails_is_counted_by_reason():
    undecodable, early = FailReason.UNDECODABLE, FailReason.NO_KEY_FRAME
    camera = Camera([early, early, image(1), undecodable, image(2), LOST], [early, image(3)])
    with live(camera) as source:
        frames = iter(source)
        next(frames)
        assert source.report.failed == {early: 2}
        assert values(frames) == [2, 3]
    assert source.report.failed == {early: 3, undecodable: 1}
    assert (source.report.read, source.report.skipped) == (3, 4)


def test_sizes_may_change_and_notes_say_so():
    camera = Camera([image(1), image(2, size=(4, 4)), image(3, size=(4, 4)), LOST], [image(4)])
    with live(camera) as source:
        assert [(frame.width, frame.height) for frame in source] == [(8, 6), (4, 4), (4, 4), (8, 6)]
    assert source.report.notes == ["the frame size changed 2 times, finally to 8x6"]


def test_notes_of_a_connection_are_said_once():
    with live(Camera([image(1), LOST], [image(2)], notes=["gives 640x480"])) as source:
        list(source)
    assert source.report.notes == ["gives 640x480"]


def test_a_new_connection_has_a_clock_of_its_own():
    """The second begins at three seconds, as it likes; its first image came 7 ms after the one before."""
    pixels = image(1).image
    first = FeedFrame(pixels, 0, 1_000_000_000)
    after = [
        FeedFrame(pixels, 3_000_000_000 + 40_000_000 * i, 1_007_000_000 + 41_000_000 * i) for i in range(2)
    ]
    with live(Camera([first, LOST], after)) as source:
        assert [frame.timestamp_ns for frame in source] == [0, 7_000_000, 47_000_000]


def test_a_recording_keeps_its_own_times_and_is_not_fetched_twice():
    camera = Camera([image(1, 0), image(2, 40_000), image(3, 80_000), LOST], is_live=False)
    with live(camera) as source:
        frames = iter(source)
        assert [next(frames).time_s for _ in range(3)] == [0, 40, 80]
        with pytest.raises(SourceError):
            next(frames)
    assert camera.attempts == 1


def test_a_defect_of_a_feed_is_not_hidden():
    with (
        live(Camera([image(1), ZeroDivisionError("a defect")])) as source,
        pytest.raises(ZeroDivisionError),
    ):
        list(source)


def test_waits_grow_to_a_limit_and_differ():
    import random

    plain = Backoff(first_s=1, factor=3, longest_s=10, jitter=0).waits(random.Random())
    assert [next(plain) for _ in range(5)] == [1, 3, 9, 10, 10]
    one, other = (Backoff().waits(random.Random(seed)) for seed in (1, 2))
    first, second = ([next(waits) for _ in range(9)] for waits in (one, other))
    assert first != second
    for waits in (first, second):
        assert all(
            full / 2 <= wait <= full
            for wait, full in zip(waits, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True)
        )


def test_logging_is_by_module(caplog):
    with live(Camera([image(1), LOST], [image(2)])) as source:
        list(source)
    assert {(record.name, record.levelno) for record in caplog.records} == {
        ("edgevision.video.sources.live", logging.WARNING)
    }
