"""MP4 files as a player reads them back: frames, times, sound, and what a kill leaves.

Also tests ``edgevision.video.sinks.audio``.
"""

import os
import signal
import struct
import subprocess
import sys
import threading
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

from edgevision.errors import SinkError
from edgevision.types import Frame, FrameResult
from edgevision.video import open_sink, open_source
from edgevision.video.base import SourceInfo
from edgevision.video.sinks import mp4
from edgevision.video.sinks.mp4 import Mp4Sink
from edgevision.video.sources.arrays import ArraySource
from tests.support.paths import ROOT, SHARED
from tests.support.stall import stalled_files
from tests.support.video import audio_seconds, number_of, numbered, probe, record, write_clip

EVEN = [40 * number for number in range(50)]
VARIABLE = [0, 40, 55, 200, 201, 260, 900, 2500, 2533, 2566]
VIDEOS = SHARED / "data" / "videos"


def copy(path, out, limit=None):
    source = open_source(str(path))
    sink = open_sink(str(out), info=source.info)
    return record(source, sink, limit), sink


def top_level_boxes(path):
    data, position, names = path.read_bytes(), 0, []
    while position < len(data):
        size, kind = struct.unpack(">I4s", data[position : position + 8])
        if size == 1:
            size = struct.unpack(">Q", data[position + 8 : position + 16])[0]
        names.append(kind.decode())
        position += size or len(data)
    return names


def test_every_frame_in_order_as_an_ordinary_mp4(tmp_path):
    out = tmp_path / "out.mp4"
    copy(write_clip(tmp_path / "in.mp4", EVEN), out)
    times, numbers = probe(out)
    assert numbers == list(range(50))
    assert times == pytest.approx([time / 1000 for time in EVEN], abs=0.001)
    assert "moof" not in top_level_boxes(out)  # no fragments are left once it is finished
    with av.open(out) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.profile) == ("h264", "yuv420p", "High")
        assert (context.color_range, context.colorspace, context.color_primaries, context.color_trc) == (
            1,
            1,
            1,
            1,
        )
        assert float(stream.duration * stream.time_base) == pytest.approx(2.0, abs=0.05)


def test_a_variable_frame_rate_is_kept(tmp_path):
    out = tmp_path / "out.mp4"
    copy(write_clip(tmp_path / "in.mkv", VARIABLE), out)
    times, numbers = probe(out)
    assert times == pytest.approx([time / 1000 for time in VARIABLE], abs=0.001)
    assert numbers == list(range(10))


@pytest.mark.parametrize(
    "times",
    [[0, *range(80, 500, 40)], [0, 40, 80, 580], VARIABLE, EVEN],
    ids=["first gap", "last gap", "variable", "even"],
)
@pytest.mark.parametrize("still", [0, 1, 3, 4, 6])
def test_no_player_cuts_the_last_image_off(tmp_path, times, still):
    """Players that honour the file's edit list drop packets that it marks as discarded.

    Noise is coded as it comes; still images at the end make the encoder reorder the last ones.
    """
    out = tmp_path / "out.mp4"
    rng = np.random.default_rng(still)
    image = np.zeros((48, 64, 3), np.uint8)
    with Mp4Sink(out, SourceInfo("made up", is_live=False, frame_rate=25.0)) as sink:
        for index, time_ms in enumerate(times):
            if index < len(times) - still:
                image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            sink.write(FrameResult(Frame(image, index, time_ms * 10**6), ()), image)
    with av.open(out) as container:
        packets = [p for p in container.demux(video=0) if p.pts is not None]
        end = float(container.streams.video[0].duration * container.streams.video[0].time_base)
    assert len(packets) == len(times)
    assert not any(packet.is_discard for packet in packets)
    assert times[-1] / 1000 + 0.039 <= end <= times[-1] / 1000 + 0.7
    if times == EVEN:
        assert end == pytest.approx(len(EVEN) * 0.04, abs=0.001)


def test_times_that_do_not_move_are_kept_apart(tmp_path):
    source = ArraySource([numbered(number) for number in range(4)], [0, 0, 1, 40_000_000])
    record(source, Mp4Sink(tmp_path / "out.mp4", source.info))
    times, numbers = probe(tmp_path / "out.mp4")
    assert numbers == [0, 1, 2, 3]
    assert times == sorted(set(times))


