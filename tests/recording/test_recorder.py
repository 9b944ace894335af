"""Recordings played back: what is in them, where they begin, and what a full disk or a kill leaves.

Also tests ``edgevision.recording.segment``, ``edgevision.recording.trigger``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise

import av
import numpy as np
import pytest

from edgevision.errors import SinkError, UsageError
from edgevision.recording import Recorder, Rotation, SegmentStore, SightTrigger, segment
from edgevision.recording import recorder as recorder_module
from edgevision.recording.encoder import EncodedImage, H264Encoder
from edgevision.recording.ring import PacketRing
from edgevision.recording.segment import Segment, _whole_boxes, notes_path
from edgevision.types import Attribute, Classification, Detections, Frame, FrameResult
from edgevision.video.base import SourceInfo
from tests.support.broker import wait_until
from tests.support.disk import small_disk
from tests.support.paths import ROOT
from tests.support.stall import stalled_files
from tests.support.video import number_of, numbered

RATE = 10.0
INFO = SourceInfo("clip", is_live=False, width=160, height=96, frame_rate=RATE)
NAMES = ("person", "car")
PERSON = Detections([[0, 0, 9, 9]], [0.9], [0], NAMES)
NOBODY = Detections.empty(NAMES)
LOOK_AHEAD = 6  # images inside the encoder
FRAGMENT_S = 0.5


def frame_of(i, rate=RATE):
    return Frame(numbered(i % 256), i, round(i / rate * 1e9))


def record(recorder, count, sighted=(), start=0):
    with recorder:
        for i in range(start, start + count):
            frame = frame_of(i)
            recorder.write(FrameResult(frame, (PERSON if i in sighted else NOBODY,)), frame.image)


def recorder_in(folder, rotation=None, trigger=None, keep=None, **changes):
    store = SegmentStore(folder, "yard", keep)
    return Recorder(store, INFO, rotation or Rotation(seconds=600), trigger, **changes)


def on_person():
    return SightTrigger(["person"], NAMES)


def play(path):
    """Numbers of a file's images and their times in seconds."""
    with av.open(str(path)) as container:
        frames = [
            (number_of(frame.to_ndarray(format="bgr24")), frame.time) for frame in container.decode(video=0)
        ]
    return [number for number, _ in frames], [time_s for _, time_s in frames]


def segments(folder):
    return sorted(folder.glob("*.mp4"))


def test_every_image_is_recorded_at_its_time(tmp_path):
    recorder = recorder_in(tmp_path)
    record(recorder, 50)
    (path,) = segments(tmp_path)
    numbers, times = play(path)
    assert numbers == list(range(50))
    assert times == pytest.approx([i / RATE for i in range(50)])
    with av.open(str(path)) as container:  # the last image lasts as long as the others
        assert container.duration / av.time_base == pytest.approx(50 / RATE, abs=0.01)
    assert recorder.notes == [f"{tmp_path / 'yard-*.mp4'}: 1 file recorded"]


def test_varying_times_are_kept(tmp_path):
    moments_ms = [0, 40, 300, 310, 900, 2000]
    with recorder_in(tmp_path) as recorder:
        for i, moment_ms in enumerate(moments_ms):
            frame = Frame(numbered(i), i, moment_ms * 1_000_000)
            recorder.write(FrameResult(frame, (NOBODY,)), frame.image)
    _, times = play(segments(tmp_path)[0])
    assert times == pytest.approx([moment / 1000 for moment in moments_ms])


def test_a_new_file_begins_at_the_time_and_no_image_is_lost(tmp_path):
    """5.5 seconds in files of 2: 20, 20 and 15 images, each file from 0."""
    record(recorder_in(tmp_path, Rotation(seconds=2)), 55)
    files = [play(path) for path in segments(tmp_path)]
    assert [len(numbers) for numbers, _ in files] == [20, 20, 15]
    assert [number for numbers, _ in files for number in numbers] == list(range(55))
    assert all(times[0] == 0 for _, times in files)


