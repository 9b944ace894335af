"""A foreign network ready to be read: our opset, own names, one image input, answers to probe images.

What a file takes differs: channels first or last, with or without a batch, float or uint8, with a second
input that tells the size of the image. All of that is brought here into one form, so that a family's reader
looks at outputs only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.contract.foreign import export_advice
from edgevision.contract.model_file import METADATA_KEY, read_onnx_metadata
from edgevision.errors import ExportError, ModelError
from edgevision.export.importers.batches import counts_rows, free_batch
from edgevision.export.importers.ends import NmsEnd, cut, cut_plugin, lowered, suppresses
from edgevision.export.importers.inputs import Layout, Size, fix_input, fold_inputs, image_input, input_size
from edgevision.export.importers.numbers import check_finite
from edgevision.export.importers.probing import Session, probe_images
from edgevision.export.importers.standard import standard
from edgevision.graph.load import load_onnx
from edgevision.graph.network import subgraphs

PREFIX = "core/"
"""Put before every name of the network."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An output: its name in the prefixed graph, its own name, its shape for a batch of one, its type.

    ``varies`` says that its length differs from image to image; ``shape`` is then that of the noise image.
    """

    name: str
    original: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    varies: bool = False

    def __str__(self) -> str:
        sizes = list(self.shape)
        return f"{self.original} {'[n, ' + str(sizes[1:])[1:] if self.varies else sizes}"


@dataclass(frozen=True, slots=True, eq=False)
class Core:
    """A network ready to be wrapped.

    Attributes:
        origin: the file, for messages.
        model: opset 19, every name under ``core/``.
        input: name of its one image input.
        layout: order of that input's axes.
        dtype: its element type.
        height, width: of the input, in pixels.
        outputs: in the order of the file.
        probes: the outputs for each probe image: ``black``, ``white``, ``noise`` and ``dim`` (a third of
            the noise); of values 0..1, or 0..255 where the input is uint8.
        batch: the batch size that it takes; None for any.
        metadata: the file's own notes.
        operators: of the graph.
        folded: second inputs that became constants, and their values.
        any_size: whether the graph leaves height or width open.
        assumed_size: whether it does, and neither notes nor the user say which.
        end: what a suppression that was cut off says.
        stem: height of the kernel of the first convolution on the image; None where there is none.
        precision: that of the weights.
    """

    origin: str
    model: onnx.ModelProto
    input: str
    layout: Layout
    dtype: np.dtype[Any]
    height: int
    width: int
    outputs: tuple[Tensor, ...]
    probes: Mapping[str, tuple[NDArray[Any], ...]]
    batch: int | None
    metadata: Mapping[str, str]
    operators: frozenset[str] = frozenset()
    folded: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    any_size: bool = False
    assumed_size: bool = False
    end: NmsEnd | None = None
    stem: int | None = None
    precision: Literal["fp32", "fp16", "int8", "int8+fp16"] = "fp32"

    def answers(self, output: int) -> NDArray[np.float64]:
        """An output's values for all probe images, joined along its first axis."""
        return np.concatenate([np.atleast_1d(run[output]) for run in self.probes.values()]).astype(np.float64)

    def noise(self, output: int) -> NDArray[np.float64]:
        """An output's values for one noise image, without the batch."""
        values = np.asarray(self.probes["noise"][output], np.float64)
        return values[0] if len(values) and not self.outputs[output].varies else values

    def refuse(self, kind: str, expected: str, hint: str = "") -> ExportError:
        """The error for outputs that are not of this kind: what was found, what was expected, what to do."""
        found = ", ".join(str(output) for output in self.outputs)
        return ExportError(
            f"{self.origin} is not a {kind} model: found outputs {found}; expected {expected}{hint}"
        )

    def within(self, probe: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Values of tensors inside the graph, by name, for one probe image."""
        model = (
            lowered(self.model)[0]
            if suppresses(self.model)
            else onnx.ModelProto.FromString(self.model.SerializeToString())
        )
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        images = probe_images(self.layout, (self.batch or 1, self.height, self.width), self.dtype)
        return dict(zip(names, Session(model, Path(self.origin))(images[probe]), strict=True))

    def with_folded(self, name: str, value: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """The outputs for the noise image with another value of a second input."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for constant in model.graph.initializer:
            if constant.name == PREFIX + name:
                constant.CopyFrom(numpy_helper.from_array(value, constant.name))
        model = lowered(model)[0] if suppresses(model) else model
        return Session(model, Path(self.origin))(
            probe_images(self.layout, (self.batch or 1, self.height, self.width), self.dtype)["noise"]
        )


def load_core(path: Path, size: Size | None = None, ends: Sequence[str] = ()) -> Core:
    """Reads, converts and probes an ONNX file that takes one image.

    Where suppression is inside, its limits are lowered for the probe images.

    Args:
        path: the file.
        size: height and width, where the graph leaves them open.
        ends: tensors that become its outputs, in place of its own.

    Raises:
        ModelError: the file is missing, damaged, or not an ONNX model.
        ExportError: it has inputs that are not known, needs an operator outside the standard, or fails when
            it is run.
    """
    metadata = read_metadata(path)
    loaded = load_onnx(path)
    end = cut_plugin(loaded, str(path))
    model = standard(loaded, path)
    if ends:
        model = cut(model, ends)
    entry, layout = image_input(model, path)
    dtype = helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
    dims = [dim.dim_value or None for dim in entry.type.tensor_type.shape.dim]
    rows = layout.index("H")
    declared = dims[0] if "N" in layout else 1
    (height, width), assumed = input_size(path, dims[rows], dims[rows + 1], metadata, size)
    name = entry.name
    folded = fold_inputs(model, name, declared or 1, (height, width), path)
    fix_input(model, layout, declared, (height, width))
    model, batch, session = free_batch(model, layout, declared, (height, width), dtype, path)
    images = probe_images(layout, (batch or 1, height, width), dtype)
    asked = Session(lowered(model)[0], path) if suppresses(model) else session
    probes = {key: asked(value) for key, value in images.items()}
    for output, answer in zip(model.graph.output, probes["noise"], strict=True):
        if not output.type.tensor_type.elem_type:
            output.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(answer.dtype)
    if batch == 1:
        probes = _squeeze_varying(model, probes)
    for run in probes.values():
        for output, answer in zip(model.graph.output, run, strict=True):
            check_finite(answer, output.name, str(path))
    outputs = _outputs(model, probes, path)
    prefixed = onnx.ModelProto()
    prefixed.CopyFrom(model)
    _add_prefix(prefixed.graph)
    return Core(
        origin=str(path),
        model=prefixed,
        input=PREFIX + name,
        layout=layout,
        dtype=dtype,
        height=height,
        width=width,
        outputs=outputs,
        probes=probes,
        batch=batch,
        metadata=metadata,
        operators=frozenset(node.op_type for node in model.graph.node),
        folded=folded,
        any_size=not all(dims[rows : rows + 2]),
        assumed_size=assumed,
        end=end,
        stem=_stem(model, name),
        precision=_precision(model),
    )


def _add_prefix(graph: onnx.GraphProto) -> None:
    """Puts the prefix before every name, in place, in subgraphs too.

    ``onnx.compose.add_prefix`` leaves what subgraphs read from outside as it was.
    """
    for node in graph.node:
        node.name = node.name and PREFIX + node.name
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                names[position] = PREFIX + name if name else ""
        for inner in subgraphs(node):
            _add_prefix(inner)
    for entry in (*graph.input, *graph.output, *graph.initializer):
        entry.name = PREFIX + entry.name
    graph.ClearField("value_info")


def read_metadata(path: Path) -> dict[str, str]:
    """The file's own notes; refuses a file that is in the contract already."""
    if path.is_dir():
        advice = export_advice(path)
        raise ModelError(f"{path} is a folder; {f'it is {advice}' if advice else 'expected an ONNX file'}")
    if not path.is_file():
        raise ModelError(f"model file not found: {path}")
    metadata = read_onnx_metadata(path)
    if METADATA_KEY in metadata:
        raise ExportError(
            f"{path} is in edgevision's form already; run it as it is, or change `min_score`, `iou`, "
            "`candidates` or `several_classes`"
        )
    return metadata


def _outputs(
    model: onnx.ModelProto, probes: Mapping[str, tuple[NDArray[Any], ...]], path: Path
) -> tuple[Tensor, ...]:
    """What the outputs look like.

    Raises:
        ExportError: the number of axes of one depends on the image.
    """
    found = []
    for position, output in enumerate(model.graph.output):
        shapes = {run[position].shape for run in probes.values()}
        noise = probes["noise"][position]
        if len({len(shape) for shape in shapes}) > 1 or len({shape[1:] for shape in shapes}) > 1:
            raise ExportError(
                f"{path}: the shapes of its outputs depend on the image; export it with a fixed number of "
                "boxes"
            )
        rows = output.type.tensor_type.shape.dim
        counted = counts_rows(model) and 0 < noise.ndim < 3
        varies = len(shapes) > 1 or (counted and not (rows and rows[0].dim_value))
        shape = noise.shape if varies or not noise.ndim else (1, *noise.shape[1:])
        found.append(Tensor(PREFIX + output.name, output.name, shape, noise.dtype, varies))
    return tuple(found)


def _squeeze_varying(
    model: onnx.ModelProto, probes: Mapping[str, tuple[NDArray[Any], ...]]
) -> dict[str, tuple[NDArray[Any], ...]]:
    """Takes the batch of one off outputs ``[1, n, ...]`` whose n depends on the image, in place."""
    runs = {key: list(run) for key, run in probes.items()}
    for position, output in enumerate(model.graph.output):
        shapes = {run[position].shape for run in probes.values()}
        if len({shape[1:2] for shape in shapes}) < 2 or any(shape[:1] != (1,) for shape in shapes):
            continue
        name = f"{output.name}/rows"
        axis = numpy_helper.from_array(np.array([0]), f"{name}/axis")
        model.graph.initializer.append(axis)
        model.graph.node.append(helper.make_node("Squeeze", [output.name, axis.name], [name], name=name))
        value = helper.make_tensor_value_info(name, output.type.tensor_type.elem_type, None)
        output.CopyFrom(value)
        for run in runs.values():
            run[position] = run[position][0]
    return {key: tuple(run) for key, run in runs.items()}


def _stem(model: onnx.ModelProto, image: str) -> int | None:
    """Height of the kernel of the first convolution that the image reaches."""
    weights = {constant.name: constant.dims for constant in model.graph.initializer}
    reached = {image}
    for node in model.graph.node:
        if reached.intersection(node.input):
            if node.op_type == "Conv":
                given = [list(entry.ints) for entry in node.attribute if entry.name == "kernel_shape"]
                return given[0][0] if given else next(iter(weights.get(node.input[1], [0, 0, 0])[2:3]), None)
            reached.update(node.output)
    return None


def _precision(model: onnx.ModelProto) -> Literal["fp32", "fp16", "int8", "int8+fp16"]:
    """What the weights are held in: where Q/DQ pairs stand, INT8; half of the numbers in FP16 is FP16."""
    counts: dict[int, int] = {}
    for constant in model.graph.initializer:
        counts[constant.data_type] = counts.get(constant.data_type, 0) + int(np.prod(constant.dims))
    half = counts.get(TensorProto.FLOAT16, 0) > counts.get(TensorProto.FLOAT, 0)
    if any(
        node.op_type in ("QuantizeLinear", "DequantizeLinear", "QLinearConv") for node in model.graph.node
    ):
        return "int8+fp16" if half else "int8"
    return "fp16" if half else "fp32"
