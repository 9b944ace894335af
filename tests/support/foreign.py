"""Small ONNX files in the forms of other projects' exporters: constants around cells, with an object put in.

Nothing of any other project is in them. The cells are listed here by loops, apart from the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 64
OBJECT = (16.0, 8.0, 48.0, 40.0)
"""Corners of the object in pixels of the input."""
SCORE, CLASS, CLASSES = 0.9, 1, 3


def cells(strides: tuple[int, ...] = (8, 16, 32), size: int = SIZE, anchors: int = 1) -> NDArray[np.float64]:
    """``[M, 3]``: x, y of each cell's middle, and its stride; an anchor's cells lie together."""
    rows = []
    for stride in strides:
        side = -(-size // stride)
        for _ in range(anchors):
            for y in range(side):
                rows += [[(x + 0.5) * stride, (y + 0.5) * stride, stride] for x in range(side)]
    return np.array(rows)


def around(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners ``[M, 4]`` one stride to each side of the cells."""
    return np.concatenate([grid[:, :2] - grid[:, 2:], grid[:, :2] + grid[:, 2:]], axis=1)


def centred(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre and size ``[M, 4]``, two strides wide."""
    return np.concatenate([grid[:, :2], 2 * grid[:, 2:], 2 * grid[:, 2:]], axis=1)


def scores(rows: int, at: int, classes: int = CLASSES, rest: float = 0.001) -> NDArray[np.float64]:
    """``[M, C]`` next to nothing, but for the object's row."""
    found = np.full((rows, classes), rest)
    found[at, CLASS] = SCORE
    return found


@dataclass
class Network:
    """A file to be: outputs that say the same of every image.

    Attributes:
        outputs: name to values; float ones get the batch from the image.
        metadata: notes of the file.
        layout: order of the input's axes.
        element: its ONNX type.
        size: height and width; None leaves them open.
        name: of the input.
        top_k: TopK stands in the graph.
        patches: its first convolution cuts the image into patches.
        counted: outputs have as many rows as NonZero finds.
        scaled_by_sizes: boxes are multiplied by a second input, ``orig_target_sizes``.
        mean_inside: ImageNet's mean is subtracted in the graph.
        convolved: two convolutions look at the image, and what they find moves every number by a little.
    """

    outputs: dict[str, NDArray[Any]]
    metadata: dict[str, str] = field(default_factory=dict)
    layout: str = "NCHW"
    element: int = TensorProto.FLOAT
    size: tuple[int, int] | None = (SIZE, SIZE)
    name: str = "images"
    top_k: bool = False
    patches: bool = False
    counted: bool = False
    scaled_by_sizes: bool = False
    mean_inside: bool = False
    convolved: bool = False

    def save(self, path: Path) -> Path:
        """Writes it."""
        onnx.save(self.model(), str(path))
        return path

    def model(self) -> onnx.ModelProto:
        """The ONNX model, opset 17."""
        height, width = self.size or ("height", "width")
        sizes = {"N": 1, "C": 3, "H": height, "W": width}
        shape = [sizes[axis] for axis in self.layout]
        inputs = [helper.make_tensor_value_info(self.name, self.element, shape)]
        constants: dict[str, NDArray[Any]] = {"zero": np.array(0, np.float32), "one": np.array(1, np.float32)}
        nodes = [helper.make_node("Cast", [self.name], ["plain"], to=TensorProto.FLOAT)]
        image = "plain"
        if self.mean_inside:
            constants["mean"] = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
            nodes.append(helper.make_node("Sub", [image, "mean"], ["normalised"]))
            image = "normalised"
        if self.patches:
            constants["kernel"] = np.full((4, 3, 16, 16), 1e-3, np.float32)
            nodes.append(helper.make_node("Conv", [image, "kernel"], ["patches"], strides=[16, 16]))
            image = "patches"
        if self.convolved:
            rng = np.random.default_rng(0)
            for name, inside in (("stem", 3), ("deep", 8)):
                constants[name] = rng.normal(0, 0.3, (8, inside, 3, 3)).astype(np.float32)
                nodes += [
                    helper.make_node("Conv", [image, name], [f"{name}_map"], strides=[2, 2]),
                    helper.make_node("Relu", [f"{name}_map"], [f"{name}_seen"]),
                ]
                image = f"{name}_seen"
            constants["last"] = rng.normal(0, 0.3, (1, 8, 1, 1)).astype(np.float32)
            nodes.append(helper.make_node("Conv", [image, "last"], ["last_map"]))
            image = "last_map"
            constants["zero"] = np.array(1e-3, np.float32)
        axes = [axis for axis, letter in enumerate(self.layout) if letter != "N"]
        nodes.append(helper.make_node("ReduceMean", [image], ["average"], axes=axes, keepdims=0))
        if self.top_k:
            constants |= {"k": np.array([1]), "flat": np.array([1, -1])}
            nodes += [
                helper.make_node("Reshape", ["average", "flat"], ["row"]),
                helper.make_node("TopK", ["row", "k"], ["best", "index"], axis=-1),
                helper.make_node("ReduceMax", ["best"], ["average2"], axes=[1], keepdims=0),
            ]
        source = "average2" if self.top_k else "average"
        nodes.append(helper.make_node("Mul", [source, "zero"], ["nothing"]))
        if self.scaled_by_sizes:
            inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
            nodes += [
                helper.make_node("Cast", ["orig_target_sizes"], ["sizes"], to=TensorProto.FLOAT),
                helper.make_node("Concat", ["sizes", "sizes"], ["sizes4"], axis=1),
            ]
        outputs = [self._add(name, value, nodes, constants) for name, value in self.outputs.items()]
        tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
        graph = helper.make_graph(nodes, "foreign", inputs, outputs, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, self.metadata)
        return model

    def _add(
        self, name: str, value: NDArray[Any], nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]]
    ) -> onnx.ValueInfoProto:
        whole = value.dtype.kind == "i"
        constants[f"{name}_table"] = value if whole else value.astype(np.float32)
        kind = TensorProto.INT64 if whole else TensorProto.FLOAT
        if whole and not self.counted:
            constants[f"{name}_unit"] = np.ones((1,) * value.ndim, np.int64)
            constants[f"{name}_rank"] = np.array([1] * value.ndim)
            nodes += [
                helper.make_node("Cast", ["nothing"], [f"{name}_whole"], to=TensorProto.INT64),
                helper.make_node("Reshape", [f"{name}_whole", f"{name}_rank"], [f"{name}_zero"]),
                helper.make_node("Add", [f"{name}_table", f"{name}_zero"], [name]),
            ]
        elif self.counted:
            constants[f"{name}_mask"] = np.ones(len(value), bool)
            constants[f"{name}_flat"] = np.array([-1])
            nodes += [
                helper.make_node("NonZero", [f"{name}_mask"], [f"{name}_found"]),
                helper.make_node("Reshape", [f"{name}_found", f"{name}_flat"], [f"{name}_rows"]),
                helper.make_node("Gather", [f"{name}_table", f"{name}_rows"], [name], axis=0),
            ]
            return helper.make_tensor_value_info(name, kind, [f"{name}_n", *value.shape[1:]])
        else:
            constants[f"{name}_rank"] = np.array([-1] + [1] * (value.ndim - 1))
            end = f"{name}_shares" if self.scaled_by_sizes and value.shape[-1] == 4 else name
            nodes += [
                helper.make_node("Reshape", ["nothing", f"{name}_rank"], [f"{name}_zero"]),
                helper.make_node("Add", [f"{name}_table", f"{name}_zero"], [end]),
            ]
            if end != name:
                nodes.append(helper.make_node("Mul", [end, "sizes4"], [name]))
        return helper.make_tensor_value_info(name, kind, list(value.shape))


