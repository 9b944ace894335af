"""What 'edgevision run' shows on a terminal and in a log.

Also tests ``edgevision.cli.console``.
"""

import io
from pathlib import Path

from rich.console import Console

from edgevision.cli.run_console import ProgressLine, show_progress
from edgevision.video.base import SourceInfo
from tests.support.pipeline import run_statistics, stream_statistics

FILE = SourceInfo("clips/street.mp4", False, 640, 480, 25.0, 100, Path("clips/street.mp4"))
CAMERA = SourceInfo("webcam", True, 640, 480, 30.0)


def told(info, total, terminal, *streams):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
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