def test_colours_are_kept(tmp_path):
    colours = [(30, 120, 220), (200, 40, 60), (128, 128, 128), (250, 250, 5)]
    source = ArraySource([np.full((64, 64, 3), colour, np.uint8) for colour in colours])
    record(source, Mp4Sink(tmp_path / "out.mp4", source.info))
    with open_source(str(tmp_path / "out.mp4")) as again:
        for frame, colour in zip(again, colours, strict=True):
            assert np.abs(frame.image[8:-8, 8:-8].astype(int) - colour).max() <= 6


@pytest.mark.parametrize(("width", "height"), [(161, 96), (160, 97), (161, 97), (1, 1), (3, 2)])
def test_odd_sizes_get_one_more_row_or_column(tmp_path, width, height):
    odd = np.full((height, width, 3), 60, np.uint8)
    odd[:, -1] = 220
    source = ArraySource([odd] * 3)
    record(source, Mp4Sink(tmp_path / "out.mp4", source.info))
    with open_source(str(tmp_path / "out.mp4")) as again:
        image = next(iter(again)).image
    assert image.shape[:2] == (height + height % 2, width + width % 2)
    assert abs(int(image[0, -1, 1]) - 220) < 25  # the doubled edge, not a black one


def test_another_size_is_letterboxed_and_said_once(tmp_path):
    images = [numbered(1), numbered(2), numbered(3, 96, 160), numbered(4, 320, 192), numbered(5, 96, 160)]
    source = ArraySource(images)
    sink = Mp4Sink(tmp_path / "out.mp4", source.info)
    record(source, sink)
    with open_source(str(tmp_path / "out.mp4")) as again:
        frames = list(again)
    assert {frame.image.shape for frame in frames} == {(96, 160, 3)}
    assert [number_of(frames[i].image) for i in (0, 1, 3)] == [1, 2, 4]
    narrow = frames[2].image  # 96x160 into 160x96: 58 wide, 51 free on each side
    assert narrow[:, :48].max() < 20
    assert narrow[:, -48:].max() < 20
    assert number_of(narrow[:, 51:109]) == 3
    assert len(sink.notes) == 1
    assert "changed from 160x96 to 96x160" in sink.notes[0]


def test_pixels_that_are_not_square_stay_so(tmp_path):
    info = SourceInfo("pal", False, pixel_aspect=Fraction(16, 15))
    with Mp4Sink(tmp_path / "out.mp4", info) as sink:
        sink.write(FrameResult(Frame(numbered(1), 0, 0), ()), numbered(1))
    with open_source(str(tmp_path / "out.mp4")) as again:
        assert again.info.pixel_aspect == Fraction(16, 15)


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [
        ("in.mp4", "aac", "aac"),
        ("in.ts", "aac", "aac"),
        ("in.mkv", "libmp3lame", "mp3"),
        ("in.mkv", "libopus", "opus"),
        ("in.mkv", "flac", "flac"),
        ("in.mkv", "ac3", "ac3"),
        ("in.mov", "pcm_s16le", "aac"),
        ("in.mkv", "mp2", "aac"),
    ],
)
def test_sound_is_carried_over(tmp_path, name, codec, kept):
    path = write_clip(tmp_path / name, EVEN, audio=codec, audio_s=2.0)
    _, sink = copy(path, tmp_path / "out.mp4")
    assert sink.notes == []
    assert audio_seconds(tmp_path / "out.mp4") == pytest.approx(audio_seconds(path), abs=0.05)
    with av.open(tmp_path / "out.mp4") as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == kept
        sound = next(container.decode(audio=0))
        assert sound.time == pytest.approx(0, abs=0.05)
        container.seek(0)
        assert next(container.decode(video=0)).time == 0


def test_sound_keeps_its_place_when_images_start_late(tmp_path):
    # Sound from 0 s, images from 0.6 s: the recording starts with the images, so does its sound.
    path = write_clip(tmp_path / "in.mkv", [600 + time for time in EVEN], audio="pcm_s16le", audio_s=2.6)
    copy(path, tmp_path / "out.mp4")
    assert audio_seconds(tmp_path / "out.mp4") == pytest.approx(2.0, abs=0.06)
    times, _ = probe(tmp_path / "out.mp4")
    assert times[0] == pytest.approx(0, abs=0.001)


