"""What a worker is asked to do and what it answers: the job that all share, tasks and replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevision.archive.inputs import InputFile
from edgevision.archive.parts import SplitPlan
from edgevision.archive.records import FileSummary
from edgevision.session.models import OpenEngine, load_as_it_is
from edgevision.session.request import PlanPolicy, RunRequest
from edgevision.session.spec import StreamSpec
from edgevision.tiling import Tiling
from edgevision.video import Source, open_source
from edgevision.video.selection import Selection

OnFrames = Callable[[int], object]
"""Called with the number of frames that were read of the task so far."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all workers of an archive have in common; can be sent to another process.

    Attributes:
        out: folder of the archive.
        answers: key of the settings.
        models: files.
        then: file of a second model on what the first ones find; None for none.
        engine, plans, threads: how they are opened.
        conf_threshold, classes, on, every_track, track, zones, selection, tiles, formats, video, clips_of:
            see :class:`edgevision.archive.request.ArchiveRequest`.
        span_s: length of the parts of a long file; None for no parts.
        open_engine: opens a model file.
        open_file: opens a recording or an image.
    """

    out: Path
    answers: str
    models: Sequence[Path]
    then: Path | None = None
    on: Sequence[str] | None = None
    every_track: bool = False
    engine: str = "auto"
    plans: PlanPolicy = PlanPolicy()  # noqa: RUF009  (frozen)
    threads: int | None = 1
    conf_threshold: float
    classes: Sequence[str] | None = None
    track: bool = False
    zones: str | None = None
    selection: Selection = Selection()  # noqa: RUF009  (frozen)
    tiles: Tiling | None = None
    formats: Sequence[str] = ("jsonl",)
    video: bool = False
    clips_of: Sequence[str] = ()
    span_s: float | None = None
    open_engine: OpenEngine = load_as_it_is
    open_file: Callable[[str], Source] = open_source

    @property
    def stream(self) -> StreamSpec:
        """The settings that connect frames, as of a stream."""
        return StreamSpec(source="archive", track=self.track, zones=self.zones)

    @property
    def run(self) -> RunRequest:
        """The settings of the models, as of a run."""
        return RunRequest(
            streams=[self.stream],
            models=[str(model) for model in self.models],
            then=None if self.then is None else str(self.then),
            on=self.on,
            every_track=self.every_track,
            engine=self.engine,
            plans=self.plans,
            threads=self.threads,
            conf_threshold=self.conf_threshold,
            classes=self.classes,
            tiles=self.tiles,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """Something for a worker to do.

    Attributes:
        kind: ``whole`` reads a file in one go, ``plan`` looks whether it can be split, ``span`` detects one
            part, ``join`` makes the results of the parts, ``formats`` writes those that are missing; ``raw``
            detects a file in one go without results, which ``camera`` makes of all files of a camera.
        file: of what; of a camera the first.
        span: number of the part.
        in_one_go: why a file is not split, where that is known.
        files: of a camera, in the order of its clock, with nanoseconds from its first.
    """

    kind: str
    file: InputFile
    span: int = 0
    in_one_go: str = ""
    files: tuple[tuple[InputFile, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a task.

    Attributes:
        task: as given.
        summary: of the file, where it is finished and its results are committed.
        plan: the parts of a file that can be split.
        summaries: of the files of a camera.
        refused: why parts, or a join, are not what one pass gives; the file is to be read in one go.
    """

    task: Task
    summary: FileSummary | None = None
    plan: SplitPlan | None = None
    refused: str = ""
    summaries: tuple[FileSummary, ...] = ()
