"""A foreign network, brought to our opset, with names of its own and, where it can, any batch size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgevision.contract.model_file import METADATA_KEY, read_onnx_metadata
from edgevision.errors import EdgeVisionError, ExportError, ModelError
from edgevision.export.importers.numbers import check_finite
from edgevision.export.importers.standard import standard
from edgevision.graph.load import load_onnx

_PREFIX = "core/"
_DYNAMIC = "N"


@dataclass(frozen=True, slots=True)
class Tensor:
    """An output: its name in the prefixed graph, its own name, its shape for a batch of one, its type."""

    name: str
    original: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.original} {list(self.shape)}"


@dataclass(frozen=True, slots=True, eq=False)
class Core:
    """A network ready to be wrapped.

    Attributes:
        origin: the file, for messages.
        model: opset 19, every name under ``core/``.
        input: name of its one input, ``[N, 3, height, width]``.
        dtype: float32 or float16, of the input.
        height, width: of the input, in pixels.
        outputs: in the order of the file.
        answers: their values for the probe images, a black, a white and a noise one, joined along the batch.
        batch: the batch size that it takes; None for any.
        metadata: the file's own notes.
    """

    origin: str
    model: onnx.ModelProto
    input: str
    dtype: np.dtype[Any]
    height: int
    width: int
    outputs: tuple[Tensor, ...]
    answers: tuple[NDArray[Any], ...]
    batch: int | None
    metadata: dict[str, str]

    def refuse(self, kind: str, expected: str, hint: str = "") -> ExportError:
        """The error for outputs that are not of this kind: what was found, what was expected, what to do."""
        found = ", ".join(str(output) for output in self.outputs)
        return ExportError(
            f"{self.origin} is not a {kind} model: found outputs {found}; expected {expected}{hint}"
        )


def load_core(path: Path) -> Core:
    """Reads, converts and probes an ONNX file that takes one image tensor.

    Raises:
        ModelError: the file is missing, damaged, or not an ONNX model.
        ExportError: it has other inputs than one image, needs an operator outside the standard, or fails
            when it is run.
    """
    metadata = read_metadata(path)
    model = standard(load_onnx(path), path)
    entry = _image_input(model, path)
    sizes = [size.dim_value or None for size in entry.type.tensor_type.shape.dim]
    declared, _, height, width = sizes
    height, width = height or _noted_size(metadata, 0), width or _noted_size(metadata, 1)
    if height is None or width is None:
        raise ExportError(
            f"{path}: its input {entry.name} has no fixed height and width; export it with a fixed size"
        )
    dtype = helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
    model, batch = _free_batch(model, (declared or 1, 3, height, width), dtype, path)
    answers = _probe(model, (batch or 1, 3, height, width), dtype, path)
    for output, answer in zip(model.graph.output, answers, strict=True):
        check_finite(answer, output.name, str(path))
    prefixed = onnx.compose.add_prefix(model, _PREFIX)
    outputs = tuple(
        Tensor(_PREFIX + output.name, output.name, (1, *answer.shape[1:]), answer.dtype)
        for output, answer in zip(model.graph.output, answers, strict=True)
    )
    return Core(
        origin=str(path),
        model=prefixed,
        input=_PREFIX + entry.name,
        dtype=dtype,
        height=height,
        width=width,
        outputs=outputs,
        answers=tuple(answers),
        batch=batch,
        metadata=metadata,
    )


def read_metadata(path: Path) -> dict[str, str]:
    """The file's own notes; refuses a file that is in the contract already."""
    if not path.is_file():
        raise ModelError(f"model file not found: {path}")
    metadata = read_onnx_metadata(path)
    if METADATA_KEY in metadata:
        raise ExportError(f"{path} is in edgevision's form already; run it as it is")
    return metadata


def _image_input(model: onnx.ModelProto, path: Path) -> onnx.ValueInfoProto:
    inputs: list[onnx.ValueInfoProto] = list(model.graph.input)
    if len(inputs) == 1:
        kind = inputs[0].type.tensor_type
        sizes = [size.dim_value for size in kind.shape.dim]
        floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        if len(sizes) == 4 and sizes[1] == 3 and kind.elem_type in floats:
            return inputs[0]
    found = ", ".join(f"{entry.name} {_shape(entry)}" for entry in inputs) or "none"
    raise ExportError(f"{path}: found inputs {found}; expected one float image [N, 3, H, W]")


