"""The contract between export and runtime, stored in the model file itself: docs/concepts/contract.md.

An exported ONNX file takes frames as OpenCV delivers them and returns final results; its manifest says
what the numbers mean. It is stored as JSON in one ``metadata_props`` entry of the ONNX file, and as
``<plan>.json`` beside a TensorRT plan.

The runtime must read it without the onnx package, and OpenVINO does not expose it, so the file is read field
by field. Field numbers are those of ``ModelProto`` and ``StringStringEntryProto`` in onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec
import numpy as np

from edgevision.errors import ModelError
from edgevision.types import Skeleton

SCHEMA_VERSION = 3
"""The newest schema that is read; a file is written with the oldest that can say what it says."""

INPUT_NAME = "frames"

Precision = Literal["fp32", "fp16", "int8", "int8+fp16"]

Task = Literal["detection", "segmentation", "instance-segmentation", "pose", "obb", "classification"]

TASKS: tuple[Task, ...] = get_args(Task)
"""In the order in which models are listed."""

BOX_TASKS: tuple[Task, ...] = ("detection", "instance-segmentation", "pose", "obb")
"""Tasks whose result is :class:`~edgevision.types.Detections`."""


class Resize(msgspec.Struct, frozen=True):
    """How an image becomes the model's input.

    Attributes:
        rule: ``letterbox`` keeps the aspect ratio and pads; ``stretch`` fills the input; ``crop`` keeps the
            aspect ratio and shows the middle of the image (classification; schema 2).
        fill: value of the padding in all three channels, 0..255.
        interpolation: OpenCV's name of the filter.
        place: where a letterboxed image lies: in the ``centre``, or at the ``top-left`` with all padding
            to the right and below (schema 2).
        share: of ``crop``: the side of the input as a share of the short side of the resized image, as in
            224 / 256 (schema 2).
    """

    rule: Literal["letterbox", "stretch", "crop"] = "letterbox"
    fill: int = 114
    interpolation: Literal["linear", "area", "cubic"] = "linear"
    place: Literal["centre", "top-left"] = "centre"
    share: float = 1.0


class NmsLimits(msgspec.Struct, frozen=True):
    """The non-maximum suppression in the graph, and the limits within which it is exact.

    Attributes:
        form: ``cluster`` is exact greedy NMS within ``candidates`` boxes and for suppression chains of
            at most ``rounds`` boxes.
        iou_threshold: a box is suppressed by a higher-scoring one of its class above this IoU.
        candidates: how many of the best-scoring boxes, over all classes, enter NMS.
        rounds: fixed-point iterations.
        overlap: what stands for the IoU: that of upright boxes, or of rotated boxes the similarity of their
            Gaussian distributions, ProbIoU (schema 2).
    """

    form: Literal["cluster", "none"]
    iou_threshold: float
    candidates: int
    rounds: int
    overlap: Literal["iou", "probiou"] = "iou"


class MaskForm(msgspec.Struct, frozen=True, kw_only=True):
    """How a model gives the mask of each detection (schema 2).

    A mask is a grid of numbers that :func:`edgevision.postprocess.masks_in_boxes` interpolates; a pixel of
    the object is one above ``threshold``.

    Attributes:
        form: ``prototypes``: a grid over the input is the sum of ``channels`` prototypes, each times a
            coefficient of the detection; ``input``: a grid over the input; ``box``: a grid over the
            detection's box.
        width, height: of the grid, in cells.
        channels: prototypes; 0 for the other forms.
        threshold: 0 for logits, 0.5 for probabilities.
    """

    form: Literal["prototypes", "input", "box"]
    width: int
    height: int
    channels: int = 0
    threshold: float = 0.0


class CalibrationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How an INT8 file was calibrated.

    Attributes:
        method: how the ranges were chosen.
        frames: number of frames that the ranges were measured on.
        frames_sha256: SHA-256 of their pixels.
        float_sha256: ``sha256`` of the FP32 model.
        int8_share: share of the core's convolution work that runs in INT8, 0..1.
        float_layers: convolutions kept in float, as loud ones or by the accuracy gate, named by their output
            tensors.
    """

    method: str
    frames: int
    frames_sha256: str
    float_sha256: str
    int8_share: float
    float_layers: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file declares. ``training_data`` and the model card name the data behind its figures.

    Attributes:
        name: short name of the model.
        task: one of :data:`TASKS`.
        classes: class names; ``labels``, ``class_map`` and ``probabilities`` index into them.
        input_width, input_height: size of the input in pixels.
        resize: how an image becomes the input.
        score_threshold: detections below this score are not in the output (:data:`BOX_TASKS`).
        nms: the suppression inside the graph (:data:`BOX_TASKS`).
        max_detections: fixed length K of the output (:data:`BOX_TASKS`).
        heads: names of the tensors that feed the decoder; quantisation keeps their producers in float.
        colours: RGB of each class (segmentation).
        masks: how masks are given (instance segmentation; schema 2).
        skeleton: what the key points are and which are joined (pose; schema 2).
        multi_label: several classes may hold at once, each with a probability of its own; otherwise one
            class holds and the probabilities sum to 1 (classification; schema 2).
        class_thresholds: the probability from which each of these classes holds, whatever threshold is asked
            for; the others go by that one (``multi_label``; schema 3).
        training_data, licence: what the weights were trained on, and the licence that follows from it.
        figures: measured figures, such as ``ap50_mean``.
        precision: precision of the core, from the normalised input to ``heads``; the rest is always FP32.
        calibration: how an INT8 file was calibrated; None for others.
        ranges: for tensors that convolutions read, the greatest magnitude that int8 held of them in the
            training; empty where it kept none, and in INT8 files.
        sha256: SHA-256 of the file with its metadata cleared; empty until the manifest is written.
        schema: version of this structure; set when it is written.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    input_width: int
    input_height: int
    resize: Resize = Resize()
    score_threshold: float | None = None
    nms: NmsLimits | None = None
    max_detections: int | None = None
    heads: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    masks: MaskForm | None = None
    skeleton: Skeleton | None = None
    multi_label: bool = False
    class_thresholds: dict[str, float] = {}
    training_data: str = ""
    licence: str = ""
    figures: dict[str, float] = {}
    precision: Precision = "fp32"
    calibration: CalibrationFacts | None = None
    ranges: dict[str, float] = {}
    sha256: str = ""
    schema: int = 1

    def needed_schema(self) -> int:
        """The oldest schema that can say what this says: older programs read past what they do not know."""
        if self.class_thresholds:
            return 3
        resize = self.resize
        is_first = (
            self.task in ("detection", "segmentation")
            and (resize.rule, resize.place, resize.share) in _FIRST_RESIZES
            and (self.nms is None or self.nms.overlap == "iou")
            and self.masks is None
            and self.skeleton is None
            and not self.multi_label
        )
        return 1 if is_first else 2

    def within(self, total: int) -> Manifest:
        """The contract of a graph that has ``total`` boxes of an image to choose from (:data:`BOX_TASKS`).

        No more than there are enter suppression, and no more than enter it are answers.

        Raises:
            ValueError: it states no NMS limits or no ``max_detections``.
        """
        if self.nms is None or self.max_detections is None:
            raise ValueError("a detector's manifest states its NMS limits and max_detections")
        nms = msgspec.structs.replace(self.nms, candidates=min(self.nms.candidates, total))
        kept = min(self.max_detections, nms.candidates)
        return msgspec.structs.replace(self, nms=nms, max_detections=kept)

    def problem(self) -> str:
        """What is missing or contradicts itself, for a message; empty where nothing is."""
        if not self.classes or self.input_width <= 0 or self.input_height <= 0:
            return "lacks class names or an input size"
        if self.task in BOX_TASKS and not (self.max_detections and self.max_detections > 0):
            return "lacks max_detections"
        if self.task == "instance-segmentation" and self.masks is None:
            return "lacks masks, the form of its masks"
        if self.masks is not None and (
            min(self.masks.width, self.masks.height) < 1
            or (self.masks.form == "prototypes") != (self.masks.channels > 0)
        ):
            return "has masks of no size, or prototypes without channels"
        if self.task == "pose" and (self.skeleton is None or not self.skeleton.names):
            return "lacks skeleton, the names of its key points"
        if self.resize.rule == "crop" and (self.task != "classification" or not 0 < self.resize.share <= 1):
            return "has a resize of the rule crop, which is for classification and has a share of 0 to 1"
        return self._problem_of_ranges()

    def _problem_of_ranges(self) -> str:
        """A number that no image, score or suppression has; empty where there is none."""
        width, height = self.input_width, self.input_height
        if max(width, height) > _LONGEST_SIDE:
            return f"has an input of {width}x{height} pixels; expected sides of at most {_LONGEST_SIDE}"
        if not 0 <= self.resize.fill <= 255:
            return f"has the fill {self.resize.fill}; expected 0 to 255"
        if not all(0 <= value <= 255 for colour in self.colours for value in colour):
            return "has colours with values outside 0 to 255"
        if self.score_threshold is not None and not 0 <= self.score_threshold <= 1:
            return f"has the score_threshold {self.score_threshold}; expected 0 to 1"
        if problem := self._problem_of_class_thresholds():
            return problem
        nms = self.nms
        if nms is not None and not (0 <= nms.iou_threshold <= 1 and nms.candidates >= 0 and nms.rounds >= 0):
            return "has nms limits that are negative, or an iou_threshold outside 0 to 1"
        return ""

    def _problem_of_class_thresholds(self) -> str:
        if self.class_thresholds and not self.multi_label:
            return "has class_thresholds, which are for several labels an image"
        for name, value in self.class_thresholds.items():
            if name not in self.classes:
                return f"has a class threshold for '{name}', which is none of its classes"
            if not 0 <= value <= 1:
                return f"has the class threshold {value} for '{name}'; expected 0 to 1"
        return ""

    def input_spec(self) -> TensorSpec:
        """``frames`` uint8 ``[N, H, W, 3]``, BGR, already resized by ``resize``."""
        return TensorSpec(INPUT_NAME, np.dtype(np.uint8), (None, self.input_height, self.input_width, 3))

    def output_specs(self) -> tuple[TensorSpec, ...]:
        """The outputs that the contract fixes for this task, in order."""
        if self.task == "segmentation":
            shape = (None, self.input_height, self.input_width)
            return (TensorSpec("class_map", np.dtype(np.uint8), shape),)
        if self.task == "classification":
            return (TensorSpec("probabilities", np.dtype(np.float32), (None, len(self.classes))),)
        k = self.max_detections
        boxes = _float("rotated_boxes", k, 5) if self.task == "obb" else _float("boxes", k, 4)
        found = (
            boxes,
            _float("scores", k),
            TensorSpec("labels", np.dtype(np.int32), (None, k)),
            TensorSpec("count", np.dtype(np.int32), (None,)),
        )
        return found + self._further_specs(k)

    def _further_specs(self, k: int | None) -> tuple[TensorSpec, ...]:
        """What a detection has beyond its box, score and class."""
        if self.task == "pose" and self.skeleton is not None:
            return (_float("keypoints", k, len(self.skeleton.names), 3),)
        if self.task == "instance-segmentation" and self.masks is not None:
            form = self.masks
            if form.form == "prototypes":
                prototypes = _float("prototypes", form.channels, form.height, form.width)
                return (_float("coefficients", k, form.channels), prototypes)
            return (_float("masks", k, form.height, form.width),)
        return ()


