"""A job with its models open: what every task of a worker needs."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2

from edgevision.archive.footage import cut_clips
from edgevision.archive.formats import write_file_formats
from edgevision.archive.inputs import InputFile
from edgevision.archive.parts import RawFrame
from edgevision.archive.records import (
    HAS_RESULTS,
    FileFacts,
    FileSummary,
    ResultPlaces,
    Status,
    write_summary,
)
from edgevision.archive.remote import RemoteCopies
from edgevision.archive.results import ResultWriter
from edgevision.archive.tasks import Job
from edgevision.closeable import Closeable
from edgevision.drawing.overlay import Overlay, render
from edgevision.drawing.zones import draw_zones
from edgevision.errors import SourceError, UsageError, nearest, printable
from edgevision.pipeline.crops import CropReader
from edgevision.session.models import ModelPool
from edgevision.session.streams import make_scene, selected
from edgevision.tracking.scene import Scene
from edgevision.types import Frame, FrameResult, Image
from edgevision.video import Source
from edgevision.video.sources.span import NotProvenError


class OpenedJob(Closeable):
    """The models of a job, and how results are made with them.

    Args:
        job: see :class:`~edgevision.archive.tasks.Job`.

    Attributes:
        job: as given.
        places: where results lie.
        models: open.

    Raises:
        EdgeVisionError: a model cannot be opened, or the settings do not fit it.
    """

    def __init__(self, job: Job) -> None:
        cv2.setNumThreads(1)
        self.job = job
        self.places = ResultPlaces(job.out)
        run = job.run
        with contextlib.ExitStack() as opened:
            pool = opened.enter_context(ModelPool(run, job.open_engine, threads=job.threads))
            self.models = pool.of(run.streams[0])
            self._copies = opened.enter_context(RemoteCopies())
            self._overlays = [Overlay(one.manifest) for one in self.models.models] if job.video else []
            self.scene(None)  # refuses now what does not fit
            for name in job.clips_of:
                if name not in self.names:
                    hint = nearest(name, self.names) or f"; there are: {', '.join(self.names)}"
                    raise UsageError(f"`clips_of` '{name}': no model has this class{hint}")
            self._opened = opened.pop_all()

    @property
    def names(self) -> list[str]:
        """The class names of the models that find objects."""
        return self.models.classes

    @property
    def needs_file_again(self) -> bool:
        """Whether a file's results take more than writing: a recording that is drawn, or clips of it."""
        return self.job.video or bool(self.job.clips_of)

    def close(self) -> None:
        self._opened.close()

    def scene(self, frame_rate: float | None) -> Scene | None:
        """A tracker, with zones where there are some, for one pass; None where nothing is tracked."""
        if not self.job.stream.is_tracked:
            return None
        return make_scene(self.job.stream, frame_rate, self.models, self.job.conf_threshold)

    def crop_reader(self) -> CropReader | None:
        """The second model, for one pass; None where there is none."""
        then = self.models.then
        return None if then is None else CropReader(then, self.job.on, self.job.every_track)

    def selected(self, source: Source) -> Source:
        """The frames of a file that are wanted; an image has no time, so no range leaves it out."""
        selection = self.job.selection
        return selected(source, selection.without_range() if source.info.is_image else selection)

    def infer(self, frame: Frame) -> FrameResult:
        """What the models see in one frame, before anything connects it with others."""
        return FrameResult(frame, tuple(model(frame.image) for model in self.models.models))

    def drawn(self, result: FrameResult, scene: Scene | None) -> Image:
        """The image of a frame with its results."""
        image = render(result, self._overlays, "")
        if scene is not None and scene.layout is not None and result.zones is not None:
            draw_zones(image, scene.layout, result.zones)
        return image

    def local(self, file: InputFile) -> Path:
        """Where a file can be read: a remote one as a copy, until the next one is asked for.

        Raises:
            OSError: it is not there or cannot be read.
            SinkError: there is no room for a copy.
        """
        return self._copies.get(file.address) if file.address else file.path

    def restored(self, file: InputFile, raw: RawFrame, moment_ns: int) -> FrameResult:
        """A frame that was detected earlier, at a moment of the file's clock.

        Raises:
            NotProvenError: it was left out then.
        """
        if raw.results is None:
            raise NotProvenError(f"{file.place}: frame {raw.index} is wanted and was left out")
        pairs = zip(raw.results, self.models.models, strict=True)
        return FrameResult(
            raw.frame(moment_ns, file.place),
            tuple(one.detections(model.names, model.name) for one, model in pairs),
        )

    def results(self, file: InputFile, facts: FileFacts) -> ResultWriter:
        """For the results of a file."""
        return ResultWriter(self.places, file, facts, self.job.answers, self.job.conf_threshold)

    def commit(self, summary: FileSummary, file: InputFile) -> FileSummary:
        """Writes what is made of the results, and then the summary, which puts them into force."""
        if summary.status in HAS_RESULTS:
            self.write_formats(file)
        write_summary(self.places, summary)
        return summary

    def write_formats(self, file: InputFile) -> None:
        """Writes what is made of the results of a file.

        Raises:
            SinkError: it cannot be written.
            SourceError: the file is gone, and clips of it are wanted.
        """
        write_file_formats(self.job.formats, self.places, file.name, self.names)
        if self.job.clips_of:
            try:
                path = self.local(file)
            except OSError as error:
                raise SourceError(f"cannot read {file.place}: {error.strerror}") from error
            cut_clips(self.places, file, path, self.job.clips_of, self.job.open_file)

    def without_copy(self, file: InputFile, text: str) -> str:
        """A text about a file with its address in place of its copy's path."""
        return text.replace(str(self._copies.place), file.address) if file.address else text

    def failed(self, file: InputFile, facts: FileFacts | None, reason: str) -> FileSummary:
        """Commits that nothing of a file could be read."""
        if facts is not None:
            with contextlib.suppress(OSError):
                facts = facts.digested(file.read_facts(with_digest=True).digest)
        summary = FileSummary(
            name=file.name,
            path=file.shown,
            answers=self.job.answers,
            status=Status.FAILED,
            reason=printable(self.without_copy(file, reason)),
            facts=facts,
        )
        write_summary(self.places, summary)
        return summary
