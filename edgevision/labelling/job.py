"""Labelling images and videos with a teacher: what ``edgevision label`` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgevision.contract.manifest import BOX_TASKS
from edgevision.data.classes import map_classes, parse_classes
from edgevision.data.formats.coco import CocoDocument
from edgevision.data.formats.detections import ResultsFile
from edgevision.engines.base import Engine
from edgevision.errors import DataError, UsageError
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.evaluation.labelled import lacks_class
from edgevision.files import folders_for, refuse_existing
from edgevision.labelling.footage import Footage, find_footage, folder_of_all, name_below, nothing_labelled
from edgevision.labelling.fusion import View, fuse
from edgevision.labelling.rule import Label, LabelRule, missing_labels, new_labels
from edgevision.labelling.shapes import UNITS, pose_fields, shape_of
from edgevision.labelling.views import TILE_SCALE, check_scales, look
from edgevision.model import Model
from edgevision.pipeline import StopRequest
from edgevision.progress import Progress, no_progress
from edgevision.types import Detections, Frame, Image, IntArray
from edgevision.video import expand_sources


@dataclass(frozen=True, kw_only=True)
class LabelRequest:
    """What is to be labelled, and how.

    Attributes:
        sources: images, folders and video files.
        out: the COCO json to write.
        images_out: folder for the frames of videos.
        merge: a COCO json whose boxes are kept; what the teacher sees beside them becomes regions to ignore.
        results_for: a COCO json of the images; what is written is what the teacher sees in them, from
            ``ignore`` up, as COCO results json: rows of ``image_id``, ``category_id``, ``bbox``, ``score``.
        positive, ignore: scores, see :class:`~edgevision.labelling.rule.LabelRule`.
        classes: only these, see :func:`edgevision.data.classes.parse_classes`; None for all.
        every: of videos, one frame of each run of this length.
        seed: random seed that draws the frame of each run; None takes the first.
        flip: look at the mirror image too.
        tiles: look at four overlapping parts too.
        scales: look at these sizes too, see :func:`edgevision.labelling.views.look`.
        overwrite: replace outputs that exist.
    """

    sources: Sequence[str]
    out: Path
    images_out: Path | None = None
    merge: Path | None = None
    results_for: Path | None = None
    positive: float = 0.42
    ignore: float = 0.25
    classes: str | None = None
    every: int = 1
    seed: int | None = None
    flip: bool = False
    tiles: bool = False
    scales: Sequence[float] = ()
    overwrite: bool = False


@dataclass(slots=True)
class Labelled:
    """What has been labelled so far.

    Attributes:
        folder: that file names in the json are relative to.
        images: how many.
        merged: of them, those that the json to merge, or to give results for, had already.
        ignored: regions to ignore.
        unit: what is labelled, in the plural.
        unseen: images of the json to give results for that were not among the sources.
        boxes: of each class.
        unread: images that could not be read.
        problems: one line for each input that was damaged.
        notes: further remarks for the user, one line each.
    """

    folder: Path
    images: int = 0
    merged: int = 0
    ignored: int = 0
    unseen: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    unread: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unit: str = "boxes"


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
        check_scales(request.scales, tiles=request.tiles)
        if request.merge is not None and request.results_for is not None:
            raise UsageError(
                "`merge` and `results_for` exclude each other; one writes labels, the other rows"
            )
        refuse_existing(request.out, request.overwrite)
        self._document = CocoDocument(request.merge or request.results_for)
        self._uris = [uri for source in request.sources for uri in expand_sources(source)]

    def run(
        self, models: Mapping[str, Engine], *, stop: StopRequest, progress: Progress = no_progress
    ) -> Labelled:
        """Labels every source, or those up to where ``stop`` ends it, and writes the json.

        Everything that can be refused is refused before any image is written.

        Args:
            models: the teachers, by what the user calls them: detectors, whose answers are fused where there
                are several (:func:`edgevision.labelling.fusion.fuse`; classes of one name are one), or one
                that finds masks, poses or rotated boxes.
            stop: ends it early; the labels are complete up to there.
            progress: shows how far each source is.

        Raises:
            EdgeVisionError: the request is impossible, or nothing could be read.
        """
        request = self.request
        for name, engine in models.items():
            _check_task(name, engine.manifest.task, request, len(models))
        teachers = _Teachers.together(models, request)
        found = find_footage(self._uris, request.images_out, request.overwrite)
        found.check_settings(request.images_out, request.every, request.seed)
        own = map_classes(self._document.categories, teachers.names)
        manifest = next(iter(models.values())).manifest
        folder, unit = folder_of_all(found.sources), UNITS.get(manifest.task, "boxes")
        done = Labelled(folder, unit=unit, notes=found.notes)
        rows = None if request.results_for is None else ResultsFile()
        work = _Labelling(request, self._rule, teachers, self._document, rows, own, done)
        with folders_for(*found.folders):
            for one in found.sources:
                if stop.reason is None:
                    work.run(one, stop, progress)
        if not done.images:
            lacking = ""
            if request.results_for is not None:
                lacking = f"expected images that {request.results_for} names, in the folder that it means"
            raise nothing_labelled(request.sources, done.unread, lacking)
        if rows is None:
            self._document.write(request.out)
        else:
            done.unseen = self._document.image_count - done.images
            rows.write(request.out)
        return done


def _check_task(name: str, task: str, request: LabelRequest, models: int) -> None:
    """Refuses a teacher that cannot do what is asked for.

    Raises:
        UsageError: it gives no boxes, or more than boxes where answers are to be fused.
    """
    if task not in BOX_TASKS:
        raise UsageError(f"{name} is a {task} model; expected one that finds objects")
    if task == "detection":
        return
    fused = {
        "flip": request.flip,
        "tiles": request.tiles,
        "scales": bool(request.scales),
        "results_for": request.results_for is not None,
    }
    wrong = [f"`{setting}`" for setting, is_given in fused.items() if is_given]
    wrong += ["a second model"] if models > 1 else []
    if wrong:
        raise UsageError(f"{name} is a {task} model, whose answers cannot be fused; leave {wrong[0]} out")


@dataclass(frozen=True, slots=True)
class _Teachers:
    """Detectors that look at the same images.

    Attributes:
        models: one or more.
        names: of all their classes, each once.
        lookup: for each model the index into ``names`` of each of its classes: int32 ``[C]``.
    """

    models: tuple[Model, ...]
    names: tuple[str, ...]
    lookup: tuple[IntArray, ...]

    @classmethod
    def together(cls, engines: Mapping[str, Engine], request: LabelRequest) -> _Teachers:
        """The teachers, with the classes of the first in front.

        Raises:
            UsageError: no teacher has a class that was asked for, or teachers share no class.
        """
        names: tuple[str, ...] = ()
        for engine in engines.values():
            known = engine.manifest.classes
            same = map_classes(known, names)
            names += tuple(name for name in known if name not in same)
        _refuse_strangers({name: engine.manifest.classes for name, engine in engines.items()}, names)
        wanted = names if request.classes is None else parse_classes(request.classes)
        found = map_classes(wanted, names)
        for name in wanted:
            if name not in found:
                raise UsageError(lacks_class(" and ".join(engines), name, names))
        kept = {names[place] for place in found.values()}
        models, lookup = [], []
        for engine in engines.values():
            known = engine.manifest.classes
            index = map_classes(known, names)
            own = [name for name in known if names[index[name]] in kept]
            if own:
                models.append(Model(engine, 0.0, None if request.classes is None else own))
                lookup.append(np.array([index[name] for name in known], np.int32))
        return cls(tuple(models), names, tuple(lookup))

    def look(self, image: Image, request: LabelRequest) -> Detections:
        """What they see together, in the classes of :attr:`names`."""
        scales = (*((TILE_SCALE,) if request.tiles else ()), *request.scales)
        views = []
        for model, index in zip(self.models, self.lookup, strict=True):
            found = look(model, image, flip=request.flip, scales=scales)
            knows = np.zeros(len(self.names), bool)
            knows[index] = True
            named = replace(found, class_ids=index[found.class_ids], names=self.names, model="")
            views.append(View(named, knows))
        return views[0].found if len(views) == 1 else fuse(views)


def _refuse_strangers(known: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
    """Refuses teachers that nothing connects: a class in common, at once or by way of other teachers.

    Args:
        known: classes of each teacher.
        names: of all their classes, each once.

    Raises:
        UsageError: there are two; their answers would stand side by side and never be fused.
    """
    first, *others = known
    places = {teacher: set(map_classes(classes, names).values()) for teacher, classes in known.items()}
    reached = places[first]
    while near := [teacher for teacher in others if places[teacher] & reached]:
        reached = reached.union(*(places[teacher] for teacher in near))
        others = [teacher for teacher in others if teacher not in near]
    if others:
        begins = [", ".join(known[teacher][:3]) for teacher in (first, others[0])]
        raise UsageError(
            f"{first} and {others[0]} share no class: the first begins with {begins[0]}, the second with "
            f"{begins[1]}; where they mean the same, give 'edgevision import' the `classes` of both"
        )


@dataclass(frozen=True, slots=True)
class _Labelling:
    """A job at work: what it works with, and what it has done so far."""

    request: LabelRequest
    rule: LabelRule
    teachers: _Teachers
    document: CocoDocument
    rows: ResultsFile | None
    own: dict[str, int]
    done: Labelled

    def run(self, footage: Footage, stop: StopRequest, progress: Progress) -> None:
        """Labels one source, until it ends or ``stop`` is asked for."""
        every, seed = self.request.every, self.request.seed
        visited = footage.visit(lambda frame: self._label(frame, footage), every, seed, stop, progress)
        self.done.problems += visited.problems
        self.done.unread += visited.unread

    def _label(self, frame: Frame, footage: Footage) -> None:
        name = name_below(self.done.folder, footage.place(frame))
        image_id = self.document.find_image(name)
        if self.rows is not None and image_id is None:
            return
        path = footage.image(frame)
        found = self.teachers.look(frame.image, self.request)
        if self.rows is not None and image_id is not None:
            self._add_rows(self.rows, found, image_id, frame, path)
            return
        if image_id is None:
            image_id = self.document.add_image(name, frame.width, frame.height)
            labels = new_labels(found, self.rule)
        else:
            labels = self._missing(found, image_id, frame, path)
            self.done.merged += 1
        self.done.images += 1
        for one in labels:
            class_name = self.teachers.names[one.class_id]
            shape = shape_of(found, one.row) if one.row >= 0 else {}
            # An object of whose mask no pixel is left teaches a box at most, and not that there is none.
            ignore = one.ignore or (found.masks is not None and not shape["area"])
            if ignore:
                shape = {}
            category = self._category(one.class_id)
            self.document.add_box(image_id, category, one.box, ignore=ignore, score=one.score, shape=shape)
            self.document.describe_category(category, pose_fields(found.skeleton))
            if ignore:
                self.done.ignored += 1
            else:
                self.done.boxes[class_name] += 1

    def _category(self, class_id: int) -> int:
        """The json's own category of that class, or one that is added."""
        names = (name for name, known in self.own.items() if known == class_id)
        return self.document.category(next(names, self.teachers.names[class_id]))

    def _add_rows(
        self, rows: ResultsFile, found: Detections, image_id: int, frame: Frame, path: Path
    ) -> None:
        """The rows of one image; classes that the json does not name are left out."""
        self._check_size(image_id, frame, path)
        self.done.images += 1
        self.done.merged += 1
        categories = {known: self.document.category(name) for name, known in self.own.items()}
        for one in new_labels(found, self.rule):
            if one.class_id in categories:
                rows.add(image_id, categories[one.class_id], one.box, one.score)
                self.done.boxes[self.teachers.names[one.class_id]] += 1

    def _check_size(self, image_id: int, frame: Frame, path: Path) -> None:
        size = self.document.image_size(image_id)
        if size is not None and size != (frame.width, frame.height):
            made_for = self.request.merge or self.request.results_for
            raise DataError(
                f"{path} is {frame.width}x{frame.height} pixels, but {made_for} says {size[0]}x{size[1]}; "
                "expected the images that it was made for"
            )

    def _missing(self, found: Detections, image_id: int, frame: Frame, path: Path) -> list[Label]:
        """What the existing labels of an image lack."""
        self._check_size(image_id, frame, path)
        boxes, names, ignore = self.document.boxes(image_id)
        class_ids = np.array([self.own.get(name, -1) for name in names], np.int32)
        existing = GroundTruth(boxes.astype(np.float64), class_ids, np.array(ignore, bool))
        return missing_labels(found, existing, self.rule)