def _shape(entry: onnx.ValueInfoProto) -> str:
    dims = entry.type.tensor_type.shape.dim
    return "[" + ", ".join(str(size.dim_value or size.dim_param or "?") for size in dims) + "]"


def _noted_size(metadata: dict[str, str], position: int) -> int | None:
    """Height or width from an ``imgsz`` note such as ``[640, 640]``, where the graph leaves it open."""
    numbers = metadata.get("imgsz", "").strip("[]() ").split(",")
    return int(numbers[position]) if len(numbers) == 2 and numbers[position].strip().isdigit() else None


def _free_batch(
    model: onnx.ModelProto, shape: tuple[int, int, int, int], dtype: np.dtype[Any], path: Path
) -> tuple[onnx.ModelProto, int | None]:
    """The model for any batch size, if that gives the same answers; else as it is, with its batch size.

    Exporters write the batch size into shapes. What is tried is held against the original, so a graph
    that hides the size elsewhere stays as it was.
    """
    fixed = shape[0]
    freed = _with_free_shapes(model, fixed)
    images = np.random.default_rng(0).standard_normal((2 * fixed, *shape[1:])).astype(dtype)
    wanted = [_run(model, images[i : i + fixed], path) for i in (0, fixed)]
    try:
        found = _run(freed, images, path)
    except EdgeVisionError:
        return model, fixed
    half = dtype == np.float16 or any(
        constant.data_type == onnx.TensorProto.FLOAT16 for constant in model.graph.initializer
    )
    tolerance = 2e-2 if half else 1e-3
    same = all(
        len(answer) == 2 * fixed
        and np.allclose(np.concatenate([first, second]), answer, rtol=tolerance, atol=tolerance)
        for answer, first, second in zip(found, *wanted, strict=True)
    )
    return (freed, None) if same else (model, fixed)


def _probe(
    model: onnx.ModelProto, shape: tuple[int, int, int, int], dtype: np.dtype[Any], path: Path
) -> list[NDArray[Any]]:
    """Each output for a black, a white and a noise image of values 0..1, one after the other."""
    noise = np.random.default_rng(0).random(shape[1:])
    images = [np.broadcast_to(image, shape).astype(dtype) for image in (np.zeros(()), np.ones(()), noise)]
    runs = [_run(model, image, path) for image in images]
    if any(answer.shape != first.shape for run in runs for answer, first in zip(run, runs[0], strict=True)):
        raise ExportError(
            f"{path}: the shapes of its outputs depend on the image; export it with a fixed number of boxes"
        )
    return [
        np.concatenate([run[i] for run in runs]) if runs[0][i].ndim else runs[0][i]
        for i in range(len(runs[0]))
    ]


def _with_free_shapes(model: onnx.ModelProto, fixed: int) -> onnx.ModelProto:
    """A copy whose reshapes of images keep the batch as it comes (0 in ONNX's Reshape)."""
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    graph = freed.graph
    shapes = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            shapes[node.output[0]] = node.attribute[0].t
    # A reshape of a constant has no batch in it.
    moving = {entry.name for entry in graph.input}
    for position, node in enumerate(graph.node):
        if not moving.intersection(node.input):
            continue
        moving.update(node.output)
        if node.op_type != "Reshape" or node.input[1] not in shapes:
            continue
        sizes = numpy_helper.to_array(shapes[node.input[1]]).copy()
        if sizes.size > 1 and sizes[0] == fixed:
            sizes[0] = 0
            node.input[1] = f"free_batch_{position}"
            graph.initializer.append(numpy_helper.from_array(sizes, node.input[1]))
    for entry in (*graph.input, *graph.output):
        if entry.type.tensor_type.shape.dim:
            entry.type.tensor_type.shape.dim[0].dim_param = _DYNAMIC
    graph.ClearField("value_info")
    return freed


def _run(model: onnx.ModelProto, images: NDArray[Any], path: Path) -> list[NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        answers: list[NDArray[Any]] = session.run(None, {model.graph.input[0].name: images})
    except Exception as error:  # ONNX Runtime's errors share no base class below Exception
        text = " ".join(str(error).split())[:200]
        raise ExportError(f"{path}: ONNX Runtime cannot run it ({text})") from error
    return answers
