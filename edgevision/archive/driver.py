"""Processes an archive: gives files to workers, enters what they did, and goes on where it stopped."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from edgevision.archive.backlog import Backlog, PendingFile
from edgevision.archive.crew import Answer, Crew, Far, Lost, ProcessCrew, Ready, Refusal
from edgevision.archive.formats import OUTPUTS, present_formats, write_archive_formats
from edgevision.archive.index import ArchiveIndex
from edgevision.archive.inputs import Inputs, find_inputs
from edgevision.archive.progress import ArchiveObserver, ArchiveOutcome
from edgevision.archive.records import FileSummary, ResultPlaces, read_summary
from edgevision.archive.remote import RemoteCopies
from edgevision.archive.report import write_report
from edgevision.archive.request import (
    Answers,
    ArchiveRequest,
    SettingsFile,
    read_settings,
    write_settings,
)
from edgevision.archive.room import default_jobs
from edgevision.archive.schedule import Schedule
from edgevision.archive.tasks import Job
from edgevision.archive.timeline import read_starts, write_timeline
from edgevision.contract.model_file import read_manifest
from edgevision.engines.base import usable_cores
from edgevision.errors import DataError, OutputExistsError, SinkError, UsageError, printable
from edgevision.files import make_folder, remove_partial_files
from edgevision.pipeline import StopRequest
from edgevision.session.models import OpenEngine, load_as_it_is
from edgevision.video import Source, open_source

_WAIT_S = 0.2
_LOOKED_AT = 8  # files, to know whether they are those of an earlier start


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
        self._processed = 0

    def run(self) -> ArchiveOutcome:
        """Processes what is missing, and writes what belongs to the whole archive.

        Raises:
            UsageError: the request is impossible, or the folder holds answers of other settings.
            EdgeVisionError: no model can be opened, or results cannot be written.
        """
        request, places = self._request, self._places
        inputs = find_inputs(request.sources, request.out, include=request.include, exclude=request.exclude)
        self._check_range(inputs)
        models, answers = request.model_files(), request.answers()
        starts = {} if request.starts is None else read_starts(request.starts)
        if request.ids_run_on and any(read_manifest(path).task != "detection" for path in models):
            raise UsageError(
                "ids run on from file to file for models that give boxes alone; leave out `timeline`"
            )
        settings = self._checked_settings(inputs, answers)
        for text in inputs.unreadable:
            self._observer.note(f"left out: {text}")
        self._check_starts(starts, inputs)
        with self._locked():
            if request.redo:
                self._clear()
            shutil.rmtree(places.partial, ignore_errors=True)
            make_folder(places.partial, parents=True)
            make_folder(places.results)
            remove_partial_files(places.out)
            if settings is not None and settings.base != inputs.shown_base:
                self._observer.note(f"the files of {settings.base} lie below {inputs.shown_base} now")
                self._write_settings(inputs, answers, settings.names)
            with ArchiveIndex(places) as index:
                if index.rebuilt:
                    self._observer.note(f"{index.rebuilt} files were finished and not in the index: entered")
                self._formats = tuple(dict.fromkeys((*request.formats, *present_formats(places))))
                todo = self._pending(inputs, index, answers, starts)
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
            if inputs.scheme:
                RemoteCopies().remove_unused()  # workers are ended at once, and leave theirs
            if self._stop.reason is None:
                if not request.ids_run_on:  # a file that comes later needs those of its camera
                    shutil.rmtree(places.work / "spans", ignore_errors=True)
                shutil.rmtree(places.partial, ignore_errors=True)
        return ArchiveOutcome(
            tuple(summaries), self._processed, tuple(written), self._stop.reason, inputs.unreadable
        )

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

    def _check_range(self, inputs: Inputs) -> None:
        """A part of each file's time is wanted, and images have none.

        Raises:
            UsageError: there are only images.
        """
        if not self._request.selection.is_range:
            return
        images = sum(file.is_image for file in inputs.files)
        if images == len(inputs.files):
            raise UsageError(
                f"`start` and `end` are for recordings, and below {inputs.shown_base} are only images, which "
                "have no time; leave them out"
            )
        if images:
            self._observer.note(
                f"`start` and `end` are for recordings: images have no time and are all processed ({images})"
            )

    def _check_starts(self, starts: Mapping[str, datetime], inputs: Inputs) -> None:
        names = {file.name for file in inputs.files}
        unknown = [name for name in starts if name not in names]
        if unknown:
            rest = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            self._observer.note(
                f"`starts` names no file of the archive: {printable(unknown[0])}{rest}; expected names as in "
                f"the index, such as {inputs.files[0].name}"
            )

    def _checked_settings(self, inputs: Inputs, answers: Answers) -> SettingsFile | None:
        out = self._request.out
        is_ours = self._places.settings.exists() or self._places.work.is_dir()
        if not is_ours and out.is_dir() and any(out.iterdir()):
            raise OutputExistsError(f"output folder is not empty: {out}; choose another")
        settings = read_settings(self._places.settings) if not self._request.redo else None
        if settings is None:
            return None
        base = inputs.shown_base
        if settings.base != base and not self._is_moved(settings.base, inputs):
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

    def _is_moved(self, base: str, inputs: Inputs) -> bool:
        """Whether the files lie elsewhere now: none is where they were, and those looked at are the same."""
        if inputs.scheme or Path(base).exists():
            return False
        looked_at = 0
        for file in inputs.files:
            with contextlib.suppress(DataError, OSError):
                facts = read_summary(self._places.summary(file.name)).facts
                if facts is None or file.read_facts(with_digest=True).digest != facts.digest:
                    return False
                looked_at += 1
                if looked_at == _LOOKED_AT:
                    break
        return looked_at > 0

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """No two drivers work on one archive."""
        make_folder(self._places.work, parents=True)
        try:
            lock = (self._places.work / "lock").open("w")
        except OSError as error:
            raise SinkError(f"cannot write {self._request.out}: {error.strerror}") from error
        with lock as file:
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

    def _pending(
        self, inputs: Inputs, index: ArchiveIndex, answers: Answers, starts: Mapping[str, datetime]
    ) -> list[PendingFile]:
        backlog = Backlog(self._request, self._places, index, answers.key, self._formats)
        found = backlog.find(inputs.files)
        if backlog.changed:
            self._observer.note(f"{backlog.changed} files have changed since they were processed: again")
        return backlog.by_camera(found, inputs.files, starts) if self._request.ids_run_on else found

    # The work.

    def _work(
        self,
        todo: Sequence[PendingFile],
        models: Sequence[Path],
        answers: Answers,
        index: ArchiveIndex,
        inputs: Inputs,
        names: Sequence[str] | None,
    ) -> list[str]:
        """Does what is to be done; the class names of the models."""
        request = self._request
        span_s = request.span_s if request.can_split(models) else None
        schedule = Schedule(todo, self._places, index, answers.key, span_s, self._observer.note)
        jobs = request.jobs or self._room(models, request.engine)
        jobs = max(1, min(jobs, len(todo)) if span_s is None else jobs)
        found: list[str] | None = None
        with (
            self._make_crew(self._job(models, answers, jobs), jobs) as crew,
            self._observer.while_running() as show,
        ):
            while (schedule.has_more or found is None) and self._stop.reason is None:
                schedule.fill(crew)
                for event in crew.wait(_WAIT_S):
                    if isinstance(event, Refusal):
                        raise event.error
                    if isinstance(event, Far):
                        schedule.went_on(event)
                    elif isinstance(event, Lost):
                        schedule.lost(event)
                    elif isinstance(event, Answer):
                        schedule.answered(event)
                    elif isinstance(event, Ready):
                        schedule.ready()
                        if found is None:
                            found = list(event.names)
                            if names is None:
                                self._write_settings(inputs, answers, found)
                show(schedule.progress(jobs))
        self._processed = schedule.finished
        if schedule.losses:  # what a killed worker left half written
            remove_partial_files(self._places.out)
        return found or list(names or ())

    def _write_settings(self, inputs: Inputs, answers: Answers, names: Sequence[str]) -> None:
        settings = SettingsFile(base=inputs.shown_base, answers=answers, names=list(names))
        write_settings(self._places.settings, settings)

    def _job(self, models: Sequence[Path], answers: Answers, jobs: int) -> Job:
        request = self._request
        return Job(
            out=request.out.absolute(),
            answers=answers.key,
            models=[path.absolute() for path in models],
            then=request.second_model(),
            on=request.on,
            every_track=request.every_track,
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
