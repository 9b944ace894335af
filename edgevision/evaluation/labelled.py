"""Labelled data as a user names them, and the classes that they share with the models to be measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevision.contract.manifest import BOX_TASKS, Manifest
from edgevision.data.classes import NO_GROUPS, ClassGroups, map_classes, parse_classes
from edgevision.data.classification.dataset import (
    choose_classes,
    read_box_crops,
    read_class_folders,
    read_image_labels,
)
from edgevision.data.detection.dataset import select_classes
from edgevision.data.formats.coco import read_coco
from edgevision.data.segmentation.class_file import read_class_file
from edgevision.data.segmentation.dataset import load_segmentation
from edgevision.errors import DataError, UsageError, nearest
from edgevision.evaluation.detection import DEFAULT_MIN_BOXES
from edgevision.evaluation.label_yardstick import ClassificationYardstick
from edgevision.evaluation.report import BoxTask
from edgevision.evaluation.yardstick import (
    UNITS,
    DetectionYardstick,
    SegmentationYardstick,
    Yardstick,
)
from edgevision.progress import Note, no_note


@dataclass(frozen=True, kw_only=True)
class LabelledData:
    """Where labelled data are.

    Attributes:
        data: boxes, masks, poses and labels of images: a COCO json. Segmentation: a folder, see
            :mod:`edgevision.data.segmentation.dataset`. One label for each image: a folder of images for each
            class, in one folder.
        images: the folder of the images of a COCO json.
        split: segmentation: which part of the folder.
        groups: segmentation: classes, of the data and of the models, that count as one.
        crops: classification: the boxes of a COCO json are what is labelled, each cut out of its image.

    Raises:
        UsageError: both ``images`` and ``split`` are given, or ``groups`` without ``split``, or ``crops``
            without ``images``.
    """

    data: Path
    images: Path | None = None
    split: str | None = None
    groups: ClassGroups = NO_GROUPS
    crops: bool = False

    def __post_init__(self) -> None:
        if self.images is not None and self.split is not None:
            raise UsageError(
                "expected `images`, a folder, beside a COCO json, or `split`, a name, beside a folder"
            )
        if self.split is None and self.groups != NO_GROUPS:
            raise UsageError("`group` puts the pixels of several classes together; it needs `split`")
        if self.crops and self.images is None:
            raise UsageError("`crops` cuts the boxes of a COCO json out of its images; it needs `images`")

    @property
    def name(self) -> str:
        """What reports call the data."""
        return str(self.data) if self.split is None else f"{self.data}/{self.split}"

    def check_groups(self, models: Iterable[Sequence[str]]) -> None:
        """Refuses a name in ``groups`` that means no class, neither of the data nor of a model.

        Args:
            models: the classes of each.

        Raises:
            DataError: there is one.
        """
        if self.groups == NO_GROUPS:
            return
        known = read_class_file(self.data / "classes.json").classes
        self.groups.require_known([one.name for one in known], *models)

    def check_task(self, model: str, task: str) -> None:
        """Refuses a model of another task.

        Raises:
            UsageError: the model cannot be measured on these data.
        """
        missing = "" if self.data.exists() else f"; {self.data} is not there"
        if task in BOX_TASKS and self.images is None:
            kind = "a detection model" if task == "detection" else f"a model for {task}"
            raise UsageError(f"{model} is {kind}; expected a COCO json as `data`, and `images`{missing}")
        if task == "segmentation" and self.split is None:
            raise UsageError(
                f"{model} is a segmentation model; expected a folder as `data`, and `split`{missing}"
            )
        if self.crops and task != "classification":
            raise UsageError(f"`crops` are for classification models; {model} is one for {task}")
        if task == "classification" and self.split is not None:
            raise UsageError(
                f"{model} is a classification model; expected as `data` a folder that has a folder of images "
                f"for each class, or a COCO json, and `images`{missing}"
            )

    def open(
        self,
        choose: Callable[[Sequence[str]], tuple[str, ...]],
        min_boxes: int = DEFAULT_MIN_BOXES,
        manifest: Manifest | None = None,
    ) -> Yardstick:
        """Reads the labels.

        Args:
            choose: from the classes of the data to those that are evaluated.
            min_boxes: labelled boxes that a class of detections needs to count.
            manifest: of the model to be measured; None for a detector or a segmenter.

        Raises:
            DataError: labels or images are missing or malformed: the figures would be those of another set.
            UsageError: ``min_boxes`` is given and the data have no boxes.
        """
        is_classifier = manifest is not None and manifest.task == "classification"
        if min_boxes != DEFAULT_MIN_BOXES and (self.images is None or is_classifier):
            found = "labels of images" if is_classifier else "label maps"
            raise UsageError(f"`min_boxes` is for labelled boxes; found {found}: leave it out")
        if manifest is not None and manifest.task == "classification":
            return self._open_labels(choose, manifest.multi_label)
        if self.images is not None:
            task = "detection" if manifest is None else manifest.task
            raw = read_coco(self.data, self.images, shapes=task != "detection")
            unread = [one.text for one in raw.problems if one.kind in ("malformed", "ambiguous")]
            if unread:
                raise DataError(
                    f"{self.data}: {len(unread)} labels cannot be used, the first: {unread[0]}; "
                    "'edgevision data check' shows all"
                )
            self._check_images([image.path for image in raw.images])
            chosen = select_classes(raw, choose(raw.classes))
            return DetectionYardstick(chosen, self.name, min_boxes, self.data, _box_task(task))
        split = self.split or ""
        labelled = load_segmentation(self.data, split, groups=self.groups).classes
        data = load_segmentation(self.data, split, choose(labelled), groups=self.groups)
        self._check_images([one.image for one in data.images])
        missing = [one for one in data.images if one.labels is None or not one.labels.is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(data.images)} label maps of {self.data} are missing; the first, "
                f"of {missing[0].image}, is expected at {missing[0].labels}: a PNG of class ids of that name"
            )
        return SegmentationYardstick(data, self.name, self.data / "classes.json")

    def _open_labels(
        self, choose: Callable[[Sequence[str]], tuple[str, ...]], multi_label: bool
    ) -> ClassificationYardstick:
        if self.images is not None and self.crops:
            data, label_file = read_box_crops(self.data, self.images), self.data
        elif self.images is not None:
            data, label_file = read_image_labels(self.data, self.images), self.data
        else:
            data, label_file = read_class_folders(self.data), None
        self._check_images(data.paths)
        chosen = choose_classes(data, choose(data.classes), multi_label=multi_label)
        if not multi_label and (chosen.labels.sum(axis=1) > 1).any():
            path = chosen.paths[int((chosen.labels.sum(axis=1) > 1).argmax())]
            raise DataError(
                f"{path} has several labels; the model gives an image one, or each of its boxes with `crops`"
            )
        return ClassificationYardstick(chosen, self.name, multi_label, label_file)

    def _check_images(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise DataError(f"{self.data}: the set is empty; expected labelled images")
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(paths)} images of {self.data} are missing, "
                f"the first: {missing[0]}; check the folder, or the list"
            )


def _box_task(task: str) -> BoxTask:
    for known in UNITS:
        if known == task:
            return known
    raise ValueError(f"{task} has no boxes")


def common_classes(
    models: Mapping[str, Sequence[str]], labelled: Sequence[str], source: Path, note: Note = no_note
) -> tuple[str, ...]:
    """The classes that all models and the data have, as the first model spells them.

    Args:
        models: classes of each model by its name.
        labelled: classes of the data.
        source: the data.
        note: called with a line about the first model's classes that are left out.

    Raises:
        DataError: no class is common to all.
    """
    name, first = next(iter(models.items()))
    common = set(map_classes(labelled, first).values())
    for names in models.values():
        common &= set(map_classes(names, first).values())
    chosen = tuple(one for position, one in enumerate(first) if position in common)
    if not chosen:
        raise DataError(
            f"{source}: none of its {len(labelled)} classes is one of {name}{nearest(first[0], labelled)}"
        )
    rest = [one for position, one in enumerate(first) if position not in common]
    if rest:
        note(f"not evaluated, missing in the data or in a model: {', '.join(rest)}")
    return chosen


def wanted_classes(
    text: str, models: Mapping[str, Sequence[str]], labelled: Sequence[str], source: Path
) -> tuple[str, ...]:
    """The classes that a user names, in that spelling.

    Args:
        text: see :func:`edgevision.data.classes.parse_classes`.
        models: classes of each model by its name.
        labelled: classes of the data.
        source: the data.

    Raises:
        UsageError: a model lacks one of the classes.
        DataError: the data lack one.
    """
    wanted = parse_classes(text)
    for name in wanted:
        for model, known in models.items():
            if not map_classes(known, [name]):
                raise UsageError(lacks_class(model, name, known))
        if not map_classes(labelled, [name]):
            raise DataError(lacks_class(str(source), name, labelled))
    return wanted


def chosen_classes(
    text: str | None,
    models: Mapping[str, Sequence[str]],
    labelled: Sequence[str],
    source: Path,
    note: Note = no_note,
) -> tuple[str, ...]:
    """:func:`wanted_classes` where the user names some, else :func:`common_classes`."""
    if text is not None:
        return wanted_classes(text, models, labelled, source)
    return common_classes(models, labelled, source, note)


def lacks_class(owner: str, name: str, known: Sequence[str]) -> str:
    """The message for a class that a model or a data set does not have."""
    hint = nearest(name, known) or f"; it has: {', '.join(known)}"
    return f"{owner} has no class '{name}'{hint}"
