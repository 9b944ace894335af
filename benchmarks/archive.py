"""An archive of small clips: run in turn, and process with workers, with or without Ray.

    python benchmarks/archive.py [--clips 6] [--seconds 2] [--rounds 3] [--ray] [--results N] [--minutes N]
    python benchmarks/archive.py --clips 0 --results 0 --minutes 60

- ``run_1``, ``run``: ``edgevision run`` over the folder, with one thread and at its defaults.
- ``process_1``, ``process_2``: with one and two workers. ``ray_1``, ``ray_2``: on Ray, with ``--ray``.
- ``ratios``: how many times as fast ``process_2`` is as ``run_1`` and as ``run``.
- ``driver``: results a second of a whole run of 1,000 workers that answer at once, one driver, one file each.
- ``ray_task_ms``: a task that does nothing, on an actor, with two in flight; its price on Ray.
- ``memory``: resident memory of a worker at its peak after a clip of one minute, after the same once more,
  and after one of ``--minutes`` in one go; and of another one that reads the packets of the long clip, after
  it detected its parts of a minute, and after it joined them, with tracks. The clips are small and have few
  frames a second; every frame is decoded, and one of two is looked at by an engine that finds what is bright,
  so that an hour takes minutes.

Every way is measured once in each round, so that what else the machine does falls on all of them; a figure is
the median of its rounds. Frames a second are of the whole command, start included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from common import Figures, machine, new_parser, report

from edgevision.archive.crew import Answer, Event, ProcessCrew, Ready
from edgevision.archive.driver import Archive
from edgevision.archive.inputs import InputFile
from edgevision.archive.records import ClassSummary, FileSummary, Status
from edgevision.archive.request import ArchiveRequest
from edgevision.archive.tasks import Job, Reply, Task
from edgevision.closeable import Closeable
from edgevision.engines.base import Engine
from edgevision.engines.fake import FakeEngine, fake_manifest
from edgevision.session.request import PlanPolicy
from edgevision.video.selection import Selection
from edgevision.zoo import default_model

_RATE = 25
_SMALL_RATE = 5  # of the clips that memory is measured with


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--clips", type=int, default=6, help="0 leaves the ways to run them out")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each clip")
    parser.add_argument("--rounds", type=int, default=3, help="of each way to run them")
    parser.add_argument("--ray", action="store_true", help="measure Ray too, started on this machine")
    parser.add_argument("--results", type=int, default=1000, help="summaries that arrive; 0 for none")
    parser.add_argument("--minutes", type=float, default=0.0, help="of the long clip; 0 leaves memory out")
    options = parser.parse_args()
    return report(lambda: measure(options), options.json)


def measure(options: argparse.Namespace) -> Figures:
    """All of it."""
    figures = machine()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        if options.clips:
            figures |= ways_to_run(folder, options)
        if options.results:
            figures["driver"] = driver_rate(folder / "driver", options.results)
        if options.ray:
            figures["ray_task_ms"] = ray_task_ms(folder / "actor")
        if options.minutes:
            figures["memory"] = memory(folder, options.minutes)
    return figures


def ways_to_run(folder: Path, options: argparse.Namespace) -> Figures:
    """Frames a second of each way over the same clips, and how they compare."""
    figures: Figures = {}
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
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, arguments in ways.items():
            seconds[name].append(timed(arguments, folder))
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, taken in seconds.items():
        rate = round(frames / middle[name], 2)
        figures[name] = {"seconds": [round(one, 2) for one in taken], "frames_per_second": rate}
    figures["ratios"] = {
        f"process_2 to {name}": round(middle[name] / middle["process_2"], 2) for name in ("run_1", "run")
    }
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


def timed(arguments: list[str], folder: Path) -> float:
    """Seconds of one command, from its start to its end; what it writes is removed."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "edgevision", *arguments], check=True, capture_output=True)
    seconds = time.perf_counter() - begin
    for path in folder.iterdir():
        if path.name != "clips":
            shutil.rmtree(path)
    return seconds


class ManyWorkers(Closeable):
    """A crew that answers each task at once, as so many machines would whose results arrive together."""

    def __init__(self, job: Job, size: int) -> None:
        self._job, self._waiting = job, list(range(size))
        self._events: list[Event] = [Ready(0, ["car"])]
        self._seen = ClassSummary(detections=9, most=3, tracks=2, first_s=0.0, last_s=9.0, bins=[1] * 60)

    @property
    def idle(self) -> list[int]:
        return list(self._waiting)

    @property
    def ahead(self) -> list[int]:
        return []

    def give(self, worker: int, task: Task) -> None:
        self._waiting.remove(worker)
        summary = FileSummary(
            name=task.file.name,
            path=task.file.shown,
            answers=self._job.answers,
            status=Status.DONE,
            classes={"car": self._seen},
        )
        self._events.append(Answer(worker, Reply(task, summary=summary)))

    def wait(self, timeout_s: float) -> list[Event]:
        events, self._events = self._events, []
        self._waiting += [one.worker for one in events if isinstance(one, Answer)]
        return events

    def close(self) -> None:
        self._events.clear()


