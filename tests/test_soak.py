import math
import mmap
import os
import random
import threading
from pathlib import Path

import numpy as np
import pytest
from pipeline_helpers import ledger_entry, stream_statistics
from video_helpers import write_clip

from edgevision.detector import Detector
from edgevision.engines.fake import FakeEngine
from edgevision.errors import UsageError
from edgevision.pipeline import StopRequest
from edgevision.soak import DEADLINE, check_length, default_source, soak
from edgevision.soak.process import Sample, block_medians, read_sample
from edgevision.soak.segments import SegmentSink
from edgevision.soak.trend import fit_slope, student_t
from edgevision.soak.verdict import Counted, judge
from edgevision.types import Frame
from edgevision.video.base import SourceInfo
from edgevision.video.chaos import split_faults

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")


@pytest.mark.parametrize(
    ("freedom", "value"), [(3, 3.182), (5, 2.571), (10, 2.228), (28, 2.048), (1000, 1.962)]
)
def test_students_t_is_that_of_the_tables(freedom, value):
    assert student_t(freedom) == pytest.approx(value, rel=0.01)


def test_a_slope_and_its_interval_worked_by_hand():
    """Values 1, 3, 2, 4 at hours 0 to 3: slope 0.8, residuals -0.3, 0.9, -0.9, 0.3, so s^2 = 1.8 / 2 and the
    standard error sqrt(0.9 / 5) = 0.424, times t(2) = 4.303."""
    found = fit_slope([(0, 1), (3600, 3), (7200, 2), (10800, 4)])
    assert found.per_hour == pytest.approx(0.8)
    assert (found.high - found.low) / 2 == pytest.approx(0.4243 * 4.303, rel=0.03)
    assert found.blocks == 4


def test_too_few_points_say_nothing():
    assert fit_slope([(0, 5)]).high == math.inf
    assert fit_slope([(0, 5), (3600, 6)]) == fit_slope([(0, 5), (3600, 6)])
    assert (fit_slope([(0, 5), (3600, 6)]).per_hour, fit_slope([(0, 5), (3600, 6)]).low) == (1.0, -math.inf)


def test_the_interval_covers_the_truth_in_nineteen_of_twenty_cases():
    dice = random.Random(1)
    held = 0
    for _ in range(400):
        points = [(30.0 * i, 300 + 2.0 * i / 120 + dice.gauss(0, 0.5)) for i in range(30)]
        slope = fit_slope(points)
        held += slope.low <= 2.0 <= slope.high
    assert 0.92 < held / 400 < 0.98


def samples(per_hour=0.0, minutes=20, *, noise=0.3, handles=lambda s: 9, threads=lambda s: 14):
    dice = random.Random(3)
    return [
        Sample(s, 300 + per_hour * s / 3600 + dice.uniform(-noise, noise), handles(s), threads(s))
        for s in range(minutes * 60)
    ]


def counted(**changes):
    frames = ledger_entry(captured=17, inferred=10, dropped={"newer_frame": 5}, failed={"undecodable": 2})
    fields = {
        "statistics": stream_statistics(frames=frames),
        "source_read": 15,
        "source_failed": 2,
        "sink_took": 10,
    }
    return Counted(**{**fields, **changes})


def verdict(taken=(), runs=None, waiting=(0, 5)):
    report = judge("demo", taken or samples(), runs or [counted()], waiting, 1200, 300, True)
    return report, {check.name: check for check in report.checks}


def test_a_steady_run_passes():
    report, checks = verdict()
    assert report.passed
    assert [check.name for check in report.checks] == ["memory", "handles", "threads", "ledger"]
    assert abs(report.memory.per_hour) < 1
    assert report.memory.blocks == 30  # (20 - 5) minutes of two each
    assert checks["ledger"].found == "17 frames accounted for"
    assert len(report.blocks) == 40


def test_memory_that_grows_fails_and_only_that():
    report, checks = verdict(samples(per_hour=5.0))
    assert not report.passed
    assert report.memory.per_hour == pytest.approx(5, abs=1)
    assert [name for name, check in checks.items() if not check.passed] == ["memory"]
    assert "MiB an hour (95 %: +" in checks["memory"].found


def test_growth_during_the_warm_up_does_not_count():
    taken = [
        Sample(one.seconds, one.memory_mib - max(0.0, 300 - one.seconds), one.handles, one.threads)
        for one in samples()
    ]
    assert verdict(taken)[0].passed


def test_single_jumps_do_not_hide_a_steady_level_or_make_a_slope():
    taken = samples(noise=0)
    for i in range(0, len(taken), 7):
        taken[i] = Sample(taken[i].seconds, 400.0, 11, 17)
    report, _ = verdict(taken)
    assert report.passed
    assert report.memory.per_hour == 0


