"""A foreign network ready to be read: our opset, own names, one image input, answers to probe images.

What a file takes differs: channels first or last, with or without a batch, float or uint8, with a second
input
that tells the size of the image. All of that is brought here into one form, so that a family's reader looks
at
outputs only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.contract.foreign import export_advice
from edgevision.contract.model_file import METADATA_KEY, read_onnx_metadata
from edgevision.errors import EdgeVisionError, ExportError, ModelError
from edgevision.export.importers.ends import NmsEnd, cut, cut_plugin, lowered, suppresses
from edgevision.export.importers.numbers import check_finite
from edgevision.export.importers.standard import standard
from edgevision.graph.load import load_onnx
from edgevision.graph.network import subgraphs

Layout = Literal["NCHW", "NHWC", "CHW", "HWC"]
Size = tuple[int, int]
"""Height and width."""

ASSUMED_SIZE: Size = (640, 640)
"""What a graph of any size is probed with until its family says better."""

PREFIX = "core/"
"""Put before every name of the network."""
_DYNAMIC = "N"
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


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
    entry, layout = _image_input(model, path)
    dtype = helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
    dims = [dim.dim_value or None for dim in entry.type.tensor_type.shape.dim]
    rows = layout.index("H")
    declared = dims[0] if "N" in layout else 1
    (height, width), assumed = _size(path, dims[rows], dims[rows + 1], metadata, size)
    name = entry.name
    folded = _fold_inputs(model, name, declared or 1, (height, width), path)
    _fix_input(model, layout, declared, (height, width))
    model, batch, session = _free_batch(model, layout, declared, (height, width), dtype, path)
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


def _image_input(model: onnx.ModelProto, path: Path) -> tuple[onnx.ValueInfoProto, Layout]:
    """The input that takes the image, and the order of its axes.

    Raises:
        ExportError: there is none, or more than one.
    """
    found = [(entry, layout) for entry in model.graph.input if (layout := _layout(entry)) is not None]
    if len(found) == 1:
        return found[0]
    inputs = ", ".join(f"{entry.name} {_shape(entry)}" for entry in model.graph.input) or "none"
    raise ExportError(
        f"{path}: found inputs {inputs}; expected one image of three channels, float or uint8: [N, 3, H, W], "
        "[N, H, W, 3] or [3, H, W]"
    )


def _layout(entry: onnx.ValueInfoProto) -> Layout | None:
    """Whether an input is an image of three channels, and in which order its axes are."""
    kind = entry.type.tensor_type
    if kind.elem_type not in (*_FLOATS, TensorProto.UINT8):
        return None
    sizes = [dim.dim_value or None for dim in kind.shape.dim]
    names = {3: ("CHW", "HWC"), 4: ("NCHW", "NHWC")}.get(len(sizes))
    if names is None:
        return None
    first, last = sizes[-3], sizes[-1]
    if first == 3 or (first is None and last != 3):
        return names[0]  # type: ignore[return-value]  # the table's own strings
    return names[1] if last == 3 else None  # type: ignore[return-value]


def _shape(entry: onnx.ValueInfoProto) -> str:
    dims = entry.type.tensor_type.shape.dim
    return "[" + ", ".join(str(size.dim_value or size.dim_param or "?") for size in dims) + "]"


def _size(
    path: Path, height: int | None, width: int | None, metadata: Mapping[str, str], wanted: Size | None
) -> tuple[Size, bool]:
    """The size of the input, and whether it is only assumed.

    Raises:
        ExportError: the graph has a fixed size and another is wanted.
    """
    if height and width:
        if wanted not in (None, (height, width)):
            raise ExportError(
                f"{path}: its input is fixed to {width}x{height}, so `size` cannot be "
                f"{wanted[1]}x{wanted[0]}; "
                "export it with a dynamic size or leave `size` out"
            )
        return (height, width), False
    noted = _noted_size(metadata)
    known = wanted or noted or ASSUMED_SIZE
    return (height or known[0], width or known[1]), wanted is None and noted is None


def _noted_size(metadata: Mapping[str, str]) -> Size | None:
    """The size in an ``imgsz`` note: ``[640, 640]``, height first, or one number for both."""
    numbers = [number.strip() for number in metadata.get("imgsz", "").strip("[]() ").split(",")]
    if not all(number.isdecimal() and int(number) for number in numbers) or len(numbers) > 2:
        return None
    return int(numbers[0]), int(numbers[-1])


def _fold_inputs(
    model: onnx.ModelProto, image: str, batch: int, size: Size, path: Path
) -> dict[str, NDArray[Any]]:
    """Makes constants of the inputs that tell the size of the image: it is that of the network's input.

    Boxes then come back in pixels of the input, which the runtime takes back to the image.

    Raises:
        ExportError: an input means something else.
    """
    height, width = size
    known: dict[str, NDArray[Any]] = {
        "orig_target_sizes": np.array([[width, height]]),
        "orig_sizes": np.array([[width, height]]),
        "im_shape": np.array([[height, width]]),
        "image_shape": np.array([[height, width]]),
        "scale_factor": np.ones((1, 2)),
        "pixel_mask": np.ones((1, height, width)),
    }
    folded = {}
    for entry in [entry for entry in model.graph.input if entry.name != image]:
        kind, value = entry.type.tensor_type, known.get(entry.name)
        rank = len(kind.shape.dim)
        if value is None or rank != value.ndim:
            names = ", ".join(f"{one.name} {_shape(one)}" for one in model.graph.input)
            raise ExportError(
                f"{path}: found inputs {names}; {entry.name} is not known. Expected one image, and beside "
                "it at "
                f"most {', '.join(known)}; export it with the image as the only input"
            )
        value = np.repeat(value, batch, axis=0).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
        model.graph.initializer.append(numpy_helper.from_array(value, entry.name))
        model.graph.input.remove(entry)
        folded[entry.name] = value
    return folded


def _fix_input(model: onnx.ModelProto, layout: Layout, batch: int | None, size: Size) -> None:
    """Writes the sizes that the graph leaves open into its input."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for axis, dim in zip(layout, dims, strict=True):
        known = {"C": 3, "H": size[0], "W": size[1], "N": batch}[axis]
        if known:
            dim.dim_value = known
    model.graph.ClearField("value_info")


