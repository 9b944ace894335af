"""The files of a camera, through which ids run on: each is detected alone, and all are joined in order."""

from __future__ import annotations

import shutil
from dataclasses import replace

import msgspec

from edgevision.archive.inputs import InputFile
from edgevision.archive.opened import OpenedJob
from edgevision.archive.parts import PartFolder, PartReport, RawFrame, RawSource, raw_results
from edgevision.archive.records import FileSummary
from edgevision.archive.results import problem_of, without_weak
from edgevision.archive.tally import BestCrops
from edgevision.archive.tasks import OnFrames, Reply, Task
from edgevision.errors import SourceError
from edgevision.files import make_folder
from edgevision.tracking.scene import Scene
from edgevision.types import FrameResult
from edgevision.video import SourceInfo


def detect_file(opened: OpenedJob, file: InputFile, on_frames: OnFrames) -> FileSummary | None:
    """Detects a file for :func:`join_camera`.

    Returns:
        A summary only where there is nothing to go on with.

    Raises:
        SinkError: what was found cannot be kept.
        EngineError: a model fails.
    """
    job = opened.job
    facts, crops, encoder = None, BestCrops(), msgspec.json.Encoder()
    parts = PartFolder(opened.places.spans(file.name))
    shutil.rmtree(parts.folder, ignore_errors=True)
    make_folder(parts.folder, parents=True)
    last_s = 0.0
    try:
        facts = file.read_facts()
        with (
            job.open_file(str(opened.local(file))) as source,
            parts.open_records(0) as lines,
        ):
            selected = opened.selected(source)
            for count, frame in enumerate(selected, start=1):
                result = opened.infer(frame)
                shown = without_weak(result.detections, job.conf_threshold)
                crops.add(frame, shown, round(frame.time_s, 6))
                lines.write(encoder.encode(RawFrame.of(frame, raw_results(result))))
                last_s = frame.time_s
                on_frames(count)
            info, report = source.info, source.report
    except OSError as error:
        return opened.failed(file, facts, f"cannot read {file.place}: {error.strerror}")
    except SourceError as error:
        return opened.failed(file, facts, str(error))
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
            problem=opened.without_copy(file, problem_of(report)),
            notes=[opened.without_copy(file, note) for note in report.notes],
        )
    )
    return None


def join_camera(opened: OpenedJob, task: Task, on_frames: OnFrames) -> Reply:
    """Tracks through the files of a camera in their order, and makes the results of each.

    Raises:
        SinkError: they cannot be written.
    """
    scene: Scene | None = None
    summaries: list[FileSummary] = []
    for file, offset_ns in task.files:
        parts = PartFolder(opened.places.spans(file.name))
        source, report = parts.source(), parts.report(0)
        if source is None or report is None:
            return Reply(task, refused=file.name)
        scene = scene or opened.scene(source.selected_rate)
        with opened.results(file, source.facts) as results:
            results.add_crops(report.crops)
            for raw in parts.records(0):
                result = opened.restored(file, raw, raw.time_ns)
                results.write(result if scene is None else _tracked(scene, result, offset_ns))
                on_frames(raw.index)
            results.decoded, results.packets = source.decoded, source.packets
            results.last_s, results.problem = source.last_s, source.problem
            results.notes += source.notes
            info = SourceInfo(
                file.name, False, source.width, source.height, source.frame_rate, path=file.path
            )
            try:
                summaries.append(opened.commit(results.finish(info), file))
            except SourceError as error:
                summaries.append(opened.failed(file, source.facts, str(error)))
    return Reply(task, summaries=tuple(summaries))


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
