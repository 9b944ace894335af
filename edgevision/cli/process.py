"""``edgevision process``: folders of recordings, and long ones, through a model; resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import EngineOption, RebuildOption, TrustOption

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console
    from rich.progress import TaskID

    from edgevision.archive.progress import ArchiveOutcome, ArchiveProgress

_NAMED = 10  # files that are named one by one


def process_command(
    sources: list[str] = typer.Argument(
        ...,
        metavar="SRC...",
        help="Videos, images, folders, patterns, a .txt with one path a line, or - for stdin.",
    ),
    out: Path = typer.Option(..., "--out", help="Folder of the results; continued where it exists."),
    include: list[str] = typer.Option(
        [], "--include", help="Only files like this, as in '*.mp4' or 'cam1/*'."
    ),
    exclude: list[str] = typer.Option([], "--exclude", help="Leave out files like this."),
    model: list[str] = typer.Option(
        [],
        "--model",
        help="Name of a model that ships, or path of a model file. Default: the first detector.",
    ),
    then: str | None = typer.Option(
        None,
        "--then",
        help="A second model, a classifier or one that finds objects, on what --model finds.",
    ),
    on: str | None = typer.Option(None, "--on", help="With --then: only on these classes, as in person,car."),
    every_track: bool = typer.Option(
        False, "--every-track", help="With --then: once for each tracked object, not in every frame."
    ),
    engine: EngineOption = "auto",
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    conf: float = typer.Option(0.35, "--conf", help="Leave out detections below this score, 0 to 1."),
    classes: str | None = typer.Option(None, "--classes", help="Only these classes: person,car."),
    track: bool = typer.Option(
        False, "--track", help="Give each object a number: anew in each file, or running on with --timeline."
    ),
    zones: Path | None = typer.Option(None, "--zones", help="YAML file of zones and lines; implies --track."),
    every: str | None = typer.Option(
        None, "--every", help="One frame of 5, as in 5, or the first of every second, as in 1s."
    ),
    start: str | None = typer.Option(None, "--start", help="From here on in each recording: 90s or 1:30."),
    end: str | None = typer.Option(None, "--end", help="Up to here in each recording."),
    tiles: str | None = typer.Option(
        None,
        "--tiles",
        help="For small objects: look at 2x2 overlapping tiles of each image too, or 3x2:0.2 (overlap).",
    ),
    formats: str = typer.Option(
        "jsonl", "--format", help="Some of jsonl, csv, parquet, coco, yolo, mot, megadetector: csv,coco."
    ),
    timeline: str | None = typer.Option(
        None,
        "--timeline",
        help="Count over all files of a folder by the clock, in periods of 5m or 15m.",
    ),
    starts: Path | None = typer.Option(
        None, "--starts", help="CSV of when files begin, for --timeline; else names and containers say it."
    ),
    video: bool = typer.Option(False, "--video", help="Draw each recording, into video/."),
    clips_of: str | None = typer.Option(
        None, "--clips-of", help="Cut the stretches that show these classes: person,car."
    ),
    ray: str | None = typer.Option(
        None, "--ray", help="Workers on a Ray cluster: its address, auto, or local to start one here."
    ),
    jobs: int | None = typer.Option(None, "--jobs", help="Workers. Default: by cores and memory."),
    split: str | None = typer.Option(
        None,
        "--split",
        show_default="60s",
        help="Length of the parts in which long files are detected, or off.",
    ),
    retry: bool = typer.Option(False, "--retry", help="Process again what is partial, failed or crashed."),
    redo: bool = typer.Option(
        False, "--redo", help="Process everything again, as after a change of the model."
    ),
) -> None:
    """Process recordings: folders of them, and long ones, on all cores, resumable at any moment.

    Killed and started again, it does only what is missing. A file that is damaged, or ends the process that
    reads it, is told in the index and does not stop the rest. Results lie in --out under the names of the
    files: docs/guides/archives.md.

    \b
    Examples:
      edgevision process recordings/ --out results/
      edgevision process 'cam*/2026-11-*.mkv' --out results/ --classes person,car --every 1s
      edgevision process recordings/ --out results/ --track --zones zones.yaml --format csv,parquet
      find /archive -name '*.mp4' | edgevision process - --out results/ --jobs 8
    """
    from edgevision.archive.launch import start_server

    if ray is None:  # the libraries of workers are loaded while those of this process are
        start_server()

    from rich.console import Console

    from edgevision.archive.crew import Crew, ProcessCrew
    from edgevision.archive.driver import Archive
    from edgevision.archive.progress import ArchiveObserver
    from edgevision.archive.records import Status
    from edgevision.archive.request import ArchiveRequest
    from edgevision.archive.room import default_jobs
    from edgevision.archive.tasks import Job
    from edgevision.cli.app import EXIT_DAMAGED
    from edgevision.cli.console import say
    from edgevision.cli.signals import signal_exit_code, stop_on_signals
    from edgevision.errors import UsageError
    from edgevision.pipeline import StopRequest
    from edgevision.session.models import OpenEngine, load_as_it_is
    from edgevision.session.request import PlanPolicy
    from edgevision.session.spec import listed
    from edgevision.tiling import Tiling
    from edgevision.units import parse_seconds
    from edgevision.video.selection import Selection

    if split not in (None, "off") and (video or then is not None):
        raise UsageError(
            f"--split {split} has no effect with {'--video' if video else '--then'}, for which each file is "
            "processed in one go; leave one of them out"
        )
    console, stop = Console(stderr=True), StopRequest()

    class Observer(ArchiveObserver):
        def note(self, text: str) -> None:
            say(console, f"note: {text}")

        def while_running(self) -> AbstractContextManager[Callable[[ArchiveProgress], None]]:
            return show_archive(console)

    request = ArchiveRequest(
        sources=sources,
        out=out,
        include=include,
        exclude=exclude,
        models=model,
        then=then,
        on=None if on is None else listed(on),
        every_track=every_track,
        engine=engine,
        plans=PlanPolicy(trust, rebuild),
        conf_threshold=conf,
        classes=None if classes is None else listed(classes),
        track=track,
        zones=None if zones is None else str(zones),
        tiles=None if tiles is None else Tiling.parse(tiles),
        selection=Selection.parse(every, start, end),
        formats=listed(formats),
        timeline_s=None if timeline is None else parse_seconds(timeline, "timeline"),
        starts=starts,
        video=video,
        clips_of=[] if clips_of is None else listed(clips_of),
        jobs=jobs,
        span_s=None if split == "off" else parse_seconds(split or "60s", "split"),
        retry=retry,
        redo=redo,
    )
    crew: Callable[[Job, int], Crew] = ProcessCrew
    room: Callable[[Sequence[Path], str], int] = default_jobs
    if ray is not None:
        from edgevision.archive.ray_crew import connect, crew_at

        cpus = connect(ray)
        crew = crew_at(ray)

        def room_of_cluster(models: Sequence[Path], engine: str) -> int:
            return cpus

        room = room_of_cluster

    open_engine: OpenEngine = load_as_it_is
    if rebuild:  # loads the command line, which workers need for nothing else
        from edgevision.cli.any_model import open_engine

    archive = Archive(request, open_engine=open_engine, observer=Observer(), stop=stop, crew=crew, room=room)
    with stop_on_signals(stop):
        outcome = archive.run()
    _report(outcome, out, console)
    told = len(outcome.summaries) - outcome.count(Status.DONE) + len(outcome.unreadable)
    exit_code = signal_exit_code(outcome.stopped or "") or (EXIT_DAMAGED if told else 0)
    if exit_code:
        raise typer.Exit(exit_code)


@contextmanager
def show_archive(console: Console) -> Iterator[Callable[[ArchiveProgress], None]]:
    """A bar over all files with the time left, and a line for each worker; nothing without a terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        whole = bar.add_task("", total=1.0)
        workers: list[TaskID] = []

        def show(progress: ArchiveProgress) -> None:
            bar.update(
                whole, completed=progress.share, description=f"{progress.files}/{progress.total} files"
            )
            while len(workers) < len(progress.workers):
                workers.append(bar.add_task("", total=None))
            for task, name in zip(workers, progress.workers, strict=False):
                bar.update(task, description=f"  {_on_one_line(name) or 'waiting'}")

        yield show