def test_a_new_file_begins_at_the_size(tmp_path):
    limit = 40_000
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 160, 3), np.uint8)
    with recorder_in(tmp_path, Rotation(size=limit)) as recorder:
        for i in range(120):
            recorder.write(FrameResult(frame_of(i), (NOBODY,)), noise[i % 40])
    sizes = [path.stat().st_size for path in segments(tmp_path)]
    assert len(sizes) > 2
    one = max(sizes) / 120 * LOOK_AHEAD + limit * 0.5  # what the encoder still held, and one image
    assert all(limit * 0.9 < size < limit + one for size in sizes[:-1])
    assert sum(len(play(path)[0]) for path in segments(tmp_path)) == 120


def test_the_budget_keeps_the_newest(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 160, 3), np.uint8)
    keep = 200_000
    recorder = recorder_in(tmp_path, Rotation(seconds=1), keep=keep)
    made = set()
    with recorder:
        for i in range(150):
            recorder.write(FrameResult(frame_of(i), (NOBODY,)), noise[i % 40])
            made.update(segments(tmp_path))
    left = segments(tmp_path)
    assert sum(path.stat().st_size for path in left) <= keep
    assert 1 <= len(left) < len(made) == recorder._store.made
    assert recorder._store.made - recorder._store.removed == len(left)
    assert left == sorted(made)[-len(left) :]
    assert "of the oldest removed" in recorder.notes[0]