LIBREYOLO = {"libreyolo_version": "1.6.0", "task": "detect", "names": '{"0": "a", "1": "b", "2": "c"}'}
_BOX = np.array(OBJECT)
_CENTRE = np.array([32.0, 24.0, 32.0, 32.0])
_AT = 20


def raw_yolo() -> Network:
    grid = cells()
    boxes = centred(grid)
    boxes[_AT] = _CENTRE
    table = np.concatenate([boxes, scores(len(grid), _AT)], axis=1)
    return Network({"output0": table.T[None]})


def final_yolo() -> Network:
    rows = np.zeros((1, 10, 6))
    rows[0, 0] = [*_BOX, SCORE, CLASS]
    rows[0, 1] = [2, 2, 60, 60, 0.005, 0]
    return Network({"output0": rows}, {"names": "{0: 'a', 1: 'b', 2: 'c'}"})


def rtdetr() -> Network:
    rows = np.zeros((1, 20, 6))
    rows[0, :, :4] = [0.7, 0.6, 0.1, 0.2]
    rows[0, :, 4] = np.linspace(0.006, 0.001, 20)
    rows[0, 0] = [*_CENTRE / SIZE, SCORE, CLASS]
    return Network({"output0": rows})


def _with_fifth(grid: NDArray[np.float64], boxes: NDArray[np.float64], fifth: NDArray[np.float64]) -> Network:
    table = np.concatenate([boxes, fifth[:, None], scores(len(grid), _AT)], axis=1)
    return Network({"output": table[None]})


