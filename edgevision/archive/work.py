"""What a worker does with a file or a part of one: detect, join, write and rename."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.archive.footage import cut_clips
from edgevision.archive.formats import write_file_formats
from edgevision.archive.inputs import InputFile
from edgevision.archive.parts import (
    PartFolder,
    PartReport,
    RawFrame,
    RawSource,
    SplitPlan,
    raw_results,
)
from edgevision.archive.records import (
    HAS_RESULTS,
    FileFacts,
    FileSummary,
    ResultPlaces,
    Status,
    write_summary,
)
from edgevision.archive.results import ResultWriter, problem_of, without_weak
from edgevision.archive.tally import BestCrops
from edgevision.closeable import Closeable
from edgevision.drawing.overlay import Overlay, render
from edgevision.drawing.zones import draw_zones
from edgevision.errors import EdgeVisionError, SourceError, UsageError, nearest, printable
from edgevision.files import make_folder
from edgevision.session.models import (
    OpenEngine,
    RunModels,
    load_as_it_is,
    make_model,
    refuse_same_name,
    share_classes,
)
from edgevision.session.request import PlanPolicy
from edgevision.session.spec import StreamSpec
from edgevision.session.streams import make_scene
from edgevision.tiling import Tiling
from edgevision.tracking.scene import Scene
from edgevision.tracking.tracker import RECOVER_THRESHOLD
from edgevision.types import Frame, FrameResult, Image
from edgevision.video import Source, SourceInfo, open_source
from edgevision.video.codec.scan import (
    PacketScan,
    SpanPlan,
    load_scan,
    plan_spans,
    save_scan,
    scan_packets,
    why_in_one_go,
)
from edgevision.video.selection import SelectedSource, Selection
from edgevision.video.sources.file import FileSource
from edgevision.video.sources.span import NotProvenError, SpanSource

OnFrames = Callable[[int], object]
"""Called with the number of frames that were read of the task so far."""

_UNREADABLE = (SourceError, OSError, ValueError, msgspec.DecodeError)
"""What parts raise that do not belong to the file, or are not whole; it is then read in one go."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all workers of an archive have in common; can be sent to another process.

    Attributes:
        out: folder of the archive.
        answers: key of the settings.
        models: files.
        engine, plans, threads: how they are opened.
        conf_threshold, classes, track, zones, selection, tiles, formats, video, clips_of: see
            :class:`edgevision.archive.request.ArchiveRequest`.
        span_s: length of the parts of a long file; None for no parts.
        open_engine: opens a model file.
        open_file: opens a recording or an image.
    """

    out: Path
    answers: str
    models: Sequence[Path]
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


class Worker(Closeable):
    """Has the models open, and does one task after the other.

    Args:
        job: see :class:`Job`.

    Raises:
        EdgeVisionError: a model cannot be opened, or the settings do not fit it.
    """

    def __init__(self, job: Job) -> None:
        cv2.setNumThreads(1)
        self.job = job
        self._places = ResultPlaces(job.out)
        self._scan: tuple[Path, PacketScan] | None = None
        threshold = min(job.conf_threshold, RECOVER_THRESHOLD) if job.track else job.conf_threshold
        with contextlib.ExitStack() as opened:
            engines = [
                opened.enter_context(job.open_engine(path, job.engine, job.plans, job.threads, 1))
                for path in job.models
            ]
            given: Sequence[Sequence[str] | None] = [None] * len(engines)
            if job.classes is not None:
                given = share_classes(engines, job.classes)
            models = [
                make_model(engine, threshold, own, job.tiles)
                for engine, own in zip(engines, given, strict=True)
            ]
            refuse_same_name(models)
            self._models = RunModels(models, [])
            self._overlays = [Overlay(one.manifest) for one in models] if job.video else []
            self._scene(None)  # refuses now what does not fit
            for name in job.clips_of:
                if name not in self.names:
                    hint = nearest(name, self.names) or f"; there are: {', '.join(self.names)}"
                    raise UsageError(f"`clips_of` '{name}': no model has this class{hint}")
            self._opened = opened.pop_all()

    @property
    def names(self) -> list[str]:
        """The class names of all models."""
        return self._models.classes

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
            return self._plan(task)
        if task.kind == "span":
            return self._span(task, on_frames)
        if task.kind == "join":
            return self._join(task, on_frames)
        if task.kind == "raw":
            return Reply(task, summary=self._raw(task.file, on_frames))
        if task.kind == "camera":
            return self._camera(task, on_frames)
        if task.kind == "formats":
            try:
                self._write_formats(task.file)
            except SourceError as error:
                return Reply(task, refused=printable(str(error)))
            return Reply(task)
        return Reply(task, summary=self._whole(task, on_frames))

    def _scene(self, frame_rate: float | None) -> Scene | None:
        if not self.job.stream.is_tracked:
            return None
        return make_scene(self.job.stream, frame_rate, self._models, self.job.conf_threshold)

    def _infer(self, frame: Frame) -> FrameResult:
        return FrameResult(frame, tuple(model(frame.image) for model in self._models.models))

    # A file in one go.

    def _whole(self, task: Task, on_frames: OnFrames) -> FileSummary:
        file, facts = task.file, None
        try:
            facts = FileFacts.of(file.path)
            with self._results(file, facts) as results:
                info = self._read(file, results, on_frames)
                return self._commit(results.finish(info, in_one_go=task.in_one_go), file)
        except OSError as error:
            reason = f"cannot read {file.path}: {error.strerror}"
        except SourceError as error:
            reason = str(error)
        except EdgeVisionError:  # of the models or the results: of the run, not of this file
            raise
        except Exception as error:  # of a library, at this one file
            what = " ".join(str(error).split())
            reason = f"cannot process {file.path}: {type(error).__name__}: {what}"
        return self._failed(file, facts, printable(reason))

    def _read(self, file: InputFile, results: ResultWriter, on_frames: OnFrames) -> SourceInfo:
        with self.job.open_file(str(file.path)) as source:
            selection = self.job.selection
            selected = source if selection.is_everything else SelectedSource(source, selection)
            scene, info = self._scene(selected.info.frame_rate), source.info
            if self.job.video and not info.is_image:
                results.draw_on(selected.info)
            for count, frame in enumerate(selected, start=1):
                result = self._infer(frame)
                results.see(result)
                result = result if scene is None else scene.update(result)
                results.write(result)
                if self.job.video:
                    results.draw(result, self._drawn(result, scene))
                results.last_s = frame.time_s
                on_frames(count)
            results.end_of(source)
        return info

    def _drawn(self, result: FrameResult, scene: Scene | None) -> Image:
        image = render(result, self._overlays, "")
        if scene is not None and scene.layout is not None and result.zones is not None:
            draw_zones(image, scene.layout, result.zones)
        return image

    def _results(self, file: InputFile, facts: FileFacts) -> ResultWriter:
        return ResultWriter(self._places, file, facts, self.job.answers, self.job.conf_threshold)

    def _commit(self, summary: FileSummary, file: InputFile) -> FileSummary:
        if summary.status in HAS_RESULTS:
            self._write_formats(file)
        write_summary(self._places, summary)
        return summary

    def _failed(self, file: InputFile, facts: FileFacts | None, reason: str) -> FileSummary:
        if facts is not None:
            with contextlib.suppress(OSError):
                facts = facts.with_digest(file.path)
        summary = FileSummary(
            name=file.name,
            path=printable(str(file.path)),
            answers=self.job.answers,
            status=Status.FAILED,
            reason=reason,
            facts=facts,
        )
        write_summary(self._places, summary)
        return summary

    # A file in parts.

    def _plan(self, task: Task) -> Reply:
        job, file = self.job, task.file
        try:
            facts = FileFacts.of(file.path)
            scan = scan_packets(file.path)
            why = why_in_one_go(scan)
            if why is not None:
                return Reply(task, refused=why)
            moments = scan.moments_ns()
            frames = len(moments)
            rate = frames / max(moments[-1] / 1e9, 1e-3)
            spans = plan_spans(scan, max(1, round((job.span_s or 0) * rate)))
        except (SourceError, OSError) as error:
            return Reply(task, refused=str(error))
        if len(spans) < 2:
            return Reply(task)
        wanted = _wanted(moments, job.selection)
        wanted = _wanted(moments, self.job.selection)
        has_wanted = [bool(wanted[one.first_index :][: one.frames].any()) for one in spans]
        # The span before a needed one is the proof that they meet.
        needed = [n for n in range(len(spans)) if any(has_wanted[n : n + 2])]
        parts = PartFolder(self._places.spans(file.name))
        shutil.rmtree(parts.folder, ignore_errors=True)
        make_folder(parts.folder, parents=True)
        save_scan(scan, parts.scan)
        plan = SplitPlan(spans=spans, needed=needed, size=facts.size, mtime_ns=facts.mtime_ns)
        parts.write_plan(plan)
        return Reply(task, plan=plan)

    def _span(self, task: Task, on_frames: OnFrames) -> Reply:
        file = task.file
        parts = PartFolder(self._places.spans(file.name))
        plan = parts.plan()
        if plan is None:
            return Reply(task, refused="its plan is lost")
        try:
            report = self._detect_span(file, parts, plan, task.span, on_frames)
        except _UNREADABLE as error:
            return Reply(task, refused=printable(str(error)))
        parts.write_report(task.span, report)
        return Reply(task)

    def _detect_span(
        self, file: InputFile, parts: PartFolder, plan: SplitPlan, number: int, on_frames: OnFrames
    ) -> PartReport:
        scan, crops, encoder = self._loaded_scan(parts.scan), BestCrops(), msgspec.json.Encoder()
        moments = scan.moments_ns()
        wanted = _wanted(moments, self.job.selection)
        with (
            SpanSource(file.path, scan, plan.spans[number]) as source,
            contextlib.closing(parts.open_records(number)) as lines,
        ):
            for count, frame in enumerate(source, start=1):
                results = None
                if wanted[frame.index]:
                    result = self._infer(frame)
                    results = raw_results(result)
                    shown = without_weak(result.detections, self.job.conf_threshold)
                    crops.add(frame, shown, round(moments[frame.index] / 1e9, 6))
                raw = RawFrame(
                    index=frame.index,
                    time_ns=frame.timestamp_ns,
                    duration_ns=frame.duration_ns,
                    size=(frame.width, frame.height),
                    results=results,
                )
                lines.write(encoder.encode(raw))
                on_frames(count)
        return PartReport(head=source.head, tail=source.tail, crops=crops.crops(), notes=source.notes)

    def _loaded_scan(self, path: Path) -> PacketScan:
        if self._scan is None or self._scan[0] != path:
            self._scan = (path, load_scan(path))
        return self._scan[1]

    def _join(self, task: Task, on_frames: OnFrames) -> Reply:
        file = task.file
        parts = PartFolder(self._places.spans(file.name))
        plan = parts.plan()
        if plan is None:
            return Reply(task, refused="its plan is lost")
        facts = FileFacts(size=plan.size, mtime_ns=plan.mtime_ns)
        try:
            with self._results(file, facts) as results:
                info = self._join_parts(file, parts, plan, results, on_frames)
                summary = self._commit(results.finish(info, spans=len(plan.spans)), file)
        except _UNREADABLE as error:
            return Reply(task, refused=printable(str(error)))
        return Reply(task, summary=summary)

    def _join_parts(
        self, file: InputFile, parts: PartFolder, plan: SplitPlan, results: ResultWriter, on_frames: OnFrames
    ) -> SourceInfo:
        with FileSource(file.path) as source:
            info = source.info
        if info.timeline is None:
            raise NotProvenError(f"{file.path}: it has no clock")
        timeline, chooser = info.timeline.anew(), self.job.selection.chooser()
        scene = self._scene(self.job.selection.info(info).frame_rate)
        tail, notes, index, is_over = list[str](), list[str](), 0, False
        for span in plan.spans:
            if is_over:  # as in one pass, which reads no further
                break
            report = PartReport()
            if span.number in plan.needed:
                report = self._report(file, parts, span.number, tail)
                results.add_crops(report.crops)
                notes += report.notes
            for raw in self._raw_frames(parts, span, span.number in plan.needed):
                moment = timeline.next(raw.time_ns)
                if chooser.wants(index, moment):
                    result = self._result(file, raw, moment)
                    results.write(result if scene is None else scene.update(result))
                    results.last_s = moment / 1e9
                index += 1
                on_frames(index)
                is_over = chooser.is_over(moment)
                if is_over:
                    break
            tail = report.tail
        results.decoded, results.packets = index, 0 if is_over else index
        results.notes += timeline.notes() + notes
        return info

    def _report(self, file: InputFile, parts: PartFolder, number: int, tail: list[str]) -> PartReport:
        """How a span went; its first frames are those that the span before saw behind its end."""
        report = parts.report(number)
        if report is None:
            raise NotProvenError(f"{file.path}: a part is missing")
        if tail != report.head[: len(tail)]:
            raise NotProvenError(f"{file.path}: parts {number - 1} and {number} do not meet")
        return report

    def _raw_frames(self, parts: PartFolder, span: SpanPlan, is_detected: bool) -> Iterator[RawFrame]:
        """The frames of a span; of one that was not needed as the scan has them."""
        if is_detected:
            yield from parts.records(span.number)
            return
        scan = self._loaded_scan(parts.scan)
        for number, pts in enumerate(scan.times()[span.first_index :][: span.frames].tolist()):
            time_ns = round(pts * scan.time_base * 1_000_000_000)
            yield RawFrame(index=span.first_index + number, time_ns=time_ns, duration_ns=0, size=(0, 0))

    def _result(self, file: InputFile, raw: RawFrame, moment: int) -> FrameResult:
        if raw.results is None:
            raise NotProvenError(f"{file.path}: frame {raw.index} is wanted and was left out")
        pairs = zip(raw.results, self._models.models, strict=True)
        return FrameResult(
            raw.frame(moment, str(file.path)),
            tuple(one.detections(model.names, model.name) for one, model in pairs),
        )

    # The files of a camera, through which ids run on.

    def _raw(self, file: InputFile, on_frames: OnFrames) -> FileSummary | None:
        """Detects a file for :meth:`_camera`; gives a summary only where there is nothing to go on with."""
        facts, crops, encoder = None, BestCrops(), msgspec.json.Encoder()
        parts = PartFolder(self._places.spans(file.name))
        shutil.rmtree(parts.folder, ignore_errors=True)
        make_folder(parts.folder, parents=True)
        last_s = 0.0
        try:
            facts = FileFacts.of(file.path)
            with (
                self.job.open_file(str(file.path)) as source,
                contextlib.closing(parts.open_records(0)) as lines,
            ):
                selected = SelectedSource(source, self.job.selection)
                for count, frame in enumerate(selected, start=1):
                    result = self._infer(frame)
                    shown = without_weak(result.detections, self.job.conf_threshold)
                    crops.add(frame, shown, round(frame.time_s, 6))
                    raw = RawFrame(
                        index=frame.index,
                        time_ns=frame.timestamp_ns,
                        duration_ns=frame.duration_ns,
                        size=(frame.width, frame.height),
                        results=raw_results(result),
                    )
                    lines.write(encoder.encode(raw))
                    last_s = frame.time_s
                    on_frames(count)
                info, report = source.info, source.report
        except OSError as error:
            return self._failed(file, facts, printable(f"cannot read {file.path}: {error.strerror}"))
        except SourceError as error:
            return self._failed(file, facts, str(error))
        parts.write_report(0, PartReport(crops=crops.crops()))
        parts.write_source(
            RawSource(
                facts=facts,
                width=info.width,
                height=info.height,
                frame_rate=info.frame_rate,
                selected_rate=selected.info.frame_rate,
                decoded=report.read,
                packets=report.packets,
                last_s=last_s,
                problem=problem_of(report),
                notes=report.notes,
            )
        )
        return None

    def _camera(self, task: Task, on_frames: OnFrames) -> Reply:
        """Tracks through the files of a camera in their order, and makes the results of each."""
        scene: Scene | None = None
        summaries: list[FileSummary] = []
        for file, offset_ns in task.files:
            parts = PartFolder(self._places.spans(file.name))
            source, report = parts.source(), parts.report(0)
            if source is None or report is None:
                return Reply(task, refused=file.name)
            scene = scene or self._scene(source.selected_rate)
            with self._results(file, source.facts) as results:
                results.add_crops(report.crops)
                for raw in parts.records(0):
                    result = self._result(file, raw, raw.time_ns)
                    results.write(result if scene is None else _tracked(scene, result, offset_ns))
                    on_frames(raw.index)
                results.decoded, results.packets = source.decoded, source.packets
                results.last_s, results.problem = source.last_s, source.problem
                results.notes += source.notes
                info = SourceInfo(
                    file.name, False, source.width, source.height, source.frame_rate, path=file.path
                )
                try:
                    summaries.append(self._commit(results.finish(info), file))
                except SourceError as error:
                    summaries.append(self._failed(file, source.facts, str(error)))
        return Reply(task, summaries=tuple(summaries))

    # What is made of results.

    def _write_formats(self, file: InputFile) -> None:
        write_file_formats(self.job.formats, self._places, file.name, self.names)
        if self.job.clips_of:
            cut_clips(self._places, file, self.job.clips_of, self.job.open_file)


def _tracked(scene: Scene, result: FrameResult, offset_ns: int) -> FrameResult:
    """A frame of a file on the clock of its camera, and its results on the file's own clock again."""
    frame = result.frame
    moved = replace(frame, timestamp_ns=frame.timestamp_ns + offset_ns)
    found = scene.update(FrameResult(moved, result.results))
    zones = found.zones
    if zones is not None:
        events = tuple(replace(one, time_s=one.time_s - offset_ns / 1e9) for one in zones.events)
        zones = replace(zones, events=events)
    return replace(found, frame=frame, zones=zones)


def _wanted(moments_ns: Sequence[int], selection: Selection) -> NDArray[np.bool_]:
    """Which frames are wanted, by their times: bool ``[N]``."""
    chooser = selection.chooser()
    return np.array([chooser.wants(index, moment) for index, moment in enumerate(moments_ns)], np.bool_)