def test_the_file_in_progress_leaves_room_for_one_before_it(tmp_path):
    """Without --rotate a file may last for ten minutes: it must not use up what --keep allows."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 160, 3), np.uint8)
    keep = 300_000
    with recorder_in(tmp_path, Rotation(seconds=600), keep=keep) as recorder:
        for i in range(150):
            recorder.write(FrameResult(frame_of(i), (NOBODY,)), noise[i % 40])
    left = segments(tmp_path)
    assert recorder._store.made > len(left) >= 1
    assert sum(path.stat().st_size for path in left) <= keep


def test_a_clip_begins_before_and_ends_after_what_was_seen(tmp_path):
    """A person in frames 100 to 119, at 10 to 11.9 s; confirmed in 102; key frames every 2 s."""
    recorder = recorder_in(tmp_path, trigger=on_person(), pre_s=3, post_s=2)
    record(recorder, 200, range(100, 120))
    (path,) = segments(tmp_path)
    numbers, times = play(path)
    assert numbers == list(range(numbers[0], 140))
    assert recorder.deliveries()[0].delivered == len(numbers)
    # Three seconds before the sighting was confirmed (7.2 s), or up to a distance of key frames earlier.
    assert 52 <= numbers[0] <= 72
    assert times[0] == 0


def test_a_sighting_during_the_time_after_makes_the_clip_longer(tmp_path):
    sighted = [*range(50, 53), *range(65, 68)]
    record(recorder_in(tmp_path, trigger=on_person(), pre_s=1, post_s=2), 120, sighted)
    (path,) = segments(tmp_path)
    assert play(path)[0][-1] == 87


def test_two_sightings_far_apart_make_two_clips_and_nothing_in_between_is_missing(tmp_path):
    """The second begins right after the first clip has ended; its time before reaches into the first."""
    sighted = [*range(50, 53), *range(75, 78)]
    record(recorder_in(tmp_path, trigger=on_person(), pre_s=1, post_s=1), 120, sighted)
    first, second = (play(path)[0] for path in segments(tmp_path))
    assert first[-1] == 62
    assert 47 <= second[0] <= 67
    assert second == list(range(second[0], 88))


def test_a_flicker_of_two_frames_records_nothing(tmp_path):
    record(recorder_in(tmp_path, trigger=on_person()), 100, [30, 31, 60])
    assert segments(tmp_path) == []


def test_a_long_clip_rotates_without_a_gap(tmp_path):
    record(recorder_in(tmp_path, Rotation(seconds=2), on_person(), pre_s=1, post_s=1), 90, range(20, 70))
    files = [play(path)[0] for path in segments(tmp_path)]
    joined = [number for numbers in files for number in numbers]
    assert len(files) > 2
    assert joined == list(range(joined[0], 80))


def test_a_source_that_ends_during_a_clip_ends_it(tmp_path):
    record(recorder_in(tmp_path, trigger=on_person()), 40, range(30, 40))
    (path,) = segments(tmp_path)
    assert play(path)[0] == list(range(40))


def test_a_new_size_begins_a_new_file(tmp_path):
    with recorder_in(tmp_path) as recorder:
        for i in range(40):
            image = numbered(i) if i < 20 else numbered(i, 321, 181)
            recorder.write(FrameResult(frame_of(i), (NOBODY,)), image)
    files = segments(tmp_path)
    assert [len(play(path)[0]) for path in files] == [20, 20]
    with av.open(str(files[1])) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (322, 182)


@pytest.mark.parametrize("size", [(160, 96), (159, 95)])
def test_the_file_declares_the_size_of_its_images(tmp_path, size):
    """Players make their window by the visual sample entry (ISO/IEC 14496-12, 12.1.3); sides are even."""
    with recorder_in(tmp_path) as recorder:
        for i in range(5):
            recorder.write(FrameResult(frame_of(i), (NOBODY,)), numbered(i, *size))
    (path,) = segments(tmp_path)
    content = path.read_bytes()
    entry = content[content.index(b"avc1", content.index(b"stsd")) :]
    assert (int.from_bytes(entry[28:30], "big"), int.from_bytes(entry[30:32], "big")) == (160, 96)


@pytest.mark.parametrize(
    ("tail", "whole"),
    [
        (b"", 12),
        (b"\0\0\0\x0cmoof1234", 24),
        (b"\0\0\0\x0dmoof1234", 12),  # a byte of it is missing
        (b"\0\0\0\x01mdat" + (20).to_bytes(8, "big") + b"1234", 32),  # its length in 64 bits
        (b"\0\0\0\x01mdat" + (21).to_bytes(8, "big") + b"1234", 12),
        (b"\0\0\0\0mdat1234", 12),  # to the end of the file: who knows whether that is all
        (b"\0\0\0", 12),
    ],
)
def test_a_file_is_cut_behind_its_last_whole_box(tmp_path, tail, whole):
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"\0\0\0\x0cftypisom" + tail)
    assert _whole_boxes(path) == whole


def test_what_triggers_must_exist():
    with pytest.raises(UsageError, match="no model has this class; did you mean 'person'"):
        SightTrigger(["persn"], NAMES)
    with pytest.raises(UsageError, match="there are: person, car"):
        SightTrigger([], NAMES)


def test_labels_and_what_a_second_model_said_are_seen_too():
    attributes = np.empty(1, object)
    attributes[0] = (Attribute("helmet", 0.9),)
    one = Detections([[0, 0, 9, 9]], [0.9], [0], ("person",), attributes=attributes)
    scene = Classification([0.9, 0.1], ("rain", "sun"), threshold=0.5)
    image = np.zeros((20, 20, 3), np.uint8)
    for wanted, expected in (("helmet", True), ("rain", True), ("sun", False), ("vest", False)):
        trigger = SightTrigger([wanted], ["person", "rain", "sun"], ["helmet", "vest"])
        seen = [trigger(FrameResult(Frame(image, i, i * 40_000_000), (one, scene))) for i in range(3)]
        assert seen == [False, False, expected]


def test_the_ring_holds_the_span_and_never_more_than_its_capacity():
    """Key frames at 0, 10, 20 ...; a span of 15 begins with the last key frame at or before now - 15."""
    ring = PacketRing(span=15, capacity=10_000)
    for pts in range(48):
        ring.append(EncodedImage(b"x" * 10, pts, pts % 10 == 0), now=pts)
    assert [image.pts for image in ring.images()] == list(range(30, 48))
    assert (ring.size, ring.was_short) == (180, False)
    small = PacketRing(span=1000, capacity=250)
    for pts in range(48):
        small.append(EncodedImage(b"x" * 10, pts, pts % 10 == 0), now=pts)
        assert small.size <= 250
        assert not small.images() or small.images()[0].is_key
    assert small.was_short


def test_a_ring_begins_with_a_key_frame_only():
    ring = PacketRing(span=100, capacity=1000)
    ring.append(EncodedImage(b"x", 1, False), now=1)
    assert ring.images() == []


def test_the_encoder_holds_no_more_than_the_documented_look_ahead():
    encoder = H264Encoder((160, 96), RATE)
    given = [encoder.encode(numbered(i), i * 9000) for i in range(30)]
    assert 30 - sum(len(done) for done in given) <= LOOK_AHEAD
    last = encoder.finish()
    times = [image.pts for done in given for image in done] + [image.pts for image in last]
    assert times == [i * 9000 for i in range(30)]


def test_a_full_disk_stops_recording_and_room_brings_it_back(tmp_path, caplog):
    """The disk is full from the 3rd to the 5th second; frames go on without an error."""
    room = {"free": 10**9}
    recorder = recorder_in(tmp_path, retry_s=0.0, room=lambda folder: room["free"])
    with recorder:
        for i in range(80):
            room["free"] = 1000 if 30 <= i < 50 else 10**9
            frame = frame_of(i)
            recorder.write(FrameResult(frame, (NOBODY,)), frame.image)
            if i == 45:
                assert "MiB are free, which are kept in reserve" in recorder.alarm
                assert recorder.deliveries()[0].alarm == recorder.alarm
    assert recorder.alarm is None
    first, second = (play(path)[0] for path in segments(tmp_path))
    assert first == list(range(len(first)))
    assert len(first) >= 30 - RATE * FRAGMENT_S - LOOK_AHEAD
    assert second == list(range(50, 80))
    assert recorder.missed == 80 - len(first) - len(second)
    (account,) = recorder.deliveries()
    assert (account.kind, account.lost, account.alarm) == ("recording", recorder.missed, None)
    assert account.output.endswith("yard-*.mp4")
    assert account.delivered == len(first) + len(second)
    assert caplog.text.count("the run continues") == 1
    assert caplog.text.count(" resumed; ") == 1


def test_a_disk_that_is_really_full_leaves_what_plays(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 160, 3), np.uint8)
    folder = tmp_path / "disk"
    with small_disk(folder, "300k"):
        with recorder_in(folder, reserve=0, retry_s=60) as recorder:
            for i in range(150):
                recorder.write(FrameResult(frame_of(i), (NOBODY,)), noise[i % 40])
        assert "No space left on device" in recorder.alarm
        assert recorder.missed > 0
        (path,) = segments(folder)
        assert 25 <= len(play(path)[0]) < 40  # five a fragment of 45 kB
        assert (recorder.recorded, recorder.missed) == (len(play(path)[0]), 150 - len(play(path)[0]))
    assert "were not recorded" in recorder.notes[-1]


def test_a_disk_that_fills_up_before_the_end_of_a_file_costs_only_its_end(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 160, 3), np.uint8)
    folder = tmp_path / "disk"
    with small_disk(folder, "400k"):
        recorder = recorder_in(folder, reserve=0)
        for i in range(28):
            recorder.write(FrameResult(frame_of(i), (NOBODY,)), noise[i])
        with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1024))
        recorder.close()
        assert "No space left on device" in recorder.alarm
        (path,) = segments(folder)
        assert 15 <= len(play(path)[0]) <= 28
        assert (recorder.recorded, recorder.missed) == (len(play(path)[0]), 28 - len(play(path)[0]))


def test_a_folder_that_goes_away_raises_an_alarm_only(tmp_path):
    folder = tmp_path / "usb"
    recorder = recorder_in(folder, Rotation(seconds=1))
    with recorder:
        for i in range(40):
            if i == 15:
                for path in [*folder.iterdir()]:
                    path.unlink()
                folder.rmdir()
            frame = frame_of(i)
            recorder.write(FrameResult(frame, (NOBODY,)), frame.image)
    assert "cannot record in" in recorder.alarm
    assert recorder.recorded + recorder.missed == 40


@pytest.mark.parametrize("free", [0, 1000])
def test_a_disk_that_is_full_from_the_start_is_an_error(tmp_path, free):
    recorder = recorder_in(tmp_path, room=lambda folder: free)
    for i in range(20):
        recorder.write(FrameResult(frame_of(i), (NOBODY,)), frame_of(i).image)
    with pytest.raises(SinkError, match="kept in reserve; none of 20 images was recorded"):
        recorder.close()
    recorder.close()
    assert (recorder.recorded, recorder.missed) == (0, 20)
    assert segments(tmp_path) == []


def test_only_images_that_were_wanted_are_missed(tmp_path):
    """A clip that a full disk prevents misses what the same clip holds elsewhere, and nothing after it."""
    clip = {"trigger": on_person(), "pre_s": 0, "post_s": 1}
    (tmp_path / "room").mkdir()
    with_room = recorder_in(tmp_path / "room", **clip)
    record(with_room, 120, range(40, 60))
    clip["trigger"] = on_person()
    without = recorder_in(tmp_path, **clip, room=lambda folder: 0)
    with pytest.raises(SinkError, match=f"none of {with_room.recorded} images was recorded"):
        record(without, 120, range(40, 60))
    assert (without.recorded, without.missed) == (0, with_room.recorded)
    assert with_room.recorded >= 28  # from the confirmation in frame 42 to a second after frame 59


@pytest.mark.parametrize("failing", [0, 3, 7, 12])
def test_counts_add_up_wherever_writing_fails(tmp_path, monkeypatch, failing):
    """A clip with seconds before and after, whose file cannot be written at one moment."""
    calls = []
    write = Segment.write

    def fails_once(self, image):
        calls.append(image)
        self_images = self.images
        write(self, image)
        if len(calls) == failing + 1:
            raise OSError(errno.EIO, "Input/output error")
        assert self.images == self_images + 1

    monkeypatch.setattr(Segment, "write", fails_once)
    recorder = recorder_in(tmp_path, Rotation(seconds=1), retry_s=0.0)
    with recorder:
        for i in range(60):
            recorder.write(FrameResult(frame_of(i), (NOBODY,)), frame_of(i).image)
    played = sum(len(play(path)[0]) for path in segments(tmp_path))
    assert recorder.missed > 0
    assert (recorder.recorded, recorder.recorded + recorder.missed) == (played, 60)


@pytest.mark.parametrize("hours", [4, 7, 19, 24 * 400])
@pytest.mark.parametrize("rotation", [Rotation(size=500_000_000), Rotation(seconds=600)])
def test_a_camera_that_is_back_after_hours_begins_a_new_file(tmp_path, hours, rotation, caplog):
    recorder = recorder_in(tmp_path, rotation)
    with recorder:
        for i in range(200):
            away_ns = hours * 3600 * 10**9 if i >= 100 else 0
            frame = frame_of(i)
            recorder.write(
                FrameResult(Frame(frame.image, i, frame.timestamp_ns + away_ns), (NOBODY,)), frame.image
            )
    first, second = (play(path) for path in segments(tmp_path))
    assert (first[0], second[0]) == (list(range(100)), list(range(100, 200)))
    assert second[1] == pytest.approx([i / RATE for i in range(100)], abs=0.001)
    assert (recorder.recorded, recorder.missed, recorder.alarm) == (200, 0, None)
    assert f"no image for {hours}.0 hours; a new file begins" in caplog.text


def test_seconds_before_a_sighting_do_not_reach_over_a_gap_of_hours(tmp_path):
    recorder = recorder_in(tmp_path, trigger=on_person(), pre_s=5, post_s=1)
    with recorder:
        for i in range(80):
            frame = frame_of(i)
            away_ns = 7 * 3600 * 10**9 if i >= 40 else 0
            frame = Frame(frame.image, i, frame.timestamp_ns + away_ns)
            recorder.write(FrameResult(frame, (PERSON if 45 <= i < 50 else NOBODY,)), frame.image)
    (path,) = segments(tmp_path)
    assert play(path)[0] == list(range(40, 60))


def test_a_frame_a_day_is_recorded(tmp_path):
    recorder = recorder_in(tmp_path)
    with recorder:
        for i in range(12):
            frame = Frame(numbered(i), i, i * 86_400 * 10**9)
            recorder.write(FrameResult(frame, (NOBODY,)), frame.image)
    assert sorted(play(path)[0] for path in segments(tmp_path)) == [[i] for i in range(12)]
    assert recorder.recorded == 12


def test_a_killed_process_loses_the_last_fragment_at_most(tmp_path):
    """Frames come at 20 a second and each is reported; half a second of them is a fragment."""
    script = """