def yolov5() -> Network:
    grid = cells(anchors=3)
    boxes = centred(grid)
    boxes[_AT] = _CENTRE
    objectness = np.full(len(grid), 0.01)
    objectness[_AT] = 1 - 1e-6
    return _with_fifth(grid, boxes, objectness)


def yolov6() -> Network:
    grid = cells()
    boxes = centred(grid)
    boxes[_AT] = _CENTRE
    return _with_fifth(grid, boxes, np.ones(len(grid)))


def yolox() -> Network:
    grid = cells()
    boxes = np.tile([0.4, 0.3, 0.2, -0.1], (len(grid), 1))
    left, top = grid[_AT, :2] / 8 - 0.5
    boxes[_AT] = [32 / 8 - left, 24 / 8 - top, np.log(4), np.log(4)]
    objectness = np.full(len(grid), 0.01)
    objectness[_AT] = 1 - 1e-6
    return _with_fifth(grid, boxes, objectness)


def yolox_decoded() -> Network:
    grid = cells()
    boxes = centred(grid)
    boxes[:, :2] -= grid[:, 2:] / 2
    boxes[_AT] = _CENTRE
    objectness = np.full(len(grid), 0.01)
    objectness[_AT] = 1 - 1e-6
    return _with_fifth(grid, boxes, objectness)


def fcos() -> Network:
    grid = cells((8, 16, 32, 64, 128))
    boxes = around(grid)
    boxes[_AT] = _BOX
    found = _with_fifth(grid, boxes, np.log2(grid[:, 2]) - 3)
    found.metadata = LIBREYOLO | {"model_family": "fcos"}
    return found


def raw_heads() -> Network:
    """Logits whose object is at stride 16, anchor 1 of YOLOv5, 62 x 45, cell 1, 2."""
    outputs = {}
    for name, stride in (("classes", 8), ("boxes", 16), ("573", 32)):
        side = SIZE // stride
        outputs[name] = np.full((1, 3, side, side, 5 + CLASSES), -6.0)
    outputs["boxes"][0, 1, 1, 2] = [0, 0, 0, 0, 12, -12, np.log(9), -12]
    return Network(outputs)


def yolov7_rows() -> Network:
    rows = np.array([[0, *_BOX, CLASS, SCORE], [0, 1, 1, 9, 9, 2, 0.3]], np.float32)
    return Network({"output": rows}, counted=True)


def yolonas_rows() -> Network:
    rows = np.array([[0, *_BOX, SCORE, CLASS], [0, 1, 1, 9, 9, 0.3, 2]], np.float32)
    return Network({"output": rows}, counted=True)


def corner_rows(family: str | None = "yolo9") -> Network:
    grid = cells()
    boxes = around(grid)
    boxes[_AT] = _BOX
    table = np.concatenate([boxes, scores(len(grid), _AT)], axis=1)
    notes = {} if family is None else LIBREYOLO | {"model_family": family}
    return Network({"output": table.T[None]}, notes)


def rtmdet(family: str | None = "rtmdet") -> Network:
    found = corner_rows(family)
    found.outputs = {"output": found.outputs["output"].transpose(0, 2, 1)}
    return found


def yolonas() -> Network:
    grid = cells()
    boxes = around(grid)
    boxes[_AT] = _BOX
    return Network({"pred_logits": boxes[None], "pred_boxes": scores(len(grid), _AT)[None]})


def ppyoloe() -> Network:
    grid = cells((32, 16, 8))
    boxes = around(grid)
    boxes[_AT] = _BOX
    notes = LIBREYOLO | {"model_family": "ppyoloe"}
    return Network({"boxes": boxes[None], "scores": scores(len(grid), _AT)[None]}, notes)


def yolov4() -> Network:
    grid = cells(anchors=3)
    boxes = around(grid) / SIZE
    boxes[_AT] = _BOX / SIZE
    return Network({"boxes": boxes[None, :, None], "confs": scores(len(grid), _AT)[None]})


