"""The contract between export and runtime, stored in the model file itself.

An exported ONNX file takes frames as OpenCV delivers them and returns final results; its manifest says
what the numbers mean. It is stored as JSON in one ``metadata_props`` entry of the ONNX file, and as
``<plan>.json`` beside a TensorRT plan.

The runtime must read it without the onnx package, and OpenVINO does not expose it, so the file is read field
by field. Field numbers are those of ``ModelProto`` and ``StringStringEntryProto`` in onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from edgevision.errors import ModelError

SCHEMA_VERSION = 1
INPUT_NAME = "frames"

Precision = Literal["fp32", "fp16", "int8", "int8+fp16"]


class Resize(msgspec.Struct, frozen=True):
    """How an image becomes the model's input.

    Attributes:
        rule: ``letterbox`` keeps the aspect ratio and pads; ``stretch`` fills the input.
        fill: value of the padding in all three channels, 0..255.
        interpolation: OpenCV's name of the filter.
        place: where a letterboxed image lies: in the ``centre``, or at the ``top-left`` with all padding
            to the right and below.
    """

    rule: Literal["letterbox", "stretch"] = "letterbox"
    fill: int = 114
    interpolation: Literal["linear", "area", "cubic"] = "linear"
    place: Literal["centre", "top-left"] = "centre"


class NmsLimits(msgspec.Struct, frozen=True):
    """The non-maximum suppression in the graph, and the limits within which it is exact.

    Attributes:
        form: ``cluster`` is exact greedy NMS within ``candidates`` boxes and for suppression chains of
            at most ``rounds`` boxes.
        iou_threshold: a box is suppressed by a higher-scoring one of its class above this IoU.
        candidates: how many of the best-scoring boxes, over all classes, enter NMS.
        rounds: fixed-point iterations.
    """

    form: Literal["cluster", "none"]
    iou_threshold: float
    candidates: int
    rounds: int


class CalibrationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How an INT8 file was calibrated.

    Attributes:
        method: how the ranges were chosen.
        frames: number of frames that the ranges were measured on.
        frames_sha256: SHA-256 of their pixels.
        float_sha256: ``sha256`` of the FP32 model.
        int8_share: share of the core's convolution work that runs in INT8, 0..1.
        float_layers: convolutions that the accuracy gate kept in float, named by their output tensors.
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
        task: ``detection`` or ``segmentation``.
        classes: class names; ``labels`` and ``class_map`` index into them.
        input_width, input_height: size of the input in pixels.
        resize: how an image becomes the input.
        score_threshold: detections below this score are not in the output (detection).
        nms: the suppression inside the graph (detection).
        max_detections: fixed length K of the output (detection).
        heads: names of the tensors that feed the decoder; quantisation keeps their producers in float.
        colours: RGB of each class (segmentation).
        training_data, licence: what the weights were trained on, and the licence that follows from it.
        figures: measured figures, such as ``ap50_mean``.
        precision: precision of the core, from the normalised input to ``heads``; the rest is always FP32.
        calibration: how an INT8 file was calibrated; None for others.
        sha256: SHA-256 of the file with its metadata cleared; empty until the manifest is written.
        schema: version of this structure.
    """

    name: str
    task: Literal["detection", "segmentation"]
    classes: tuple[str, ...]
    input_width: int
    input_height: int
    resize: Resize = Resize()
    score_threshold: float | None = None
    nms: NmsLimits | None = None
    max_detections: int | None = None
    heads: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    training_data: str = ""
    licence: str = ""
    figures: dict[str, float] = {}
    precision: Precision = "fp32"
    calibration: CalibrationFacts | None = None
    sha256: str = ""
    schema: int = SCHEMA_VERSION

    def input_spec(self) -> TensorSpec:
        """``frames`` uint8 ``[N, H, W, 3]``, BGR, already resized by ``resize``."""
        return TensorSpec(INPUT_NAME, np.dtype(np.uint8), (None, self.input_height, self.input_width, 3))

    def output_specs(self) -> tuple[TensorSpec, ...]:
        """The outputs that the contract fixes for this task, in order."""
        if self.task == "segmentation":
            shape = (None, self.input_height, self.input_width)
            return (TensorSpec("class_map", np.dtype(np.uint8), shape),)
        k = self.max_detections
        return (
            TensorSpec("boxes", np.dtype(np.float32), (None, k, 4)),
            TensorSpec("scores", np.dtype(np.float32), (None, k)),
            TensorSpec("labels", np.dtype(np.int32), (None, k)),
            TensorSpec("count", np.dtype(np.int32), (None,)),
        )


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
