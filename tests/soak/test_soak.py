import math
import mmap
import os
import random
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgevision.engines.fake import FakeEngine, bright_objects
from edgevision.errors import UsageError
from edgevision.model import Model
from edgevision.pipeline import StopRequest
from edgevision.soak import DEADLINE, check_length, default_source, soak
from edgevision.soak.process import Blocks, Sample, read_sample
from edgevision.soak.rest import RestingSource, Rests
from edgevision.soak.segments import SegmentSink
from edgevision.soak.trend import Slope, fit_slope
from edgevision.soak.verdict import Counted, judge
from edgevision.types import Frame, FrameResult
from edgevision.video.base import SourceInfo, SourceReport
from edgevision.video.sources.chaos import split_faults
from tests.support.pipeline import ledger_entry, run_statistics, stream_statistics
from tests.support.video import write_clip

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")


def test_a_slope_and_its_interval_worked_by_hand():
    """Values 1, 3, 2, 4, 9, 5 at hours 0 to 5. The slopes between the 15 pairs, in order:
    -4, -1, 0.5 four times, 0.8, 1, 1, 2 four times, 3.5, 5. The median is the 8th. Kendall's variance is
    6 * 5 * 17 / 18, so the interval begins with slope (15 - 1.96 * 5.32) / 2 = 2.3 from either end."""
    found = fit_slope([(3600.0 * i, value) for i, value in enumerate((1, 3, 2, 4, 9, 5))])
    assert found == Slope(pytest.approx(1.0), -1.0, 3.5, 6)


def test_the_interval_of_ten_points_is_that_of_the_tables():
    """Kendall's table gives 95 % at 45 pairs as C = 21, so the slopes of rank 12 and 34 are its ends."""
    values = [3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0, 5.5, 3.5]
    slopes = sorted(
        (values[j] - values[i]) / (j - i) for i in range(len(values)) for j in range(i + 1, len(values))
    )
    found = fit_slope([(3600.0 * i, value) for i, value in enumerate(values)])
    assert (found.low, found.high) == (pytest.approx(slopes[10]), pytest.approx(slopes[34]))
    assert found.per_hour == pytest.approx(slopes[22])


def test_wild_points_do_not_move_the_line():
    points = [(20.0 * i, 300 + 2.0 * i / 180) for i in range(45)]
    for i in range(3, 45, 5):
        points[i] = (points[i][0], 380.0)
    assert fit_slope(points).per_hour == pytest.approx(2.0, abs=0.01)


def test_many_points_are_joined_and_say_the_same():
    dice = random.Random(2)
    points = [(20.0 * i, 300 + 1.5 * i / 180 + dice.gauss(0, 0.5)) for i in range(3001)]
    found = fit_slope(points)
    assert found.points == 3001
    assert found.low < 1.5 < found.high
    assert found.high - found.low < 0.02


def test_too_few_points_say_nothing():
    assert fit_slope([(0, 5)]) == Slope(0.0, -math.inf, math.inf, 1)
    assert fit_slope([(0, 5), (3600, 6)]) == Slope(1.0, -math.inf, math.inf, 2)


def test_the_interval_covers_the_truth_in_nineteen_of_twenty_cases():
    dice = random.Random(1)
    held = 0
    for _ in range(400):
        points = [(30.0 * i, 300 + 2.0 * i / 120 + dice.gauss(0, 0.5)) for i in range(30)]
        slope = fit_slope(points)
        held += slope.low <= 2.0 <= slope.high
    assert 0.92 < held / 400 < 0.98


def samples(per_hour=0.0, minutes=20, *, every=1, noise=0.3, handles=lambda s: 9, threads=lambda s: 14):
    dice = random.Random(3)
    return [
        Sample(s, 300 + per_hour * s / 3600 + dice.uniform(-noise, noise), handles(s), threads(s))
        for s in range(0, minutes * 60, every)
    ]


def resting(per_hour=0.0, minutes=20, **changes):
    return samples(per_hour, minutes, every=20, noise=0.05, **changes)


def counted(**changes):
    frames = ledger_entry(captured=17, inferred=10, dropped={"newer_frame": 5}, failed={"undecodable": 2})
    fields = {
        "statistics": stream_statistics(frames=frames),
        "source_read": 15,
        "source_failed": 2,
        "sink_took": 10,
    }
    return Counted(**{**fields, **changes})


def medians(taken):
    blocks = Blocks()
    for sample in taken:
        blocks.add(sample)
    blocks.finish()
    return blocks.done


def verdict(rests=(), taken=(), runs=None, waiting=(0, 5)):
    blocks = medians(taken or samples())
    report = judge("demo", rests or resting(), blocks, runs or [counted()], waiting, 1200, 300, True)
    return report, {check.name: check for check in report.checks}


