"""The fuzzer of files: a short run finds nothing, and its judge finds what it should."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.benchmarks import load_tool
from tests.support.paths import ROOT

pytest.importorskip("trackers", reason="needs the extra 'track'")

PROGRAM = ROOT / "tools" / "fuzz_files.py"


@pytest.fixture(scope="module")
def fuzzer() -> Any:
    return load_tool("fuzz_files")


@pytest.mark.slow
def test_one_file_in_each_format_ends_as_it_should(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--cases", "16", "--seed", "0", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["cases"], figures["findings"]) == (16, [])
    assert set(figures["outcomes"]) == {"0", "1", "3"}
    assert set(figures["formats"].values()) == {1}


def test_damage_is_the_same_for_the_same_seed_and_rarely_none(fuzzer: Any) -> None:
    whole, other = bytes(range(256)) * 8, b"other" * 100
    files = [fuzzer.damaged(whole, other, random.Random(seed)) for seed in range(100)]
    assert files == [fuzzer.damaged(whole, other, random.Random(seed)) for seed in range(100)]
    assert len(set(files)) > 95
    assert sum(file == whole for file in files) < 5


@pytest.mark.parametrize(
    ("status", "memory_mib", "said", "outcome", "problem"),
    [
        (0, 300, "", "0", None),
        (3 << 8, 300, "warning: input.mp4 is damaged", "3", None),
        (1 << 8, 300, "error: cannot open input.mp4", "1", None),
        (1 << 8, 300, "", "1", "without a line that says why"),
        (70 << 8, 300, "internal error", "70", "exit code 70: internal error"),
        (6, 300, "Assertion failed", "signal 6", "killed by signal 6"),
        (0, 4000, "", "0", "4000 MiB of memory"),
        (0, 300, "Traceback (most recent call last):", "0", "a traceback"),
        (None, 300, "", "time-out", "not over after"),
    ],
)
def test_verdicts(
    fuzzer: Any,
    tmp_path: Path,
    status: int | None,
    memory_mib: int,
    said: str,
    outcome: str,
    problem: str | None,
) -> None:
    (tmp_path / "messages.txt").write_text(said)
    verdict = fuzzer.judge(tmp_path, status, memory_mib)
    assert verdict.outcome == outcome
    assert verdict.problem is None if problem is None else problem in verdict.problem


def test_half_a_json_line_is_a_finding(fuzzer: Any, tmp_path: Path) -> None:
    (tmp_path / "messages.txt").write_text("")
    (tmp_path / "out.jsonl").write_text('{"frame": 1}\n')
    assert fuzzer.judge(tmp_path, 0, 1).problem is None
    (tmp_path / "events.jsonl").write_text('{"schema": 1, "ki')
    assert fuzzer.judge(tmp_path, 0, 1).problem == "events.jsonl cannot be read"
