"""A part of a recording as one file."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import av
import msgspec
import pytest

from edgevision.errors import UsageError
from edgevision.recording import Recorder, Rotation, SegmentStore
from edgevision.types import Frame, FrameResult
from edgevision.video.base import SourceInfo
from edgevision.web.hub import Hub
from edgevision.web.recording_routes import RecordingRoutes
from edgevision.web.span import cut, cut_boxes, has_boxes
from tests.support.models import image_with_block
from tests.support.web import ask, open_view, served

START = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
START_MS = round(START.timestamp() * 1e3)


def record(folder: Path, with_boxes: bool = False) -> list[tuple[Path, int]]:
    """Twelve seconds at ten frames a second in files of four; names say when each begins."""
    moments = iter([START.replace(second=second) for second in (0, 4, 8, 12)])
    store = SegmentStore(folder, "gate", now=lambda: next(moments))
    info = SourceInfo("camera", is_live=True, frame_rate=10.0)
    describe = (lambda result: b'{"index":%d}' % result.frame.index) if with_boxes else None
    with Recorder(store, info, Rotation(seconds=4.0), describe=describe) as recorder:
        for number in range(120):
            left = number % 100
            image = image_with_block(160, 120, (left, 40, left + 40, 80))
            recorder.write(FrameResult(Frame(image, number, number * 100_000_000), ()), image)
    files = sorted(folder.glob("gate-*.mp4"))
    return [(path, START_MS + 4000 * i) for i, path in enumerate(files)]


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [round(float(frame.time or 0), 2) for frame in container.decode(video=0)]


def test_a_part_goes_over_the_borders_of_files_and_loses_no_image(tmp_path: Path) -> None:
    files = record(tmp_path)
    assert len(files) == 3
    cut(files, START_MS + 3000, START_MS + 9000, tmp_path / "span.mp4")
    found = times(tmp_path / "span.mp4")
    assert found == [round(i / 10, 2) for i in range(len(found))]  # from the key frame at 2 s to 9 s
    assert 60 <= len(found) <= 72
    for begin, end in ((5, 5), (0, 3_600_001)):
        with pytest.raises(UsageError, match="one hour at most"):
            cut(files, START_MS + begin, START_MS + end, tmp_path / "x.mp4")
    with pytest.raises(UsageError, match="nothing was recorded"):
        cut(files, START_MS - 9000, START_MS - 5000, tmp_path / "x.mp4")


def test_nothing_is_copied_of_a_time_between_two_recordings(tmp_path: Path) -> None:
    files = [(path, start_ms + 60_000 * i) for i, (path, start_ms) in enumerate(record(tmp_path))]
    with pytest.raises(UsageError, match="nothing was recorded"):
        cut(files, START_MS + 30_000, START_MS + 40_000, tmp_path / "span.mp4")
    cut(files, START_MS + 30_000, START_MS + 66_000, tmp_path / "span.mp4")
    assert len(times(tmp_path / "span.mp4")) == 21  # of the second file alone, which begins at 64 s


def test_the_boxes_of_a_part_have_the_times_of_its_images(tmp_path: Path) -> None:
    files = record(tmp_path, with_boxes=True)
    part = (START_MS + 3000, START_MS + 9000)
    assert has_boxes(files, *part)
    cut(files, *part, tmp_path / "span.mp4")
    cut_boxes(files, *part, tmp_path / "span.boxes.jsonl")
    lines = [msgspec.json.decode(line) for line in (tmp_path / "span.boxes.jsonl").read_bytes().splitlines()]
    assert [round(line["t"] / 90_000, 2) for line in lines] == times(tmp_path / "span.mp4")
    first = lines[0]["d"]["index"]
    assert [line["d"]["index"] for line in lines] == list(range(first, first + len(lines)))
    assert 10 <= first <= 30
    drawn = record(tmp_path / "drawn")
    assert not has_boxes(drawn, *part)
    with pytest.raises(UsageError, match="no boxes beside"):
        cut_boxes(drawn, *part, tmp_path / "span.boxes.jsonl")


def test_a_part_is_downloaded(tmp_path: Path) -> None:
    record(tmp_path)
    hub = Hub()
    view = open_view(hub)
    view.recordings, view.stem = tmp_path, "gate"
    with served(hub, RecordingRoutes(hub).routes) as server:
        url = server.url + "api/streams/gate/span.mp4"
        answer = ask(f"{url}?from={START_MS + 1000}&to={START_MS + 6000}")
        assert answer.status == 200
        assert answer.headers["content-disposition"] == 'attachment; filename="gate-20261121T120001Z.mp4"'
        (tmp_path / "got.mp4").write_bytes(answer.data)
        assert len(times(tmp_path / "got.mp4")) >= 50
        part = f"?from={START_MS + 1000}&to={START_MS + 6000}"
        there = ask(f"{server.url}api/streams/gate/span{part}")
        assert (there.status, there.json()) == (200, {"has_boxes": False})
        assert ask(f"{server.url}api/streams/gate/span?from=1&to=5000").status == 409
        assert ask(f"{server.url}api/streams/gate/span.boxes.jsonl{part}").status == 409
        assert ask(f"{url}?from=1").status == 400
        assert ask(f"{url}?from=1&to=5000").status == 409