def _image_shape(layout: Layout, batch: int, height: int, width: int) -> tuple[int, ...]:
    sizes = {"N": batch, "C": 3, "H": height, "W": width}
    return tuple(sizes[axis] for axis in layout)


def probe_images(
    layout: Layout, sizes: tuple[int, int, int], dtype: np.dtype[Any]
) -> dict[str, NDArray[Any]]:
    """Black, white, noise and a third of the noise, each the same for all images of the batch.

    ``sizes``: of the batch, height and width.
    """
    batch, height, width = sizes
    noise = np.random.default_rng(0).random((3, height, width))
    peak = 255 if dtype == np.uint8 else 1
    made = {}
    for name, image in {
        "black": np.zeros_like(noise),
        "white": np.ones_like(noise),
        "noise": noise,
        "dim": noise / 3,
    }.items():
        values = image if "C" in layout[:2] else image.transpose(1, 2, 0)
        shape = _image_shape(layout, batch, height, width)
        made[name] = np.ascontiguousarray(np.broadcast_to(values * peak, shape)).astype(dtype)
    return made


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
        counted = bool(_COUNTED & set(_makers(model))) and 0 < noise.ndim < 3
        varies = len(shapes) > 1 or (counted and not (rows and rows[0].dim_value))
        shape = noise.shape if varies or not noise.ndim else (1, *noise.shape[1:])
        found.append(Tensor(PREFIX + output.name, output.name, shape, noise.dtype, varies))
    return tuple(found)


_COUNTED = {"NonMaxSuppression", "NonZero"}
"""Operators that answer as many rows as they find."""


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


def _makers(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


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


def _free_batch(
    model: onnx.ModelProto,
    layout: Layout,
    declared: int | None,
    size: Size,
    dtype: np.dtype[Any],
    path: Path,
) -> tuple[onnx.ModelProto, int | None, Session]:
    """The model for any batch size if that gives the same answers, else as it is; its batch; what runs it.

    Exporters write the batch size into shapes. What is tried is held against the original, so a graph
    that hides the size elsewhere stays as it was.
    """
    if "N" not in layout or _COUNTED & set(_makers(model)):
        return model, declared or 1, Session(model, path)
    fixed = declared or 1
    shape = _image_shape(layout, 2 * fixed, *size)
    values = np.random.default_rng(0).standard_normal(shape)
    images = (np.abs(values) * 80 if dtype == np.uint8 else values).astype(dtype)
    original = Session(model, path)
    wanted = [original(images[i : i + fixed]) for i in (0, fixed)]
    half = dtype == np.float16 or any(
        constant.data_type == TensorProto.FLOAT16 for constant in model.graph.initializer
    )
    # Opening a session is half of an import's time at 3,000 nodes, and an open batch needs no other one.
    for reshapes in (False, True) if declared is None else (True,):
        freed = _with_free_shapes(model, fixed, reshapes=reshapes)
        try:
            session = Session(freed, path) if reshapes else original
            found = session(images)
        except EdgeVisionError:
            continue
        if all(
            _same(np.concatenate([first, second]) if first.ndim else first, answer, 2e-2 if half else 1e-3)
            for answer, first, second in zip(found, *wanted, strict=True)
        ):
            return freed, None, session
    return model, fixed, original


def _same(wanted: NDArray[Any], found: NDArray[Any], tolerance: float) -> bool:
    return (
        wanted.ndim > 0
        and wanted.shape == found.shape
        and np.allclose(wanted, found, rtol=tolerance, atol=tolerance)
    )


def _with_free_shapes(model: onnx.ModelProto, fixed: int, *, reshapes: bool) -> onnx.ModelProto:
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
    for position, node in enumerate(graph.node if reshapes else ()):
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


class Session:
    """ONNX Runtime on one model; ``session(images)`` gives its outputs."""

    def __init__(self, model: onnx.ModelProto, path: Path) -> None:
        self._path, self._name = path, model.graph.input[0].name
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no base class below Exception
            raise self._error(error) from error

    def __call__(self, images: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        try:
            return tuple(self._session.run(None, {self._name: images}))
        except Exception as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> ExportError:
        text = " ".join(str(error).split())[:200]
        return ExportError(f"{self._path}: ONNX Runtime cannot run it ({text})")
