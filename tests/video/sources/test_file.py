"""Video files: frames, times, orientation, damage, and addresses of files.

Also tests ``edgevision.video.sources.open``.
"""

import contextlib
import gc
import os
import struct
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from edgevision.engines.fake import FakeEngine
from edgevision.errors import SourceError
from edgevision.files import read_records
from edgevision.model import Model
from edgevision.pipeline import StopRequest, Stream, run_stream
from edgevision.types import FrameResult
from edgevision.video import expand_sources, is_local, open_source
from edgevision.video.sinks.jsonl import SCHEMAS, FrameRecord, JsonlSink
from edgevision.video.sinks.memory import ListSink
from edgevision.video.sinks.mp4 import Mp4Sink
from edgevision.video.sources import file as file_module
from edgevision.video.sources.file import FileSource
from tests.support.paths import SHARED
from tests.support.video import (
    audio_seconds,
    eventually,
    exif_jpeg,
    flv_with_wrong_times,
    number_of,
    numbered,
    probe,
    record,
    write_clip,
)

VIDEOS = SHARED / "data" / "videos"
CASES = SHARED / "cases"
EVEN = [40 * number for number in range(50)]
VARIABLE = [0, 40, 55, 200, 201, 260, 900, 2500, 2533, 2566]


def read(path):
    with open_source(str(path)) as source:
        frames = list(source)
    return source, frames


def test_frames_are_freed_as_soon_as_they_are_read(tmp_path):
    write_clip(tmp_path / "a.mp4", EVEN)
    gc.collect()
    gc.freeze()  # only what is made from here on is looked through
    gc.disable()
    try:
        with FileSource(tmp_path / "a.mp4") as source:
            most = max(sum(type(one) is VideoFrame for one in gc.get_objects()) for _ in source)
    finally:
        gc.enable()
    assert 0 < most < 10


def entries(path):
    """Place and size of each sample, in decoding order."""
    with av.open(path) as container:
        return [(entry.pos, entry.size) for entry in container.streams.video[0].index_entries]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "libx264"),
        ("a.mkv", "libx264"),
        ("a.ts", "libx264"),
        ("a.webm", "libvpx"),
        ("a.avi", "mpeg4"),
        ("a.mkv", "mjpeg"),
    ],
)
def test_every_frame_in_order(tmp_path, name, codec):
    options = {"strict": "-1"} if codec == "mjpeg" else {}
    path = write_clip(tmp_path / name, EVEN, codec=codec, options=options)
    if name.endswith("avi"):  # AVI has no times; 1000 a second fill it with empty frames
        path = write_avi(tmp_path / name)
    source, frames = read(path)
    assert [number_of(frame.image) for frame in frames] == list(range(50))
    assert [frame.index for frame in frames] == list(range(50))
    assert [frame.timestamp_ns / 1e6 for frame in frames] == pytest.approx(EVEN, abs=1)
    assert (source.report.read, source.report.skipped, source.report.problem) == (50, 0, None)
    assert (source.info.width, source.info.height) == (160, 96)
    assert source.info.frame_rate == pytest.approx(25, rel=0.02)
    assert not source.info.is_live
    assert source.info.path == path


def write_avi(path):
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        for number in range(50):
            container.mux(video.encode(av.VideoFrame.from_ndarray(numbered(number), format="bgr24")))
        container.mux(video.encode(None))
    return path


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_variable_frame_rate_is_kept(tmp_path, name):
    _, frames = read(write_clip(tmp_path / name, VARIABLE))
    assert [frame.timestamp_ns for frame in frames] == [time * 1_000_000 for time in VARIABLE]


def test_colours_are_right_in_both_ranges(tmp_path):
    for pixels in ("yuv420p", "yuvj420p"):
        path = tmp_path / f"{pixels}.mkv"
        with av.open(path, "w") as container:
            video = container.add_stream("libx264", rate=25, options={"crf": "1"})
            video.width, video.height, video.pix_fmt = 64, 64, pixels
            bgr = np.full((64, 64, 3), (30, 120, 220), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(bgr, format="bgr24")))
            container.mux(video.encode(None))
        _, frames = read(path)
        assert np.abs(frames[0].image.astype(int) - bgr).max() <= 4, pixels


