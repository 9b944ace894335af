"""Processes an archive: gives files to workers, enters what they did, and goes on where it stopped."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from edgevision.archive.crew import Answer, Crew, Event, Far, Lost, ProcessCrew, Ready, Refusal
from edgevision.archive.footage import has_clips
from edgevision.archive.formats import OUTPUTS, missing_formats, present_formats, write_archive_formats
from edgevision.archive.index import ArchiveIndex
from edgevision.archive.inputs import InputFile, Inputs, find_inputs
from edgevision.archive.parts import PartFolder, SplitPlan
from edgevision.archive.records import (
    HAS_RESULTS,
    FileFacts,
    FileSummary,
    ResultPlaces,
    Status,
    write_summary,
)
from edgevision.archive.report import write_report
from edgevision.archive.request import (
    Answers,
    ArchiveRequest,
    SettingsFile,
    read_settings,
    write_settings,
)
from edgevision.archive.results import remove_results
from edgevision.archive.timeline import camera_of, read_starts, start_of, write_timeline
from edgevision.archive.work import Job, Reply, Task
from edgevision.contract.model_file import read_manifest
from edgevision.engines.base import usable_cores
from edgevision.errors import EngineError, OutputExistsError, SinkError, UsageError, printable
from edgevision.files import make_folder
from edgevision.pipeline import StopRequest
from edgevision.session.models import OpenEngine, load_as_it_is
from edgevision.suffixes import IMAGE_SUFFIXES, PLAN_SUFFIXES
from edgevision.video import Source, open_source

TRIES = 2
"""A file that ends its process this often is ``crashed``."""

_WORKER_BYTES = 1 << 30  # a model, its arenas and a few images of 4K
_GPU_JOBS = 2  # one decodes while the other's frames are inferred
_BYTES_PER_SECOND = 2_000  # no recording worth splitting has fewer
_WAIT_S = 0.2
_STARTS = 3  # of a worker, without an answer


@dataclass(frozen=True, slots=True)
class ArchiveProgress:
    """How far an archive is.

    Attributes:
        files, total: finished, and to be done in this run.
        share: 0..1, by the sizes of the files.
        workers: what each is at: the name of its file, and what it does with it; empty for nothing.
    """

    files: int
    total: int
    share: float
    workers: tuple[str, ...]


class ArchiveObserver:
    """Follows an archive, on the thread that runs it; what is not overridden does nothing."""

    def note(self, text: str) -> None:
        """One line for the user."""

    def while_running(self) -> AbstractContextManager[Callable[[ArchiveProgress], None]]:
        """Entered before work is given out; what it gives is called a few times a second."""
        return contextlib.nullcontext(lambda progress: None)


@dataclass(frozen=True, slots=True)
class ArchiveOutcome:
    """How it ended.

    Attributes:
        summaries: of every file in the archive, by name; incomplete where it was stopped.
        processed: how many files were read in this run.
        written: what was written for the whole archive.
        stopped: what ended it early; None where it is complete.
    """

    summaries: tuple[FileSummary, ...]
    processed: int
    written: tuple[Path, ...]
    stopped: str | None = None

    def count(self, status: Status) -> int:
        """How many files went so."""
        return sum(one.status is status for one in self.summaries)


@dataclass(slots=True)
class _Camera:
    """Files through which ids run on.

    Attributes:
        files: in the order of the camera's clock, with nanoseconds from its first.
        left: names of those that are still to be detected.
    """

    files: list[tuple[InputFile, int]] = field(default_factory=list)
    left: set[str] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        return {file.name for file, _ in self.files}

    def task(self) -> Task:
        """Joins what was detected of all."""
        return Task("camera", self.files[0][0], files=tuple(self.files))


@dataclass(slots=True)
class _FileState:
    """A file that is being worked on.

    Attributes:
        left: parts that are still to be detected.
        done: share of the file, 0..1.
        is_over: its summary is there; late replies do not count.
        camera: whose ids run on through it; None where ids begin anew.
    """

    file: InputFile
    size: int
    tries: int = 0
    plan: SplitPlan | None = None
    left: set[int] = field(default_factory=set)
    is_split: bool = False
    done: float = 0.0
    is_over: bool = False
    camera: _Camera | None = None


class Archive:
    """One run over an archive; see docs/guides/archives.md.

    Args:
        request: what to do.
        open_engine: opens a model file, in each worker; can be sent to another process.
        open_file: opens a recording, likewise.
        observer: follows it.
        stop: set its reason, from anywhere, to end early; what is finished is kept.
        crew: makes the workers.
        room: how many workers there is room for, by the model files and the engine.
    """

    def __init__(
        self,
        request: ArchiveRequest,
        *,
        open_engine: OpenEngine = load_as_it_is,
        open_file: Callable[[str], Source] = open_source,
        observer: ArchiveObserver | None = None,
        stop: StopRequest | None = None,
        crew: Callable[[Job, int], Crew] = ProcessCrew,
        room: Callable[[Sequence[Path], str], int] | None = None,
    ) -> None:
        self._request = request
        self._open_engine, self._open_file = open_engine, open_file
        self._observer = observer or ArchiveObserver()
        self._stop = stop or StopRequest()
        self._make_crew = crew
        self._room = room or default_jobs
        self._places = ResultPlaces(request.out)
        self._formats: tuple[str, ...] = tuple(request.formats)
        self._queue: deque[Task] = deque()
        self._states: dict[str, _FileState] = {}
        self._losses = self._finished = 0
        self._frames_per_byte = 0.0

    def run(self) -> ArchiveOutcome:
        """Processes what is missing, and writes what belongs to the whole archive.

        Raises:
            UsageError: the request is impossible, or the folder holds answers of other settings.
            EdgeVisionError: no model can be opened, or results cannot be written.
        """
        request, places = self._request, self._places
        inputs = find_inputs(request.sources, request.out, include=request.include, exclude=request.exclude)
        models, answers = request.model_files(), request.answers()
        starts = {} if request.starts is None else read_starts(request.starts)
        if request.ids_run_on and any(read_manifest(path).task != "detection" for path in models):
            raise UsageError(
                "ids run on from file to file for models that give boxes alone; leave out `timeline`"
            )
        settings = self._checked_settings(inputs, answers)
        with self._locked():
            if request.redo:
                self._clear()
            shutil.rmtree(places.partial, ignore_errors=True)
            make_folder(places.partial, parents=True)
            make_folder(places.results)
            with ArchiveIndex(places) as index:
                if index.rebuilt:
                    self._observer.note(f"{index.rebuilt} files were finished and not in the index: entered")
                self._formats = tuple(dict.fromkeys((*request.formats, *present_formats(places))))
                todo = self._missing(inputs, index, answers)
                if request.ids_run_on:
                    todo = self._by_camera(todo, inputs, index, starts)
                if todo and request.timeline_s is None:  # of an earlier run; it would lack what is done now
                    (places.out / "timeline.csv").unlink(missing_ok=True)
                names = settings.names if settings is not None else None
                if todo or names is None:
                    names = self._work(todo, models, answers, index, inputs, names)
                summaries = index.summaries()
                written: list[Path] = []
                if self._stop.reason is None:
                    label = ", ".join(read_manifest(path).name for path in models)
                    written = write_archive_formats(self._formats, places, summaries, names or [], label)
                    written += index.export()
                    written.append(write_report(places, summaries, label))
                    if request.timeline_s is not None:
                        written.append(self._write_timeline(summaries, starts, request.timeline_s))
            if self._stop.reason is None:
                if not request.ids_run_on:  # a file that comes later needs those of its camera
                    shutil.rmtree(places.work / "spans", ignore_errors=True)
                shutil.rmtree(places.partial, ignore_errors=True)
        return ArchiveOutcome(tuple(summaries), self._finished, tuple(written), self._stop.reason)

    def _write_timeline(
        self, summaries: Sequence[FileSummary], starts: dict[str, datetime], period_s: float
    ) -> Path:
        path, unknown = write_timeline(
            self._places, summaries, period_s, starts, ids_run_on=self._request.ids_run_on
        )
        if unknown:
            rest = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            self._observer.note(f"not in {path.name}, for nobody knows when they begin: {unknown[0]}{rest}")
        return path

    # Before the work.

    def _checked_settings(self, inputs: Inputs, answers: Answers) -> SettingsFile | None:
        out = self._request.out
        is_ours = self._places.settings.exists() or self._places.work.is_dir()
        if not is_ours and out.is_dir() and any(out.iterdir()):
            raise OutputExistsError(f"output folder is not empty: {out}; choose another")
        settings = read_settings(self._places.settings) if not self._request.redo else None
        if settings is None:
            return None
        base = printable(str(inputs.base))
        if settings.base != base:
            raise UsageError(
                f"{out} holds results of files below {settings.base}; these are below {base}: "
                "give the same sources, or choose another `out`"
            )
        if settings.answers != answers:
            changed = ", ".join(settings.answers.differences(answers))
            raise UsageError(
                f"{out} was made with other settings: {changed}; give those, choose another `out`, "
                "or pass `redo` to process everything again"
            )
        return settings

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """No two drivers work on one archive."""
        make_folder(self._places.work, parents=True)
        with (self._places.work / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(f"{self._request.out} is being processed by another program") from error
            yield

    def _clear(self) -> None:
        """Takes away all results; the settings first, so that nothing counts that a kill leaves."""
        places = self._places
        try:
            places.settings.unlink(missing_ok=True)
            for path in (*(places.out / name for name in OUTPUTS), places.work / "spans"):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise SinkError(f"cannot remove {error.filename}: {error.strerror}") from error

    def _missing(self, inputs: Inputs, index: ArchiveIndex, answers: Answers) -> list[Task]:
        """What is to be done, in the order of names."""
        known = {one.name: one for one in index.summaries()}
        found: list[Task] = []
        changed = 0
        for file in inputs.files:
            summary = known.get(file.name)
            facts = _facts(file.path)
            size = 0 if facts is None else facts.size
            if summary is not None and not self._is_stale(summary, file, facts, answers, index):
                kind = self._incomplete(summary, file)
                if not kind:
                    continue
                found.append(Task(kind, file))
            else:
                if summary is not None:
                    changed += summary.status is Status.DONE
                    remove_results(self._places, file.name)
                    index.remove([file.name])
                found.append(Task("whole", file))
            self._states[file.name] = _FileState(file, size)
        if changed:
            self._observer.note(f"{changed} files have changed since they were processed: again")
        return found

    def _by_camera(
        self,
        todo: Sequence[Task],
        inputs: Inputs,
        index: ArchiveIndex,
        starts: Mapping[str, datetime],
    ) -> list[Task]:
        """All files of each camera that lacks one: what was detected of the others is there, and joined anew.

        Their summaries are taken away first, so that a kill leaves no camera with ids of two joins.
        """
        known = {one.name: one for one in index.summaries()}
        again = {task.file.name for task in todo if task.kind == "whole"}
        groups: dict[str, list[tuple[datetime, InputFile]]] = {}
        for file in inputs.files:
            start = start_of(file.name, file.path, starts)
            key = f"file {file.name}" if start is None else f"camera {camera_of(file.name)}"
            groups.setdefault(key, []).append((start or datetime.min, file))
        found = [task for task in todo if task.kind == "formats"]
        for group in groups.values():
            if again.isdisjoint(file.name for _, file in group):
                continue
            ordered = sorted(group, key=lambda pair: (pair[0], pair[1].name))
            camera = _Camera()
            for start, file in ordered:
                summary = known.get(file.name)
                if file.name not in again and summary is not None and summary.status not in HAS_RESULTS:
                    continue  # told, and not to be tried again
                facts = _facts(file.path)
                self._states[file.name] = _FileState(file, 0 if facts is None else facts.size, camera=camera)
                camera.files.append((file, round((start - ordered[0][0]).total_seconds() * 1e9)))
                self._places.summary(file.name).unlink(missing_ok=True)
                index.remove([file.name])
                source = PartFolder(self._places.spans(file.name)).source()
                if source is None or facts is None or not facts.is_same(source.facts):
                    camera.left.add(file.name)
                    found.append(Task("raw", file))
            found = [task for task in found if task.kind != "formats" or task.file.name not in camera.names]
            if not camera.left:
                found.append(camera.task())
        return found

    def _incomplete(self, summary: FileSummary, file: InputFile) -> str:
        """What a file with results lacks of what is asked for now: the task that makes it, or nothing."""
        request = self._request
        if summary.status not in HAS_RESULTS:
            return ""
        if request.video and summary.decoded > 1 and not self._places.video(file.name).is_file():
            return "whole"
        lacks_clips = bool(request.clips_of) and not has_clips(self._places, file.name, request.clips_of)
        is_missing = lacks_clips or missing_formats(self._formats, self._places, file.name)
        return "formats" if is_missing else ""

    def _is_stale(
        self,
        summary: FileSummary,
        file: InputFile,
        facts: FileFacts | None,
        answers: Answers,
        index: ArchiveIndex,
    ) -> bool:
        """Whether a file that was processed is to be processed again."""
        if summary.answers != answers.key or summary.status is Status.CHANGED:
            return True
        if summary.status is not Status.DONE and self._request.retry:
            return True
        if facts is None or summary.facts is None:
            return facts is not summary.facts
        if facts.is_same(summary.facts):
            return False
        try:
            now = facts.with_digest(file.path)
        except OSError:
            return True
        if now.digest != summary.facts.digest:
            return True
        # It was copied or touched: the same content, at another time.
        moved = _with_facts(summary, now)
        write_summary(self._places, moved)
        index.enter(moved)
        return False

    # The work.

    def _work(
        self,
        todo: Sequence[Task],
        models: Sequence[Path],
        answers: Answers,
        index: ArchiveIndex,
        inputs: Inputs,
        names: Sequence[str] | None,
    ) -> list[str]:
        request = self._request
        can_split = (
            request.span_s is not None
            and not request.video
            and all(read_manifest(path).task == "detection" for path in models)
        )
        for task in todo:
            state = self._states[task.file.name]
            self._queue += self._first_tasks(task, state) if can_split else [task]
        jobs = request.jobs or self._room(models, request.engine)
        jobs = max(1, min(jobs, len(todo) if not can_split else jobs))
        job = Job(
            out=request.out.absolute(),
            answers=answers.key,
            models=models,
            engine=request.engine,
            plans=request.plans,
            threads=max(1, usable_cores() // jobs),
            conf_threshold=request.conf_threshold,
            classes=request.classes,
            track=request.is_tracked,
            zones=None if request.zones is None else str(Path(request.zones).absolute()),
            selection=request.selection,
            tiles=request.tiles,
            formats=self._formats,
            video=request.video,
            clips_of=request.clips_of,
            span_s=request.span_s,
            open_engine=self._open_engine,
            open_file=self._open_file,
        )
        found: list[str] | None = None
        with self._make_crew(job, jobs) as crew, self._observer.while_running() as show:
            at: dict[int, Task] = {}
            while (self._queue or at or found is None) and self._stop.reason is None:
                for worker in crew.idle:
                    if self._queue:
                        at[worker] = self._queue.popleft()
                        crew.give(worker, at[worker])
                for event in crew.wait(_WAIT_S):
                    if isinstance(event, Ready):
                        self._losses = 0
                        if found is None:
                            found = list(event.names)
                            if names is None:
                                base = printable(str(inputs.base))
                                write_settings(
                                    self._places.settings,
                                    SettingsFile(base=base, answers=answers, names=found),
                                )
                    else:
                        self._handle(event, at, index, answers)
                show(self._progress(len(todo), at, jobs))
        return found or list(names or ())

    def _first_tasks(self, task: Task, state: _FileState) -> list[Task]:
        """A file in one go, or its parts as an earlier start planned them, or the plan."""
        suffix, seconds = task.file.path.suffix.lower(), self._request.span_s or 0
        if task.kind != "whole" or suffix in IMAGE_SUFFIXES or state.size < 2 * seconds * _BYTES_PER_SECOND:
            return [task]
        parts = PartFolder(self._places.spans(task.file.name))
        plan, facts = parts.plan(), _facts(task.file.path)
        if plan is None or facts is None or (plan.size, plan.mtime_ns) != (facts.size, facts.mtime_ns):
            return [Task("plan", task.file)]
        return self._split(state, plan)

    def _split(self, state: _FileState, plan: SplitPlan) -> list[Task]:
        parts = PartFolder(self._places.spans(state.file.name))
        state.plan, state.is_split = plan, True
        state.left = {number for number in plan.needed if parts.report(number) is None}
        spans = [Task("span", state.file, number) for number in sorted(state.left)]
        return spans or [Task("join", state.file)]

    def _handle(self, event: Event, at: dict[int, Task], index: ArchiveIndex, answers: Answers) -> None:
        if isinstance(event, Refusal):
            raise event.error
        if isinstance(event, Far):
            task = at.get(event.worker)
            if task is not None and task.kind == "whole":
                state = self._states[task.file.name]
                expected = state.size * self._frames_per_byte
                state.done = min(0.95, event.frames / expected) if expected else 0.0
            return
        task = at.pop(event.worker, None)
        if isinstance(event, Lost):
            self._lost(event, index, answers)
        elif isinstance(event, Answer) and task is not None:
            self._answered(event, index)

    def _answered(self, event: Answer, index: ArchiveIndex) -> None:
        reply, task = event.reply, event.reply.task
        state = self._states[task.file.name]
        if state.is_over:
            return
        if task.kind == "camera":
            self._joined(reply, index)
        elif task.kind == "raw" and reply.summary is None:
            self._detected(state)
        elif reply.summary is not None:
            index.enter(reply.summary)
            self._end(state)
            if reply.summary.frames and state.size:
                rate = reply.summary.frames / state.size
                self._frames_per_byte = (self._frames_per_byte or rate) * 0.8 + rate * 0.2
        elif task.kind == "formats":
            if reply.refused:
                self._observer.note(f"{task.file.name}: {reply.refused}")
            self._end(state)
        elif task.kind in ("span", "join") and not state.is_split:
            pass  # of a file that is read in one go by now
        elif reply.refused or (task.kind == "plan" and reply.plan is None):
            self._in_one_go(state, reply.refused)
        elif reply.plan is not None:
            self._queue.extendleft(reversed(self._split(state, reply.plan)))
        else:
            state.left.discard(task.span)
            if state.plan is not None:
                state.done = 0.95 * (1 - len(state.left) / max(1, len(state.plan.needed)))
            if not state.left:
                self._queue.appendleft(Task("join", task.file))

    def _joined(self, reply: Reply, index: ArchiveIndex) -> None:
        if reply.refused:
            raise SinkError(f"what was detected of {reply.refused} is lost: start again")
        for summary in reply.summaries:
            index.enter(summary)
            self._end(self._states[summary.name])

    def _detected(self, state: _FileState, is_lost: bool = False) -> None:
        """A file of a camera is detected, or never will be; the last one of them lets it be joined."""
        camera, state.done = state.camera, 0.9
        if camera is None or state.file.name not in camera.left:
            return
        camera.left.discard(state.file.name)
        if is_lost:
            camera.files = [pair for pair in camera.files if pair[0] != state.file]
        if not camera.left and camera.files:
            self._queue.appendleft(camera.task())

    def _in_one_go(self, state: _FileState, reason: str) -> None:
        state.is_split, state.done = False, 0.0
        self._drop_tasks(state)
        self._queue.appendleft(Task("whole", state.file, in_one_go=reason))

    def _lost(self, event: Lost, index: ArchiveIndex, answers: Answers) -> None:
        task = event.task
        if task is None:
            self._losses += 1
            if self._losses >= _STARTS:
                raise EngineError(f"a worker ends while it starts: {event.reason}")
            return
        state = self._states[task.file.name]
        if state.is_over:
            return
        state.tries += 1
        if state.tries < TRIES:
            self._queue.appendleft(task)
            return
        if task.kind == "camera":
            raise EngineError(f"the files of {task.file.name} cannot be joined: {event.reason}")
        if task.kind == "formats":  # its results stay
            self._observer.note(f"{task.file.name}: {event.reason}")
            self._end(state)
            return
        facts = _facts(task.file.path)
        summary = FileSummary(
            name=task.file.name,
            path=printable(str(task.file.path)),
            answers=answers.key,
            status=Status.CRASHED,
            reason=event.reason,
            facts=facts,
        )
        remove_results(self._places, task.file.name)
        write_summary(self._places, summary)
        index.enter(summary)
        self._end(state)

    def _end(self, state: _FileState) -> None:
        self._detected(state, is_lost=True)  # where it ends before it was detected
        state.is_over, state.done = True, 1.0
        self._finished += 1
        self._drop_tasks(state)
        if state.camera is None:
            shutil.rmtree(self._places.spans(state.file.name), ignore_errors=True)

    def _drop_tasks(self, state: _FileState) -> None:
        def is_of_it(task: Task) -> bool:
            return task.file == state.file and task.kind != "camera"

        if any(map(is_of_it, self._queue)):
            self._queue = deque(task for task in self._queue if not is_of_it(task))

    def _progress(self, total: int, at: dict[int, Task], jobs: int) -> ArchiveProgress:
        weights = [(max(state.size, 1), state.done) for state in self._states.values()]
        share = sum(size * done for size, done in weights) / max(1, sum(size for size, _ in weights))
        workers = tuple(
            "" if task is None else f"{task.file.name} {task.span}" if task.kind == "span" else task.file.name
            for task in map(at.get, range(jobs))
        )
        return ArchiveProgress(self._finished, total, share, workers)


def default_jobs(models: Sequence[Path], engine: str) -> int:
    """Workers that the machine has cores and memory for; with a plan, two share the GPU."""
    if engine in ("tensorrt", "onnxruntime-cuda") or any(
        path.suffix.lower() in PLAN_SUFFIXES for path in models
    ):
        return min(_GPU_JOBS, usable_cores())
    return max(1, min(usable_cores(), _free_bytes() // _WORKER_BYTES))


def _free_bytes() -> int:
    """Memory that is free or can be freed."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _facts(path: Path) -> FileFacts | None:
    try:
        return FileFacts.of(path)
    except OSError:
        return None


def _with_facts(summary: FileSummary, facts: FileFacts) -> FileSummary:
    from msgspec.structs import replace

    return replace(summary, facts=facts)


def count_by_status(summaries: Sequence[FileSummary]) -> Counter[Status]:
    """How many files went how."""
    return Counter(one.status for one in summaries)