def test_sound_that_starts_late_stays_late(tmp_path):
    path = write_clip(tmp_path / "in.mkv", EVEN, audio="libopus", audio_s=1.0, audio_start_s=0.8)
    copy(path, tmp_path / "out.mp4")
    with av.open(tmp_path / "out.mp4") as container:
        assert next(container.decode(audio=0)).time == pytest.approx(0.8, abs=0.03)


def test_sound_ends_where_a_run_was_stopped(tmp_path):
    path = write_clip(tmp_path / "in.mp4", [40 * number for number in range(150)], audio="aac")
    copy(path, tmp_path / "out.mp4", limit=50)
    assert audio_seconds(tmp_path / "out.mp4") == pytest.approx(2.0, abs=0.06)


def test_damaged_sound_costs_its_own_part_only(tmp_path):
    path = write_clip(tmp_path / "in.mkv", EVEN, audio="mp2", audio_s=2.0)
    data = bytearray(path.read_bytes())
    with av.open(path) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    for position, size in packets[20:24]:
        start = data.index(b"\xff\xfd", position)
        data[start : start + size - 40] = bytes(size - 40)
    path.write_bytes(data)
    copy(path, tmp_path / "out.mp4")
    assert len(probe(tmp_path / "out.mp4")[0]) == 50
    with av.open(tmp_path / "out.mp4") as container:
        last = max(frame.time for frame in container.decode(audio=0))
    assert last == pytest.approx(2.0, abs=0.1)


def test_sound_longer_than_the_images_is_kept(tmp_path):
    path = write_clip(tmp_path / "in.mp4", EVEN, audio="aac", audio_s=4.0)
    copy(path, tmp_path / "out.mp4")
    assert audio_seconds(tmp_path / "out.mp4") == pytest.approx(4.0, abs=0.05)
    assert len(probe(tmp_path / "out.mp4")[0]) == 50


def test_images_do_not_wait_in_memory_for_sound_that_has_ended(tmp_path):
    # Two seconds of sound, twenty of images: the file must grow all the same.
    path = write_clip(tmp_path / "in.mp4", [40 * number for number in range(500)], audio="aac", audio_s=2.0)
    out = tmp_path / "out.mp4"
    with open_source(str(path)) as source, open_sink(str(out), info=source.info) as sink:
        for frame in source:
            sink.write(FrameResult(frame, ()), frame.image)
        written = len(probe(out)[0])
    assert written > 420
    assert len(probe(out)[0]) == 500


def test_nothing_written_leaves_no_file(tmp_path):
    with open_sink(str(tmp_path / "out.mp4"), info=SourceInfo("x", False)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_threads_are_bounded(tmp_path):
    source = ArraySource([numbered(number) for number in range(3)])
    with Mp4Sink(tmp_path / "out.mp4", source.info, threads=1) as sink:
        for frame in source:
            sink.write(FrameResult(frame, ()), frame.image)
        assert sink._stream.codec_context.thread_count == 1


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from tests.support.video import numbered
from edgevision.types import Frame, FrameResult
from edgevision.video import open_source, open_sink
with open_source(sys.argv[3]) as source:
    sink = open_sink(sys.argv[1], info=source.info)
    for frame in source:
        sink.write(FrameResult(frame, ()), frame.image)
        if frame.index == 109:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("audio", [None, "aac"])
def test_a_kill_leaves_a_file_that_plays(tmp_path, audio):
    path = write_clip(tmp_path / "in.mp4", [40 * number for number in range(150)], audio=audio)
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-c", KILLED, str(out), str(ROOT), str(path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    times, numbers = probe(out)
    assert len(numbers) >= 75  # of 110: the encoder's look-ahead and half a second are lost
    assert numbers == list(range(len(numbers)))
    assert times == pytest.approx([0.04 * number for number in numbers], abs=0.001)
    if audio:
        assert audio_seconds(out) == pytest.approx(times[-1], abs=1.0)


FULL = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from edgevision.errors import SinkError
from edgevision.types import Frame, FrameResult
from edgevision.video import open_sink
from edgevision.video.base import SourceInfo
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
noise = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)
try:
    with open_sink(sys.argv[1], info=SourceInfo("x", False)) as sink:
        for index in range(200):
            image = np.roll(noise, index * 3, 1)
            sink.write(FrameResult(Frame(image, index, index * 40_000_000), ()), image)