_LONGEST_SIDE = 16_384
"""Of an input, in pixels; a larger one is a damaged or hostile file."""

_FIRST_RESIZES = (("letterbox", "centre", 1.0), ("stretch", "centre", 1.0))
"""What schema 1 could say."""


def _float(name: str, *sizes: int | None) -> TensorSpec:
    """float32 ``[N, *sizes]``."""
    return TensorSpec(name, np.dtype(np.float32), (None, *sizes))


def check_contract(
    manifest: Manifest, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], origin: str
) -> None:
    """Checks an engine's inputs and outputs against the manifest.

    Raises:
        ModelError: a tensor is missing or different; the message names each one.
    """
    wrong = _differences((manifest.input_spec(),), inputs) + _differences(manifest.output_specs(), outputs)
    if wrong:
        raise ModelError(f"{origin} does not follow the edgevision contract: {'; '.join(wrong)}")


def _differences(expected: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> list[str]:
    present: Mapping[str, TensorSpec] = {spec.name: spec for spec in found}
    wrong = []
    for spec in expected:
        other = present.get(spec.name)
        if other is None:
            wrong.append(f"expected {spec}, which is missing (found {', '.join(present) or 'none'})")
        elif other.dtype != spec.dtype or not _compatible(spec.shape, other.shape):
            wrong.append(f"expected {spec}, found {other}")
    return wrong


def _compatible(expected: tuple[int | None, ...], found: tuple[int | None, ...]) -> bool:
    if len(expected) != len(found):
        return False
    return all(a is None or b is None or a == b for a, b in zip(expected, found, strict=True))


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of an engine's input or output; None stands for a dynamic size."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join("N" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype.name} [{sizes}]"
