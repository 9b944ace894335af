"""What 'edgevision run' shows on a terminal and in a log.

Also tests ``edgevision.cli.console``, ``edgevision.cli.stream_bar``.
"""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from edgevision.cli import run_console
from edgevision.cli.console import LogConsole, clock, fitted, say, wrapped
from edgevision.cli.run_console import ProgressLine, show_progress, show_summary
from edgevision.pipeline import StreamState
from edgevision.pipeline.statistics import Outage
from edgevision.tracking.counts import LineTotals, ZoneTotals
from edgevision.video.base import Delivery, SourceInfo
from tests.support.console import without_times
from tests.support.pipeline import run_statistics, stream_statistics

FILE = SourceInfo("clips/street.mp4", False, 640, 480, 25.0, 100, Path("clips/street.mp4"))
CAMERA = SourceInfo("webcam", True, 640, 480, 30.0)


def told(info, total, terminal, *streams, width=120):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=width)
    line = ProgressLine(info.name, info.is_live, total, "(a hint)")
    with show_progress([line], console) as report:
        report(run_statistics(*(streams or [stream_statistics(info.name, is_live=info.is_live)])))
    return text.getvalue()


def test_a_file_shows_a_bar_and_a_log_nothing():
    assert "10/100" in told(FILE, 100, terminal=True)
    assert "25.0 fps" in told(FILE, 100, terminal=True)
    assert told(FILE, 100, terminal=False) == ""


def test_a_live_source_shows_rate_latency_and_drops():
    for terminal in (True, False):
        text = told(CAMERA, None, terminal)
        for part in ("webcam", "25.0 fps", "31 ms", "5 dropped", "(a hint)"):
            assert part in text


def test_the_first_frames_show_the_rate_of_the_whole_run():
    """They wait for everything to warm up and come out together: 800 a second would be no rate."""
    first = stream_statistics(written=3, recent_frames_per_second=797.8, frames_per_second=1.5)
    assert "1.5 fps" in told(CAMERA, None, False, first)


def test_a_stream_that_comes_later_has_a_line_too():
    later = stream_statistics("gate")
    for terminal in (True, False):
        assert "gate" in told(CAMERA, None, terminal, stream_statistics("webcam"), later)
        assert "gate" in told(CAMERA, None, terminal, later)


def lost(seconds, attempts):
    return Outage(seconds=seconds, attempts=attempts, reason="no data for 10 s; check the cable")


def test_a_line_fits_into_eighty_columns_and_breaks_no_word_or_number():
    stream = stream_statistics(
        "a-camera-behind-the-house-near-the-gate",
        in_view={"person": 12, "car": 3},
        deliveries=(Delivery(output="recordings/behind-the-house-*.mp4", kind="recording", delivered=9),),
    )
    info = SourceInfo(stream.name, True, 640, 480, 30.0)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told(info, None, True, stream, width=80)).splitlines()
    line = [line.strip("\r ") for line in lines if "fps" in line][-1]
    assert line == "…the-house-near-the-gate  25.0 fps  31 ms  person 12, car 3  5 dropped"


def test_what_is_seen_and_where_it_is_recorded():
    stream = stream_statistics(
        in_view={"person": 2},
        deliveries=(Delivery(output="clips/webcam-*.mp4", kind="recording", delivered=9, alarm="disk full"),),
    )
    line = without_times(told(CAMERA, None, False, stream))
    assert line == (
        "webcam: 10 frames  25.0 fps  31 ms  person 2  recording clips/webcam-*.mp4  "
        "alarm: clips/webcam-*.mp4: disk full  5 dropped  (a hint)\n"
    )


def test_a_camera_that_is_away_is_one_line_that_counts(monkeypatch):
    """At once, then after ten seconds, twenty, forty; and at once when it is back."""
    text = io.StringIO()
    now = [100.0]
    monkeypatch.setattr(run_console.time, "monotonic", lambda: now[0])
    with show_progress([ProgressLine("webcam", True, None)], Console(file=text, width=120)) as report:
        for second in range(101):
            now[0] = 100.0 + second
            report(
                run_statistics(
                    stream_statistics(state=StreamState.RECONNECTING, lost=lost(second, second // 10))
                )
            )
        report(run_statistics())
    lines = text.getvalue().splitlines()
    assert [line.partition("  ")[0] for line in lines] == [
        "webcam: away for 0:00:00",
        "webcam: away for 0:00:10",
        "webcam: away for 0:00:20",
        "webcam: away for 0:00:40",
        "webcam: away for 0:01:20",
        "webcam: 10 frames",
    ]
    assert lines[2] == "webcam: away for 0:00:20  2 attempts failed  no data for 10 s; check the cable"
    assert "away for 0:01:12" in told(CAMERA, None, True, stream_statistics(lost=lost(72, 5)))


def test_the_summary_has_what_zones_and_lines_counted():
    text = io.StringIO()
    stream = stream_statistics(
        objects={"person": 3},
        zones={
            "yard": ZoneTotals(
                entries={"person": 3}, exits={"person": 2}, inside={"person": 1}, mean_dwell_s=2.04
            ),
            "gate": ZoneTotals(),
        },
        lines={"door": LineTotals(inward={"person": 2, "car": 1})},
    )
    show_summary(stream, ["a.mp4"], Console(file=text, width=200))
    lines = text.getvalue().splitlines()
    assert "  objects: person 3" in lines
    assert (
        "  zone yard: entered person 3; left person 2; inside person 1; "
        "stay 2.0 s on average, 0.0 s at most" in lines
    )
    assert "  zone gate: entered none; left none; inside none" in lines
    assert "  line door: in person 2, car 1; out none" in lines


@pytest.mark.parametrize("terminal", [True, False])
def test_a_log_has_the_time_of_day_and_a_terminal_whole_words(terminal):
    text = io.StringIO()
    console = LogConsole(file=text, force_terminal=terminal, width=40)
    say(console, "  ms per frame: decode 1.25, preprocess 2.50, inference 14.75")
    if terminal:
        assert text.getvalue() == ("  ms per frame: decode 1.25, preprocess\n      2.50, inference 14.75\n")
    else:
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d   ms per frame: ", text.getvalue())
        assert without_times(text.getvalue()).count("\n") == 1


def test_lines_that_fit_and_times():
    assert fitted(["a", "bcd", "", "ef"], 7) == "a  bcd"
    assert fitted(["a", "bcdefg", "ef"], 6) == "a  ef"
    assert wrapped("word", 2) == "word"
    assert [clock(seconds) for seconds in (0, 59.6, 3671)] == ["0:00:00", "0:01:00", "1:01:11"]