import sys, time
from pathlib import Path
from tests.support.video import numbered
from edgevision.recording import Recorder, Rotation, SegmentStore
from edgevision.types import Frame, FrameResult
from edgevision.video.base import SourceInfo

info = SourceInfo("clip", is_live=True, width=160, height=96, frame_rate=20.0)
recorder = Recorder(SegmentStore(Path(sys.argv[1]), "yard"), info, Rotation(seconds=3))
for i in range(100_000):
    frame = Frame(numbered(i % 256), i, i * 50_000_000)
    recorder.write(FrameResult(frame, ()), frame.image)
    print(i, flush=True)
    time.sleep(0.005)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    try:
        deadline = time.monotonic() + 120
        for line in child.stdout:
            if int(line) >= 157 or time.monotonic() > deadline:
                break
        os.kill(child.pid, signal.SIGKILL)
        written = 1 + max([int(line), *map(int, child.stdout.read().split())])
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    files = [play(path) for path in segments(tmp_path)]
    numbers = [number for played, _ in files for number in played]
    assert [len(played) for played, _ in files[:-1]] == [60] * (len(files) - 1)
    assert numbers == [i % 256 for i in range(len(numbers))]
    assert written - len(numbers) <= 20 * FRAGMENT_S + LOOK_AHEAD + 1
    assert all(later > earlier for _, times in files for earlier, later in pairwise(times))


