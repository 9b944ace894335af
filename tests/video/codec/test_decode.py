"""Packets become frames, errors are counted, and a container without video says what it has."""

import av
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.video.codec.decode import Decoder, damage_notes, frame_rate, video_stream
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