except SinkError as error:
    print(error)
"""


def run_full(out, limit):
    command = [sys.executable, "-c", FULL, str(out), str(ROOT), str(limit)]
    return subprocess.run(command, check=True, capture_output=True, text=True)


def test_a_full_disk_is_one_line_and_what_was_written_plays(tmp_path):
    whole = tmp_path / "whole.mp4"
    assert run_full(whole, 10**9).stdout == ""
    size = whole.stat().st_size
    # In the middle, and where only the index at the end does not fit any more.
    for limit in (size // 2, size - 3000, size - 200):
        out = tmp_path / f"{limit}.mp4"
        done = run_full(out, limit)
        assert done.stdout == (
            f"cannot write {out}: File too large; free some space (the file is playable up to here)\n"
        )
        assert done.stderr == ""
        assert len(probe(out)[0]) >= (60 if limit == size // 2 else 160)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_really_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        noise = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)
        source = ArraySource([np.roll(noise, index * 3, 1) for index in range(500)])
        with pytest.raises(SinkError, match="No space left on device; free some space"):
            record(source, open_sink(str(disk / "out.mp4"), info=source.info))
        assert len(probe(disk / "out.mp4")[0]) > 10
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_no_permission(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(SinkError, match="no permission to write"):
        open_sink(str(tmp_path / "out.mp4"), info=SourceInfo("x", False))


def test_memory_stays_flat(tmp_path):
    source = ArraySource([numbered(number % 256) for number in range(8)] * 50)
    tracemalloc.start()
    with Mp4Sink(tmp_path / "out.mp4", source.info) as sink:
        for frame in source:
            sink.write(FrameResult(frame, ()), frame.image)
            if frame.index == 100:
                before = tracemalloc.get_traced_memory()[0]
        after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 200_000


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="../shared/data/videos is not here")
def test_a_real_recording_with_sound(tmp_path):
    path = VIDEOS / "03_pedestrians_ahmetozlu.mp4"
    frames, _ = copy(path, tmp_path / "out.mp4")
    times, _ = probe(tmp_path / "out.mp4")
    assert len(frames) == len(times) == 242
    assert times == pytest.approx([frame.time_s for frame in frames], abs=0.001)
    assert audio_seconds(tmp_path / "out.mp4") == pytest.approx(audio_seconds(path), abs=0.001)


@pytest.mark.parametrize("error", [LookupError, RuntimeError, ValueError])
def test_what_a_library_raises_is_one_line(tmp_path, monkeypatch, error):
    def fail(*arguments, **named):
        raise error("unknown codec")

    monkeypatch.setattr(mp4, "add_h264_stream", fail)
    sink = Mp4Sink(tmp_path / "out.mp4", SourceInfo("clip", is_live=False))
    image = np.zeros((96, 160, 3), np.uint8)
    with pytest.raises(SinkError, match=r"cannot write .*unknown codec.*nothing was written"):
        sink.write(FrameResult(Frame(image, 0, 0), ()), image)
    sink.close()


def test_a_close_while_the_disk_stalls_leaves_the_file_to_the_thread_that_writes_it(tmp_path, monkeypatch):
    """FFmpeg crashes where one thread closes what another one is writing."""
    opened = stalled_files(monkeypatch, mp4)
    monkeypatch.setattr(mp4, "_CLOSE_S", 0.05)
    sink = Mp4Sink(tmp_path / "out.mp4", SourceInfo("camera", is_live=True, frame_rate=25.0))

    def frame(i):
        return FrameResult(Frame(numbered(i), i, i * 40_000_000), ())

    sink.write(frame(0), frame(0).frame.image)
    writer = threading.Thread(
        target=lambda: sink.write(frame(1), frame(1).frame.image), name="writer", daemon=True
    )
    writer.start()
    assert opened[0].is_inside.wait(30)
    sink.close()
    assert opened[0].closers == []
    opened[0].resume.set()
    writer.join(30)
    assert opened[0].closers == ["writer"]
    assert probe(tmp_path / "out.mp4")[1] == [0, 1]
    with pytest.raises(SinkError, match="it is closed"):
        sink.write(frame(2), frame(2).frame.image)
    assert probe(tmp_path / "out.mp4")[1] == [0, 1]
