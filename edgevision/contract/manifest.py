"""The contract between the workshop and the runtime, written into the model file itself.

An exported ONNX file takes frames as OpenCV gives them and returns final answers; its manifest says
what the numbers mean. It is stored as JSON in one ``metadata_props`` entry of the ONNX file, and as
``<plan>.json`` beside a TensorRT plan.

The runtime must read it without the onnx package, and OpenVINO does not expose it, so the file is read field
by field. Field numbers are those of ``ModelProto`` and ``StringStringEntryProto`` in onnx.proto.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edgevision.contract.protobuf import Buffer, encode_field, fields
from edgevision.errors import ManifestError, ModelError
from edgevision.files import atomic_path
from edgevision.types import TensorSpec

SCHEMA_VERSION = 1
METADATA_KEY = "edgevision"
INPUT_NAME = "frames"

Precision = Literal["fp32", "fp16", "int8", "int8+fp16"]

_METADATA_PROPS = 14
_GRAPH = 7


class Resize(msgspec.Struct, frozen=True):
    """How a picture becomes the model's input.

    Attributes:
        rule: ``letterbox`` keeps the aspect ratio and pads; ``stretch`` fills the input.
        fill: value of the padding in all three channels, 0..255.
        interpolation: OpenCV's name of the filter.
    """

    rule: Literal["letterbox", "stretch"] = "letterbox"
    fill: int = 114
    interpolation: Literal["linear", "area", "cubic"] = "linear"


class NmsLimits(msgspec.Struct, frozen=True):
    """The non-maximum suppression that the graph holds, and where it stops being exact.

    Attributes:
        form: ``cluster`` is exact greedy NMS within ``candidates`` boxes and for suppression chains of
            at most ``rounds`` boxes.
        iou_threshold: a box is suppressed by a better one of its class above this overlap.
        candidates: best-scoring boxes of all classes that enter NMS.
        rounds: fixed-point rounds.
    """

    form: Literal["cluster", "none"]
    iou_threshold: float
    candidates: int
    rounds: int


class CalibrationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How an INT8 file came about.

    Attributes:
        method: how ranges were chosen.
        frames: that the ranges were measured on.
        frames_sha256: of their pixels.
        float_sha256: ``sha256`` of the FP32 model.
        int8_share: of the core's convolution work, 0..1.
        float_layers: convolutions that the accuracy gate kept in float, by their output tensors.
    """

    method: str
    frames: int
    frames_sha256: str
    float_sha256: str
    int8_share: float
    float_layers: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file promises. Figures name their data in ``training_data`` and the model card.

    Attributes:
        name: short name of the model.
        task: ``detection`` or ``segmentation``.
        classes: class names; ``labels`` and ``class_map`` index into them.
        input_width, input_height: size of the input in pixels.
        resize: how a picture becomes the input.
        score_threshold: detections below this score are not in the output (detection).
        nms: the suppression inside the graph (detection).
        max_detections: fixed length K of the output (detection).
        heads: names of the tensors that feed the decoder; quantisation keeps their producers in float.
        colours: RGB of each class (segmentation).
        training_data, licence: what the weights were trained on and what that allows.
        figures: measured figures, such as ``ap50_mean``.
        precision: of the core, between the normalised input and ``heads``; the rest is always FP32.
        calibration: how an INT8 file came about; None for others.
        sha256: of the file with its metadata cleared; empty until the manifest is written.
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


def decode_manifest(text: bytes | str, origin: str) -> Manifest:
    """Parses and checks a manifest.

    Args:
        text: JSON.
        origin: the file it came from, for the message.

    Raises:
        ManifestError: the JSON is malformed, of another schema version, or contradicts itself.
    """
    try:
        found = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ManifestError(
            f"{origin}: its edgevision metadata is malformed ({error}); export it again"
        ) from error
    if found.schema != SCHEMA_VERSION:
        raise ManifestError(
            f"{origin}: metadata schema {found.schema}, but this edgevision reads schema {SCHEMA_VERSION}; "
            "export the model again with this version"
        )
    if not found.classes or found.input_width <= 0 or found.input_height <= 0:
        raise ManifestError(f"{origin}: its metadata lacks class names or an input size; export it again")
    if found.task == "detection" and not (found.max_detections and found.max_detections > 0):
        raise ManifestError(f"{origin}: its metadata lacks max_detections; export it again")
    return found


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Reads the manifest of an ONNX file, or the ``.json`` beside a TensorRT plan.

    Raises:
        ModelError: the file is missing, empty, or not an ONNX model.
        ManifestError: it is an ONNX model, but not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(
            f"model file not found: {path}; check the path or list models with 'edgevision models'"
        )
    if path.suffix in (".engine", ".plan"):
        side = path.with_name(path.name + ".json")
        if not side.is_file():
            raise ManifestError(f"{path}: expected its contract beside it in {side.name}; compile it again")
        try:
            document = msgspec.json.decode(side.read_bytes(), type=dict[str, msgspec.Raw])
        except msgspec.MsgspecError as error:
            raise ManifestError(f"{side}: not JSON ({error}); compile the plan again") from error
        return decode_manifest(bytes(document.get("manifest", msgspec.Raw(b"{}"))), str(side))
    entry = read_onnx_metadata(path).get(METADATA_KEY)
    if entry is None:
        raise ManifestError(
            f"{path}: an ONNX model without edgevision metadata (no '{METADATA_KEY}' in metadata_props); "
            "expected one written by 'edgevision export' or 'edgevision import'"
        )
    return decode_manifest(entry, str(path))