def test_a_steady_run_passes():
    report, checks = verdict()
    assert report.passed
    assert [check.name for check in report.checks] == ["memory", "handles", "threads", "ledger"]
    assert report.memory.low < 0 < report.memory.high < 0.9
    assert report.memory.points == 45  # (20 - 5) minutes of three each
    assert checks["ledger"].found == "17 frames accounted for"
    assert (checks["handles"].found, checks["threads"].found) == ("9", "14")
    assert len(report.blocks) == 40


@pytest.mark.parametrize("per_hour", [1.0, 5.0])
def test_memory_that_grows_fails_and_only_that(per_hour):
    report, checks = verdict(resting(per_hour))
    assert not report.passed
    assert report.memory.per_hour == pytest.approx(per_hour, abs=0.4)
    assert [name for name, check in checks.items() if not check.passed] == ["memory"]
    assert "MiB an hour at rest (95 %: +" in checks["memory"].found


def test_memory_that_is_not_shown_to_stay_fails():
    """No growth at all, but so much noise that one could hide in it."""
    report, checks = verdict(samples(every=20, noise=3.0))
    assert report.memory.low < 0 < 1 < report.memory.high
    assert not checks["memory"].passed


def test_growth_during_the_warm_up_does_not_count():
    taken = [
        Sample(one.seconds, one.memory_mib - max(0.0, 300 - one.seconds), one.handles, one.threads)
        for one in resting()
    ]
    assert verdict(taken)[0].passed


def test_images_under_way_do_not_count():
    """They follow the load of the machine: here ever more of them, at work, and none at rest."""
    report, _ = verdict(taken=samples(per_hour=60))
    assert report.passed
    assert report.memory_in_motion.per_hour == pytest.approx(60, abs=2)


@pytest.mark.parametrize("what", ["handles", "threads"])
def test_one_more_at_a_single_rest_is_found(what):
    report, checks = verdict(resting(**{what: lambda s: 9 + (s == 900)}))
    assert not report.passed
    assert [name for name, check in checks.items() if not check.passed] == [what]
    assert checks[what].found == "9 to 10"


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
    report, checks = verdict(resting(minutes=4))
    assert not report.passed
    assert checks["handles"].found == "no pause after the warm-up"
    assert checks["memory"].found == "0 readings at rest after the warm-up; a fit needs 6; run longer"


def test_blocks_are_medians_of_half_a_minute():
    taken = [Sample(float(s), 100.0 + (s % 30 == 3) * 50, 9, 14) for s in range(60)]
    assert [(block.seconds, block.memory_mib) for block in medians(taken)] == [(14.5, 100), (44.5, 100)]


@pytest.mark.parametrize(
    ("minutes", "warm_up_s", "message"),
    [
        (5, 240, "too short: a fit needs 3.0 after the warm-up of 4"),
        (0, 0, "not possible"),
        (9, -1, "not possible"),
    ],
)
def test_impossible_lengths_are_refused(minutes, warm_up_s, message):
    with pytest.raises(UsageError, match=message):
        check_length(minutes, warm_up_s)


def test_the_default_source_is_the_demo_with_every_kind_of_fault():
    address, faults = split_faults(default_source())
    assert address == "demo://?seconds=60&rounds=1440"
    assert faults.live
    assert all(
        (faults.drop, faults.corrupt, faults.freeze, faults.resize, faults.disconnect, faults.jitter_s)
    )


