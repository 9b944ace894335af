"""A network in ncnn's files as plain ONNX, for 'edgevision import'.

    .venv/bin/python tools/ncnn_to_onnx.py nanodet-plus-m_416.param --size 416 --out nanodet.onnx

ncnn files (``.param`` and ``.bin``) are made from ONNX, and nothing goes back. This reads networks of
convolutions, max pooling, channel shuffles, slices, enlargement, sums and reshapes, as NanoDet-Plus and its
like are made of; any other layer is refused by name. Layers and their parameters are those of ncnn's wiki,
"operation param weight table".
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from needed import installed

with installed():
    import numpy as np
    import onnx
    from numpy.typing import NDArray
    from onnx import TensorProto, helper

    from edgevision.errors import EdgeVisionError, ExportError
    from edgevision.files import atomic_path
    from edgevision.graph.builder import GraphBuilder

_MAGIC = "7767517"
_HALF, _RAW = 0x01306B47, (0, 0x0002C056)  # what stands before a layer's weights: FP16, or FP32
_OPSET = 17
_ACTIVATIONS = ("", "Relu", "LeakyRelu", "Clip", "Sigmoid")


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of a ``.param`` file: its kind and name, the blobs that it takes and makes, its parameters."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: dict[int, list[float]]

    def number(self, key: int, default: float = 0) -> int:
        return int(self.params.get(key, [default])[0])

    def numbers(self, key: int) -> list[int]:
        return [int(value) for value in self.params.get(key, [])]


class Weights:
    """A ``.bin`` file, read from the start on."""

    def __init__(self, content: bytes, path: Path) -> None:
        self._content, self._path, self._at = content, path, 0

    def tagged(self, count: int) -> NDArray[np.float32]:
        """The next ``count`` numbers, of the type that stands before them."""
        (tag,) = self._take(1, np.uint32)
        if tag == _HALF:
            values = self._take(count, np.float16).astype(np.float32)
            self._at += -self._at % 4
            return values
        if tag not in _RAW:
            raise ExportError(f"{self._path}: weights of type {tag:#x}; expected FP32 or FP16")
        return self._take(count, np.float32)

    def plain(self, count: int) -> NDArray[np.float32]:
        """The next ``count`` numbers in FP32."""
        return self._take(count, np.float32)

    def check_end(self) -> None:
        """Raises :class:`ExportError` where bytes are left: then a layer was read wrongly."""
        left = len(self._content) - self._at
        if left:
            raise ExportError(f"{self._path}: {left} bytes are left after the last layer; is it this net's?")

    def _take(self, count: int, kind: Any) -> NDArray[Any]:
        size = count * np.dtype(kind).itemsize
        found = self._content[self._at : self._at + size]
        if len(found) < size:
            raise ExportError(f"{self._path} ends early: it is cut off, or not this net's")
        self._at += size
        return np.frombuffer(found, kind)


def read_layers(path: Path) -> list[Layer]:
    """The layers of a ``.param`` file, each after those that it takes.

    Raises:
        ExportError: the file is missing or of another kind.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"cannot read {path}: {error}") from error
    if len(lines) < 3 or lines[0].strip() != _MAGIC:
        raise ExportError(f"{path} is not an ncnn .param file: expected {_MAGIC} in its first line")
    try:
        return [_layer(line.split()) for line in lines[2:] if line.strip()]
    except (ValueError, IndexError) as error:
        raise ExportError(f"{path}: a line of it is no layer ({error})") from error


def _layer(words: list[str]) -> Layer:
    taken, made = int(words[2]), int(words[3])
    blobs = words[4 : 4 + taken + made]
    params: dict[int, list[float]] = {}
    for word in words[4 + taken + made :]:
        key, _, text = word.partition("=")
        values = [float(value) for value in text.split(",")]
        # An array has -23300 less its key for a key, and its length before its values.
        params[int(key) if int(key) > -23300 else -int(key) - 23300] = (
            values if int(key) > -23300 else values[1:]
        )
    return Layer(words[0], words[1], tuple(blobs[:taken]), tuple(blobs[taken:]), params)