def described(result):
    return b'{"index":%d}' % result.frame.index


def test_without_drawings_what_was_found_lies_beside_every_file(tmp_path):
    recorder = recorder_in(tmp_path, Rotation(seconds=4), describe=described)
    drawn = np.zeros((96, 160, 3), np.uint8)
    with recorder:
        for i in range(100):
            recorder.write(FrameResult(frame_of(i), (NOBODY,)), drawn)
    paths = segments(tmp_path)
    assert len(paths) > 1
    seen = []
    for path in paths:
        numbers, times = play(path)
        lines = [json.loads(line) for line in notes_path(path).read_text().splitlines()]
        assert [line["d"]["index"] for line in lines] == numbers
        assert [line["t"] for line in lines] == [round(time_s * 90_000) for time_s in times]
        seen += numbers
    assert seen == list(range(100))  # the images of the frames, not the drawn ones


def test_what_lies_beside_counts_and_goes_with_its_file(tmp_path):
    recorder = recorder_in(
        tmp_path, Rotation(seconds=2), keep=60_000, describe=lambda result: b'"' + b"x" * 1000 + b'"'
    )
    record(recorder, 200)
    left = {path.name.split(".")[0] for path in tmp_path.glob("*.mp4")}
    assert left == {path.name.split(".")[0] for path in tmp_path.glob("*.boxes.jsonl")}
    total = sum(path.stat().st_size for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert recorder._store.removed > 0
    assert total <= 60_000


def test_a_close_while_the_disk_stalls_leaves_the_file_to_the_thread_that_writes_it(tmp_path, monkeypatch):
    """FFmpeg crashes where one thread closes what another one is writing."""
    opened = stalled_files(monkeypatch, segment)
    monkeypatch.setattr(recorder_module, "_CLOSE_S", 0.05)
    recorder = recorder_in(tmp_path)

    def write():
        for i in range(20):
            with contextlib.suppress(SinkError):
                recorder.write(FrameResult(frame_of(i), (NOBODY,)), frame_of(i).image)

    writer = threading.Thread(target=write, name="writer", daemon=True)
    writer.start()
    wait_until(lambda: opened and opened[0].is_inside.is_set(), "the second image")
    recorder.close()
    assert opened[0].closers == []
    opened[0].resume.set()
    writer.join(30)
    assert opened[0].closers == ["writer"]
    assert len(opened) == 1
    (path,) = segments(tmp_path)
    numbers, _ = play(path)
    assert numbers == list(range(recorder.recorded))
    assert recorder.missed == 0
    assert recorder.notes == [f"{tmp_path / 'yard-*.mp4'}: 1 file recorded"]
