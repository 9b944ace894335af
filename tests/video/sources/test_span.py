"""Spans of a file, decoded alone, give what one pass gives, or say that they may not.

``EDGEVISION_SPAN_CLIPS`` sets how many random clips are made; 500 take ten minutes. There are a fifth as many
of other encoders.
"""

import json
import os

import av
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.video.codec.decode import Decoder
from edgevision.video.codec.scan import plan_spans, scan_packets, why_in_one_go
from edgevision.video.sources.span import NotProvenError, SpanSource
from tests.support.other_spans import HEALTHY, OtherRecipe
from tests.support.paths import SHARED
from tests.support.spans import Recipe, flip_bits, in_one_pass, in_spans

CLIPS = int(os.environ.get("EDGEVISION_SPAN_CLIPS", "40"))
CASES = SHARED / "cases" / "spans"


def test_random_clips_in_spans_are_what_one_pass_gives(tmp_path):
    split, refused = 0, []
    for seed in range(CLIPS):
        recipe = Recipe.draw(seed)
        path = recipe.write(tmp_path / f"{seed}{recipe.suffix}", seed)
        found = in_spans(path, max(8, recipe.frames // 5))
        if isinstance(found, str):
            refused.append(f"{recipe}: {found}")
            continue
        assert found == in_one_pass(path), recipe
        split += 1
    assert split >= 0.9 * CLIPS, refused


def test_damaged_clips_are_exact_or_refused(tmp_path):
    accepted = 0
    for seed in range(CLIPS):
        recipe = Recipe.draw(seed)
        path = recipe.write(tmp_path / f"{seed}{recipe.suffix}", seed)
        flip_bits(path, seed)
        try:
            one_pass = in_one_pass(path)
        except SourceError:
            one_pass = []
        try:
            found = in_spans(path, max(8, recipe.frames // 5))
        except SourceError:
            continue
        if not isinstance(found, str):
            assert found == one_pass, recipe
            accepted += 1
    assert 0 < accepted < CLIPS


def test_random_clips_of_other_encoders(tmp_path):
    """Edit lists, times before 0, gaps, lost packets, clocks that end, joined files, false key frames."""
    split, healthy = 0, 0
    for seed in range(CLIPS // 5):
        recipe = OtherRecipe.draw(seed)
        path = recipe.write(tmp_path / f"{seed}{recipe.suffix}")
        found = in_spans(path, max(8, recipe.frames // 5))
        if not isinstance(found, str):
            assert found == in_one_pass(path), recipe
        if recipe.variant in HEALTHY and found != "there are no two key frames":
            healthy += 1
            split += not isinstance(found, str)
    assert split >= 0.9 * healthy > 0


def test_first_times_that_are_wrong(tmp_path):
    """An FLV whose times begin before 0: FFmpeg takes them for 24 days, which one pass corrects."""
    recipe = OtherRecipe.draw(381)
    path = recipe.write(tmp_path / "a.flv")
    assert in_one_pass(path)[-1][:2] == (62, 2_480_000_000)
    assert in_spans(path, 12) == "some of the times may be wrong"


def test_what_was_read_before_changes_nothing(tmp_path):
    """FFmpeg's messages about other files neither hide nor become those about this one."""
    path = Recipe.draw(40).write(tmp_path / "a.wmv", 40)
    flip_bits(path, 40)
    found = in_spans(path, 15)
    assert isinstance(found, str)
    said = found.partition("the decoder says: ")[2]
    assert said, found
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    with av.logging.Capture():
        av.logging.log(av.logging.ERROR, "wmv2", f"{said}\n")
    av.logging.set_level(level)
    assert in_spans(path, 15) == found
    whole = Recipe.draw(1).write(tmp_path / f"b{Recipe.draw(1).suffix}", 1)
    assert in_spans(whole, 20) == in_one_pass(whole)
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    with pytest.raises(SourceError) as raised:
        scan_packets(empty)
    assert "error log" not in str(raised.value)


def test_hevc_that_is_damaged_without_a_sign(tmp_path, monkeypatch):
    """Parts of five frames are what an earlier frame left in memory, which depends on the frames that are
    held; FFmpeg reports nothing."""
    seed, held, image = 46, [], Decoder.image
    recipe = Recipe.draw(seed)
    path = recipe.write(tmp_path / "a.mp4", seed)
    assert recipe.codec == "libx265"
    assert in_spans(path, 23) == in_one_pass(path)
    flip_bits(path, seed)
    assert in_spans(path, 23) == in_one_pass(path) == in_one_pass(path)
    monkeypatch.setattr(Decoder, "image", lambda self, frame: held.append(frame) or image(self, frame))
    found = in_spans(path, 23)
    assert isinstance(found, str)
    assert "decoded twice" in found


@pytest.mark.skipif(not CASES.is_dir(), reason="the clips lie beside the checkout, and are absent")
@pytest.mark.parametrize("name", ["h264_open.mp4", "h264_edit_open.mp4", "h264_vfr.mkv", "vp9_nocues.webm",
                                  "av1_closed.mp4", "novui_late.ts", "mpeg4_badidx.avi"])  # fmt: skip
def test_clips_with_known_frames(name):
    known = json.loads((CASES / "clips.json").read_text())["clips"][name]
    scan = scan_packets(CASES / name)
    assert len(scan) == known["packets"]
    assert scan.pts[scan.keys].tolist() == known["key_pts"]
    found = in_spans(CASES / name, 30)
    if known["split"].startswith("in one go"):
        assert isinstance(found, str)
    else:
        assert found == in_one_pass(CASES / name)
        assert len(found) == known["frames"]
    # The hashes of MPEG-4 part 2 differ between processors.
    if isinstance(found, list) and not name.startswith("mpeg4"):
        for plan in plan_spans(scan, 30):
            with SpanSource(CASES / name, scan, plan) as span:
                assert sum(1 for _ in span) == plan.frames
            first = plan.first_index
            assert [line.split()[1] for line in span.head] == known["hashes"][first : first + 4]


@pytest.mark.parametrize(
    ("suffix", "codec", "options", "expected"),
    [
        (".mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=25"}, "do not meet"),
        (".mpg", "mpeg2video", {"g": "12", "bf": "2"}, "exact"),
        (".mov", "libx264", {"flags": "+ilme+ildct", "x264-params": "tff=1:keyint=25"}, "exact"),
        (".h264", "libx264", {"g": "25"}, "a packet has no presentation time"),
        (".ts", "libx264", {"g": "25"}, "packet"),
    ],
    ids=["refresh", "program", "interlaced", "raw", "joined"],
)
def test_kinds_at_which_a_plain_seek_fails(tmp_path, suffix, codec, options, expected):
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(150):
            image = np.full((96, 160, 3), number, np.uint8)
            image[20:60, number : number + 10] = 255 - number
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode(None))
    if suffix == ".ts":
        path.write_bytes(path.read_bytes() * 2)
    found = in_spans(path, 30)
    if expected == "exact":
        assert found == in_one_pass(path)
        assert len(found) == 150
    else:
        assert isinstance(found, str)
        assert expected in found


def test_a_file_that_changes_after_the_scan_is_not_proven(tmp_path):
    first = Recipe(".mkv", "libx264", 10, 0, False, False, False, 60)
    path = first.write(tmp_path / "a.mkv", 1)
    scan = scan_packets(path)
    assert why_in_one_go(scan) is None
    plans = plan_spans(scan, 20)
    first.write(path, 2)
    with SpanSource(path, scan, plans[1]) as span, pytest.raises(NotProvenError, match="differ"):
        list(span)


def test_an_error_in_front_of_a_span_is_not_its_own(tmp_path):
    """The first frames of an open GOP lack what they refer to where decoding begins there."""
    recipe = Recipe(".ts", "libx264", 12, 3, True, False, False, 90)
    path = recipe.write(tmp_path / "open.ts", 3)
    assert in_spans(path, 12) == in_one_pass(path)
