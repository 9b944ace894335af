"""What is said of a file that is not the video it should be."""

import av
import numpy as np
import pytest

from edgevision.video.codec.damage import describe_unreadable, truncation
from edgevision.video.sources.file import FileSource
from tests.support.video import write_clip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"hello, world\n", "contains text"),
        ("grüße".encode(), "contains text"),
        (b"\x89PNG\x00\xff" * 50, "is not a video that FFmpeg can read"),
        (b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00", "has no complete index"),
    ],
)
def test_unreadable_files(tmp_path, content, said):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert describe_unreadable(path).startswith(said)


def test_an_index_that_cannot_be_read(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + b"\x00\x00\x00\x08moov")
    assert describe_unreadable(path) == "is damaged: its index cannot be read; copy it again"


def test_a_truncated_mp4_is_measured_by_its_index(tmp_path):
    whole = write_clip(tmp_path / "clip.mp4", range(0, 400, 40), container_options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    with av.open(whole) as container:
        stream = container.streams.video[0]
        assert truncation(container, stream, whole, 0.4) is None
        entries = stream.index_entries
        cut.write_bytes(whole.read_bytes()[: entries[4].pos + entries[4].size])
        assert truncation(container, stream, cut, 0.2) == "the file is truncated: it contains 5 of 10 frames"


def test_a_truncated_matroska_file_is_measured_by_its_duration(tmp_path):
    whole = write_clip(tmp_path / "clip.mkv", range(0, 4000, 40))
    with av.open(whole) as container:
        stream = container.streams.video[0]
        assert truncation(container, stream, whole, 3.9) is None
        assert truncation(container, stream, whole, 1.0) == (
            "the file is truncated: it ends after 1.0 s of 4.0 s"
        )


def test_a_transport_stream_whose_images_move_to_another_stream_says_so(tmp_path):
    """Joined with cat, as recorders do: the packet identifier of the video differs between the parts."""
    parts = []
    for number, pid in enumerate(("256", "300")):
        clip = write_clip(
            tmp_path / f"{number}.ts",
            [40 * frame for frame in range(50)],
            container_options={"mpegts_start_pid": pid},
        )
        parts.append(clip.read_bytes())
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(parts))
    with FileSource(joined) as source:
        frames = list(source)
    assert len(frames) == 50
    assert source.report.problem is not None
    assert "its images end at 50% of the file and go on in another stream" in source.report.problem
    joined.write_bytes(parts[0] * 2)
    with FileSource(joined) as source:
        assert len(list(source)) == 100
    assert source.report.problem is None


def test_frames_that_the_decoder_gives_at_the_end_are_no_loss(tmp_path):
    clip = write_clip(tmp_path / "a.ts", [0, 40, 80, 120, 160], options={"bf": "3", "b-adapt": "0"})
    with FileSource(clip) as source:
        assert len(list(source)) == 5
    assert source.report.problem is None


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.flv", "flv")])
def test_a_recording_that_hides_behind_another_is_told(tmp_path, name, codec):
    clip = write_clip(tmp_path / name, range(0, 400, 40), codec=codec)
    clip.write_bytes(clip.read_bytes() * 2)
    with FileSource(clip) as source:
        assert len(list(source)) == 10
    assert "another recording follows behind it in the file" in source.report.problem


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.gif", "gif")])
def test_joined_recordings_of_other_formats_are_read_to_the_end(tmp_path, name, codec):
    clip = tmp_path / name
    with av.open(clip, "w") as container:
        video = container.add_stream(codec, rate=10)
        video.width, video.height = 64, 48
        video.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for level in range(10):
            image = np.full((48, 64, 3), 20 * level, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
    clip.write_bytes(clip.read_bytes() * 2)
    with FileSource(clip) as source:
        times = [frame.timestamp_ns for frame in source]
    assert np.diff(times) / 1e9 == pytest.approx(np.full(19, 0.1), abs=0.051)
    assert source.report.problem is None


def swapped(data, one=0x100, other=0x101):
    """A transport stream whose two streams have each other's identifiers (ISO/IEC 13818-1, 2.4.4)."""
    out, swap = bytearray(data), {one: other, other: one}

    def change(place):
        pid = (out[place] & 0x1F) << 8 | out[place + 1]
        pid = swap.get(pid, pid)
        out[place : place + 2] = bytes([out[place] & 0xE0 | pid >> 8, pid & 255])
        return pid

    for start in range(0, len(out), 188):
        if change(start + 1) != 0x1000 or not out[start + 1] & 0x40:
            continue
        table = start + 5 + out[start + 4]
        end = table + 3 + ((out[table + 1] & 15) << 8 | out[table + 2]) - 4
        change(table + 8)
        place = table + 12 + ((out[table + 10] & 15) << 8 | out[table + 11])
        while place < end:
            change(place + 1)
            place += 5 + ((out[place + 3] & 15) << 8 | out[place + 4])
        out[table + 5] ^= 2  # the version
        checksum = 0xFFFFFFFF
        for byte in out[table:end]:
            checksum ^= byte << 24
            for _ in range(8):
                checksum = checksum << 1 ^ (0x104C11DB7 if checksum >> 31 else 0)
        out[end : end + 4] = checksum.to_bytes(4, "big")
    return bytes(out)


def test_a_transport_stream_whose_images_and_sound_change_places_says_so(tmp_path):
    clip = write_clip(tmp_path / "a.ts", [40 * frame for frame in range(50)], audio="aac", audio_s=2.0)
    part = clip.read_bytes()
    clip.write_bytes(swapped(part))
    with FileSource(clip) as source:
        assert len(list(source)) == 50
    assert source.report.problem is None
    clip.write_bytes(part + swapped(part))
    with FileSource(clip) as source:
        frames = list(source)
    assert 48 <= len(frames) <= 50
    assert source.report.problem is not None
    assert "of the file and go on in another stream or not at all; cut it there" in source.report.problem
    place = int(source.report.problem.split("images end at ")[1].split("%")[0])
    assert 45 <= place <= 52
