"""Labelling images and videos with a teacher: what ``edgevision label`` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgevision.data.classes import map_classes, parse_classes
from edgevision.data.formats.coco import CocoDocument
from edgevision.engines.base import Engine
from edgevision.errors import DataError, SourceError, UsageError
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.evaluation.labelled import lacks_class
from edgevision.files import refuse_existing
from edgevision.labelling.footage import Footage, find_footage, folder_of_all
from edgevision.labelling.rule import Label, LabelRule, missing_labels, new_labels
from edgevision.labelling.views import look
from edgevision.model import Model
from edgevision.pipeline import StopRequest
from edgevision.progress import Progress, no_progress
from edgevision.types import Detections, Frame
from edgevision.video import expand_sources, open_source


@dataclass(frozen=True, kw_only=True)
class LabelRequest:
    """What is to be labelled, and how.

    Attributes:
        sources: images, folders and video files.
        out: the COCO instances json to write.
        images_out: folder for the frames of videos.
        merge: a COCO json whose boxes are kept; what the teacher sees beside them becomes regions to ignore.
        positive, ignore: scores, see :class:`~edgevision.labelling.rule.LabelRule`.
        classes: only these, see :func:`edgevision.data.classes.parse_classes`; None for all.
        every: of videos, one frame of each run of this length.
        seed: random seed that draws the frame of each run; None takes the first.
        flip: look at the mirror image too.
        tiles: look at four overlapping parts too.
        overwrite: replace outputs that exist.
    """

    sources: Sequence[str]
    out: Path
    images_out: Path | None = None
    merge: Path | None = None
    positive: float = 0.42
    ignore: float = 0.25
    classes: str | None = None
    every: int = 1
    seed: int | None = None
    flip: bool = False
    tiles: bool = False
    overwrite: bool = False


@dataclass(slots=True)
class Labelled:
    """What has been labelled so far.

    Attributes:
        folder: that file names in the json are relative to.
        images: how many.
        merged: of them, those that the json to merge had already.
        ignored: regions to ignore.
        boxes: of each class.
        problems: one line for each input that was damaged.
    """

    folder: Path
    images: int = 0
    merged: int = 0
    ignored: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class LabellingJob:
    """One labelling; what can be refused without the teacher is refused when it is made.

    Args:
        request: what to do.

    Raises:
        EdgeVisionError: the request is impossible.
    """

    def __init__(self, request: LabelRequest) -> None:
        self.request = request
        self._rule = LabelRule(request.positive, request.ignore)
        refuse_existing(request.out, request.overwrite)
        self._document = CocoDocument(request.merge)
        self._uris = [uri for source in request.sources for uri in expand_sources(source)]

    def run(
        self, engine: Engine, model: str, *, stop: StopRequest, progress: Progress = no_progress
    ) -> Labelled:
        """Labels every source, or those up to where ``stop`` ends it, and writes the json.

        Everything that can be refused is refused before any image is written.

        Args:
            engine: the teacher, a detector.
            model: what the user calls it.
            stop: ends it early; the labels are complete up to there.
            progress: shows how far each source is.

        Raises:
            EdgeVisionError: the request is impossible, or nothing could be read.
        """
        manifest, request = engine.manifest, self.request
        if manifest.task != "detection":
            raise UsageError(f"{model} is a {manifest.task} model; expected a detector")
        teacher = Model(engine, 0.0, _wanted(request, model, manifest.classes))
        footage = find_footage(self._uris, request.images_out, request.overwrite)
        own = map_classes(self._document.categories, manifest.classes)
        done = Labelled(folder_of_all(footage))
        work = _Labelling(request, self._rule, teacher, self._document, own, done)
        for one in footage:
            if stop.reason is None:
                work.run(one, stop, progress)
        if not work.done.images:
            raise SourceError(f"no image was labelled of {', '.join(request.sources)}; nothing is written")
        self._document.write(request.out)
        return work.done


def _wanted(request: LabelRequest, model: str, known: Sequence[str]) -> list[str] | None:
    """The teacher's own names of the classes that were asked for; None for all."""
    if request.classes is None:
        return None
    wanted = parse_classes(request.classes)
    own = map_classes(wanted, known)
    for name in wanted:
        if name not in own:
            raise UsageError(lacks_class(model, name, known))
    return [known[own[name]] for name in wanted]


@dataclass(frozen=True, slots=True)
class _Labelling:
    """A job at work: what it works with, and what it has done so far."""

    request: LabelRequest
    rule: LabelRule
    teacher: Model
    document: CocoDocument
    own: dict[str, int]
    done: Labelled

    def run(self, footage: Footage, stop: StopRequest, progress: Progress) -> None:
        """Labels one source, until it ends or ``stop`` is asked for."""
        with open_source(footage.uri) as source:
            with progress(source.info.name, source.info.frame_count) as on_frame:
                for frame in footage.choose(source, self.request.every, self.request.seed):
                    self._label(frame, footage.image(frame))
                    on_frame(frame.index + 1)
                    if stop.reason is not None:
                        return
            report = source.report
        if report.skipped or report.problem:
            found = report.problem or f"{source.info.name}: {report.skipped} images could not be decoded"
            self.done.problems += [found, *report.notes[:5]]

    def _label(self, frame: Frame, path: Path) -> None:
        found = look(self.teacher, frame.image, flip=self.request.flip, tiles=self.request.tiles)
        name = path.resolve().relative_to(self.done.folder).as_posix()
        image_id = self.document.find_image(name)
        if image_id is None:
            image_id = self.document.add_image(name, frame.width, frame.height)
            labels = new_labels(found, self.rule)
        else:
            labels = self._missing(found, image_id, frame, path)
            self.done.merged += 1
        self.done.images += 1
        for one in labels:
            class_name = self.teacher.manifest.classes[one.class_id]
            self.document.add_box(
                image_id, self._category(one.class_id), one.box, ignore=one.ignore, score=one.score
            )
            if one.ignore:
                self.done.ignored += 1
            else:
                self.done.boxes[class_name] += 1

    def _category(self, class_id: int) -> int:
        """The json's own category of that class, or one that is added."""
        names = (name for name, known in self.own.items() if known == class_id)
        return self.document.category(next(names, self.teacher.manifest.classes[class_id]))

    def _missing(self, found: Detections, image_id: int, frame: Frame, path: Path) -> list[Label]:
        """What the existing labels of an image lack."""
        size = self.document.image_size(image_id)
        if size is not None and size != (frame.width, frame.height):
            raise DataError(
                f"{path} is {frame.width}x{frame.height} pixels, but {self.request.merge} says "
                f"{size[0]}x{size[1]}; expected the images that it was made for"
            )
        boxes, names, ignore = self.document.boxes(image_id)
        class_ids = np.array([self.own.get(name, -1) for name in names], np.int32)
        existing = GroundTruth(boxes.astype(np.float64), class_ids, np.array(ignore, bool))
        return missing_labels(found, existing, self.rule)
