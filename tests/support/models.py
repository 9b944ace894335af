"""Small real models and clips that tests make for themselves."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision.contract.manifest import Manifest
from edgevision.contract.model_file import write_manifest
from tests.support.manifests import SIZE, colour_manifest


def write_colour_model(path: Path, manifest: Manifest | None = None, size: int = SIZE) -> Path:
    """An ONNX file in the contract's form that finds what is bright in an image.

    Its one box is the bounding box of every pixel with a channel of 200 or more, the score is the
    greatest value over 255, and the class is the channel that holds it: blue, green or red.
    """
    nodes = [
        helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["float", "axis3"], ["grey"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["grey", "threshold"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["mask"], to=TensorProto.INT32),
        helper.make_node("ReduceMax", ["mask", "axis1"], ["columns"], keepdims=0),
        helper.make_node("ReduceMax", ["mask", "axis2"], ["rows"], keepdims=0),
    ]
    for name, source in (("x", "columns"), ("y", "rows")):
        nodes += [
            helper.make_node("ArgMax", [source], [f"{name}1i"], axis=1, keepdims=1),
            helper.make_node("ArgMax", [source], [f"{name}l"], axis=1, keepdims=1, select_last_index=1),
            helper.make_node("Add", [f"{name}l", "one64"], [f"{name}2i"]),
        ]
    nodes += [
        helper.make_node("Concat", ["x1i", "y1i", "x2i", "y2i"], ["box"], axis=1),
        helper.make_node("Cast", ["box"], ["boxf"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["boxf", "axis1"], ["boxrow"]),
        helper.make_node("Pad", ["boxrow", "pad3"], ["boxes"]),
        helper.make_node("ReduceMax", ["float", "axes12"], ["channels"], keepdims=0),
        helper.make_node("ReduceMax", ["channels", "axis1"], ["peak"], keepdims=1),
        helper.make_node("Div", ["peak", "full"], ["score"]),
        helper.make_node("Pad", ["score", "pad2"], ["scores"]),
        helper.make_node("ArgMax", ["channels"], ["label64"], axis=1, keepdims=1),
        helper.make_node("Cast", ["label64"], ["label"], to=TensorProto.INT32),
        helper.make_node("Pad", ["label", "pad2", "minus_one"], ["labels"]),
        helper.make_node("ReduceMax", ["columns", "axis1"], ["count"], keepdims=0),
    ]
    constants = {
        "axis1": np.array([1]),
        "axis2": np.array([2]),
        "axis3": np.array([3]),
        "axes12": np.array([1, 2]),
        "one64": np.array([[1]]),
        "pad2": np.array([0, 0, 0, 1]),
        "pad3": np.array([0, 0, 0, 0, 1, 0]),
        "threshold": np.array(200, np.float32),
        "full": np.array(255, np.float32),
        "minus_one": np.array(-1, np.int32),
    }
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", size, size, 3])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", 2, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2]),
            helper.make_tensor_value_info("labels", TensorProto.INT32, ["N", 2]),
            helper.make_tensor_value_info("count", TensorProto.INT32, ["N"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    save_graph(graph, path)
    write_manifest(path, manifest or colour_manifest(size))
    return path


def write_bright_segmenter(path: Path, size: int = SIZE) -> Path:
    """An ONNX file in the contract's form: class 1 where a channel is 128 or more, class 0 elsewhere."""
    nodes = [
        helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["float", "axis3"], ["grey"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["grey", "threshold"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["class_map"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", size, size, 3])],
        [helper.make_tensor_value_info("class_map", TensorProto.UINT8, ["N", size, size])],
        [
            numpy_helper.from_array(np.array([3]), "axis3"),
            numpy_helper.from_array(np.array(128, np.float32), "threshold"),
        ],
    )
    save_graph(graph, path)
    manifest = Manifest(
        name="brightness",
        task="segmentation",
        classes=("dark", "bright"),
        input_width=size,
        input_height=size,
        colours=((0, 0, 0), (255, 255, 0)),
    )
    write_manifest(path, manifest)
    return path


def save_graph(graph: onnx.GraphProto, path: Path) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def image_with_block(
    width: int, height: int, box: tuple[int, int, int, int], colour: tuple[int, int, int] = (0, 0, 255)
) -> np.ndarray:
    """A dark image with one block of ``colour`` (BGR) at ``box`` (x1, y1, x2, y2)."""
    image = np.full((height, width, 3), 30, np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = colour
    return image


def write_block_clip(path: Path, frames: int, options: dict[str, str] | None = None, step: int = 4) -> None:
    """An H.264 clip of 160x120 at 10 frames a second: a red block moves right by ``step`` pixels a frame."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"crf": "10", "g": "6"}
        for i in range(frames):
            image = image_with_block(160, 120, (10 + step * i, 40, 40 + step * i, 80))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode())