def test_a_phone_held_upright(tmp_path):
    path = write_clip(tmp_path / "phone.mp4", EVEN[:5])
    data = bytearray(path.read_bytes())
    place = (
        data.index(b"tkhd") + 44
    )  # version 0: flags, times, id, duration, layer, group, volume come before
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    assert data[place : place + 36] == upright
    data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    source, frames = read(path)
    assert (source.info.width, source.info.height) == (96, 160)
    assert frames[3].image.shape == (160, 96, 3)
    assert [number_of(np.rot90(frame.image)) for frame in frames] == [0, 1, 2, 3, 4]


def test_pixels_that_are_not_square(tmp_path):
    path = tmp_path / "pal.mkv"
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(16, 15)
        container.mux(video.encode(av.VideoFrame.from_ndarray(numbered(1), format="bgr24")))
        container.mux(video.encode(None))
    source, _ = read(path)
    assert (source.info.pixel_aspect.numerator, source.info.pixel_aspect.denominator) == (16, 15)


def test_a_stream_that_changes_its_size(tmp_path):
    small = write_clip(tmp_path / "small.ts", EVEN[:20])
    large = write_clip(tmp_path / "large.ts", EVEN[:20], size=(320, 192))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    source, frames = read(joined)
    assert [frame.width for frame in frames] == [160] * 20 + [320] * 20
    assert [number_of(frame.image) for frame in frames] == [*range(20)] * 2
    times = [frame.timestamp_ns for frame in frames]
    assert times == sorted(set(times))
    assert any("clock jumped" in note for note in source.report.notes)


def test_raw_h264_has_no_times_and_gets_them(tmp_path):
    source, frames = read(write_clip(tmp_path / "raw.h264", EVEN[:10], options={"bf": "0"}))
    assert [number_of(frame.image) for frame in frames] == list(range(10))
    times = np.array([frame.timestamp_ns for frame in frames])
    assert (np.diff(times) == 40_000_000).all()
    assert source.report.notes


def test_a_file_cut_off_gives_what_it_holds_then_says_so(tmp_path):
    whole = write_clip(
        tmp_path / "whole.mp4", EVEN, options={"bf": "0"}, container_options={"movflags": "faststart"}
    )
    places = entries(whole)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: places[30][0] + places[30][1] // 2])  # in the middle of frame 30
    source, frames = read(cut)
    assert [number_of(frame.image) for frame in frames] == list(range(30))
    assert source.report.skipped == 1
    assert (
        source.report.problem
        == f"{cut}: the file is truncated: it contains 30 of 50 frames; all readable frames were used"
    )


def test_a_matroska_file_cut_off(tmp_path):
    whole = write_clip(tmp_path / "whole.mkv", [40 * number for number in range(150)])
    cut = tmp_path / "cut.mkv"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    source, frames = read(cut)
    assert 20 < len(frames) < 130
    assert [number_of(frame.image) for frame in frames] == list(range(len(frames)))
    assert "of 6.0 s" in source.report.problem