def _on_one_line(text: str) -> str:
    """A text with names of files in it, which may hold line breaks and commands for terminals."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def _report(outcome: ArchiveOutcome, out: Path, console: Console) -> None:
    """What was done, and which files were not."""
    from edgevision.archive.progress import count_by_status
    from edgevision.archive.records import Status
    from edgevision.cli.console import plural, say

    counts = count_by_status(outcome.summaries)
    frames = sum(one.frames for one in outcome.summaries)
    shown = ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status]) or "none"
    read = f"{frames} {plural('frame', frames)}, {outcome.processed} {plural('file', outcome.processed)} read"
    say(console, f"{out}: {shown}; {read} in this run")
    found: dict[str, int] = {}
    for one in outcome.summaries:
        for name, of_class in one.classes.items():
            found[name] = found.get(name, 0) + of_class.detections
    listed = ", ".join(f"{name} {count}" for name, count in sorted(found.items(), key=lambda item: -item[1]))
    say(console, f"  detections: {listed or 'none'}")
    told = [one for one in outcome.summaries if one.status is not Status.DONE]
    for one in told[:_NAMED]:
        say(console, f"warning: {one.status.value}: {_on_one_line(f'{one.name}: {one.reason}')}")
    if len(told) > _NAMED:
        say(console, f"warning: {len(told) - _NAMED} more are in {out / 'index.jsonl'}")
    if outcome.stopped is not None:
        say(console, f"ended early by {outcome.stopped}; the same command goes on from here")
