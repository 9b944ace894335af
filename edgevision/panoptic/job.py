"""Panoptic maps of images or a recording by two models: what ``edgevision panoptic`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from edgevision.closeable import close_each
from edgevision.contract.class_names import same_classes
from edgevision.drawing.overlay import Overlay
from edgevision.engines import Engine
from edgevision.errors import EdgeVisionError, SinkError, UsageError, nearest, printable
from edgevision.model import Model, check_conf_threshold
from edgevision.panoptic.coco import PanopticImage, categories_of
from edgevision.panoptic.draw import draw_panoptic
from edgevision.panoptic.folder import PanopticFolder, check_panoptic_folder
from edgevision.panoptic.join import PanopticMap, join_panoptic
from edgevision.pipeline import StopRequest
from edgevision.progress import Note, Progress, no_note, no_progress
from edgevision.types import Detections, Frame, FrameResult, SegmentationMap
from edgevision.video import open_sink, open_source
from edgevision.video.base import SourceInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticRequest:
    """What is to be written.

    Attributes:
        source: images or a recording, as ``edgevision run`` takes them.
        out: the folder of the maps.
        things: classes of the segmenter that are objects, beside those that mean one of the other model.
        conf: objects below this score are left out, 0..1.
        overlap: share of an object that better ones must leave free, 0..1.
        least_area: pixels of the smallest stuff, 1 or more.
        output: where images with the segments drawn on them go too, as ``edgevision run`` takes it; empty for
            nowhere. Where the maps go on, it is made anew, with the maps that were there.
        overwrite: replace the maps of an earlier run, and the output.

    Raises:
        UsageError: a number is out of its range.
        OutputExistsError, SinkError: the folder cannot be used.
    """

    source: str
    out: Path
    things: Sequence[str] = ()
    conf: float = 0.5
    overlap: float = 0.5
    least_area: int = 256
    output: str = ""
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_conf_threshold(self.conf)
        if not 0 <= self.overlap <= 1:  # nor NaN
            raise UsageError(f"`overlap` {self.overlap} is not valid; expected a share, 0 to 1")
        if self.least_area < 1:
            raise UsageError(f"`least_area` {self.least_area} is not valid; expected pixels, 1 or more")
        check_panoptic_folder(self.out, self.overwrite)


@dataclass(slots=True)
class PanopticOutcome:
    """What was done.

    Attributes:
        maps: that are in the folder.
        continued: of these, those of an earlier run.
        segments: of the maps of this run.
        open_share: of the pixels of this run, those that belong to no segment, 0..1.
        problems: what was wrong with the source, a line each.
        drawn: files of the output; empty where there is none.
        is_finished: False where ``stop`` ended it; the same request goes on from there.
    """

    maps: int = 0
    continued: int = 0
    segments: int = 0
    open_share: float = 0.0
    problems: list[str] = field(default_factory=list)
    drawn: str = ""
    is_finished: bool = False


def write_panoptic_maps(
    objects: tuple[Engine, str],
    stuff: tuple[Engine, str],
    request: PanopticRequest,
    *,
    stop: StopRequest | None = None,
    note: Note = no_note,
    progress: Progress = no_progress,
) -> PanopticOutcome:
    """Joins the answers of two models for every frame of a source.

    Args:
        objects: a model that gives masks, and what the user calls it.
        stuff: the same of a segmenter.
        request: what to do.
        stop: ends it early.
        note: called with what the user should know.
        progress: shows how far the source is.

    Raises:
        UsageError: a model is for another task or lacks a class, or the source does not end.
        SourceError: the source cannot be opened or read.
        SinkError: the folder cannot be written; the maps before are kept, and the same request goes on.
    """
    for (engine, text), task in ((objects, "instance-segmentation"), (stuff, "segmentation")):
        if engine.manifest.task != task:
            raise UsageError(f"{text} is a model for {engine.manifest.task}; expected one for {task}")
    finder, ground = objects[0].manifest.classes, stuff[0].manifest.classes
    for name in request.things:
        if name not in ground:
            hint = nearest(name, ground) or f"; it has: {', '.join(ground)}"
            raise UsageError(f"{stuff[1]} has no class '{name}'{hint}")
    countable = [name for name in ground if name in {*same_classes(ground, finder), *request.things}]
    if countable:
        note(f"objects in {stuff[1]}: {', '.join(countable)}; their pixels stay open where none is found")
    info: Mapping[str, str | float] = {
        "source": printable(request.source),
        "objects": objects[0].manifest.sha256 or printable(objects[1]),
        "stuff": stuff[0].manifest.sha256 or printable(stuff[1]),
        "things": ",".join(sorted(request.things)),
        "conf": request.conf,
        "overlap": request.overlap,
        "least_area": request.least_area,
        "output": printable(request.output),
    }
    categories = categories_of(finder, [name for name in ground if name not in countable])
    colours = {
        name: colour
        for engine, _ in (stuff, objects)
        for name, colour in zip(engine.manifest.classes, Overlay(engine.manifest).colours, strict=True)
    }
    join = _Join(Model(objects[0], conf_threshold=request.conf), Model(stuff[0]), request, countable)
    done, stop = PanopticOutcome(), stop or StopRequest()
    with ExitStack() as opened:
        frames = opened.enter_context(open_source(request.source))
        if frames.info.is_live:
            raise UsageError(f"{frames.info.name} does not end; expected images or a recording")
        maps = PanopticFolder(request.out, info, categories, overwrite=request.overwrite)
        closes = [maps.close]
        opened.callback(close_each, closes, "finish panoptic maps")
        sink = None
        if request.output:
            may_exist = request.overwrite or maps.is_continued
            sink = open_sink(request.output, info=frames.info, overwrite=may_exist)
            closes.insert(0, sink.close)  # on this thread, to which a window belongs
        done.continued = maps.count
        if maps.count:
            note(f"{request.out} holds {maps.count} maps of this; going on behind them")
        pixels = unassigned = frame_count = 0
        with progress("joining", frames.info.frame_count) as on_frame:
            for frame in frames:
                frame_count += 1
                image = _image(frame, frames.info)
                is_there = maps.has(image)
                if not is_there:
                    joined = join(frame)
                    maps.add(joined, image)
                    done.segments += len(joined.segments)
                    pixels += joined.ids.size
                    unassigned += joined.ids.size - int(np.count_nonzero(joined.ids))
                if sink is not None:
                    drawn = frame.image.copy()
                    draw_panoptic(drawn, maps.load(frame_count) if is_there else joined, colours)
                    sink.write(FrameResult(frame, ()), drawn)
                on_frame(frame_count)
                if stop.reason is not None:
                    break
        done.maps, done.open_share = maps.count, unassigned / pixels if pixels else 0.0
        if stop.reason is None:
            if frame_count < maps.count:
                raise SinkError(
                    f"{request.out} holds {maps.count} maps and the source has {frame_count} images; "
                    "begin anew with `overwrite`"
                )
            closes[-1] = partial(_finish, maps)
            done.is_finished = True
        report = frames.report
    done.drawn = "" if sink is None else sink.written()
    if done.is_finished and (report.problem or report.skipped):
        found = report.problem or f"{frames.info.name}: {report.skipped} images could not be decoded"
        done.problems = [found, *report.notes[:5]]
    return done


@dataclass(frozen=True, slots=True)
class _Join:
    """Both models on one frame."""

    finder: Model
    segmenter: Model
    request: PanopticRequest
    things: Sequence[str]

    def __call__(self, frame: Frame) -> PanopticMap:
        (found,), (ground,) = self.finder([frame.image]), self.segmenter([frame.image])
        if not isinstance(found, Detections) or not isinstance(ground, SegmentationMap):
            raise EdgeVisionError("expected masks of objects and a class map; check what the models answer")
        return join_panoptic(
            found,
            ground,
            things=self.things,
            min_score=self.request.conf,
            overlap=self.request.overlap,
            least_area=self.request.least_area,
        )


def _finish(maps: PanopticFolder) -> None:
    with maps:
        maps.finish()


def _image(frame: Frame, info: SourceInfo) -> PanopticImage:
    """What the index says of a frame: the file's name below the folder, or the recording's and a number."""
    number, path = frame.index + 1, Path(frame.source)
    is_folder = info.path is not None and info.path.is_dir()
    if info.is_image or is_folder or info.width is None:
        name = path.name
        if is_folder and info.path is not None and path.is_relative_to(info.path):
            name = path.relative_to(info.path).as_posix()
        return PanopticImage(id=number, file_name=printable(name), width=frame.width, height=frame.height)
    return PanopticImage(
        id=number,
        file_name=printable(f"{path.name}/{frame.index:06d}.jpg"),
        width=frame.width,
        height=frame.height,
        frame_id=frame.index,
        time_s=round(frame.time_s, 6),
    )
