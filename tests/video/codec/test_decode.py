"""Packets become frames, errors are counted, and a container without video says what it has."""

import av
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.video.codec.decode import (
    Decoder,
    damage_notes,
    frame_rate,
    real_rate,
    stream_notes,
    video_stream,
)
from tests.support.video import number_of, write_clip


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", range(0, 400, 40), audio="aac")


def test_every_frame_comes_out_with_its_time(clip):
    with av.open(clip) as container:
        stream = video_stream(container, "clip")
        assert frame_rate(stream) == pytest.approx(25)
        decoder = Decoder(stream)
        frames = [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]
        assert [decoder.time_ns(frame) for frame in frames] == [i * 40_000_000 for i in range(10)]
        images = [decoder.image(frame) for frame in frames]
    assert [number_of(image) for image in images] == list(range(10))
    assert images[0].shape == (96, 160, 3)
    assert images[0].dtype == np.uint8
    assert (decoder.sent, decoder.decoded, decoder.errors, decoder.damaged) == (10, 10, 0, 0)


def test_a_packet_that_cannot_be_decoded_is_counted(clip):
    with av.open(clip) as container:
        stream = video_stream(container, "clip")
        decoder = Decoder(stream, frame_threads=False)
        first, second = (packet for i, packet in enumerate(container.demux(stream)) if i < 2)
        decoder.decode(first)
        broken = av.Packet(b"\x00\x00\x00\x05\x65garbage")
        broken.stream, broken.pts, broken.time_base = stream, second.pts, second.time_base
        decoder.decode(broken)
    assert decoder.errors == 1
    assert decoder.sent == 2


def test_sound_alone_is_not_a_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    with (
        av.open(path) as container,
        pytest.raises(SourceError, match=r"^song has no video stream, only audio \(aac\)"),
    ):
        video_stream(container, "song")


def test_damaged_frames_are_one_note():
    assert damage_notes(0) == []
    assert damage_notes(1) == ["1 damaged frame; the decoder concealed the errors"]
    assert damage_notes(3) == ["3 damaged frames; the decoder concealed the errors"]


def two_streams(path, sizes, flagged):
    """A Matroska file with a video stream of each size; the flagged one alone is the default."""
    with av.open(path, "w") as container:
        streams = []
        for i, (width, height) in enumerate(sizes):
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.disposition = av.stream.Disposition.default if i == flagged else 0
            streams.append(stream)
        for stream in streams:
            image = np.zeros((stream.height, stream.width, 3), np.uint8)
            for packet in [*stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")), *stream.encode(None)]:
                container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("sizes", "flagged", "expected"),
    [
        ([(64, 64), (160, 96)], 1, 160),
        ([(160, 96), (64, 64)], 1, 64),  # the flag counts more than the size
        ([(64, 64), (160, 96)], 0, 64),
    ],
)
def test_of_several_video_streams_the_default_is_used_and_named(tmp_path, sizes, flagged, expected):
    with av.open(two_streams(tmp_path / "two.mkv", sizes, flagged)) as container:
        stream = video_stream(container, "two")
        assert stream.codec_context.width == expected
        size = f"{stream.codec_context.width}x{stream.codec_context.height}"
        assert stream_notes(container, stream) == [
            f"2 video streams: number {stream.index} is used (h264, {size})"
        ]


def test_one_video_stream_needs_no_note(clip):
    with av.open(clip) as container:
        assert stream_notes(container, video_stream(container, "clip")) == []


def test_a_rate_that_the_times_deny_is_measured(tmp_path):
    slow = write_clip(tmp_path / "slow.mkv", range(0, 4000, 200))  # the header says 25
    with av.open(slow) as container:
        stream = video_stream(container, "slow")
        assert frame_rate(stream) == pytest.approx(25)
        packets = list(container.demux(stream))
        assert real_rate(stream, packets) == pytest.approx(5)
        assert real_rate(stream, packets[:3]) == pytest.approx(25)  # too few to deny it