def _queries(columns: int, rest: float, last: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    boxes = np.tile([0.7, 0.6, 0.1, 0.2], (1, 30, 1))
    logits = np.full((1, 30, columns), float(rest))
    logits[..., -1] = last
    boxes[0, 3] = _CENTRE / SIZE
    logits[0, 3] = -9.0
    logits[0, 3, CLASS] = np.log(9)
    return boxes, logits


def detr() -> Network:
    boxes, logits = _queries(CLASSES + 1, -5, 3)
    logits[0, 3] = [-20, np.log(9), -20, 0]  # softmax .9
    return Network({"logits": logits, "pred_boxes": boxes}, name="pixel_values")


def rtdetr_logits() -> Network:
    boxes, logits = _queries(CLASSES, -7, -7)
    return Network({"logits": logits, "pred_boxes": boxes}, top_k=True)


def rfdetr() -> Network:
    boxes, logits = _queries(CLASSES + 1, -7, -7)
    return Network({"dets": boxes, "labels": logits}, top_k=True, patches=True, name="input")


def dfine() -> Network:
    boxes = np.tile([0.1, 0.1, 0.2, 0.3], (1, 30, 1))
    boxes[0, 0] = _BOX / SIZE
    labels = np.full((1, 30), 2)
    labels[0, 0] = CLASS
    found = np.linspace(0.009, 0.002, 30)[None]
    found[0, 0] = SCORE
    return Network({"labels": labels, "boxes": boxes, "scores": found}, scaled_by_sizes=True)


def torchvision() -> Network:
    return Network(
        {
            "boxes": np.array([_BOX, [0, 0, 5, 5]]),
            "labels": np.array([CLASS, 2]),
            "scores": np.array([SCORE, 0.008]),
        },
        layout="CHW",
        counted=True,
        mean_inside=True,
        name="image",
    )


def deepstream(family: str | None = "yolo9") -> Network:
    grid = cells()
    boxes = around(grid)
    boxes[_AT] = _BOX
    best = np.full((len(grid), 1), 0.001)
    best[_AT] = SCORE
    numbers = np.full((len(grid), 1), float(CLASS))
    notes = {} if family is None else LIBREYOLO | {"model_family": family}
    return Network({"output": np.concatenate([boxes, best, numbers], axis=1)[None]}, notes)


def efficientdet() -> Network:
    rows = np.zeros((1, 1200, 6))
    rows[0, :, :4] = [1, 1, 30, 30]
    rows[0, :, 4] = np.linspace(0.009, 0.001, 1200)
    rows[0, 0] = [*_BOX, SCORE, CLASS]
    return Network({"output": rows}, LIBREYOLO | {"model_family": "efficientdet"})


def efficientnms() -> onnx.ModelProto:
    """Centre form and TensorRT's plugin."""
    grid = cells()
    boxes = centred(grid)
    boxes[_AT] = _CENTRE
    model = Network({"raw_boxes": boxes[None], "raw_scores": scores(len(grid), _AT)[None]}).model()
    node = helper.make_node(
        "EfficientNMS_TRT",
        ["raw_boxes", "raw_scores"],
        ["num_dets", "det_boxes", "det_scores", "det_classes"],
        domain="TRT",
        box_coding=1,
        background_class=-1,
        score_activation=0,
        iou_threshold=0.65,
        score_threshold=0.001,
        max_output_boxes=100,
    )
    model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid("TRT", 1))
    del model.graph.output[:]
    kinds = (TensorProto.INT32, TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    for name, kind in zip(node.output, kinds, strict=True):
        model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return model


def nanodet() -> Network:
    """Sides of two strides at row 5 of stride 16, whose top left corner is at 16, 16: a box of 64."""
    grid = cells((8, 16, 32, 64))
    sides = np.full((len(grid), 4, 8), -20.0)
    sides[..., 1] = 20
    at = 64 + 5
    sides[at] = -20.0
    for side, bin_ in enumerate((0, 0, 2, 1)):
        sides[at, side, bin_] = 20
    found = scores(len(grid), at)
    return Network(
        {"output": np.concatenate([found, sides.reshape(len(grid), 32)], axis=1)[None]}, name="data"
    )


def segmenter() -> Network:
    logits = np.zeros((1, CLASSES, SIZE // 4, SIZE // 4))
    logits[0, 0] = 1
    logits[0, CLASS, 4:12, 4:12] = 5
    return Network({"logits": logits}, name="pixel_values")


def keypoint_rcnn() -> Network:
    """torchvision's Keypoint R-CNN with two points; a peak of log(3) is .75 through a sigmoid."""
    found = torchvision()
    points = np.zeros((2, 2, 3))
    points[0] = [[16, 8, 1], [48, 8, 1]]
    peaks = np.array([[np.log(3), -np.log(3)], [0, 0]])
    found.outputs |= {"keypoints": points, "keypoints_scores": peaks}
    return found


def mask_rcnn() -> Network:
    """torchvision's Mask R-CNN; the object's mask is the left half of the image."""
    found = torchvision()
    masks = np.zeros((2, 1, SIZE, SIZE))
    masks[0, 0, :, : SIZE // 2] = 1
    found.outputs |= {"masks": masks}
    return found


def pasted_mask_rcnn() -> onnx.ModelProto:
    """Masks ``[n, 1, 8, 8]`` over their boxes, the left half, which a Loop pads and pastes."""
    found = torchvision()
    small = np.zeros((2, 1, 8, 8))
    small[0, 0, :, :4] = 0.9
    found.outputs |= {"small": small}
    model = found.model()
    entry = [
        helper.make_tensor_value_info("turn", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
    ]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes_on"]),
            helper.make_node("Gather", ["padded", "turn"], ["grid"], axis=0),
            helper.make_node("Unsqueeze", ["grid", "first"], ["grid4"]),
            helper.make_node("Resize", ["grid4", "", "", "whole_size"], ["resized"], mode="linear"),
            helper.make_node("Squeeze", ["resized", "first"], ["pasted"]),
        ],
        "paste",
        entry,
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("pasted", TensorProto.FLOAT, [1, SIZE, SIZE]),
        ],
    )
    constants = {
        "border": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "first": np.array([0]),
        "whole_size": np.array([1, 1, SIZE, SIZE]),
        "true": np.array(True),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    model.graph.node.extend(
        [
            helper.make_node("Pad", ["small", "border"], ["padded"]),
            helper.make_node("Shape", ["small"], ["length"], start=0, end=1),
            helper.make_node("Squeeze", ["length"], ["turns"]),
            helper.make_node("Loop", ["turns", "true"], ["masks"], body=body),
        ]
    )
    kept = [output for output in model.graph.output if output.name != "small"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    model.graph.output.append(helper.make_tensor_value_info("masks", TensorProto.FLOAT, ["n", 1, SIZE, SIZE]))
    return model


def tensorflow() -> Network:
    """Shares of the image, y first; the object is number 2 of classes that begin at 1."""
    boxes = np.zeros((1, 10, 4))
    boxes[0, 0] = np.array([OBJECT[1], OBJECT[0], OBJECT[3], OBJECT[2]]) / SIZE
    found = np.zeros((1, 10))
    found[0, 0] = SCORE
    classes_ = np.ones((1, 10))
    classes_[0, 0] = CLASS
    return Network(
        {
            "detection_boxes": boxes,
            "detection_scores": found,
            "detection_classes": classes_,
            "num_detections": np.array([10.0]),
        },
        layout="NHWC",
        element=TensorProto.UINT8,
        name="input_tensor",
    )


def mmdeploy() -> Network:
    dets = np.zeros((1, 5, 5))
    dets[0, 0] = [*OBJECT, SCORE]
    labels = np.zeros((1, 5), np.int64)
    labels[0, 0] = CLASS
    return Network({"dets": dets, "labels": labels}, name="input")


def effdet_maps(size: int = SIZE) -> Network:
    """Logits of -7 but for one anchor of stride 16: cell (1, 1), the first octave and ratio, 64 px wide."""
    outputs = {}
    for stride in (8, 16, 32, 64, 128):
        side = -(-size // stride)
        logits = np.full((1, 9 * CLASSES, side, side), -7.0)
        if stride == 16:
            logits[0, CLASS, 1, 1] = np.log(9)
        outputs[f"class_{stride}"] = logits
    for stride in (8, 16, 32, 64, 128):
        side = -(-size // stride)
        deltas = np.zeros((1, 36, side, side))
        if stride == 16:
            deltas[0, :4, 1, 1] = [0, 0.125, np.log(0.5), np.log(0.25)]
        outputs[f"box_{stride}"] = deltas
    return Network(outputs)


def segments() -> Network:
    """The object's mask is the left half of the input: two prototypes, of which the first counts."""
    found = raw_yolo()
    table = found.outputs["output0"]
    coefficients = np.full((1, 2, table.shape[2]), -0.5)
    coefficients[0, :, _AT] = [1, 0]
    prototypes = np.full((1, 2, SIZE // 4, SIZE // 4), -3.0)
    prototypes[0, 0, :, : SIZE // 8] = 3
    found.outputs = {"output0": np.concatenate([table, coefficients], axis=1), "output1": prototypes}
    return found


def poses() -> Network:
    """Two key points a row; the object's are at its upper corners, the second unseen."""
    found = raw_yolo()
    table = found.outputs["output0"]
    points = np.full((1, 6, table.shape[2]), 3.0)
    points[0, 2::3] = 0.5
    points[0, :, _AT] = [OBJECT[0], OBJECT[1], 0.75, OBJECT[2], OBJECT[1], 0.25]
    found.outputs = {"output0": np.concatenate([table, points], axis=1)}
    found.metadata = {
        "task": "pose",
        "names": "['a', 'b', 'c']",
        "kpt_shape": "[2, 3]",
        "stride": "32",
        "imgsz": "[64, 64]",
    }
    return found


def rotated() -> Network:
    """The object is turned by half a radian."""
    found = raw_yolo()
    table = found.outputs["output0"]
    angles = np.full((1, 1, table.shape[2]), 0.8)
    angles[0, 0, _AT] = 0.5
    table[0, 2:4, _AT] = [40, 16]
    found.outputs = {"output0": np.concatenate([table, angles], axis=1)}
    found.metadata = {"task": "obb", "names": "['a', 'b', 'c']", "stride": "32", "imgsz": "[64, 64]"}
    return found


def classes() -> Network:
    """Class 1 at .7."""
    notes = {"task": "classify", "names": "['a', 'b', 'c']", "stride": "1", "imgsz": "[64, 64]"}
    return Network({"output0": np.array([[0.1, 0.7, 0.2]])}, notes)


def zoo_yolov4() -> Network:
    """Three maps; the object is at stride 16, cell 1, 2, of an anchor that is 76 x 55."""
    found = {}
    for stride in (8, 16, 32):
        side = SIZE // stride
        values = np.full((1, side, side, 3, 5 + CLASSES), 0.001)
        values[..., :4] = -2
        if stride == 16:
            # Middle of the cell; 32 by 32 from the anchor.
            values[0, 1, 2, 1] = [0, 0, np.log(32 / 76), np.log(32 / 55), 0.95, 0.001, SCORE / 0.95, 0.001]
        found[f"Identity_{stride}"] = values
    return Network(found, layout="NHWC", name="input_1")


def zoo_retinanet() -> Network:
    """Probabilities and deltas; the object is the square anchor of stride 16 at cell 1, 1.

    That counts 65 whole pixels around 24.5; the object's corners, the last pixel off, are those of 33 pixels.
    """
    found = effdet_maps()
    for name, values in found.outputs.items():
        if name.startswith("class"):
            found.outputs[name] = 1 / (1 + np.exp(-values))
        else:
            values[...] = 0
    found.outputs["box_16"][0, :4, 1, 1] = [8 / 65, 0, np.log(33 / 65), np.log(33 / 65)]
    found.name = "input"
    return found


def yolov3_2020() -> Network:
    grid = cells((32, 16, 8), anchors=3)
    boxes = centred(grid)
    boxes[_AT] = _CENTRE
    return Network({"classes": scores(len(grid), _AT), "boxes": boxes / SIZE})


def automl(size: tuple[int, int] = (SIZE, SIZE), *, x_first: bool = False) -> Network:
    """Rows of image, corners, score, class from 1; a weak box reaches to the right edge."""
    rows = np.zeros((1, 20, 7))
    rows[0, :, 6] = 1
    order = [0, 1, 2, 3] if x_first else [1, 0, 3, 2]
    rows[0, 0] = [0, *_BOX[order], SCORE, CLASS]
    rows[0, 1] = [0, *np.array([size[1] - 20, 2, size[1], 30])[order], 0.008, 1]
    return Network(
        {"detections:0": rows}, layout="NHWC", element=TensorProto.UINT8, name="image_arrays:0", size=size
    )
