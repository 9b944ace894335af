"""What a family's reader says of a file: what goes in, what comes out, and why it says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from edgevision.contract.manifest import MaskForm, Resize, Task
from edgevision.errors import UsageError
from edgevision.export.importers.core import Core
from edgevision.export.importers.inputs import Size
from edgevision.graph.builder import GraphBuilder
from edgevision.types import Skeleton

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

MOST_KEPT = 300
"""Detections that a file may keep; with more, it gets edgevision's own number."""

LETTERBOX = Resize("letterbox", 114)
TOP_LEFT = Resize("letterbox", 114, place="top-left")
STRETCH = Resize("stretch")


@dataclass(frozen=True, slots=True)
class Pixels:
    """What a network takes: ``(x / 255 - mean) / std`` of resized images.

    Attributes:
        resize: how an image fills the input.
        bgr: channels in OpenCV's order; otherwise RGB.
        mean, std: of the channels, in the network's own order, of values 0..1.
        raw: pixels as they are, 0..255; only in words, for ``mean`` and ``std`` say so too.
    """

    resize: Resize = LETTERBOX
    bgr: bool = False
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __str__(self) -> str:
        order = "BGR" if self.bgr else "RGB"
        fill = f", filled with {self.resize.fill}" if self.resize.rule == "letterbox" else ""
        place = " at the top left" if self.resize.place == "top-left" else ""
        return f"{order}, {_scale(self.mean, self.std)}, {self.resize.rule}{place}{fill}"


