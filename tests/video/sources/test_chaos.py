import threading
import time
import weakref
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from edgevision.errors import SourceError, UsageError
from edgevision.video import open_source
from edgevision.video.base import ConnectionState, FailReason
from edgevision.video.sources.arrays import ArraySource
from edgevision.video.sources.chaos import ChaosSource, Faults, split_faults
from tests.support.video import eventually, number_of, numbered, write_clip

COUNT = 250


def images(count=COUNT):
    return [numbered(number) for number in range(count)]


def chaos(count=COUNT, **faults):
    """Frames and report of so many numbered images with these faults."""
    with ChaosSource(ArraySource(images(count), frame_rate=25), Faults(**faults)) as source:
        frames = list(source)
    return frames, source.report


def numbers(frames):
    return [number_of(frame.image) for frame in frames]


def test_without_faults_nothing_changes():
    frames, report = chaos()
    assert numbers(frames) == list(range(COUNT))
    assert (report.read, report.skipped, report.connection) == (COUNT, 0, None)
    assert report.notes == ["injected faults: none"]


def test_what_is_dropped_leaves_a_gap_and_no_trace_in_the_counts():
    frames, report = chaos(drop=0.2, seed=3)
    lost = COUNT - len(frames)
    assert 25 < lost < 75
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert [frame.timestamp_ns for frame in frames] == [40_000_000 * number for number in numbers(frames)]
    assert (report.read, report.skipped) == (len(frames), 0)
    assert report.notes == [f"injected faults: drop {lost}"]


def test_what_is_corrupt_is_counted():
    frames, report = chaos(corrupt=0.2)
    assert 25 < report.skipped < 75
    assert report.failed == {FailReason.UNDECODABLE: COUNT - len(frames)}


def test_a_freeze_repeats_a_image_while_time_goes_on():
    frames, _ = chaos(freeze=0.01, seed=5)
    assert [frame.timestamp_ns for frame in frames] == [40_000_000 * i for i in range(COUNT)]
    shown = numbers(frames)
    repeats = [i for i in range(1, COUNT) if shown[i] == shown[i - 1]]
    assert len(repeats) >= 24
    assert all(shown[i] in (i, shown[i - 1]) for i in range(COUNT))


def test_sizes_change_and_change_back():
    frames, _ = chaos(resize=0.05, seed=1)
    sizes = {(frame.width, frame.height) for frame in frames}
    assert (160, 96) in sizes
    assert sizes <= {(160, 96), (120, 72), (80, 48)}
    assert len(sizes) > 1
    assert numbers(frames) == list(range(COUNT))


def test_an_outage_takes_frames_and_can_be_seen():
    source = ChaosSource(ArraySource(images(), frame_rate=25), Faults(disconnect=0.02, seed=2))
    with source:
        assert source.report.connection.state is ConnectionState.CONNECTED
        shown = numbers(list(source))
        connection = source.report.connection
    gaps = [after - before - 1 for before, after in pairwise(shown) if after > before + 1]
    assert connection.reconnects >= len(gaps) >= 1
    assert all(25 <= gap <= 150 for gap in gaps)
    assert connection.state is ConnectionState.CLOSED


def test_images_that_an_outage_took_are_gone():
    """Or a camera that was away once would hold one more for ever."""
    made = []

    class Fresh(ArraySource):
        def __iter__(self):
            for frame in super().__iter__():
                image = np.array(frame.image)
                made.append(weakref.ref(image))
                yield replace(frame, image=image)
                del frame, image

    source = ChaosSource(Fresh(images(400)), Faults(disconnect=0.02, seed=1))
    for frame in source:
        if source.report.connection.reconnects == 1:
            alive = [image for image in made if image() is not None]
            assert len(alive) == 1
            assert alive[0]() is frame.image
            break
    assert len(made) > 25


def test_the_same_seed_gives_the_same_run_and_faults_do_not_disturb_each_other():
    everything = {"drop": 0.1, "corrupt": 0.1, "freeze": 0.02, "resize": 0.05, "disconnect": 0.01}
    one, other = (numbers(chaos(seed=4, **everything)[0]) for _ in range(2))
    assert one == other != numbers(chaos(seed=5, **everything)[0])
    lost = set(range(COUNT)) - set(numbers(chaos(drop=0.1, seed=4)[0]))
    lost_with_resize = set(range(COUNT)) - set(numbers(chaos(drop=0.1, resize=0.1, seed=4)[0]))
    assert lost == lost_with_resize


def test_a_recording_can_be_played_live():
    start = time.monotonic()
    source = ChaosSource(ArraySource(images(10), frame_rate=25), Faults(live=True))
    with source:
        assert source.info.is_live
        frames = list(source)
    assert 0.36 <= time.monotonic() - start < 5
    assert numbers(frames) == list(range(10))
    assert source.report.connection.state is ConnectionState.CLOSED


def test_jitter_makes_frames_late_and_not_early():
    with ChaosSource(ArraySource(images(10), frame_rate=25), Faults(live=True, jitter_s=0.03)) as source:
        lateness = [time.monotonic() - frame.time_s for frame in source]
    assert max(lateness) - min(lateness) > 0.005


def test_closing_ends_a_wait():
    source = ChaosSource(ArraySource(images(3), frame_rate=0.01), Faults(live=True))
    seen = []
    thread = threading.Thread(target=lambda: [seen.append(frame) for frame in source])
    thread.start()
    assert eventually(lambda: len(seen) == 1)
    source.close()
    thread.join(5)
    assert not thread.is_alive()


def test_failures_of_the_source_itself_are_passed_on(tmp_path):
    class Failing(ArraySource):
        def __iter__(self):
            for frame in super().__iter__():
                self.report.failed[FailReason.INCOMPLETE] += 1
                yield frame

    with ChaosSource(Failing(images(20)), Faults(corrupt=0.3)) as source:
        delivered = len(list(source))
    assert source.report.failed == {FailReason.INCOMPLETE: 20, FailReason.UNDECODABLE: 20 - delivered}


def test_addresses(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", [40 * i for i in range(50)])
    with open_source(f"chaos://{clip}?drop=0.2&seed=1") as source:
        assert 25 < len(list(source)) < 50
        assert (source.info.path, source.info.is_live) == (clip, False)
    assert split_faults("chaos://rtsp://a:b@h/x?channel=1#timeout=5s?drop=0.1&jitter=40ms&live=yes") == (
        "rtsp://a:b@h/x?channel=1#timeout=5s",
        Faults(drop=0.1, jitter_s=0.04, live=True),
    )


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("chaos://demo", "needs a source and faults, such as chaos://demo"),
        ("chaos://?drop=0.1", "needs a source and faults"),
        ("chaos://demo?dorp=0.1", "chaos has no option 'dorp'; did you mean 'drop'"),
        ("chaos://demo?drop=10", "drop is '10'; expected a probability per frame, 0 to 1"),
        ("chaos://demo?drop=nan", "expected a probability"),
        ("chaos://demo?seed=x", "seed is 'x'; expected a whole number"),
        ("chaos://demo?jitter=40", "expected a number with a unit"),
        ("chaos://rtsp://ann:s3cret@h/x?channel=1", "chaos has no option 'channel'"),
    ],
)
def test_wrong_addresses(uri, message):
    with pytest.raises(UsageError) as caught:
        open_source(uri)
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_what_is_wrong_with_the_source_is_said_as_ever():
    with pytest.raises(SourceError, match="source not found: nowhere"):
        open_source("chaos://nowhere.mp4?drop=0.1")
