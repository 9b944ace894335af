from fractions import Fraction

import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.video.codec.scan import (
    CORRUPT,
    HIDDEN,
    KEY,
    NO_TIME,
    PacketScan,
    load_scan,
    plan_spans,
    save_scan,
    scan_packets,
    why_in_one_go,
)
from tests.support.video import write_clip


def scan(pts, keys=(0, 3), dts=None, hidden=(), corrupt=(), problem=None):
    flags = np.zeros(len(pts), np.uint8)
    for positions, flag in ((keys, KEY), (hidden, HIDDEN), (corrupt, CORRUPT)):
        flags[list(positions)] |= flag
    dts = range(len(pts)) if dts is None else dts
    columns = (np.array(one, np.int64) for one in (pts, dts, [10 + i for i in range(len(pts))]))
    return PacketScan(Fraction(1, 10), *columns, flags, problem=problem)


REORDERED = [0, 2, 1, 3, 5, 4]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"keys": (0,)}, "no two key frames"),
        ({"keys": (0, 3), "hidden": (0,)}, "no two key frames"),
        ({"pts": [0, 2, 1, 3, 3, 4]}, "one presentation time"),
        ({"pts": [0, 2, 1, NO_TIME, 5, 4]}, "no presentation time"),
        ({"pts": [0, 2, 2, 3, 5, 4], "hidden": (1,)}, None),  # what is not shown does not count
        ({"pts": [4, 2, 1, 3, 5, 0]}, "key frames do not rise"),
        ({"dts": [0, 1, 2, 1, 4, 5]}, "decoding times go back"),
        ({"dts": [0, 1, NO_TIME, 3, 4, 5]}, None),
        ({"pts": [0, 2, 1, 3, 900, 4]}, "times may be wrong"),
        ({"pts": [0, 2, 1, 3, 4, 900]}, "times may be wrong"),
        ({"pts": [0, 1, 903, 902, 904, 905, 906, 907], "keys": (0, 3)}, "times may be wrong"),
        ({"pts": [0, 1, 2, 3, 4, 5, 906, 907, 908, 909, 910, 911]}, None),  # a gap
        ({"corrupt": (5,)}, "incomplete"),
        ({"problem": "reading stopped: Input/output error"}, "Input/output"),
    ],
)
def test_what_forbids_to_cut(changes, reason):
    found = why_in_one_go(scan(**{"pts": REORDERED, **changes}))
    assert found is None if reason is None else reason in found


def test_every_frame_is_in_one_span():
    pts = list(range(0, 300, 3))
    one = scan(pts, keys=range(0, 100, 7))
    for frames in (1, 5, 7, 8, 30, 60, 200):
        spans = plan_spans(one, frames)
        assert [span.number for span in spans] == list(range(len(spans)))
        assert [span.first_index for span in spans] == [
            sum(s.frames for s in spans[:n]) for n in range(len(spans))
        ]
        assert sum(span.frames for span in spans) == 100
        assert (spans[0].start, spans[-1].end) == (None, None)
        assert [span.end for span in spans[:-1]] == [span.start for span in spans[1:]]
        assert all(span.frames >= frames for span in spans[:-1])
    assert [len(plan_spans(one, frames)) for frames in (60, 80, 200)] == [2, 1, 1]
    assert len(plan_spans(one, 7)) == 14


def test_frames_shown_before_a_key_frame_belong_to_the_span_before():
    spans = plan_spans(scan([0, 3, 1, 2, 7, 5, 6], keys=(0, 4)), 2)
    assert [(span.first_index, span.frames, span.start) for span in spans] == [(0, 6, None), (6, 1, 7)]
    spans = plan_spans(scan([0, 3, 1, 2, 7, 5, 6, 8, 9, 10], keys=(0, 4)), 2)
    assert [(span.first_index, span.frames, span.start) for span in spans] == [(0, 6, None), (6, 4, 7)]


def test_times_are_nanoseconds_from_the_first_frame():
    assert scan([5, 7, 6], keys=(0,)).moments_ns() == [0, 100_000_000, 200_000_000]


def test_a_scan_is_kept_in_a_file(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", range(0, 1000, 40), options={"g": "5"})
    found = scan_packets(clip)
    save_scan(found, tmp_path / "scan.npz")
    again = load_scan(tmp_path / "scan.npz")
    assert len(found) == 25
    assert again.time_base == found.time_base
    assert again.digest == found.digest
    assert len(found.digest) == 32
    for column in ("pts", "dts", "sizes", "flags"):
        assert (getattr(again, column) == getattr(found, column)).all()


def test_the_digest_is_of_the_content(tmp_path):
    one = write_clip(tmp_path / "a.mp4", range(0, 400, 40))
    other = write_clip(tmp_path / "b.mp4", range(0, 440, 40))
    assert scan_packets(one).digest == scan_packets(one).digest != scan_packets(other).digest


def test_what_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"text")
    with pytest.raises(SourceError, match=r"cannot read .*a\.mp4"):
        scan_packets(tmp_path / "a.mp4")
