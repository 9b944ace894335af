"""Fragments: read back by a player's demuxer, each with its own frame's time."""

from __future__ import annotations

import io

import av
import numpy as np

from edgevision.web.fragments import FragmentEncoder
from tests.support.web import BITS, numbered_image


def test_every_fragment_is_one_image_with_its_time() -> None:
    encoder = FragmentEncoder((320, 240), 25.0)
    fragments = []
    times = [90_000 * 36_000 + number * 3600 + 900 * (number % 3) for number in range(60)]
    for number, ticks in enumerate(times):
        fragments += encoder.encode(numbered_image(number), ticks)
    encoder.close()
    assert [one.ticks for one in fragments] == times[:-1]  # the last waits for the next
    assert [number for number, one in enumerate(fragments) if one.is_key] == [0, 50]
    assert all(one.data[4:8] == b"moof" for one in fragments)
    assert encoder.init[4:8] == b"ftyp"
    assert encoder.codec.startswith("avc1.64")
    read = []
    with av.open(io.BytesIO(encoder.init + b"".join(one.data for one in fragments))) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            read.append((round(frame.time * 90_000), shown_number(frame.to_ndarray(format="gray"))))
    assert read == list(zip(times[:-1], range(59), strict=True))


def shown_number(grey: np.ndarray) -> int:
    height, width = grey.shape
    columns = [grey[height // 4, (2 * bit + 1) * width // (2 * BITS)] for bit in range(BITS)]
    return sum(int(value > 128) << bit for bit, value in enumerate(columns))


def test_a_key_frame_comes_where_it_is_asked_for_and_odd_sizes_work() -> None:
    encoder = FragmentEncoder((321, 241), 5.0)
    fragments = [
        one
        for number in range(6)
        for one in encoder.encode(numbered_image(number, (321, 241)), number * 18_000, as_key=number == 3)
    ]
    encoder.close()
    assert [one.is_key for one in fragments] == [True, False, False, True, False]
