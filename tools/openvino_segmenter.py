"""A road segmenter of OpenVINO's Open Model Zoo as an ONNX file of ours, to label images with.

    .venv/bin/python tools/openvino_segmenter.py road-segmentation-adas-0001.xml \\
        --classes background,road,curb,mark --licence Apache-2.0 --out teacher.onnx

OpenVINO writes its IR files (``.xml`` and ``.bin``) from ONNX and has no way back. This reads those that are
made of convolutions, pooling, sums, ReLU, bilinear enlargement and a softmax at the end; anything else is
refused by name. The network takes BGR in 0..255, stretched to its input, as the zoo's segmenters do.
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from needed import installed

with installed():
    import numpy as np
    import onnx
    from numpy.typing import NDArray
    from onnx import TensorProto, helper

    from edgevision.cli.app import spell_options
    from edgevision.contract.manifest import INPUT_NAME, Manifest, Resize
    from edgevision.data.classes import parse_classes
    from edgevision.errors import EdgeVisionError, ExportError
    from edgevision.export.trace import CORE_INPUT, OPSET
    from edgevision.files import refuse_existing
    from edgevision.graph.builder import GraphBuilder
    from edgevision.graph.class_map import add_class_map
    from edgevision.graph.compose import compose, save_model
    from edgevision.graph.preprocessing import add_preprocessing

SCORES = "scores"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an IR file: its kind, its settings, and the layers that it takes."""

    id: str
    kind: str
    data: dict[str, str]
    inputs: tuple[str, ...]
    shape: tuple[int, ...]

    def ints(self, name: str) -> list[int]:
        return [int(value) for value in self.data[name].split(",")]


def read_layers(path: Path) -> list[Layer]:
    """The layers of an IR file, each after those that it takes.

    Raises:
        ExportError: the file is missing or not an IR file.
    """
    try:
        root = ElementTree.parse(path).getroot()  # a file that the user trusts as a model
    except (OSError, ElementTree.ParseError) as error:
        raise ExportError(f"{path} is not an OpenVINO IR file ({error})") from error
    takes: dict[str, list[tuple[int, str]]] = {}
    for edge in root.iter("edge"):
        entry = (int(edge.attrib["to-port"]), edge.attrib["from-layer"])
        takes.setdefault(edge.attrib["to-layer"], []).append(entry)
    layers = {}
    for one in root.iter("layer"):
        data = one.find("data")
        dims = one.findall("output/port/dim")
        layers[one.attrib["id"]] = Layer(
            one.attrib["id"],
            one.attrib["type"],
            {} if data is None else dict(data.attrib),
            tuple(source for _, source in sorted(takes.get(one.attrib["id"], []))),
            tuple(int(dim.text or "0") for dim in dims),
        )
    if not layers:
        raise ExportError(f"{path} is not an OpenVINO IR file (no layer in it)")
    ordered: dict[str, Layer] = {}
    waiting = list(layers.values())
    while waiting:
        ready = [one for one in waiting if all(name in ordered for name in one.inputs)]
        if not ready:
            raise ExportError(f"{path}: its layers form a circle")
        ordered.update((one.id, one) for one in ready)
        waiting = [one for one in waiting if one.id not in ordered]
    return list(ordered.values())


def read_constant(layer: Layer, weights: bytes) -> NDArray[np.generic]:
    """The values of a constant layer."""
    kinds = {"f32": np.float32, "f16": np.float16, "i64": np.int64, "i32": np.int32}
    kind = layer.data["element_type"]
    if kind not in kinds:
        raise ExportError(f"layer {layer.id}: constants of type {kind}; expected {', '.join(kinds)}")
    start, size = int(layer.data["offset"]), int(layer.data["size"])
    return np.frombuffer(weights[start : start + size], kinds[kind]).reshape(layer.shape)


def resized(layers: list[Layer], width: int, height: int) -> list[Layer]:
    """The layers for an input of another size; nothing in such a network depends on it but their shapes.

    Raises:
        ExportError: a map would not keep whole cells.
    """
    if width < 1 or height < 1:
        raise ExportError(f"a size of {width}x{height} is none; expected multiples of 32")
    old = next(one.shape for one in layers if one.kind == "Parameter")
    changed = []
    for layer in layers:
        shape = layer.shape
        if len(shape) == 4 and layer.kind != "Const":
            rows, columns = shape[2] * height, shape[3] * width
            if rows % old[2] or columns % old[3]:
                raise ExportError(f"a size of {width}x{height} does not fit; expected multiples of 32")
            shape = (*shape[:2], rows // old[2], columns // old[3])
        changed.append(replace(layer, shape=shape))
    return changed


def build_network(layers: list[Layer], weights: bytes) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """The network alone: float ``[N, 3, H, W]`` to scores ``[N, C, H, W]``, and the shape of its scores.

    Raises:
        ExportError: a layer is of an unknown kind.
    """
    g = GraphBuilder("core/")
    names: dict[str, str] = {}
    constants: dict[str, NDArray[np.generic]] = {}
    sizes: set[str] = set()  # layers that compute the size of an enlargement, which its own shape states
    scores: tuple[int, ...] = ()
    for layer in layers:
        if layer.kind == "Const":
            constants[layer.id] = read_constant(layer, weights)
        elif layer.kind == "Parameter":
            names[layer.id] = CORE_INPUT
        elif layer.kind == "Result":
            scores = next(one.shape for one in layers if one.id == layer.inputs[0])
            g("Identity", names[layer.inputs[0]], out=SCORES)
        elif layer.kind == "ShapeOf" or (layer.kind != "Interpolate" and sizes.intersection(layer.inputs)):
            sizes.add(layer.id)
        else:
            inputs = []
            for source in layer.inputs:
                if source in constants and source not in names and layer.kind == "Add":
                    names[source] = g.constant(constants[source], np.float32)
                inputs.append(names.get(source, ""))
            names[layer.id] = _node(g, layer, inputs, constants)
    size = next(one.shape for one in layers if one.kind == "Parameter")
    graph = helper.make_graph(
        g.nodes,
        "core",
        [helper.make_tensor_value_info(CORE_INPUT, TensorProto.FLOAT, ["N", *size[1:]])],
        [helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, ["N", *scores[1:]])],
        g.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]), scores


