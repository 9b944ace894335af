"""Workers fit into the shared memory that is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgevision.data.stream import Workers, fit_workers

_MIB = 2**20


@pytest.mark.parametrize(
    ("free", "wanted", "expected"),
    [
        (1024, 2, Workers(2, 4)),
        (64, 2, Workers(2, 2)),  # 54.4 MiB to use: (2 x 4 + 1) x 8 is too much, (2 x 2 + 1) x 8 fits
        (64, 8, Workers(2, 2)),
        (32, 2, Workers(1, 2)),
        (1, 2, Workers(0, 2)),
        (1, 0, Workers(0, 4)),
    ],
)
def test_workers_fit_into_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, wanted: int, expected: Workers
) -> None:
    class Room:
        f_bavail, f_frsize = free * 256, 4096

    monkeypatch.setattr(os, "statvfs", lambda folder: Room)
    found, note = fit_workers(wanted, 8 * _MIB, tmp_path)
    assert found == expected
    assert bool(note) == (found.processes < wanted)
    assert "--" not in note


def test_without_shared_memory_as_files_nothing_is_limited(tmp_path: Path) -> None:
    assert fit_workers(3, _MIB, tmp_path / "none") == (Workers(3), "")