@pytest.mark.parametrize("what", ["handles", "threads"])
def test_a_leak_of_one_every_five_minutes_is_found(what):
    report, checks = verdict(samples(**{what: lambda s: 9 + s // 300}))
    assert not report.passed
    assert [name for name, check in checks.items() if not check.passed] == [what]
    assert checks[what].found == "10, then 12 (10 to 12)"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sink_took": 9}, "inferred 10, outputs took 9; written 10, outputs took 9"),
        ({"source_read": 16}, "captured 17, source brought 18"),
        (
            {"statistics": stream_statistics(frames=ledger_entry(captured=17, waiting=2))},
            "captured 17, settled 15; waiting 2, expected 0",
        ),
    ],
)
def test_a_frame_that_nobody_accounts_for_is_found(changes, found):
    report, checks = verdict(runs=[counted(), counted(**changes)])
    assert not report.passed
    assert checks["ledger"].found == found


@pytest.mark.parametrize("waiting", [(-1, 5), (0, 500)])
def test_an_impossible_number_under_way_is_found(waiting):
    assert not verdict(waiting=waiting)[1]["ledger"].passed


def test_a_run_that_ends_in_its_warm_up_does_not_pass():
    report, checks = verdict(samples(minutes=4))
    assert not report.passed
    assert checks["handles"].found == "no sample after the warm-up"


def test_blocks_are_medians_of_half_a_minute():
    taken = [Sample(float(s), 100.0 + (s % 30 == 3) * 50, 9, 14) for s in range(60)]
    assert [(block.seconds, block.memory_mib) for block in block_medians(taken)] == [(14.5, 100), (44.5, 100)]


@pytest.mark.parametrize(
    ("minutes", "warm_up_s", "message"),
    [
        (5, 240, "too short: a fit needs 2 after the warm-up of 4"),
        (0, 0, "impossible"),
        (9, -1, "impossible"),
    ],
)
def test_impossible_lengths_are_refused(minutes, warm_up_s, message):
    with pytest.raises(UsageError, match=message):
        check_length(minutes, warm_up_s)


def test_the_default_source_is_the_demo_with_every_kind_of_fault():
    address, faults = split_faults(default_source())
    assert address == "demo://?seconds=150"
    assert faults.live
    assert all(
        (faults.drop, faults.corrupt, faults.freeze, faults.resize, faults.disconnect, faults.jitter_s)
    )


def test_a_new_segment_waits_for_a_picture_of_the_full_size(tmp_path, monkeypatch):
    """Encoders of other sizes would move memory up and down."""
    opened = []
    monkeypatch.setattr("edgevision.soak.segments._SEGMENT_FRAMES", 2)

    class Segment:
        def __init__(self):
            self.shapes = []
            opened.append(self)

        def write(self, frame, picture, results):
            self.shapes.append(picture.shape[1])

        def close(self):
            pass

    monkeypatch.setattr("edgevision.soak.segments.open_sink", lambda *_, **__: Segment())
    with SegmentSink(tmp_path, SourceInfo("a", True, 64, 48)) as sink:
        for width in (32, 64, 32, 32, 32, 64, 64, 64):
            picture = np.zeros((width * 3 // 4, width, 3), np.uint8)
            sink.write(Frame(picture, 0, 0), picture, ())
    assert [segment.shapes for segment in opened] == [[64, 32, 32, 32], [64, 64], [64]]
    assert sink.took == 8


@needs_proc
def test_a_sample_sees_handles_threads_and_memory():
    before = read_sample(0.0)
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    with Path(os.devnull).open(), Path(os.devnull).open():
        thread.start()
        with mmap.mmap(-1, 32 << 20) as ballast:  # an array could take memory that is there already
            ballast.write(b"x" * (32 << 20))
            during = read_sample(1.0)
    go.set()
    thread.join()
    assert during.handles == before.handles + 2
    assert during.threads == before.threads + 1
    assert during.memory_mib > before.memory_mib + 24


@needs_proc
def test_a_short_soak_runs_a_clip_again_and_again_and_accounts_for_every_frame(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", range(0, 1600, 40))
    uri = f"chaos://{clip}?drop=0.1&corrupt=0.1&resize=0.1&live=yes&seed=4"
    stop, seen = StopRequest(), []
    report = soak(
        uri,
        [Detector(FakeEngine())],
        tmp_path,
        minutes=4 / 60,
        warm_up_s=0.5,
        stop=stop,
        on_sample=lambda sample, run: seen.append(sample.seconds),
    )
    checks = {check.name: check for check in report.checks}
    assert stop.reason == DEADLINE
    assert checks["ledger"].passed, checks["ledger"].found
    assert len(report.streams) >= 2  # the clip lasts 1.6 s
    assert sum(stream.frames.failed.get("undecodable", 0) for stream in report.streams) > 0
    assert len(seen) >= 3
    assert (tmp_path / "soak.mp4").stat().st_size > 0
    assert (tmp_path / "soak.jsonl").stat().st_size > 0