def build_network(layers: list[Layer], weights: Weights, size: int) -> onnx.ModelProto:
    """The network for square inputs: float ``[1, 3, size, size]`` to what its last layer makes.

    Raises:
        ExportError: a layer is of an unknown kind, or the weights are not those of the layers.
    """
    g = GraphBuilder("ncnn/")
    names: dict[str, str] = {}
    taken = {blob for layer in layers for blob in layer.inputs}
    for layer in layers:
        lacking = [blob for blob in layer.inputs if blob not in names]
        if lacking:
            raise ExportError(f"layer {layer.name} takes {lacking[0]}, which no layer before it makes")
        inputs = [names[blob] for blob in layer.inputs]
        if layer.kind == "Input":
            names[layer.outputs[0]] = layer.outputs[0]
        elif layer.kind == "Split":
            names.update((blob, inputs[0]) for blob in layer.outputs)
        elif layer.kind == "Slice":
            parts = _slices(layer)
            names.update(
                (blob, _cut(g, inputs[0], start, end, layer.number(1)))
                for blob, (start, end) in zip(layer.outputs, parts, strict=True)
            )
        else:
            names[layer.outputs[0]] = _node(g, layer, inputs, weights)
    weights.check_end()
    ends = [blob for layer in layers for blob in layer.outputs if blob not in taken]
    for blob in ends:
        g("Identity", names[blob], out=blob)
    entry = next(layer.outputs[0] for layer in layers if layer.kind == "Input")
    graph = helper.make_graph(
        g.nodes,
        "ncnn",
        [helper.make_tensor_value_info(entry, TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(blob, TensorProto.FLOAT, None) for blob in ends],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(f"the layers do not fit an input of {size}x{size} ({error})") from error


def _slices(layer: Layer) -> list[tuple[int, int]]:
    """Start and end of each part; a length of -233 is an equal share of what is left."""
    lengths, parts, start = layer.numbers(0), [], 0
    for position, length in enumerate(lengths):
        last = position == len(lengths) - 1
        if length < 0 and not last:
            raise ExportError(f"layer {layer.name}: expected the length of every slice but the last")
        end = 2**31 - 1 if last else start + length
        parts.append((start, end))
        start = end
    return parts


def _cut(g: GraphBuilder, data: str, start: int, end: int, axis: int) -> str:
    # ncnn has no axis of images: its axis 0 is the second.
    return g("Slice", data, g.ints(start), g.ints(end), g.ints(axis + 1))


def _node(g: GraphBuilder, layer: Layer, inputs: list[str], weights: Weights) -> str:
    """One layer that makes one blob."""
    if layer.kind in ("Convolution", "ConvolutionDepthWise"):
        return _convolution(g, layer, inputs[0], weights)
    if layer.kind == "Pooling" and not layer.number(0) and not layer.number(4):
        return g(
            "MaxPool",
            inputs[0],
            kernel_shape=[layer.number(1)] * 2,
            strides=[layer.number(2, 1)] * 2,
            pads=[layer.number(3)] * 4,
            ceil_mode=int(layer.number(5) == 0),
        )
    if layer.kind == "Concat":
        return g("Concat", *inputs, axis=layer.number(0) + 1)
    if layer.kind == "ShuffleChannel" and not layer.number(1):
        groups = layer.number(0, 1)
        rows = g("Reshape", inputs[0], g.ints(0, 0, 1, -1))  # 0 keeps an axis as it is
        mixed = g("Transpose", g("Reshape", rows, g.ints(0, groups, -1, 0)), perm=[0, 2, 1, 3])
        return g("Reshape", mixed, g("Shape", inputs[0]))
    if layer.kind == "Crop" and len(layer.numbers(9)) == len(layer.numbers(11)) == 1:
        return _cut(g, inputs[0], layer.numbers(9)[0], layer.numbers(10)[0], layer.numbers(11)[0])
    if layer.kind == "Interp" and layer.number(0) in (1, 2) and not layer.number(6):
        factors = g.constant([1, 1, layer.params[1][0], layer.params[2][0]], np.float32)
        mode = {1: "nearest", 2: "linear"}[layer.number(0)]
        place = {1: "asymmetric", 2: "half_pixel"}[layer.number(0)]
        rounding = {"nearest_mode": "floor"} if mode == "nearest" else {}
        return g(
            "Resize", inputs[0], "", factors, mode=mode, coordinate_transformation_mode=place, **rounding
        )
    if layer.kind == "BinaryOp" and not layer.number(0) and len(inputs) == 2:
        return g("Add", *inputs)
    if layer.kind == "Sigmoid":
        return g("Sigmoid", inputs[0])
    if layer.kind == "Reshape" and set(layer.params) == {0, 1}:
        return g("Reshape", inputs[0], g.ints(1, layer.number(1), layer.number(0)))
    if layer.kind == "Permute" and layer.number(0) == 1:
        return g("Transpose", inputs[0], perm=[0, 2, 1])
    raise ExportError(f"layer {layer.name} is a {layer.kind} of a form that this tool does not know")


def _convolution(g: GraphBuilder, layer: Layer, data: str, weights: Weights) -> str:
    """A convolution, alone or by groups, with what is applied to its sums."""
    filters, width, groups = layer.number(0), layer.number(1), layer.number(7, 1)
    height = layer.number(11, width)
    kernel = weights.tagged(layer.number(6)).reshape(filters, -1, height, width)
    inputs = [data, g.constant(kernel, np.float32)]
    if layer.number(5):
        inputs.append(g.constant(weights.plain(filters), np.float32))
    pad, dilation, stride = layer.number(4), layer.number(2, 1), layer.number(3, 1)
    if pad < 0:
        raise ExportError(f"layer {layer.name}: padding of kind {pad}; expected a number of pixels")
    sums = g(
        "Conv",
        *inputs,
        group=groups,
        strides=[stride] * 2,
        dilations=[dilation] * 2,
        pads=[pad] * 4,
    )
    activation = layer.number(9)
    if not activation:
        return sums
    if activation >= len(_ACTIVATIONS):
        raise ExportError(f"layer {layer.name}: activation {activation}, which this tool does not know")
    kind, values = _ACTIVATIONS[activation], layer.params.get(10, [])
    if kind == "LeakyRelu":
        return g(kind, sums, alpha=values[0])
    if kind == "Clip":
        return g(kind, sums, *(g.constant(value, np.float32) for value in values))
    return g(kind, sums)


def convert(path: Path, size: int, out: Path) -> onnx.ModelProto:
    """Writes the ONNX file; the weights lie beside ``path``.

    Raises:
        ExportError: the files cannot be read, or hold what this tool does not know.
        SinkError: the file cannot be written.
    """
    layers = read_layers(path)
    stored = path.with_suffix(".bin")
    try:
        weights = Weights(stored.read_bytes(), stored)
    except OSError as error:
        raise ExportError(f"cannot read the weights beside {path}: {error}") from error
    model = build_network(layers, weights, size)
    with atomic_path(out) as partial:
        partial.write_bytes(model.SerializeToString())
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="the .param file; its .bin lies beside it")
    parser.add_argument("--size", type=int, default=416, help="sides of the square input, in pixels")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    options = parser.parse_args()
    try:
        model = convert(options.file, options.size, options.out)
    except EdgeVisionError as error:
        raise SystemExit(f"error: {error}") from error
    shapes = [[dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in model.graph.output]
    print(f"{options.out}: input {options.size}x{options.size}, outputs {shapes}")  # noqa: T201


if __name__ == "__main__":
    main()