def test_no_index_means_the_recording_was_cut(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", EVEN)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(SourceError, match=r"has no complete index .* was interrupted"):
        open_source(str(cut))


@pytest.mark.parametrize("bad", [(20,), (20, 21), (48,), (47, 48, 49), (10, 46)])
def test_frames_that_do_not_decode_are_counted_and_no_other_is_lost(tmp_path, bad):
    # Every frame is a key frame, so that a lost one takes no other along.
    path = write_clip(tmp_path / "bad.mp4", EVEN, options={"g": "1", "bf": "0"})
    data = bytearray(path.read_bytes())
    places = entries(path)
    for number in bad:
        start, size = places[number]
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    source, frames = read(path)
    assert [number_of(frame.image) for frame in frames] == [n for n in range(50) if n not in bad]
    assert source.report.skipped == len(bad)
    assert source.report.read == 50 - len(bad)
    assert [frame.timestamp_ns // 40_000_000 for frame in frames] == [n for n in range(50) if n not in bad]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.mp4", b"this is a text\n" * 40, "contains text, not video; choose a video"),
        ("umlaut.mp4", "Grüße, 你好\n".encode() * 400, "contains text, not video"),
        ("zero.mp4", b"", r"is empty \(0 bytes\)"),
        (
            "noise.mp4",
            bytes(range(128, 256)) * 50,
            "is not a video that FFmpeg can read; expected for example MP4",
        ),
        ("noise.bin", bytes(range(128, 256)) * 50, "is not a video that FFmpeg can read"),
        ("notes.txt", b"FFmpeg would draw this as a terminal", "contains text, not video"),
        (
            "broken.mp4",
            struct.pack(">I4s", 8, b"ftyp") + struct.pack(">I4s", 16, b"moov") + b"\xff" * 8,
            "damaged|not one",
        ),
    ],
)
def test_what_is_no_video(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sound_alone(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(path, "w") as container:
        audio = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    with pytest.raises(SourceError, match=r"has no video stream, only audio \(aac\); choose a video"):
        open_source(str(path))


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "holiday.mp4").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"source not found: .*holidy\.mp4; did you mean 'holiday\.mp4'"):
        open_source(str(tmp_path / "holidy.mp4"))
    with pytest.raises(SourceError, match=r"folder .* does not exist"):
        open_source(str(tmp_path / "nowhere" / "a.mp4"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = write_clip(tmp_path / "mine.mp4", EVEN[:3])
    path.chmod(0)
    with pytest.raises(SourceError, match=r"cannot read .*Permission denied"):
        open_source(str(path))


def test_unknown_addresses_say_what_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="did you mean 'webcam'"):
        open_source("webcan")
    with pytest.raises(SourceError, match="unknown type of source: rstp://h/x; did you mean 'rtp' or 'rtsp'"):
        open_source("rstp://user:password@h/x")
    with pytest.raises(
        SourceError, match=r"source not found: zzzzzzzz; expected a video, an image, .*rtsp://"
    ):
        open_source("zzzzzzzz")


def test_folders_of_videos_are_several_sources(tmp_path):
    for name in ("b10.mp4", "b9.mkv", "a.mp4"):
        write_clip(tmp_path / name, EVEN[:2])
    (tmp_path / "readme.txt").write_text("skip me")
    expected = [str(tmp_path / name) for name in ("a.mp4", "b9.mkv", "b10.mp4")]
    assert expand_sources(str(tmp_path)) == expected
    assert expand_sources(str(tmp_path / "b*.mp4")) == expected[2:]
    assert expand_sources(expected[0]) == expected[:1]
    assert expand_sources("rtsp://u:p@h/x") == ["rtsp://u:p@h/x"]
    assert [expand_sources(uri) for uri in ("webcam", "demo", "0")] == [["webcam"], ["demo"], ["0"]]
    with open_source(str(tmp_path / "b*.mp4")) as source:
        assert source.info.path == tmp_path / "b10.mp4"
    with pytest.raises(SourceError, match="contains 3 videos"):
        open_source(str(tmp_path))


def test_folders_with_nothing_or_with_both(tmp_path):
    with pytest.raises(SourceError, match="found nothing, expected images or videos"):
        open_source(str(tmp_path))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match="found 1 other file,"):
        expand_sources(str(tmp_path))
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"found 1 images and 1 videos, .*\*\.mp4'"):
        expand_sources(str(tmp_path))


def test_close_in_the_middle_and_twice(tmp_path):
    source = FileSource(write_clip(tmp_path / "a.mp4", EVEN))
    frames = iter(source)
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


def write_jpegs(path, orientation, rate=10):
    """Motion-JPEG whose images carry EXIF, as cameras write it."""
    with av.open(path, "w") as container:
        video = container.add_mux_stream("mjpeg", rate=rate, width=160, height=96)
        for number in range(5):
            packet = av.Packet(exif_jpeg(numbered(number), orientation))
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, rate), video, True
            container.mux(packet)
    return path


@pytest.mark.parametrize("name", ["clip.avi", "clip.mov"])
def test_exif_in_motion_jpeg(tmp_path, name):
    _, frames = read(write_jpegs(tmp_path / name, 1))
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3, 4]
    source, frames = read(write_jpegs(tmp_path / name, 6))
    assert (source.info.width, source.info.height) == (96, 160)
    assert [number_of(np.rot90(frame.image)) for frame in frames] == [0, 1, 2, 3, 4]


