"""What ``edgevision label`` does once its options are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from edgevision.cli.any_model import open_model
from edgevision.cli.app import EXIT_DAMAGED
from edgevision.cli.console import counting, say
from edgevision.cli.signals import signal_exit_code, stop_on_signals
from edgevision.data.classes import canonical, parse_classes
from edgevision.data.formats.coco import CocoDocument
from edgevision.errors import DataError, SourceError, UsageError, nearest
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.files import refuse_existing
from edgevision.labelling.footage import Footage, find_footage, folder_of_all
from edgevision.labelling.rule import Label, LabelRule, missing_labels, new_labels
from edgevision.labelling.views import look
from edgevision.model import Model
from edgevision.pipeline import StopRequest
from edgevision.session.request import PlanPolicy
from edgevision.types import Detections, Frame
from edgevision.video import expand_sources, open_source


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of ``edgevision label``; its help says what they mean."""

    sources: Sequence[str]
    model: str
    out: Path
    images_out: Path | None
    merge: Path | None
    positive: float
    ignore: float
    classes: str | None
    every: int
    seed: int | None
    flip: bool
    tiles: bool
    engine: str
    plans: PlanPolicy
    overwrite: bool


def label(request: Request) -> int:
    """Labels every source; see ``edgevision label --help``.

    Everything that can be refused is refused before any picture is written.

    Returns:
        The exit code: 0, 3 where the input was damaged, 130 or 143 where a signal ended it early.

    Raises:
        EdgeVisionError: the request is impossible, or nothing could be read.
    """
    rule = LabelRule(request.positive, request.ignore)
    refuse_existing(request.out, request.overwrite)
    document = CocoDocument(request.merge)
    uris = [uri for source in request.sources for uri in expand_sources(source)]
    console, stop = Console(stderr=True), StopRequest()
    with open_model(request.model, request.engine, request.plans) as model:
        if model.engine.manifest.task != "detection":
            raise UsageError(f"{request.model} is a {model.engine.manifest.task} model; expected a detector")
        teacher = Model(model.engine, 0.0, _wanted(request, model.engine.manifest.classes))
        footage = find_footage(uris, request.images_out, request.overwrite)
        work = _Labelling(request, rule, teacher, document, folder_of_all(footage))
        with stop_on_signals(stop):
            for one in footage:
                if stop.reason is None:
                    work.run(one, stop, console)
    if not work.pictures:
        raise SourceError(f"no picture was labelled of {', '.join(request.sources)}; nothing is written")
    document.write(request.out)
    work.report(stop, console)
    return signal_exit_code(stop.reason or "") or (EXIT_DAMAGED if work.problems else 0)


def _wanted(request: Request, known: Sequence[str]) -> list[str] | None:
    """The teacher's own names of the classes that were asked for; None for all."""
    if request.classes is None:
        return None
    own = {canonical(name): name for name in known}
    wanted = parse_classes(request.classes)
    for name in wanted:
        if canonical(name) not in own:
            hint = nearest(name, known) or f"; it has: {', '.join(known)}"
            raise UsageError(f"{request.model} has no class '{name}'{hint}")
    return [own[canonical(name)] for name in wanted]


@dataclass(slots=True)
class _Labelling:
    """One call of the command: what it works with, and what it has done so far."""

    request: Request
    rule: LabelRule
    teacher: Model
    document: CocoDocument
    folder: Path
    pictures: int = 0
    merged: int = 0
    ignored: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def run(self, footage: Footage, stop: StopRequest, console: Console) -> None:
        """Labels one source, until it ends or ``stop`` is asked for."""
        with open_source(footage.uri) as source:
            with counting(console, source.info.name, source.info.frame_count) as progress:
                for frame in footage.choose(source, self.request.every, self.request.seed):
                    self._label(frame, footage.picture(frame))
                    progress(frame.index + 1)
                    if stop.reason is not None:
                        return
            report = source.report
        if report.skipped or report.problem:
            found = report.problem or f"{source.info.name}: {report.skipped} pictures could not be decoded"
            self.problems += [found, *report.notes[:5]]

    def _label(self, frame: Frame, path: Path) -> None:
        found = look(self.teacher, frame.image, flip=self.request.flip, tiles=self.request.tiles)
        name = path.resolve().relative_to(self.folder).as_posix()
        image_id = self.document.find_image(name)
        if image_id is None:
            image_id = self.document.add_image(name, frame.width, frame.height)
            labels = new_labels(found, self.rule)
        else:
            labels = self._missing(found, image_id, frame, path)
            self.merged += 1
        self.pictures += 1
        for one in labels:
            class_name = self.teacher.manifest.classes[one.class_id]
            self.document.add_box(
                image_id, self.document.category(class_name), one.box, ignore=one.ignore, score=one.score
            )
            if one.ignore:
                self.ignored += 1
            else:
                self.boxes[class_name] += 1

    def _missing(self, found: Detections, image_id: int, frame: Frame, path: Path) -> list[Label]:
        """What the existing labels of a picture lack."""
        size = self.document.image_size(image_id)
        if size is not None and size != (frame.width, frame.height):
            raise DataError(
                f"{path} is {frame.width}x{frame.height} pixels, but {self.request.merge} says "
                f"{size[0]}x{size[1]}; expected the pictures that it was made for"
            )
        own = {canonical(name): i for i, name in enumerate(self.teacher.manifest.classes)}
        boxes, names, ignore = self.document.boxes(image_id)
        class_ids = np.array([own.get(canonical(name), -1) for name in names], np.int32)
        existing = GroundTruth(boxes.astype(np.float64), class_ids, np.array(ignore, bool))
        return missing_labels(found, existing, self.rule)

    def report(self, stop: StopRequest, console: Console) -> None:
        """What was done, and what went wrong."""
        found = ", ".join(f"{name} {count}" for name, count in self.boxes.most_common()) or "none"
        say(console, f"{self.request.out}: {self.pictures} pictures labelled, in {self.folder}")
        say(console, f"  boxes: {found}")
        say(console, f"  regions to ignore: {self.ignored}")
        if self.request.merge is not None:
            say(console, f"  {self.merged} of the pictures were in {self.request.merge}; its boxes are kept")
            if not self.merged:
                say(console, "warning: expected file names of that file; check which folder they lie in")
        if stop.reason is not None:
            say(console, f"  ended early by {stop.reason}; the labels are complete up to there")
        for problem in self.problems:
            say(console, f"warning: {problem}")
