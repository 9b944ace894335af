"""Labels of whole images from a classifier: ``edgevision label`` for classification.

What is written is what :mod:`edgevision.data.classification.dataset` reads: a COCO json in which each label
is an annotation that covers its image, or a folder of image copies for each class.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgevision.data.formats.coco import CocoDocument
from edgevision.engines.base import Engine
from edgevision.errors import OutputExistsError, UsageError
from edgevision.files import atomic_path, folders_for, make_folder, refuse_existing
from edgevision.labelling.footage import (
    Footage,
    find_footage,
    folder_of_all,
    folder_of_stills,
    name_below,
    nothing_labelled,
)
from edgevision.model import Model
from edgevision.pipeline import StopRequest
from edgevision.progress import Progress, no_progress
from edgevision.suffixes import IMAGE_SUFFIXES
from edgevision.types import Classification, Frame
from edgevision.types import Label as Found
from edgevision.video import expand_sources
from edgevision.video.sinks.images import save_image


@dataclass(frozen=True, kw_only=True)
class ImageLabelRequest:
    """What is to be labelled, and how.

    Attributes:
        sources: images, folders and video files.
        out: a COCO json, or a folder that gets a folder for each class.
        images_out: folder for the frames of videos, where ``out`` is a json.
        positive: labels of a lower probability are not written, above 0 to 1.
        every: of videos, one frame of each run of this length.
        seed: random seed that draws the frame of each run; None takes the first.
        overwrite: replace outputs that exist.

    Raises:
        UsageError: ``positive`` is out of range.
    """

    sources: Sequence[str]
    out: Path
    images_out: Path | None = None
    positive: float = 0.42
    every: int = 1
    seed: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.positive <= 1:
            raise UsageError(f"`positive` {self.positive:g} is not possible; expected above 0, at most 1")

    @property
    def is_json(self) -> bool:
        return self.out.suffix.lower() == ".json"


@dataclass(slots=True)
class LabelledImages:
    """What has been labelled so far.

    Attributes:
        folder: that file names in the json are relative to; that of the classes otherwise.
        images: that got a label.
        left_out: images of which the model is not sure enough; of several labels, those without any are
            images too.
        labels: of each class.
        unread: images that could not be read.
        problems: one line for each input that was damaged.
        notes: further remarks for the user, one line each.
    """

    folder: Path
    images: int = 0
    left_out: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    unread: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_image_labels(
    engine: Engine,
    model: str,
    request: ImageLabelRequest,
    *,
    stop: StopRequest,
    progress: Progress = no_progress,
) -> LabelledImages:
    """Labels every source, or those up to where ``stop`` ends it.

    Everything that can be refused is refused before any image is written.

    Args:
        engine: the teacher, a classifier.
        model: what the user calls it.
        request: what to do.
        stop: ends it early; the labels are complete up to there.
        progress: shows how far each source is.

    Raises:
        EdgeVisionError: the request is impossible, or nothing could be labelled.
    """
    manifest, out = engine.manifest, request.out
    if manifest.task != "classification":
        raise UsageError(f"{model} is a {manifest.task} model; expected a classifier for labels of images")
    if request.is_json:
        refuse_existing(out, request.overwrite)
    elif manifest.multi_label:
        raise UsageError(
            f"{model} gives an image several labels, so it has no one folder; choose a json as `out`"
        )
    elif request.images_out is not None:
        raise UsageError("`images_out` belongs to a json; a folder as `out` holds the images itself")
    elif out.is_dir() and any(out.iterdir()) and not request.overwrite:
        raise OutputExistsError(
            f"output folder is not empty: {out}; choose another `out` or pass `overwrite`"
        )
    else:
        _check_folder_names(model, manifest.classes)
    uris = [uri for source in request.sources for uri in expand_sources(source)]
    found = find_footage(uris, request.images_out if request.is_json else out, request.overwrite)
    found.check_settings(request.images_out, request.every, request.seed)
    folder = folder_of_all(found.sources) if request.is_json else folder_of_stills(found.sources)
    done = LabelledImages(folder if request.is_json else out, notes=found.notes)
    work = _Work(request, Model(engine, request.positive), CocoDocument(), folder, done)
    for name in manifest.classes:
        work.document.category(name)
    with folders_for(*found.folders):
        for one in found.sources:
            if stop.reason is None:
                work.run(one, stop, progress)
    if not done.images:
        left = f"{done.left_out} have no label of {request.positive:g} or more" if done.left_out else ""
        raise nothing_labelled(request.sources, done.unread, left)
    if request.is_json:
        work.document.write(out)
    return done


def _check_folder_names(model: str, classes: Sequence[str]) -> None:
    for name in classes:
        if name in ("", ".", "..") or "/" in name or "\\" in name:
            raise UsageError(f"{model} has the class '{name}', which no folder can be called; choose a json")


@dataclass(frozen=True, slots=True)
class _Work:
    request: ImageLabelRequest
    teacher: Model
    document: CocoDocument
    root: Path
    done: LabelledImages
    names: dict[Path, str] = field(default_factory=dict)

    def run(self, footage: Footage, stop: StopRequest, progress: Progress) -> None:
        """Labels one source, until it ends or ``stop`` is asked for."""
        every, seed = self.request.every, self.request.seed
        visited = footage.visit(lambda frame: self._label(footage, frame), every, seed, stop, progress)
        self.done.problems += visited.problems
        self.done.unread += visited.unread

    def _label(self, footage: Footage, frame: Frame) -> None:
        result = self.teacher(frame.image)
        assert isinstance(result, Classification)  # the task of the manifest was checked
        labels = result.labels()
        if not labels and not result.multi_label:
            self.done.left_out += 1
            return
        if self.request.is_json:
            self._add(footage.image(frame), frame, labels)
        else:
            self._copy(footage, frame, labels[0].name)
        self.done.images += 1
        self.done.labels.update(one.name for one in labels)

    def _add(self, path: Path, frame: Frame, labels: Sequence[Found]) -> None:
        name = name_below(self.root, path)
        image_id = self.document.add_image(name, frame.width, frame.height)
        whole = (0, 0, frame.width, frame.height)
        for one in labels:
            category = self.document.category(one.name)
            self.document.add_box(image_id, category, whole, ignore=False, score=round(one.score, 4))

    def _copy(self, footage: Footage, frame: Frame, class_name: str) -> None:
        """Copies the image file, or writes the frame, into the folder of its class.

        Raises:
            UsageError: two image files would have the same name.
        """
        folder = self.request.out / class_name
        make_folder(folder, parents=True)
        if footage.stem is not None:
            save_image(folder / f"{footage.stem}_{frame.index:06d}.jpg", frame.image)
            return
        path = Path(frame.source)
        name = name_below(self.root, path).replace("/", "_")
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            name = f"{name}.png"
        other = self.names.setdefault(folder / name, frame.source)
        if other != frame.source:
            raise UsageError(f"{other} and {path} would both be called '{name}'; label them separately")
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            save_image(folder / name, frame.image)
            return
        with atomic_path(folder / name) as partial:
            shutil.copyfile(path, partial)