def test_b_frames_in_avi_have_even_times(tmp_path):
    path = tmp_path / "capture.avi"
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "3"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        for number in range(20):
            container.mux(video.encode(av.VideoFrame.from_ndarray(numbered(number), format="bgr24")))
        container.mux(video.encode(None))
    source, frames = read(path)
    assert [number_of(frame.image) for frame in frames] == list(range(20))
    assert [frame.timestamp_ns / 1e6 for frame in frames] == [40 * number for number in range(20)]
    assert source.report.notes == []


def test_raw_h264_has_the_rate_of_its_codec(tmp_path):
    path = tmp_path / "clip.h264"
    with av.open(path, "w", format="h264") as container:
        video = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        for number in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(numbered(number), format="bgr24")))
        container.mux(video.encode(None))
    source, frames = read(path)
    assert source.info.frame_rate == pytest.approx(30)
    assert [frame.time_s for frame in frames] == pytest.approx([number / 30 for number in range(10)])


def write_gif(path, hold_cs):
    """Six images of 0.1 s, the last one of ``hold_cs`` hundredths."""
    with av.open(path, "w") as container:
        video = container.add_stream("gif", rate=10)
        video.width, video.height, video.pix_fmt = 160, 96, "rgb8"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="bgr24").reformat(format="rgb8")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    data = bytearray(path.read_bytes())
    place = data.rindex(b"\x21\xf9\x04")  # the last graphic control: flags, then the delay
    data[place + 4 : place + 6] = struct.pack("<H", hold_cs)
    path.write_bytes(data)
    return path


def test_a_gif_that_holds_its_last_image_is_whole(tmp_path):
    source, frames = read(write_gif(tmp_path / "hold.gif", 300))
    assert len(frames) == 6
    assert source.report.problem is None
    assert frames[-1].duration_ns == 3_000_000_000
    sink = Mp4Sink(tmp_path / "o.mp4", source.info)
    with sink:
        for frame in frames:
            sink.write(FrameResult(frame, ()), frame.image)
    with av.open(tmp_path / "o.mp4") as container:
        assert container.duration / av.time_base == pytest.approx(3.5, abs=0.1)


@pytest.mark.parametrize(("name", "codec"), [("a.flv", "flv"), ("a.wmv", "wmv2"), ("a.mkv", "libx264")])
def test_a_file_cut_in_half_is_told_and_a_whole_one_is_not(tmp_path, name, codec):
    whole = write_clip(tmp_path / f"whole{name}", [40 * number for number in range(150)], codec=codec)
    source, frames = read(whole)
    assert (len(frames), source.report.problem) == (150, None)
    cut = tmp_path / name
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source, frames = read(cut)
    assert 20 < len(frames) < 140
    assert "the file is truncated" in source.report.problem


def test_sound_that_outlasts_the_images_is_no_cut(tmp_path):
    for name in ("a.flv", "a.mkv", "a.mp4"):
        path = write_clip(tmp_path / name, EVEN, audio="aac", audio_s=8, options={"bf": "0"})
        source, frames = read(path)
        assert (len(frames), source.report.problem) == (50, None), name


@pytest.mark.parametrize("audio", [None, "mp3"])
@pytest.mark.parametrize("places", [{25}, {0}, {49}, {25, 26}])
def test_one_wrong_time_of_an_image_costs_nothing(tmp_path, places, audio):
    path = flv_with_wrong_times(tmp_path / "a.flv", places, 19 * 3_600_000, audio)
    source = open_source(str(path))
    frames = record(source, Mp4Sink(tmp_path / "o.mp4", source.info))
    assert [round(frame.timestamp_ns / 1e6) for frame in frames] == EVEN
    assert source.report.problem is None
    frames_are = "1 frame" if len(places) == 1 else "2 frames"
    assert source.report.notes == [f"{frames_are} with a wrong time: set between its neighbours"]
    times, numbers = probe(tmp_path / "o.mp4")
    assert numbers == list(range(50))
    assert times == pytest.approx([time / 1000 for time in EVEN], abs=0.002)
    if audio:
        assert audio_seconds(tmp_path / "o.mp4") == pytest.approx(2.0, abs=0.15)