def test_a_new_segment_waits_for_a_image_of_the_full_size(tmp_path, monkeypatch):
    """Encoders of other sizes would move memory up and down."""
    opened = []
    monkeypatch.setattr("edgevision.soak.segments._SEGMENT_FRAMES", 2)

    class Segment:
        def __init__(self):
            self.shapes = []
            opened.append(self)

        def write(self, result, image):
            self.shapes.append(image.shape[1])

        def close(self):
            pass

    monkeypatch.setattr("edgevision.soak.segments.open_sink", lambda *_, **__: Segment())
    with SegmentSink(tmp_path, SourceInfo("a", True, 64, 48)) as sink:
        for width in (32, 64, 32, 32, 32, 64, 64, 64):
            plain = np.zeros((width * 3 // 4, width, 3), np.uint8)
            sink.write(FrameResult(Frame(plain, 0, 0), ()), plain)
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


class Plain:
    """A source of images of these widths."""

    def __init__(self, *widths):
        self.info, self.report = SourceInfo("plain", True, 64, 48), SourceReport()
        self._widths = widths

    def __iter__(self):
        for i, width in enumerate(self._widths):
            yield Frame(np.zeros((width * 3 // 4, width, 3), np.uint8), i, i)

    def close(self):
        pass


def test_a_hold_begins_behind_a_image_of_the_declared_size():
    source = RestingSource(Plain(64, 32, 32, 64, 64))
    taken = []
    reader = threading.Thread(target=lambda: taken.extend(frame.width for frame in source))
    source.hold()
    reader.start()
    wait_until(lambda: source.is_holding)
    assert taken == [64]
    source.go_on()
    reader.join(5)
    assert taken == [64, 32, 32, 64, 64]

    taken.clear()
    source = RestingSource(Plain(32, 32, 64, 64))
    reader = threading.Thread(target=lambda: taken.extend(frame.width for frame in source))
    source.hold()
    reader.start()
    wait_until(lambda: source.is_holding)
    assert taken == [32, 32, 64]
    source.close()  # as a run does that ends meanwhile
    reader.join(5)
    assert not reader.is_alive()


def wait_until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Held:
    """A source that stands still as soon as it is asked to."""

    is_holding = False

    def hold(self):
        self.is_holding = True

    def go_on(self):
        self.is_holding = False


@needs_proc
def test_a_rest_is_read_once_nothing_is_under_way():
    source, samples, closed = Held(), [], []
    segments = SimpleNamespace(close=lambda: closed.append(True))
    rests = Rests(source, segments, samples)
    through = run_statistics(stream_statistics(frames=ledger_entry(), written=10))
    busy = [
        run_statistics(stream_statistics(frames=ledger_entry(captured=16, waiting=1), written=10)),
        run_statistics(stream_statistics(frames=ledger_entry(), written=9)),
        run_statistics(stream_statistics(frames=ledger_entry(), written=10, queues={"sinks": 1})),
    ]
    for second in range(21):
        rests.look(through, float(second))
    assert source.is_holding
    for run in busy:
        rests.look(run, 21.0)
    assert not samples
    assert not closed
    rests.look(through, 22.0)
    assert ([one.seconds for one in samples], closed) == ([22.0], [True])
    assert not source.is_holding
    rests.look(through, 41.0)
    assert not source.is_holding
    rests.look(through, 42.0)
    assert source.is_holding


def test_an_output_that_is_stuck_costs_a_rest_and_not_the_soak():
    source, samples = Held(), []
    rests = Rests(source, SimpleNamespace(close=lambda: None), samples)
    stuck = run_statistics(stream_statistics(frames=ledger_entry(), written=9))
    for second in range(31):
        rests.look(stuck, float(second))
        assert source.is_holding == (20 <= second < 31)
    rests.look(stuck, 31.0)
    assert not source.is_holding
    assert not samples


@needs_proc
def test_a_short_soak_runs_a_clip_again_and_again_and_accounts_for_every_frame(tmp_path, monkeypatch):
    monkeypatch.setattr("edgevision.soak.rest.REST_EVERY_S", 0.2)
    clip = write_clip(tmp_path / "clip.mp4", range(0, 1600, 40))
    uri = f"chaos://{clip}?drop=0.1&corrupt=0.1&resize=0.1&live=yes&seed=4"
    stop, seen = StopRequest(), []
    report = soak(
        uri,
        [Model(FakeEngine())],
        tmp_path,
        minutes=12 / 60,  # a rest takes long where the tests before have filled the memory
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
    assert len(report.rests) >= 3
    assert report.memory.points >= 3
    assert (tmp_path / "soak.mp4").stat().st_size > 0
    assert (tmp_path / "soak.jsonl").stat().st_size > 0


@needs_proc
def test_a_leak_inside_one_run_is_found(tmp_path, monkeypatch):
    """An engine that keeps 1 MiB of every frame: blocks of that size never fill holes that others left."""
    monkeypatch.setattr("edgevision.soak.rest.REST_EVERY_S", 0.2)
    clip = write_clip(tmp_path / "clip.mp4", range(0, 60_000, 40))
    leaked, stop, late = [], StopRequest(), []

    def keep(image):
        leaked.append(b"x" * 2**20)
        return bright_objects(image)

    def read(elapsed_s):
        late.extend([elapsed_s] if elapsed_s > 1.0 else [])
        stop.reason = "enough rests" if len(late) == 8 else stop.reason
        return read_sample(elapsed_s)

    monkeypatch.setattr("edgevision.soak.rest.read_sample", read)
    report = soak(
        f"chaos://{clip}?drop=0.1&live=yes",
        [Model(FakeEngine(keep))],
        tmp_path,
        minutes=1,
        warm_up_s=1.0,
        stop=stop,
    )
    assert len(report.streams) == 1
    assert report.memory.points >= 6
    assert report.memory.low > 0  # 20 frames a second are 72,000 MiB an hour; on a busy machine few come
    assert "memory" in [check.name for check in report.checks if not check.passed]
