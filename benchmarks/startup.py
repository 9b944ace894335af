"""How long edgevision takes until it does something, as ratios to importing the libraries that it stands on.

The unit is `python -c "import numpy, cv2, onnxruntime"`, with bytecode cached. Measured are
`edgevision --version`, `edgevision run --help`, one image from start to end, and the first frame of a video
(`--max-frames 1`). The commands take turns, so that a busy machine is as busy for each; the figures are
medians, of wall time and of CPU time (user and system).

    python benchmarks/startup.py --rounds 15 --json startup.json
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from common import Figures, commit, machine, new_parser, report

from edgevision.errors import EdgeVisionError

AIM = 3.5
"""The most that one image should take, in units."""
UNIT = "import of numpy, cv2 and onnxruntime"


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured, the unit first; the image and the video are made in ``folder``."""
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8), (0, 0), 9)
    cv2.imwrite(str(folder / "image.jpg"), image)
    writer = cv2.VideoWriter(str(folder / "video.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (640, 480))
    for _ in range(50):
        writer.write(image)
    writer.release()
    program = [sys.executable, "-m", "edgevision"]
    run = [*program, "run", "--overwrite", "--source"]
    return {
        UNIT: [sys.executable, "-c", "import numpy, cv2, onnxruntime"],
        "--version": [*program, "--version"],
        "run --help": [*program, "run", "--help"],
        "one image": [*run, "image.jpg", "--output", "image.png"],
        "first frame of a video": [*run, "video.mp4", "--max-frames", "1", "--output", "frame.png"],
    }


def timed(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command.

    Raises:
        EdgeVisionError: it failed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise EdgeVisionError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds: int) -> Figures:
    """The medians of each command, and their ratios to the unit."""
    host = machine()
    with tempfile.TemporaryDirectory() as name:
        found = commands(Path(name))
        for command in found.values():  # writes the bytecode
            timed(command, Path(name))
        times: dict[str, list[tuple[float, float]]] = {what: [] for what in found}
        for _ in range(rounds):
            for what, command in found.items():
                times[what].append(timed(command, Path(name)))
    medians = {
        what: [statistics.median(kind) for kind in zip(*each, strict=True)] for what, each in times.items()
    }
    unit = medians[UNIT]
    return {
        "benchmark": "startup",
        "commit": commit(),
        "machine": host,
        "rounds": rounds,
        "aim_of_one_image": AIM,
        "commands": {
            what: {
                "wall_s": round(wall_s, 3),
                "cpu_s": round(cpu_s, 3),
                "wall_ratio": round(wall_s / unit[0], 2),
                "cpu_ratio": round(cpu_s / unit[1], 2),
            }
            for what, (wall_s, cpu_s) in medians.items()
        },
    }


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each command")
    given = parser.parse_args()
    return report(lambda: measure(given.rounds), given.json)


if __name__ == "__main__":
    raise SystemExit(main())