def test_a_time_that_goes_back_once_costs_nothing(tmp_path):
    path = flv_with_wrong_times(tmp_path / "a.flv", {25}, -100_000, "mp3", start_ms=200_000)
    source, frames = read(path)
    assert [round(frame.timestamp_ns / 1e6) for frame in frames] == EVEN
    assert source.report.notes == ["1 frame with a wrong time: set between its neighbours"]


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_one_wrong_time_in_other_containers(tmp_path, monkeypatch, name):
    path = write_clip(tmp_path / name, EVEN, options={"bf": "0"})
    real, count = file_module.packets_of, []

    def changed(container, stream):
        for packet in real(container, stream):
            count.append(packet)
            if len(count) == 25:
                packet.pts = packet.dts = packet.pts + round(68_400 / packet.time_base)
            yield packet

    monkeypatch.setattr(file_module, "packets_of", changed)
    source, frames = read(path)
    assert [number_of(frame.image) for frame in frames] == list(range(50))
    assert [round(frame.timestamp_ns / 1e6) for frame in frames] == EVEN
    assert source.report.notes == ["1 frame with a wrong time: set between its neighbours"]


def test_one_wrong_offset_in_the_index_of_an_mp4(tmp_path):
    """Its times of decoding are sums of lengths, so only the offset of presentation (ctts) can be wrong."""
    path = write_clip(
        tmp_path / "a.mp4", EVEN, options={"bf": "2", "b-adapt": "0"},
        container_options={"use_editlist": "0"},
    )  # fmt: skip
    data = bytearray(path.read_bytes())
    entries_at = data.index(b"ctts") + 12
    places = (entries_at + 8 * number for number in range(10, 50))
    entry = next(place for place in places if data[place : place + 4] == b"\0\0\0\1")
    data[entry + 4 : entry + 8] = struct.pack(">I", 2**30)
    path.write_bytes(data)
    source, frames = read(path)
    assert [number_of(frame.image) for frame in frames] == list(range(50))
    assert frames[-1].timestamp_ns / 1e6 == pytest.approx(1960, abs=90)
    assert source.report.problem is None


def test_a_gap_that_lasts_is_kept(tmp_path):
    path = flv_with_wrong_times(tmp_path / "a.flv", set(range(25, 50)), 3_600_000)
    source, frames = read(path)
    assert frames[-1].timestamp_ns / 1e9 == pytest.approx(3601.96)
    assert source.report.notes == []


def test_a_title_that_is_not_utf8(tmp_path):
    path = write_clip(tmp_path / "a.mkv", EVEN[:5])
    with av.open(tmp_path / "titled.mkv", "w") as out, av.open(path) as container:
        out.metadata["title"] = "Strasse!"
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "titled.mkv").read_bytes()
    assert b"Strasse!" in data
    path.write_bytes(data.replace(b"Strasse!", b"Stra\xdfe !"))
    _, frames = read(path)
    assert len(frames) == 5


def test_a_name_that_is_not_utf8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/stra\xdfe.avi"))
    write_avi(tmp_path / "a.avi").rename(path)
    with open_source(str(path)) as source, JsonlSink(tmp_path / "o.jsonl") as sink:
        frame = next(iter(source))
        sink.write(FrameResult(frame, ()), frame.image)
    assert source.info.name.endswith("stra\\xdfe.avi")
    (record,) = read_records(tmp_path / "o.jsonl", FrameRecord, SCHEMAS)
    assert record.source == source.info.name
    path.write_bytes(b"text")
    with pytest.raises(SourceError) as caught:
        open_source(str(path))
    assert str(caught.value).encode().endswith(b"choose a video or an image")


@pytest.mark.parametrize("uri", ["a" * 300 + ".mp4", "a" * 300 + "/b.mp4", "a\0b.mp4"])
def test_names_that_no_file_can_have(uri):
    for opened in (open_source, expand_sources):
        with pytest.raises(SourceError, match=r"File name too long|is not a name of a file"):
            opened(uri)


