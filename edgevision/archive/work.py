"""What a worker does with a file or a part of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgevision.archive.cameras import detect_file, join_camera
from edgevision.archive.inputs import InputFile
from edgevision.archive.opened import OpenedJob
from edgevision.archive.records import FileSummary
from edgevision.archive.results import ResultWriter
from edgevision.archive.split import Splitter
from edgevision.archive.tasks import Job, OnFrames, Reply, Task
from edgevision.closeable import Closeable
from edgevision.errors import EdgeVisionError, SourceError, printable
from edgevision.video import SourceInfo


class Worker(Closeable):
    """Has the models open, and does one task after the other.

    Args:
        job: what all workers have in common.

    Raises:
        EdgeVisionError: a model cannot be opened, or the settings do not fit it.
    """

    def __init__(self, job: Job) -> None:
        self._opened = OpenedJob(job)
        self._splitter = Splitter(self._opened)

    @property
    def names(self) -> list[str]:
        """The class names of all models."""
        return self._opened.names

    def close(self) -> None:
        self._opened.close()

    def do(self, task: Task, on_frames: OnFrames = lambda frames: None) -> Reply:
        """Does a task.

        Args:
            task: what.
            on_frames: is told how far it is.

        Raises:
            SinkError: the results cannot be written.
            EngineError: a model fails.
        """
        return self.begin(task, on_frames)()

    def begin(self, task: Task, on_frames: OnFrames = lambda frames: None) -> Callable[[], Reply]:
        """Does what a task needs the models for, and returns what does the rest: mostly to wait for the disk.

        The rest may be done on another thread, while the next task is begun.

        Args:
            task: what.
            on_frames: is told how far it is.

        Raises:
            SinkError: the results cannot be written; the rest raises it, too.
            EngineError: a model fails.
        """
        if task.kind == "whole" and not (self._opened.needs_file_again or task.file.address):
            finish = read_whole(self._opened, task, on_frames)
            return lambda: Reply(task, summary=finish())
        reply = self._done(task, on_frames)
        return lambda: reply

    def _done(self, task: Task, on_frames: OnFrames) -> Reply:
        if task.kind == "plan":
            return self._splitter.plan(task)
        if task.kind == "span":
            return self._splitter.detect(task, on_frames)
        if task.kind == "join":
            return self._splitter.join(task, on_frames)
        if task.kind == "raw":
            return Reply(task, summary=detect_file(self._opened, task.file, on_frames))
        if task.kind == "camera":
            return join_camera(self._opened, task, on_frames)
        if task.kind == "formats":
            try:
                self._opened.write_formats(task.file)
            except SourceError as error:
                return Reply(task, refused=printable(str(error)))
            return Reply(task)
        return Reply(task, summary=read_whole(self._opened, task, on_frames)())


def read_whole(opened: OpenedJob, task: Task, on_frames: OnFrames) -> Callable[[], FileSummary]:
    """Reads a file in one go.

    Returns:
        What commits its results; a file that cannot be read is ``failed``, with the reason.

    Raises:
        EdgeVisionError: the models or the results fail, which is of the run and not of this file; what is
            returned raises it, too.
    """
    file, facts = task.file, None

    def failed(error: Exception) -> FileSummary:
        return opened.failed(file, facts, _reason(file, error))

    def commit() -> FileSummary:
        try:
            with results:
                return opened.commit(results.finish(info, in_one_go=task.in_one_go), file)
        except Exception as error:
            return failed(error)

    try:
        facts = file.read_facts()
        results = opened.results(file, facts)
    except Exception as error:
        summary = failed(error)
        return lambda: summary
    try:
        info = _read(opened, file, results, on_frames)
    except BaseException as error:
        results.close()
        if not isinstance(error, Exception):
            raise
        summary = failed(error)
        return lambda: summary
    return commit


def _reason(file: InputFile, error: Exception) -> str:
    """Why a file cannot be read; raises what is not of this file."""
    if isinstance(error, OSError):
        return f"cannot read {file.place}: {error.strerror}"
    if isinstance(error, SourceError):
        return str(error)
    if isinstance(error, EdgeVisionError):
        raise error
    what = " ".join(str(error).split())  # of a library, at this one file
    return f"cannot process {file.place}: {type(error).__name__}: {what}"


def _read(opened: OpenedJob, file: InputFile, results: ResultWriter, on_frames: OnFrames) -> SourceInfo:
    """Each frame through the models, the tracker, the second model and the zones, as in a run."""
    job = opened.job
    with job.open_file(str(opened.local(file))) as source:
        selected = opened.selected(source)
        scene, crops, info = opened.scene(selected.info.frame_rate), opened.crop_reader(), source.info
        if job.video and not info.is_image:
            results.draw_on(selected.info)
        for count, frame in enumerate(selected, start=1):
            if file.address:  # not the path of its copy
                frame = replace(frame, source=file.address)
            result = opened.infer(frame)
            results.see(result)
            if scene is not None:
                result = scene.track(result)
            if crops is not None:
                result = crops.update(result)
            if scene is not None:
                result = scene.watch(result)
            results.write(result)
            if job.video:
                results.draw(result, opened.drawn(result, scene))
            results.last_s = frame.time_s
            on_frames(count)
        results.end_of(source)
        results.problem = opened.without_copy(file, results.problem)
        results.notes = [opened.without_copy(file, note) for note in results.notes]
    return info