def write_manifest(path: str | os.PathLike[str], manifest: Manifest) -> Manifest:
    """Stores ``manifest`` in an ONNX file, atomically, replacing any that it had.

    Returns:
        The manifest as stored, with ``sha256`` filled in.

    Raises:
        ModelError: the file is not an ONNX model.
    """
    path = Path(path)
    data = path.read_bytes()
    kept = [data[start:end] for field, start, _, end in _onnx_fields(data, path) if field != _METADATA_PROPS]
    others = {key: value for key, value in read_onnx_metadata(path).items() if key != METADATA_KEY}
    digest = hashlib.sha256(b"".join(kept)).hexdigest()
    stored = msgspec.structs.replace(manifest, sha256=digest)
    entries = {**others, METADATA_KEY: msgspec.json.encode(stored).decode()}
    with atomic_path(path) as partial, partial.open("wb") as stream:
        stream.writelines(kept)
        stream.writelines(_encode_entry(key, value) for key, value in entries.items())
    return stored


def content_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of an ONNX file with its metadata cleared, in hexadecimal."""
    path = Path(path)
    digest = hashlib.sha256()
    with _mapped(path) as data:
        for field, start, _, end in _onnx_fields(data, path):
            if field != _METADATA_PROPS:
                digest.update(data[start:end])
    return digest.hexdigest()


def read_onnx_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The ``metadata_props`` of an ONNX file, without the onnx package.

    Raises:
        ModelError: the file is empty or not an ONNX model.
    """
    path = Path(path)
    entries: dict[str, str] = {}
    with _mapped(path) as data:
        for field, _, body, end in _onnx_fields(data, path):
            if field == _METADATA_PROPS:
                try:
                    pair = {number: data[at:stop] for number, _, at, stop in fields(data, body, end)}
                    entries[pair.get(1, b"").decode()] = pair.get(2, b"").decode()
                except (IndexError, ValueError) as error:  # UnicodeDecodeError is a ValueError
                    raise ModelError(f"{path}: its metadata is damaged; copy or export it again") from error
    return entries


def check_contract(
    manifest: Manifest, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], origin: str
) -> None:
    """Holds an engine's inputs and outputs against the manifest.

    Raises:
        ModelError: naming each tensor that is missing or different.
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
            wrong.append(
                f"expected {spec}, found none of that name (found {', '.join(present) or 'nothing'})"
            )
        elif other.dtype != spec.dtype or not _compatible(spec.shape, other.shape):
            wrong.append(f"expected {spec}, found {other}")
    return wrong


def _compatible(expected: tuple[int | None, ...], found: tuple[int | None, ...]) -> bool:
    if len(expected) != len(found):
        return False
    return all(a is None or b is None or a == b for a, b in zip(expected, found, strict=True))


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """A read-only memory map of a file; refuses one that is empty or cannot be read."""
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise ModelError(f"{path}: the file is empty; expected an ONNX model")
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelError(f"cannot read model {path}: {error.strerror}") from error
    with data:
        yield data


def _onnx_fields(data: Buffer, path: Path) -> list[tuple[int, int, int, int]]:
    """Top-level fields of a ``ModelProto``, checked to look like one."""
    try:
        found = list(fields(data, 0, len(data)))
    except (IndexError, ValueError) as error:
        made = "; a checkpoint becomes one by 'edgevision export'" if path.suffix in (".pt", ".pth") else ""
        raise ModelError(f"{path}: not an ONNX model (its bytes are not a protobuf message){made}") from error
    if not any(field == _GRAPH for field, *_ in found):
        raise ModelError(f"{path}: not an ONNX model (no graph in it)")
    return found


def _encode_entry(key: str, value: str) -> bytes:
    return encode_field(_METADATA_PROPS, encode_field(1, key.encode()) + encode_field(2, value.encode()))
