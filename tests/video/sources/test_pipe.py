"""Video from standard input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av

from tests.support.models import image_with_block
from tests.support.paths import ROOT

READ = """
from edgevision.errors import SourceError
from edgevision.video import open_source
try:
    with open_source("-") as source:
        print(source.info.name, source.info.path, source.info.is_live, sum(1 for _ in source))
except SourceError as error:
    print(error)
"""

READ_TWICE = """
from edgevision.errors import SourceError
from edgevision.video import open_source
def attempt():
    try:
        with open_source("-") as source:
            return next(iter(source)).index
    except SourceError as error:
        return str(error)
first = open_source("-")
print(attempt())
first.close()
first.close()
print(attempt())
print(attempt())
"""


def read(data: bytes, code: str = READ) -> str:
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, cwd=ROOT)
    return done.stdout.decode().strip()


def write_clip(path: Path, count: int) -> None:
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(count):
            image = image_with_block(160, 120, (4 * number, 40, 4 * number + 30, 80))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode())


def test_every_frame_of_a_piped_recording_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clip.ts"
    write_clip(path, 25)
    assert read(path.read_bytes()) == "standard input None False 25"


def test_nobody_reads_it_twice_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "clip.ts"
    write_clip(path, 10)
    refused, first, *later = read(path.read_bytes(), READ_TWICE).splitlines()
    assert refused.startswith("standard input is read by another stream, and nobody can read it twice")
    # Given back when it was closed; what is left of it may hold nothing more.
    assert "read by another" not in first
    assert all("read by another" not in line for line in later)


def test_what_is_no_video_is_one_line() -> None:
    said = read(b"not a video")
    assert "standard input" in said
    assert "\n" not in said
    assert read(b"") == "standard input holds no video that can be read from a pipe"