def driver_rate(out: Path, count: int) -> Figures:
    """How fast one driver gives out tasks and enters what 1,000 workers have finished."""
    source = out / "in"
    for number in range(count):
        path = source / f"{number % 1000:04}" / f"{number // 1000:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    request = ArchiveRequest(sources=[str(source)], out=out / "out", jobs=1000)
    begin = time.perf_counter()
    outcome = Archive(request, crew=ManyWorkers).run()
    seconds = time.perf_counter() - begin
    return {"results": outcome.count(Status.DONE), "a_second": round(count / seconds)}


def ray_task_ms(out: Path, count: int = 500) -> float:
    """Milliseconds of a task that writes nothing, on one actor."""
    from edgevision.archive.ray_crew import RayCrew

    (out / ".work/partial").mkdir(parents=True)
    job = Job(out=out, answers="key", models=[default_model().path], conf_threshold=0.35, formats=())
    task = Task("formats", InputFile(out / "a.mp4", "a.mp4"))
    with RayCrew(job, 1) as crew:
        while not crew.idle:
            crew.wait(1.0)
        begin, done, given = time.perf_counter(), 0, 0
        while done < count:
            for worker in (*crew.idle, *crew.ahead):
                if given < count:
                    crew.give(worker, task)
                    given += 1
            done += sum(isinstance(event, Answer) for event in crew.wait(1.0))
        return round((time.perf_counter() - begin) / count * 1000, 2)


def memory(folder: Path, minutes: float) -> Figures:
    """Peak resident memory, in MiB: of a worker after one minute, one more, and many; of one for parts."""
    (folder / "memory/.work/partial").mkdir(parents=True)
    job = Job(
        out=folder / "memory",
        answers="key",
        models=[default_model().path],
        conf_threshold=0.35,
        track=True,
        selection=Selection.parse("2"),
        span_s=60.0,
        open_engine=open_quick,
    )
    figures: Figures = {"minutes": minutes}
    write_small_clip(folder / "short.mp4", 60.0)
    write_small_clip(folder / "long.mp4", minutes * 60)
    names = {"mib_of_one_minute": "short.mp4", "mib_of_one_more": "short.mp4", "mib_of_all": "long.mp4"}
    with ProcessCrew(job, 1) as crew:
        for figure, name in names.items():
            summary = done(crew, Task("whole", InputFile(folder / name, figure))).summary
            figures[figure] = worker_mib()
            figures["frames"] = 0 if summary is None else summary.decoded
    file = InputFile(folder / "long.mp4", "long.mp4")
    with ProcessCrew(job, 1) as crew:
        plan = done(crew, Task("plan", file)).plan
        figures["mib_of_plan"] = worker_mib()
        for number in () if plan is None else plan.needed:
            done(crew, Task("span", file, number))
        figures["mib_of_parts"] = worker_mib()
        joined = done(crew, Task("join", file))
        figures["mib_of_join"] = worker_mib()
        figures["parts"] = 1 if joined.summary is None else joined.summary.spans
    least = figures["mib_of_one_minute"]
    figures["ratios"] = {
        name: round(figures[f"mib_of_{name}"] / least, 3) for name in ("one_more", "all", "parts", "join")
    }
    return figures


def open_quick(
    path: Path, engine: str, policy: PlanPolicy, threads: int | None = None, requests: int = 1
) -> Engine:
    """An engine that needs no time to speak of."""
    return FakeEngine(manifest=fake_manifest(width=160, height=96))


def write_small_clip(path: Path, seconds: float) -> None:
    """A clip of 160x96 with few frames a second; a bright square goes from left to right again and again."""
    pattern = np.random.default_rng(1).integers(0, 120, (12, 20, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_SMALL_RATE, options={"preset": "ultrafast", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(round(seconds * _SMALL_RATE)):
            image = pattern.copy()
            left = number // 2 % 136
            image[30:54, left : left + 24] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode(None))


def done(crew: ProcessCrew, task: Task) -> Reply:
    """What its only worker answers to a task."""
    while not crew.idle:
        crew.wait(1.0)
    crew.give(0, task)
    while True:
        for event in crew.wait(1.0):
            if isinstance(event, Answer):
                return event.reply


def worker_mib() -> float:
    """The most resident memory that the only child of this process had so far."""
    (worker,) = multiprocessing.active_children()
    return peak_mib(worker.pid)


def peak_mib(process: int | None) -> float:
    """The most resident memory that a process had so far."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    sys.exit(main())
