"""Label maps from a segmentation model: ``edgevision label`` for segmenters.

What is written is a data set as :mod:`edgevision.data.segmentation.dataset` reads it: copies of the images,
a PNG of class ids for each, and ``classes.json``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.data.segmentation.class_file import refuse_other_ids, write_class_file
from edgevision.engines.base import Engine
from edgevision.errors import OutputExistsError, SinkError, UsageError
from edgevision.files import atomic_path, folders_for
from edgevision.labelling.footage import (
    Footage,
    find_footage,
    folder_of_stills,
    name_below,
    nothing_labelled,
)
from edgevision.model import Model
from edgevision.pipeline import StopRequest
from edgevision.progress import Progress, no_progress
from edgevision.suffixes import IMAGE_SUFFIXES
from edgevision.types import IGNORE_ID, Frame, Image, SegmentationMap
from edgevision.video import expand_sources
from edgevision.video.sinks.images import save_image


@dataclass(frozen=True, kw_only=True)
class LabelMapRequest:
    """What is to be labelled, and how.

    Attributes:
        sources: images, folders and video files.
        out: folder of the data set; made where it is missing.
        split: the part of the data set that is written; another part may exist already.
        every: of videos, one frame of each run of this length.
        seed: random seed that draws the frame of each run; None takes the first.
        flip: look at the mirror image too; pixels where the two answers differ are ignored.
        max_ignored: images of which a larger share is ignored are left out, 0..1.
        overwrite: replace outputs that exist.

    Raises:
        UsageError: a value is impossible.
    """

    sources: Sequence[str]
    out: Path
    split: str = "train"
    every: int = 1
    seed: int | None = None
    flip: bool = False
    max_ignored: float = 1.0
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.max_ignored <= 1:
            raise UsageError(
                f"`max_ignored` is {self.max_ignored:g}; expected a share of 0 to 1, such as 0.2"
            )
        if self.split in ("", ".", "..") or "/" in self.split or "\\" in self.split:
            raise UsageError(f"`split` is '{self.split}'; expected the name of a folder, such as train")
        if self.out.suffix.lower() == ".json":
            raise UsageError(
                f"label maps are a folder of images; expected a folder as `out`, found {self.out}"
            )


@dataclass(slots=True)
class LabelledMaps:
    """What has been labelled so far.

    Attributes:
        classes: of the model.
        pixels: int64 ``[C]``, labelled as each class.
        ignored: pixels that are ignored.
        images: that were written.
        left_out: images that were not, because too much of them would be ignored.
        unread: images that could not be read.
        problems: one line for each input that was damaged.
        notes: further remarks for the user, one line each.
    """

    classes: tuple[str, ...]
    pixels: NDArray[np.int64]
    ignored: int = 0
    images: int = 0
    left_out: int = 0
    unread: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_label_maps(
    engine: Engine,
    model: str,
    request: LabelMapRequest,
    *,
    stop: StopRequest,
    progress: Progress = no_progress,
) -> LabelledMaps:
    """Labels every source, or those up to where ``stop`` ends it.

    Everything that can be refused is refused before any image is written.

    Args:
        engine: the teacher, a segmenter.
        model: what the user calls it.
        request: what to do.
        stop: ends it early; the data set is complete up to there.
        progress: shows how far each source is.

    Raises:
        EdgeVisionError: the request is impossible, or nothing could be labelled.
    """
    manifest = engine.manifest
    if manifest.task != "segmentation":
        raise UsageError(f"{model} is a {manifest.task} model; expected a segmenter for label maps")
    images, labels = (request.out / kind / request.split for kind in ("images", "labels"))
    class_file = request.out / "classes.json"
    refuse_other_ids(class_file, manifest.classes)
    for folder in (images, labels):
        if folder.is_dir() and any(folder.iterdir()) and not request.overwrite:
            raise OutputExistsError(
                f"output folder is not empty: {folder}; choose another `split` or pass `overwrite`"
            )
    uris = [uri for source in request.sources for uri in expand_sources(source)]
    found = find_footage(uris, images, request.overwrite)
    found.check_settings(None, request.every, request.seed)
    done = LabelledMaps(manifest.classes, np.zeros(len(manifest.classes), np.int64), notes=found.notes)
    work = _Work(request, Model(engine), images, labels, folder_of_stills(found.sources), done)
    with folders_for(images, labels):
        for one in found.sources:
            if stop.reason is None:
                work.run(one, stop, progress)
    if not done.images:
        left = f"{done.left_out} were left out by `max_ignored`" if done.left_out else ""
        raise nothing_labelled(request.sources, done.unread, left)
    if not class_file.exists():
        has_all = len(manifest.colours) == len(manifest.classes)
        write_class_file(class_file, manifest.classes, manifest.colours if has_all else ())
    return done


@dataclass(frozen=True, slots=True)
class _Work:
    request: LabelMapRequest
    teacher: Model
    images: Path
    labels: Path
    root: Path
    done: LabelledMaps
    names: dict[str, str] = field(default_factory=dict)

    def run(self, footage: Footage, stop: StopRequest, progress: Progress) -> None:
        """Labels one source, until it ends or ``stop`` is asked for."""
        every, seed = self.request.every, self.request.seed
        visited = footage.visit(lambda frame: self._label(footage, frame), every, seed, stop, progress)
        self.done.problems += visited.problems
        self.done.unread += visited.unread

    def _label(self, footage: Footage, frame: Frame) -> None:
        labels = self._look(frame.image)
        ignored = int((labels == IGNORE_ID).sum())
        if ignored > self.request.max_ignored * labels.size:
            self.done.left_out += 1
            return
        name = self._write_image(footage, frame)
        save_image(self.labels / f"{name}.png", labels)
        self.done.images += 1
        self.done.ignored += ignored
        self.done.pixels += np.bincount(labels[labels != IGNORE_ID], minlength=len(self.done.classes))

    def _look(self, image: Image) -> NDArray[np.uint8]:
        """The class of each pixel, or IGNORE_ID: uint8 ``[H, W]``."""
        labels = self._see(image)
        if self.request.flip:
            mirror = self._see(np.ascontiguousarray(image[:, ::-1]))[:, ::-1]
            labels = np.where(labels == mirror, labels, np.uint8(IGNORE_ID))
        return labels

    def _see(self, image: Image) -> NDArray[np.uint8]:
        (result,) = self.teacher([image])
        assert isinstance(result, SegmentationMap)  # the task of the manifest was checked
        return result.class_map

    def _write_image(self, footage: Footage, frame: Frame) -> str:
        """Writes the image into the data set; returns its name there, without the suffix.

        Raises:
            UsageError: two image files would have the same name.
            SinkError: it cannot be written.
        """
        if footage.stem is not None:
            return footage.image(frame).stem
        path = Path(frame.source)
        name = str(Path(name_below(self.root, path)).with_suffix("")).replace("/", "_")
        other = self.names.setdefault(name, frame.source)
        if other != frame.source:
            raise UsageError(f"{other} and {path} would both be called '{name}'; label them separately")
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            save_image(self.images / f"{name}.png", frame.image)
            return name
        target = self.images / f"{name}{path.suffix.lower()}"
        if target.resolve() == path.resolve():
            raise SinkError(f"{path} lies in the output folder already; choose another folder as `out`")
        with atomic_path(target) as partial:
            shutil.copyfile(path, partial)
        return name
