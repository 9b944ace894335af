import io
import json
import threading

import pytest
from rich.console import Console

from edgevision.cli.console import say
from edgevision.service.logs import JsonLines, record


def records(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        ("warning: clip.mp4: skipped 3 frames", "warning", "clip.mp4: skipped 3 frames"),
        ("error: source not found: a.mp4", "error", "source not found: a.mp4"),
        ("note: audio: left out", "info", "audio: left out"),
        ("  written: out.mp4", "info", "written: out.mp4"),
        ("webcam: 120 frames", "info", "webcam: 120 frames"),
        ("warning", "info", "warning"),
    ],
)
def test_the_level_comes_from_the_start_of_the_line(line, level, message):
    entry = json.loads(record(line))
    assert (entry["level"], entry["message"]) == (level, message)
    assert list(entry) == ["time", "level", "message"]


def test_the_time_is_utc_to_the_millisecond():
    time = json.loads(record("a"))["time"]
    assert len(time) == len("2026-11-21T16:48:00.123Z")
    assert time.endswith("Z")


def test_fields_stand_beside_the_message():
    stream = io.StringIO()
    JsonLines(stream).write_fields("door: 5 frames", {"stream": "door", "frames": 5})
    (entry,) = records(stream)
    assert (entry["message"], entry["stream"], entry["frames"]) == ("door: 5 frames", "door", 5)


def test_a_console_on_it_writes_a_record_a_line_whatever_the_text():
    stream = io.StringIO()
    console = Console(file=JsonLines(stream))
    for line in ('a "quoted" [bold]name[/]', "warning: x" * 60, "", "zwölf → 12"):
        say(console, line)
    found = records(stream)
    assert [entry["message"] for entry in found] == [
        'a "quoted" [bold]name[/]',
        "x" + "warning: x" * 59,
        "zwölf → 12",
    ]
    assert found[1]["level"] == "warning"


def test_pieces_of_a_line_are_joined():
    stream = io.StringIO()
    lines = JsonLines(stream)
    for piece in ("one", " two\nthr", "ee\n", "left"):
        assert lines.write(piece) == len(piece)
    assert [entry["message"] for entry in records(stream)] == ["one two", "three"]


def test_lines_of_many_threads_stay_whole():
    stream = io.StringIO()
    lines = JsonLines(stream)

    def work(number):
        for i in range(200):
            lines.write_fields(f"{number} {i}", {"number": number})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records(stream)) == 800
