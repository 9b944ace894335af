"""Decoded frames look as in a player: HDR is mapped, an undeclared matrix is guessed as in mpv."""

import av
import numpy as np
import pytest

from edgevision.video.codec.colour import ColourConverter, over_white

PQ, HLG, BT2020 = 16, 18, 9


def hdr_frame(transfer, encoded):
    """A gray frame whose luma is the given 10-bit code, tagged as HDR."""
    frame = av.VideoFrame(64, 64, "yuv420p10le")
    for plane, code in zip(frame.planes, (encoded, 512, 512), strict=True):
        samples = np.full(plane.buffer_size // 2, code, "<u2")
        plane.update(samples.tobytes())
    frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, BT2020, BT2020, 1
    return frame


@pytest.mark.parametrize(("transfer", "name", "white"), [(PQ, "HDR (PQ)", 573), (HLG, "HDR (HLG)", 721)])
def test_reference_white_of_hdr_is_white(transfer, name, white):
    # ITU-R BT.2408, table 1: 203 cd/m2 is 58 % of PQ and 75 % of HLG, in codes of 64 to 940.
    convert = ColourConverter()
    image = convert(hdr_frame(transfer, white))
    assert image.shape == (64, 64, 3)
    assert image.min() > 225
    assert convert.notes() == [f"{name}: mapped to the colours of an ordinary screen (BT.709)"]


def test_an_ordinary_frame_is_left_as_it_is():
    convert = ColourConverter()
    bgr = np.full((64, 64, 3), (30, 120, 220), np.uint8)
    frame = av.VideoFrame.from_ndarray(bgr, format="bgr24")
    assert (convert(frame) == bgr).all()
    assert convert.notes() == []


@pytest.mark.parametrize(("size", "matrix"), [((720, 576), 5), ((1280, 720), 1), ((720, 1280), 1)])
def test_without_a_matrix_small_frames_are_bt601_and_large_ones_bt709(size, matrix):
    bgr = np.full((size[1], size[0], 3), (30, 120, 220), np.uint8)
    frame = av.VideoFrame.from_ndarray(bgr, format="bgr24").reformat(
        format="yuv420p", dst_colorspace=matrix, dst_color_range=1
    )
    frame.colorspace = 2
    assert np.abs(ColourConverter()(frame).astype(int) - bgr).max() <= 4


def test_transparent_pixels_are_white():
    image = np.array([[[255, 0, 0, 0], [255, 0, 0, 127], [255, 0, 0, 255]]], np.uint8)
    expected = [[255, 255, 255], [255, 128, 128], [255, 0, 0]]
    assert over_white(image)[0].tolist() == expected
    frame = av.VideoFrame.from_ndarray(np.repeat(image, 16, axis=0).copy(), format="bgra")
    assert ColourConverter()(frame)[3].tolist() == expected


def test_a_reserved_transfer_curve_does_not_fail():
    frame = hdr_frame(3, 600)
    assert ColourConverter()(frame).shape == (64, 64, 3)
