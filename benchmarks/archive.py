"""An archive of small clips: run in turn, and process with workers, with or without Ray.

    python benchmarks/archive.py [--clips 6] [--seconds 2] [--ray] [--results N] [--minutes N] [--json PATH]

- ``run_1``, ``run``: ``edgevision run`` over the folder, with one thread and at its defaults.
- ``process_1``, ``process_2``: with one and two workers. ``ray_1``, ``ray_2``: on Ray, with ``--ray``.
- ``driver``: summaries a second that one driver enters into its index, as 1,000 workers would send them.
- ``memory``: resident memory of a worker at its peak after a clip of one minute and one of ``--minutes``.

Frames a second are of the whole command, start included; ``seconds`` says how long it took.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from common import Figures, machine, new_parser, report

from edgevision.archive.index import ArchiveIndex
from edgevision.archive.inputs import InputFile
from edgevision.archive.records import ClassSummary, FileSummary, ResultPlaces, Status
from edgevision.archive.tasks import Job, Task
from edgevision.archive.work import Worker
from edgevision.zoo import default_model

_RATE = 25


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each clip")
    parser.add_argument("--ray", action="store_true", help="measure Ray too, started on this machine")
    parser.add_argument("--results", type=int, default=1000, help="summaries that arrive at the driver")
    parser.add_argument("--minutes", type=float, default=0.0, help="of the long clip; 0 leaves memory out")
    options = parser.parse_args()
    return report(lambda: measure(options), options.json)


def measure(options: argparse.Namespace) -> Figures:
    """All of it."""
    figures = machine()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        clips = folder / "clips"
        clips.mkdir()
        frames = 0
        for number in range(options.clips):
            frames += write_clip(clips / f"{number}.mp4", options.seconds, number)
        ways = {
            "run_1": ["run", "--source", str(clips), "--save-json", str(folder / "run_1"), "--threads", "1"],
            "run": ["run", "--source", str(clips), "--save-json", str(folder / "run")],
            "process_1": ["process", str(clips), "--out", str(folder / "process_1"), "--jobs", "1"],
            "process_2": ["process", str(clips), "--out", str(folder / "process_2"), "--jobs", "2"],
        }
        if options.ray:
            for jobs in ("1", "2"):
                out = str(folder / f"ray_{jobs}")
                ways[f"ray_{jobs}"] = ["process", str(clips), "--out", out, "--jobs", jobs, "--ray", "local"]
        for name, arguments in ways.items():
            figures[name] = timed(arguments, frames)
        figures["driver"] = driver_rate(folder / "driver", options.results)
        if options.minutes:
            figures["memory"] = memory(folder, options.minutes)
    return figures


def write_clip(path: Path, seconds: float, seed: int) -> int:
    """A clip of 640x360 in which a pattern drifts; the number of its frames."""
    pattern = np.random.default_rng(seed).integers(0, 256, (45, 80, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    count = round(seconds * _RATE)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_RATE, options={"preset": "ultrafast", "g": "50"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(count):
            image = np.ascontiguousarray(np.roll(pattern, 3 * number, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode(None))
    return count


def timed(arguments: list[str], frames: int) -> Figures:
    """One command, from its start to its end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "edgevision", *arguments], check=True, capture_output=True)
    seconds = time.perf_counter() - begin
    return {"seconds": round(seconds, 2), "frames_per_second": round(frames / seconds, 2)}


def driver_rate(out: Path, count: int) -> Figures:
    """How fast one driver enters what workers have finished."""
    places = ResultPlaces(out)
    places.results.mkdir(parents=True)
    seen = ClassSummary(detections=9, most=3, tracks=2, first_s=0.0, last_s=9.0, bins=[1] * 60)
    summaries = [
        FileSummary(
            name=f"{number % 1000:04}/{number // 1000:06}.mp4",
            path="in",
            answers="key",
            status=Status.DONE,
            classes={"car": seen},
        )
        for number in range(count)
    ]
    with ArchiveIndex(places) as index:
        begin = time.perf_counter()
        for summary in summaries:
            index.enter(summary)
        seconds = time.perf_counter() - begin
    return {"summaries": count, "a_second": round(count / seconds)}


def memory(folder: Path, minutes: float) -> Figures:
    """Peak resident memory of this process as a worker, in MiB, after one minute and after many."""
    (folder / "memory/.work/partial").mkdir(parents=True)
    job = Job(out=folder / "memory", answers="key", models=[default_model().path], conf_threshold=0.35)
    figures: Figures = {"minutes": minutes}
    with Worker(job) as worker:
        for name, seconds in (("mib_of_one_minute", 60.0), ("mib_of_all", minutes * 60)):
            path = folder / f"{name}.mp4"
            write_clip(path, seconds, 1)
            worker.do(Task("whole", InputFile(path, name)))
            figures[name] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return figures


if __name__ == "__main__":
    sys.exit(main())
