"""The encoder's settings as a decoder reads them back, and frames of odd sizes."""

from fractions import Fraction

import av
import numpy as np
import pytest

from edgevision.video.codec.h264 import TIME_BASE, YuvConverter, add_h264_stream


def test_a_stream_says_what_it_is(tmp_path):
    path = tmp_path / "clip.mp4"
    convert = YuvConverter()
    with av.open(path, "w") as container:
        stream = add_h264_stream(container, (63, 47), 25, options={}, pixel_aspect=Fraction(4, 3))
        for i in range(60):
            frame = convert(np.full((47, 63, 3), 4 * i, np.uint8))
            frame.pts, frame.time_base = i * 3600, TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.width, context.height, context.pix_fmt) == (64, 48, "yuv420p")
        assert context.sample_aspect_ratio == Fraction(4, 3)
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        keys = [frame.pts * frame.time_base for frame in container.decode(stream) if frame.key_frame]
    assert keys == [0, 2]  # seconds


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 6), (4, 7), (5, 7)])
def test_an_odd_side_gets_its_last_line_twice(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    frame = YuvConverter()(image)
    assert (frame.width, frame.height) == (width + width % 2, height + height % 2)
    assert frame.format.name == "yuv420p"
    plane = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)[:, : frame.width]
    if height % 2:
        assert np.array_equal(plane[-1], plane[-2])
    if width % 2:
        assert np.array_equal(plane[:, -1], plane[:, -2])