def _scale(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    if (mean, std) == ((0.0,) * 3, (1.0,) * 3):
        return "0..1"
    if (mean, std) == ((0.0,) * 3, RAW_STD):
        return "0..255"
    if (mean, std) == (IMAGENET_MEAN, IMAGENET_STD):
        return "mean and standard deviation of ImageNet"
    means, stds = (" ".join(f"{value * 255:.4g}" for value in values) for values in (mean, std))
    return f"mean {means}, std {stds} (of 255)"


RAW_STD = (1 / 255,) * 3
RGB_UNIT = Pixels()
RGB_UNIT_TOP_LEFT = Pixels(TOP_LEFT)
RGB_UNIT_STRETCH = Pixels(STRETCH)
IMAGENET_STRETCH = Pixels(STRETCH, False, IMAGENET_MEAN, IMAGENET_STD)
IMAGENET_TOP_LEFT = Pixels(TOP_LEFT, False, IMAGENET_MEAN, IMAGENET_STD)
BGR_RAW_TOP_LEFT = Pixels(TOP_LEFT, True, (0.0,) * 3, RAW_STD)
RTMDET_MEAN = tuple(value / 255 for value in (103.53, 116.28, 123.675))
RTMDET_STD = tuple(value / 255 for value in (57.375, 57.12, 58.395))
RTMDET_TOP_LEFT = Pixels(TOP_LEFT, True, RTMDET_MEAN, RTMDET_STD)
RTMDET_STRETCH = Pixels(STRETCH, True, RTMDET_MEAN, RTMDET_STD)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Decoded predictions in the graph, before suppression.

    Attributes:
        boxes: float ``[N, M, 4]`` corners in pixels of the network's input, not cut.
        scores: float ``[N, M, C]`` where ``labels`` is empty, else ``[N, M]``.
        labels: int64 ``[N, M]``, or empty.
        total: M.
        classes: C where the scores are dense.
        further: outputs of the contract with a row for each prediction: masks, coefficients, key points.
    """

    boxes: str
    scores: str
    total: int
    labels: str = ""
    classes: int = 0
    further: Mapping[str, str] = field(default_factory=dict)


Decode = Callable[[GraphBuilder, Core], Candidates]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is to be read.

    Attributes:
        kind: the word that chooses this family.
        title: the family and form, for the user.
        why: what showed it, for the user.
        pixels: what the network takes; None where nothing tells, so the user is asked.
        told_by: where ``pixels`` comes from: the file's notes, or the family's own exporter.
        decode: adds the decoding to the graph.
        classes: number of classes that the outputs show; None where they do not.
        iou: suppression that the family asks for; None where none is needed.
        several: the family takes several classes a box.
        most: detections that the file itself keeps; None for edgevision's own number.
        min_score: the score from which the file itself answers; None for edgevision's own.
        size: height and width that the family takes where the graph leaves them open.
        pad: the network's input is a multiple of this, filled with zeros on the right and below.
        notes: what else the user should know, one line each.
        task, masks, skeleton, multi_label: as the contract has them.
        coco_numbers: class numbers may be COCO's category numbers, 1 to 90.
        first_class: the number of the first class; 1 where 0 is the background.
        highest: the greatest class number that it answers on the probe images; -1 where scores are dense.
    """

    kind: str
    title: str
    why: str
    pixels: Pixels | None
    decode: Decode
    told_by: str = "as the family's own exporter has it"
    classes: int | None = None
    iou: float | None = None
    several: bool = False
    most: int | None = None
    min_score: float | None = None
    size: Size | None = None
    pad: int = 1
    notes: tuple[str, ...] = ()
    task: Task = "detection"
    masks: MaskForm | None = None
    skeleton: Skeleton | None = None
    multi_label: bool = False
    coco_numbers: bool = False
    first_class: int = 0
    highest: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user decides; None leaves it to the file and its family.

    Attributes:
        classes: names in the order of the model's outputs; those that the file carries, else numbers.
        name: of the model; that of the file that is written.
        licence: one line for the manifest; what the file says of itself.
        kind: the family; see :data:`edgevision.export.importers.KINDS`.
        size: height and width of the input, where the graph leaves them open.
        colours: ``rgb`` or ``bgr``.
        scale: ``unit`` (0..1), ``raw`` (0..255), ``imagenet``, or six numbers: mean and standard deviation of
            the channels in the network's order, of values 0..255.
        resize: ``letterbox``, ``top-left``, ``stretch``, or for classifiers ``crop``.
        fill: value of the padding, 0..255.
        anchors: of raw heads: ``yolov5``, ``yolov7``, ``yolov7-tiny`` or 18 numbers, width and height in
            pixels.
        min_score: detections below it are not in the output.
        iou: suppression's limit.
        candidates: how many of the best-scoring boxes enter suppression.
        several: several classes a box, as COCO's evaluation counts them; False takes the best alone.
    """

    classes: tuple[str, ...] | None = None
    name: str | None = None
    licence: str | None = None
    kind: str | None = None
    size: Size | None = None
    colours: str | None = None
    scale: str | None = None
    resize: str | None = None
    fill: int | None = None
    anchors: str | None = None
    min_score: float | None = None
    iou: float | None = None
    candidates: int | None = None
    several: bool | None = None

    def check(self) -> None:
        """Raises UsageError for a value that means nothing."""
        _one_of("colours", self.colours, ("rgb", "bgr"))
        _one_of("resize", self.resize, ("letterbox", "top-left", "stretch", "crop"))
        _within("fill", self.fill, 0, 255)
        _within("min_score", self.min_score, 0.0001, 0.999)
        _within("iou", self.iou, 0.01, 1)
        _within("candidates", self.candidates, 1, 5000)
        if self.size is not None:
            _within("size", min(self.size), 16, 8192)
            _within("size", max(self.size), 16, 8192)
        if self.scale is not None:
            scale_numbers(self.scale)

    def pixels(self, known: Pixels | None) -> Pixels | None:
        """What the network takes, the user's word before what is known; None where that leaves gaps."""
        if known is None:
            if self.colours is None or self.scale is None or self.resize is None:
                return None
            known = Pixels()
        resize = known.resize
        if self.resize is not None:
            resize = Resize(
                "letterbox" if self.resize in ("letterbox", "top-left") else _rule(self.resize),
                resize.fill,
                place="top-left" if self.resize == "top-left" else "centre",
            )
        if self.fill is not None:
            resize = Resize(resize.rule, self.fill, place=resize.place)
        found = replace(known, resize=resize)
        if self.colours is not None:
            found = replace(found, bgr=self.colours == "bgr")
        if self.scale is not None:
            mean, std = scale_numbers(self.scale)
            found = replace(found, mean=mean, std=std)
        return found


def _rule(text: str) -> Literal["stretch", "crop"]:
    return "crop" if text == "crop" else "stretch"


def scale_numbers(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of values 0..1 from ``unit``, ``raw``, ``imagenet`` or six numbers of 255.

    Raises:
        UsageError: it is none of them.

    Example:
        >>> scale_numbers("127.5,127.5,127.5,127.5,127.5,127.5")
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    """
    named = {
        "unit": ((0.0,) * 3, (1.0,) * 3),
        "raw": ((0.0,) * 3, RAW_STD),
        "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    }
    if text in named:
        return named[text]
    try:
        numbers = [float(part) / 255 for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not np.isfinite(numbers).all() or min(numbers[3:]) <= 0:
        raise UsageError(
            f"`scale` '{text}': expected unit (0..1), raw (0..255), imagenet, or six numbers: the mean and "
            "the "
            "standard deviation of the three channels, of values 0..255, such as "
            "127.5,127.5,127.5,127.5,127.5,127.5"
        )
    return tuple(numbers[:3]), tuple(numbers[3:])


def _one_of(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise UsageError(f"`{name}` '{value}': choose {' or '.join(allowed)}")


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise UsageError(f"`{name}` {value:g}: expected {low:g} to {high:g}")