def _node(g: GraphBuilder, layer: Layer, inputs: list[str], constants: dict[str, NDArray[np.generic]]) -> str:
    if layer.kind in ("Convolution", "GroupConvolution"):
        kernel = constants[layer.inputs[1]].astype(np.float32)
        groups = kernel.shape[0] if layer.kind == "GroupConvolution" else 1
        if layer.kind == "GroupConvolution":
            kernel = kernel.reshape(-1, *kernel.shape[2:])
        return g(
            "Conv",
            inputs[0],
            g.constant(kernel, np.float32),
            group=groups,
            strides=layer.ints("strides"),
            dilations=layer.ints("dilations"),
            pads=[*layer.ints("pads_begin"), *layer.ints("pads_end")],
        )
    if layer.kind in ("MaxPool", "AvgPool"):
        window: dict[str, Any] = {
            "kernel_shape": layer.ints("kernel"),
            "strides": layer.ints("strides"),
            "pads": [*layer.ints("pads_begin"), *layer.ints("pads_end")],
            "ceil_mode": int(layer.data.get("rounding_type") == "ceil"),
        }
        if layer.kind == "MaxPool":
            return g("MaxPool", inputs[0], **window)
        padding = int(layer.data.get("exclude-pad") in ("0", "false"))
        return g("AveragePool", inputs[0], count_include_pad=padding, **window)
    if layer.kind == "Interpolate" and layer.data.get("mode") == "linear":
        corners = layer.data.get("align_corners") in ("1", "true")
        return g(
            "Resize",
            inputs[0],
            "",
            "",
            g.ints(*layer.shape[2:]),
            axes=[2, 3],
            mode="linear",
            coordinate_transformation_mode="align_corners" if corners else "half_pixel",
        )
    if layer.kind in ("Add", "ReLU"):
        return g({"Add": "Add", "ReLU": "Relu"}[layer.kind], *inputs)
    if layer.kind == "SoftMax":
        return g("Softmax", inputs[0], axis=int(layer.data["axis"]))
    raise ExportError(f"layer {layer.id} is a {layer.kind}, which this tool does not know")


def convert(
    path: Path, classes: tuple[str, ...], licence: str, out: Path, size: tuple[int, int] | None = None
) -> Manifest:
    """Writes the model file; returns its manifest.

    Args:
        path: the ``.xml`` file.
        classes: names in the order of its outputs.
        licence: one line.
        out: the ONNX file.
        size: width and height of the input; None for the file's own.

    Raises:
        ExportError: the IR file cannot be read, or it has another number of classes.
        SinkError: the file cannot be written.
    """
    layers = read_layers(path)
    if size:
        layers = resized(layers, *size)
    try:
        weights = path.with_suffix(".bin").read_bytes()
    except OSError as error:
        raise ExportError(f"cannot read the weights beside {path}: {error}") from error
    core, scores = build_network(layers, weights)
    if scores[1] != len(classes):
        raise ExportError(f"{path} has {scores[1]} classes, but {len(classes)} names were given")
    manifest = Manifest(
        name=out.stem,
        task="segmentation",
        classes=classes,
        input_width=scores[3],
        input_height=scores[2],
        resize=Resize(rule="stretch"),
        heads=(SCORES,),
        training_data="not stated by the imported file",
        licence=licence,
    )
    before, after = GraphBuilder("pre/"), GraphBuilder("post/")
    add_preprocessing(before, INPUT_NAME, CORE_INPUT, (0, 0, 0), (1 / 255, 1 / 255, 1 / 255), bgr=True)
    add_class_map(after, SCORES, 1)
    return save_model(compose(core, before, after, manifest), out, manifest)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of ``384x224``."""
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; expected such as 384x224") from error
    return width, height


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="the .xml file; its .bin lies beside it")
    parser.add_argument(
        "--classes", required=True, help="names, separated by commas, in the order of the outputs"
    )
    parser.add_argument("--licence", required=True, help="one line, kept in the file")
    parser.add_argument(
        "--size",
        type=parse_size,
        metavar="WxH",
        help="of the input, multiples of 32; without it the file's own",
    )
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --out")
    options = parser.parse_args()
    try:
        refuse_existing(options.out, options.overwrite)
        classes = parse_classes(options.classes)
        manifest = convert(options.file, classes, options.licence, options.out, options.size)
    except EdgeVisionError as error:
        raise SystemExit(f"error: {spell_options(error)}") from error
    size = f"{manifest.input_width}x{manifest.input_height}"
    print(f"{options.out}: {manifest.name}, input {size}")  # noqa: T201


if __name__ == "__main__":
    main()
