"""What a worker does with a file or a part of one."""

from __future__ import annotations

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
from edgevision.video.selection import SelectedSource


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
        return Reply(task, summary=process_whole(self._opened, task, on_frames))


def process_whole(opened: OpenedJob, task: Task, on_frames: OnFrames) -> FileSummary:
    """Reads a file in one go and commits its results; one that cannot be read is ``failed``, with the reason.

    Raises:
        EdgeVisionError: the models or the results fail, which is of the run and not of this file.
    """
    file, facts = task.file, None
    try:
        facts = file.read_facts()
        with opened.results(file, facts) as results:
            info = _read(opened, file, results, on_frames)
            return opened.commit(results.finish(info, in_one_go=task.in_one_go), file)
    except OSError as error:
        reason = f"cannot read {file.place}: {error.strerror}"
    except SourceError as error:
        reason = str(error)
    except EdgeVisionError:
        raise
    except Exception as error:  # of a library, at this one file
        what = " ".join(str(error).split())
        reason = f"cannot process {file.place}: {type(error).__name__}: {what}"
    return opened.failed(file, facts, reason)


def _read(opened: OpenedJob, file: InputFile, results: ResultWriter, on_frames: OnFrames) -> SourceInfo:
    """Each frame through the models, the tracker, the second model and the zones, as in a run."""
    job = opened.job
    with job.open_file(str(opened.local(file))) as source:
        selected = source if job.selection.is_everything else SelectedSource(source, job.selection)
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
