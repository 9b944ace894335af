"""A long file in parts: where it is cut, how a part is detected, and how parts become what one pass gives.

The join, not the part, numbers the frames, chooses those that are wanted, and tracks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.archive.inputs import InputFile
from edgevision.archive.opened import OpenedJob
from edgevision.archive.parts import PartFolder, PartReport, RawFrame, SplitPlan, raw_results
from edgevision.archive.records import FileFacts
from edgevision.archive.results import ResultWriter, without_weak
from edgevision.archive.tally import BestCrops
from edgevision.archive.tasks import OnFrames, Reply, Task
from edgevision.errors import SourceError, printable
from edgevision.files import make_folder
from edgevision.video import SourceInfo
from edgevision.video.codec.scan import (
    PacketScan,
    SpanPlan,
    load_scan,
    plan_spans,
    save_scan,
    scan_packets,
    why_in_one_go,
)
from edgevision.video.selection import Selection
from edgevision.video.sources.file import FileSource
from edgevision.video.sources.span import NotProvenError, SpanSource

_UNREADABLE = (SourceError, OSError, ValueError, msgspec.DecodeError)
"""What parts raise that do not belong to the file, or are not whole; it is then read in one go."""


class Splitter:
    """Does the tasks of files in parts.

    Args:
        opened: the job.
    """

    def __init__(self, opened: OpenedJob) -> None:
        self._opened = opened
        self._scan: tuple[Path, PacketScan] | None = None

    def plan(self, task: Task) -> Reply:
        """Reads the packets of a file and cuts it, where they allow it."""
        job, file = self._opened.job, task.file
        try:
            facts = file.read_facts()
            scan = scan_packets(self._opened.local(file))
            why = why_in_one_go(scan)
            if why is not None:
                return Reply(task, refused=why)
            moments = scan.moments_ns()
            frames = len(moments)
            rate = frames / max(moments[-1] / 1e9, 1e-3)
            spans = plan_spans(scan, max(1, round((job.span_s or 0) * rate)))
        except (SourceError, OSError) as error:
            return self._refused(task, error)
        if len(spans) < 2:
            return Reply(task)
        wanted = _wanted(moments, job.selection)
        has_wanted = [bool(wanted[one.first_index :][: one.frames].any()) for one in spans]
        # The span before a needed one is the proof that they meet.
        needed = [n for n in range(len(spans)) if any(has_wanted[n : n + 2])]
        parts = self._parts(file)
        shutil.rmtree(parts.folder, ignore_errors=True)
        make_folder(parts.folder, parents=True)
        save_scan(scan, parts.scan)
        plan = SplitPlan(spans=spans, needed=needed, size=facts.size, mtime_ns=facts.mtime_ns)
        parts.write_plan(plan)
        return Reply(task, plan=plan)

    def detect(self, task: Task, on_frames: OnFrames) -> Reply:
        """Detects one part, and keeps what was found for the join."""
        file = task.file
        parts = self._parts(file)
        plan = parts.plan()
        if plan is None:
            return Reply(task, refused="its plan is lost")
        if parts.report(task.span) is not None:  # by a worker that was killed before it could say so
            return Reply(task)
        try:
            report = self._detect_span(file, parts, plan, task.span, on_frames)
        except _UNREADABLE as error:
            return self._refused(task, error)
        parts.write_report(task.span, report)
        return Reply(task)

    def join(self, task: Task, on_frames: OnFrames) -> Reply:
        """Makes the results of a file whose parts are all there."""
        file = task.file
        parts = self._parts(file)
        plan = parts.plan()
        if plan is None:
            return Reply(task, refused="its plan is lost")
        facts = FileFacts(size=plan.size, mtime_ns=plan.mtime_ns)
        try:
            with self._opened.results(file, facts) as results:
                info = self._join_parts(file, parts, plan, results, on_frames)
                summary = self._opened.commit(results.finish(info, spans=len(plan.spans)), file)
        except _UNREADABLE as error:
            return self._refused(task, error)
        return Reply(task, summary=summary)

    def _refused(self, task: Task, error: Exception) -> Reply:
        return Reply(task, refused=printable(self._opened.without_copy(task.file, str(error))))

    def _parts(self, file: InputFile) -> PartFolder:
        return PartFolder(self._opened.places.spans(file.name))

    def _detect_span(
        self, file: InputFile, parts: PartFolder, plan: SplitPlan, number: int, on_frames: OnFrames
    ) -> PartReport:
        job, opened = self._opened.job, self._opened
        scan, crops, encoder = self._loaded_scan(parts.scan), BestCrops(), msgspec.json.Encoder()
        moments = scan.moments_ns()
        wanted = _wanted(moments, job.selection)
        with (
            SpanSource(opened.local(file), scan, plan.spans[number]) as source,
            parts.open_records(number) as lines,
        ):
            for count, frame in enumerate(source, start=1):
                results = None
                if wanted[frame.index]:
                    result = opened.infer(frame)
                    results = raw_results(result)
                    shown = without_weak(result.detections, job.conf_threshold)
                    crops.add(frame, shown, round(moments[frame.index] / 1e9, 6))
                lines.write(encoder.encode(RawFrame.of(frame, results)))
                on_frames(count)
        return PartReport(head=source.head, tail=source.tail, crops=crops.crops(), notes=source.notes)

    def _loaded_scan(self, path: Path) -> PacketScan:
        if self._scan is None or self._scan[0] != path:
            self._scan = (path, load_scan(path))
        return self._scan[1]

    def _join_parts(
        self, file: InputFile, parts: PartFolder, plan: SplitPlan, results: ResultWriter, on_frames: OnFrames
    ) -> SourceInfo:
        job, opened = self._opened.job, self._opened
        with FileSource(opened.local(file)) as source:
            info = source.info
        if info.timeline is None:
            raise NotProvenError(f"{file.place}: it has no clock")
        timeline, chooser = info.timeline.anew(), job.selection.chooser()
        scene = opened.scene(job.selection.info(info).frame_rate)
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
                    result = opened.restored(file, raw, moment)
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
            raise NotProvenError(f"{file.place}: a part is missing")
        if tail != report.head[: len(tail)]:
            raise NotProvenError(f"{file.place}: parts {number - 1} and {number} do not meet")
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


def _wanted(moments_ns: Sequence[int], selection: Selection) -> NDArray[np.bool_]:
    """Which frames are wanted, by their times: bool ``[N]``."""
    chooser = selection.chooser()
    return np.array([chooser.wants(index, moment) for index, moment in enumerate(moments_ns)], np.bool_)
