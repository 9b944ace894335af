"""Drivers and workers that are killed at random moments: what comes of it is what an undisturbed run gives.

``EDGEVISION_KILLS=50`` kills more often than usual, ``EDGEVISION_SEED=2`` at other moments and other files.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgevision.archive.records import FileSummary, Status, read_summary
from tests.archive.test_driver import write_image
from tests.support.archive import process, results
from tests.support.models import write_block_clip, write_colour_model
from tests.support.paths import ROOT
from tests.support.spans import Recipe, flip_bits

KILLS = int(os.environ.get("EDGEVISION_KILLS", "3"))
SEED = int(os.environ.get("EDGEVISION_SEED", "1"))

PROGRAM = """
import contextlib, sys
from pathlib import Path
from edgevision.archive.crew import ProcessCrew
from edgevision.archive.progress import ArchiveObserver
from tests.support.archive import process

class Tell(ArchiveObserver):
    def while_running(self):
        print("running", flush=True)
        return super().while_running()

if __name__ == "__main__":
    process([sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]), crew=ProcessCrew, span_s=1.0,
            formats=("csv", "mot"), track=True, observer=Tell())
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Clips of many kinds, some of them damaged, images, and a clip of several parts."""
    folder = tmp_path_factory.mktemp("kills") / "in"
    folder.mkdir()
    for seed in range(SEED * 100, SEED * 100 + 16):
        recipe = Recipe.draw(seed)
        path = recipe.write(folder / f"{seed}{recipe.suffix}", seed)
        if seed % 4 == 0:
            flip_bits(path, seed)
    for number in range(8):
        write_image(folder / "images" / f"{number}.png", left=8 + number)
    write_block_clip(folder / "long.mp4", 400)
    return folder


class Driver:
    """A run of the archive in a process of its own."""

    def __init__(self, script: Path, *arguments: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        ready = threading.Thread(target=self._process.stdout.readline, daemon=True)
        ready.start()
        ready.join(60)  # it works, or has ended

    def code(self, timeout_s: float) -> int | None:
        """Its exit code; None while it runs."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int:
        self._process.kill()
        return self._process.wait(60)

    def kill_worker(self, draw: random.Random) -> None:
        """One of its workers: a process that its server of processes started."""
        workers = [one for child in children(self._process.pid) for one in children(child)]
        if workers:
            os.kill(draw.choice(workers), signal.SIGKILL)


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def committed(out: Path) -> dict[str, int]:
    """What is finished: summaries of files and reports of parts, with the number of their inode."""
    found = {}
    for path in (*out.glob("results/**/*.json"), *out.glob(".work/spans/*/[0-9]*.json")):
        with contextlib.suppress(OSError):  # joined meanwhile
            found[path.relative_to(out).as_posix()] = path.stat().st_ino
    return found


def summaries(out: Path) -> dict[str, FileSummary]:
    return {path.name: read_summary(path) for path in sorted(out.glob("results/**/*.json"))}


@pytest.mark.slow
def test_random_kills_change_nothing_and_nothing_is_done_twice(recordings, tmp_path):
    model = write_colour_model(tmp_path / "colours.onnx")
    settings = {"span_s": 1.0, "formats": ("csv", "mot"), "track": True}
    process([recordings], tmp_path / "whole", model, **settings)
    expected, told = results(tmp_path / "whole"), summaries(tmp_path / "whole")
    assert any(one.spans > 1 for one in told.values())
    script, draw, kills, rounds = tmp_path / "archive.py", random.Random(SEED), 0, 0
    script.write_text(PROGRAM)
    while kills < KILLS:
        out, rounds, code = tmp_path / f"out{rounds}", rounds + 1, None
        finished: dict[str, int] = {}
        while code is None:
            driver = Driver(script, recordings, out, model)
            try:
                if kills < KILLS:
                    code = driver.code(draw.uniform(0.0, 1.0))
                    if code is None:
                        driver.kill_worker(draw)
                        kills += 1
                        code = driver.code(draw.uniform(0.0, 1.5))
                if code is None and kills >= KILLS:
                    code = driver.code(120)
                    assert code is not None, "it does not end"
            finally:
                if code is None:
                    driver.kill()
                    kills += 1
            now = committed(out)
            again = {name for name, inode in finished.items() if now.get(name, inode) != inode}
            assert not again, f"done twice after {kills} kills"
            finished = now
        assert code == 0
        found = summaries(out)
        assert {name: one for name, one in found.items() if one != told.get(name)} == {}
        assert results(out) == expected
        assert {one.status for one in found.values()} <= {Status.DONE, Status.PARTIAL, Status.FAILED}
