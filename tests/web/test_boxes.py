"""What lies beside a recording: any part of it, also while it grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.errors import SinkError
from edgevision.web.boxes import boxes_between


def line(ticks: int) -> bytes:
    return b'{"t":%d,"d":{"index":%d%s}}\n' % (ticks, ticks, b" " * (ticks % 7 * 40))


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_a_part_is_found_by_its_times(tmp_path: Path, count: int) -> None:
    path = tmp_path / "clip.boxes.jsonl"
    times = [3600 * number for number in range(count)]
    path.write_bytes(b"".join(map(line, times)) + b'{"t":99999')  # the last one is being written
    for begin, end in (
        (0, 10**9),
        (3600, 7200),
        (3601, 36_000),
        (180_000, 190_000),
        (-5, 1),
        (10**9, 2 * 10**9),
    ):
        wanted = b"".join(line(ticks) for ticks in times if begin <= ticks < end)
        assert boxes_between(path, begin, end) == (wanted, None)


def test_a_long_part_comes_in_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevision.web.boxes._LARGEST", 500)
    path = tmp_path / "clip.boxes.jsonl"
    lines = [line(3600 * number) for number in range(100)]
    path.write_bytes(b"".join(lines))
    found, begin, answers = b"", 0, 0
    rest: int | None = begin
    while rest is not None:
        data, rest = boxes_between(path, rest, 3600 * 90)
        found += data
        answers += 1
    assert found == b"".join(lines[:90])
    assert answers > 5


def test_what_is_no_such_file_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "clip.boxes.jsonl"
    path.write_bytes(b"rubbish\n")
    with pytest.raises(SinkError, match=r"cannot read clip\.boxes\.jsonl"):
        boxes_between(path, 0, 9)
    with pytest.raises(SinkError, match="No such file"):
        boxes_between(tmp_path / "other", 0, 9)
