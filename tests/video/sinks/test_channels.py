"""The order of the channels of a file, and what becomes of sound in an order that PyAV cannot name."""

import struct
import subprocess
import sys

import av
import numpy as np
import pytest

from edgevision.video.sinks.channels import has_foreign_channel_order
from tests.support.paths import ROOT
from tests.support.video import probe

COPY = """
import sys
sys.path.insert(0, sys.argv[3])
from tests.support.video import record
from edgevision.video import open_source, open_sink
source = open_source(sys.argv[1])
sink = open_sink(sys.argv[2], info=source.info)
record(source, sink)
print(*sink.notes)
"""


def clip(path, layout, tag, descriptions=()):
    """Ten frames with PCM sound, whose ``chan`` box is given another tag, or labels of the channels."""
    data = written(path, layout)
    at = data.index(b"chan")
    data[at + 8 : at + 20] = struct.pack(">III", tag, 0, len(descriptions))
    path.write_bytes(data)
    return path


def iso_clip(path, defined, positions=()):
    """The same as MP4 with 7.1 channels, whose ``chnl`` box names a layout or positions."""
    data = written(path, "7.1")
    at = data.index(b"chnl")
    data[at + 9] = defined
    data[at + 10 : at + 10 + len(positions)] = bytes(positions)
    path.write_bytes(data)
    return path


def written(path, layout):
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=8000, layout=layout)
        channels = len(av.AudioLayout(layout).channels)
        for number in range(10):
            image = np.full((96, 160, 3), 20 * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            wave = np.zeros((1, 320 * channels), np.int16)
            frame = av.AudioFrame.from_ndarray(wave, format="s16", layout=layout)
            frame.sample_rate, frame.pts = 8000, 320 * number
            container.mux(sound.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return bytearray(path.read_bytes())


def described(path, labels):
    """Puts a box with one description for each channel in place of the tag."""
    box = struct.pack(">4sIIII", b"chan", 0, 0, 0, len(labels))
    box += b"".join(struct.pack(">IIfff", label, 0, 0, 0, 0) for label in labels)
    path.write_bytes(struct.pack(">I4s", len(box) + 12, b"moov") + struct.pack(">I", len(box) + 4) + box)
    return path


@pytest.mark.parametrize(
    ("tag", "is_foreign"),
    [
        (100, False),
        (101, False),
        (121, False),
        (131, False),
        (147, False),
        (107, True),
        (122, True),
        (124, True),
    ],
)
def test_tags(tmp_path, tag, is_foreign):
    assert has_foreign_channel_order(clip(tmp_path / "in.mov", "5.1", tag << 16 | 6)) is is_foreign


@pytest.mark.parametrize(
    ("labels", "is_foreign"),
    [([1, 2], False), ([1, 2, 3, 4, 5, 6], False), ([2, 1], True), ([3, 1, 2], True), ([200, 201], True)],
)
def test_descriptions(tmp_path, labels, is_foreign):
    assert has_foreign_channel_order(described(tmp_path / "in.mov", labels)) is is_foreign


def test_other_files_have_no_such_order(tmp_path):
    for name, data in (
        ("empty", b""),
        ("text", b"chan" * 20),
        ("short", b"\0\0\0\7moov"),
        ("zero", bytes(64)),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        assert not has_foreign_channel_order(path)


@pytest.mark.parametrize("tag", [107, 122, 128])
@pytest.mark.parametrize("layout", ["quad", "7.1"])
def test_a_foreign_order_does_not_end_the_process(tmp_path, layout, tag):
    omits_the_sound(clip(tmp_path / "in.mov", layout, tag << 16), tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("positions", "is_foreign"),
    [
        ([0, 1, 2, 3, 8, 9, 4, 5], False),
        ([0, 1, 2, 3, 8, 9, 6, 7], False),
        ([2, 1, 0, 3, 9, 10, 4, 5], True),
        ([0, 0, 2, 3, 8, 9, 4, 5], True),
        ([0, 1, 2, 3, 8, 9, 4, 99], True),
    ],
)
def test_positions_of_an_mp4(tmp_path, positions, is_foreign):
    assert has_foreign_channel_order(iso_clip(tmp_path / "in.mp4", 0, positions)) is is_foreign


@pytest.mark.parametrize(
    ("defined", "is_foreign"),
    [(1, False), (2, False), (3, True), (6, True), (9, False), (10, False), (12, True)],
)
def test_defined_layouts_of_an_mp4(tmp_path, defined, is_foreign):
    assert has_foreign_channel_order(iso_clip(tmp_path / "in.mp4", defined, bytes(8))) is is_foreign


@pytest.mark.parametrize(
    ("defined", "positions"), [(0, [2, 1, 0, 3, 9, 10, 4, 5]), (12, bytes(8)), (14, bytes(8))]
)
def test_a_foreign_order_of_an_mp4_does_not_end_the_process(tmp_path, defined, positions):
    omits_the_sound(iso_clip(tmp_path / "in.mp4", defined, positions), tmp_path / "out.mp4")


def omits_the_sound(path, out):
    command = [sys.executable, "-c", COPY, str(path), str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "audio: omitted, cannot be copied: the order of its channels is not supported\n"
    assert len(probe(out)[0]) == 10