def test_an_unknown_codec_is_one_line(tmp_path):
    path = write_clip(tmp_path / "a.mp4", EVEN[:5])
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz9"))
    with pytest.raises(SourceError, match=r"has a video stream of an unknown codec; convert it"):
        open_source(str(path))


def test_two_runs_of_a_damaged_file_are_equal(tmp_path):
    path = write_avi(tmp_path / "bad.avi")
    data = bytearray(path.read_bytes())
    for place in range(6000, len(data) - 2000, 997):
        data[place] ^= 0x5A
    path.write_bytes(data)
    runs = [[frame.image.tobytes() for frame in read(path)[1]] for _ in range(3)]
    assert len(runs[0]) > 10
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not here")
@pytest.mark.parametrize(
    ("name", "count"),
    [("damaged/case8.ts", 35), ("exif-in-mjpeg/clip.avi", 10), ("flv-cut-in-half/half.flv", 73)],
)
def test_files_of_reports(name, count):
    _, frames = read(CASES / name)
    assert len(frames) == count


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="../shared/data/videos is not here")
@pytest.mark.parametrize(
    ("name", "count", "rate"),
    [("01_intel_person-bicycle-car-detection.mp4", 459, 12), ("03_pedestrians_ahmetozlu.mp4", 242, 30)],
)
def test_real_recordings(name, count, rate):
    with open_source(str(VIDEOS / name)) as source:
        times = [frame.timestamp_ns for frame in source]
    assert len(times) == count
    assert source.report.problem is None
    assert source.report.skipped == 0
    assert np.diff(times).mean() == pytest.approx(1e9 / rate, rel=0.01)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("street.mp4", True),
        ("clips/*.mp4", True),
        ("file:///srv/street.mp4", True),
        ("demo", True),
        ("demo://?seconds=6", True),
        ("webcam", False),
        ("0", False),
        ("/dev/video0", False),
        ("rtsp://h/x", False),
        ("http://h/x.mp4", False),
        ("gst://videotestsrc", False),
        ("chaos://street.mp4?live=yes", False),
    ],
)
def test_what_is_local_can_be_told_from_its_address(uri, expected):
    assert is_local(uri) is expected


@pytest.fixture
def stalled(tmp_path):
    """A FIFO that gives the first frames of a clip and then nothing; it is never closed."""
    clip = write_clip(tmp_path / "clip.ts", [40 * number for number in range(300)], size=(320, 192))
    fifo = tmp_path / "fifo.ts"
    os.mkfifo(fifo)
    ended = threading.Event()

    def feed():
        with contextlib.suppress(BrokenPipeError), fifo.open("wb", buffering=0) as pipe:
            pipe.write(clip.read_bytes()[: clip.stat().st_size * 3 // 4])
            ended.wait(60)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    yield fifo
    ended.set()
    feeder.join(10)


def test_a_pipe_that_stalls_can_be_closed(stalled):
    source = FileSource(stalled)
    numbers = []
    reader = threading.Thread(target=lambda: numbers.extend(number_of(one.image) for one in source))
    reader.start()
    start = time.monotonic()
    source.close()
    assert time.monotonic() - start < 2
    source.close()
    assert numbers == list(range(len(numbers)))


def test_a_run_on_a_pipe_that_stalls_ends_when_it_is_asked_to(stalled, tmp_path):
    stop, output, seen = StopRequest(), tmp_path / "o.jsonl", ListSink()

    def ask():
        eventually(lambda: len(seen.results) > 100, timeout_s=60)
        time.sleep(0.5)
        stop.reason = "SIGTERM"

    asker = threading.Thread(target=ask)
    asker.start()
    start = time.monotonic()
    with FileSource(stalled) as source, JsonlSink(output) as lines:
        statistics = run_stream(Stream(source=source, sinks=[lines, seen]), [Model(FakeEngine())], stop=stop)
    asker.join()
    assert statistics.stopped == "SIGTERM"
    assert statistics.written == len(seen.results) == len(output.read_text().splitlines())
    assert time.monotonic() - start < 50
