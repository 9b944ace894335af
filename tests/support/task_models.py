"""Models of every box task and of classification, as ONNX files that tests make: what is bright is found.

Each is decoded by the same parts of a graph as imported models: the one object of :func:`object_nodes` is put
among candidates, sorted, suppressed and padded by :mod:`edgevision.graph`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgevision.contract.manifest import Manifest, MaskForm, NmsLimits, Resize
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.compose import compose, save_model
from edgevision.graph.retinanet import add_detection_outputs
from edgevision.types import Skeleton
from tests.support.manifests import COLOURS, SIZE

SKELETON = Skeleton(("top_left", "top_right", "middle"), ((0, 2), (1, 2)))
ANGLE = math.pi / 6
GRID = SIZE // 4


def task_manifest(task: str, size: int = SIZE, **changes: object) -> Manifest:
    """The contract of :func:`write_task_model`."""
    is_boxes = task not in ("segmentation", "classification")
    fields: dict[str, object] = {
        "name": task,
        "task": task,
        "classes": COLOURS,
        "input_width": size,
        "input_height": size,
        "resize": Resize(rule="crop") if task == "classification" else Resize(),
        "score_threshold": 0.05 if is_boxes else None,
        "max_detections": 3 if is_boxes else None,
        "nms": NmsLimits("cluster", 0.5, 4, 4, "probiou" if task == "obb" else "iou") if is_boxes else None,
        "masks": MaskForm(form="prototypes", width=size // 4, height=size // 4, channels=2)
        if task == "instance-segmentation"
        else None,
        "skeleton": SKELETON if task == "pose" else None,
    }
    return Manifest(**{**fields, **changes})  # type: ignore[arg-type]


def write_task_model(path: Path, task: str, size: int = SIZE, **changes: object) -> Path:
    """An ONNX file in the contract's form that finds the bright block in an image.

    The box is that of every pixel with a channel of 200 or more, the score the greatest value over 255, and
    the class the channel that holds it. A weaker candidate beside it is suppressed. What else is found:

    - instance segmentation: the bright pixels, or with masks of the form ``box`` the box's upper half;
    - pose: the upper corners, with scores 0.9 and 0.2, and the centre, with 0.8;
    - obb: the box, turned by :data:`ANGLE` about its centre;
    - classification: the peak of each channel, as shares of their sum; with several labels each over 255.
    """
    manifest = task_manifest(task, size, **changes)
    g = GraphBuilder("post/")
    image = g("Cast", "frames", to=TensorProto.FLOAT)
    peaks = g("ReduceMax", image, g.ints(1, 2), keepdims=0)  # [N, 3]
    if task == "classification":
        shares = g("Div", peaks, g.constant(255, np.float32))
        if manifest.multi_label:
            g("Identity", shares, out="probabilities")
        else:
            g("Div", shares, g("ReduceSum", shares, g.ints(1), keepdims=1), out="probabilities")
    else:
        _add_box_task(g, manifest, image, peaks)
    core = helper.make_model(
        helper.make_graph([], "none", [], []), opset_imports=[helper.make_opsetid("", 18)]
    )
    save_model(compose(core, GraphBuilder("pre/"), g, manifest), path, manifest)
    return path


def _add_box_task(g: GraphBuilder, manifest: Manifest, image: str, peaks: str) -> None:
    size = manifest.input_width
    grey = g("ReduceMax", image, g.ints(3), keepdims=0)  # [N, H, W]
    bright = g("Cast", g("Greater", grey, g.constant(199.5, np.float32)), to=TensorProto.FLOAT)
    sides = {}
    for name, axis in (("x", 1), ("y", 2)):
        line = g("ReduceMax", bright, g.ints(axis), keepdims=0)
        places = np.arange(size, dtype=np.float32)
        on = g("Mul", line, g.constant(places + 1, np.float32))
        off = g("Mul", line, g.constant(size - places, np.float32))
        last = g("ReduceMax", on, g.ints(1), keepdims=1)
        first = g("Sub", g.constant(size, np.float32), g("ReduceMax", off, g.ints(1), keepdims=1))
        sides[name] = (first, last)
    (x1, x2), (y1, y2) = sides["x"], sides["y"]
    box = g("Unsqueeze", g("Concat", x1, y1, x2, y2, axis=1), g.ints(1))  # [N, 1, 4]
    found = g("ReduceMax", bright, g.ints(1, 2), keepdims=0)
    score = g(
        "Mul", g("Div", g("ReduceMax", peaks, g.ints(1), keepdims=0), g.constant(255, np.float32)), found
    )
    label = g("ArgMax", peaks, axis=1, keepdims=0)
    # Candidates: nothing, the weaker double of the object, the object, nothing.
    rows = g("Expand", box, g.constant([1, 4, 1], np.int64))
    if manifest.task == "obb":
        low, high = g.many("Split", 2, rows, g.ints(2, 2), axis=2)
        centre = g("Mul", g("Add", low, high), g.constant(0.5, np.float32))
        angle = g("Expand", g.constant(np.full((1, 1, 1), ANGLE), np.float32), g.ints(1, 4, 1))
        n = g("Mul", g("Slice", rows, g.ints(0), g.ints(1), g.ints(2)), g.constant(0, np.float32))
        rows = g("Concat", centre, g("Sub", high, low), g("Add", n, angle), axis=2)
    else:
        double = np.zeros((1, 4, 4), np.float32)
        double[0, 1, 2] = -1
        rows = g("Add", rows, g.constant(double, np.float32))
    scores = g("Mul", g("Unsqueeze", score, g.ints(1)), g.constant([[0, 0.8, 1, 0]], np.float32))
    labels = g("Expand", g("Unsqueeze", label, g.ints(1)), g.ints(1, 4))
    further = {}
    if manifest.task == "pose":
        zero = g("Mul", x1, g.constant(0, np.float32))
        half = g.constant(0.5, np.float32)
        middle = [g("Mul", g("Add", *ends), half) for ends in ((x1, x2), (y1, y2))]
        points = [x1, y1, g("Add", zero, g.constant(0.9, np.float32)), x2, y1]
        points += [g("Add", zero, g.constant(0.2, np.float32)), *middle]
        points += [g("Add", zero, g.constant(0.8, np.float32))]
        pose = g("Reshape", g("Concat", *points, axis=1), g.ints(0, 1, 3, 3))
        # Only the object's own row has the points: those of other rows would be seen.
        own = np.zeros((1, 4, 1, 1), np.float32)
        own[0, 2] = 1
        further["keypoints"] = g("Mul", pose, g.constant(own, np.float32))
    if manifest.masks is not None:
        _add_masks(g, manifest.masks, manifest.input_width, bright, further)
    add_detection_outputs(g, rows, scores, labels, 4, manifest, further)


def _add_masks(g: GraphBuilder, form: MaskForm, size: int, bright: str, further: dict[str, str]) -> None:
    cell = size // form.width
    plane = g("Unsqueeze", bright, g.ints(1))
    logits = g("Sub", g("Mul", plane, g.constant(8, np.float32)), g.constant(4, np.float32))
    small = g("AveragePool", logits, kernel_shape=[cell, cell], strides=[cell, cell])  # [N, 1, h, w]
    own = np.zeros((1, 4, 1, 1), np.float32)
    own[0, 2] = 1
    if form.form == "prototypes":
        g("Concat", g("Neg", small), small, axis=1, out="prototypes")
        rows = np.tile(np.array([9.0, 0.0], np.float32), (1, 4, 1))
        rows[0, 2] = (-0.5, 0.5)
        zero = g("Mul", g("ReduceMax", small, g.ints(1, 2, 3), keepdims=0), g.constant(0, np.float32))
        further["coefficients"] = g("Add", g("Reshape", zero, g.ints(0, 1, 1)), g.constant(rows, np.float32))
    elif form.form == "input":
        further["masks"] = g("Mul", small, g.constant(own, np.float32))
    else:
        upper = np.full((1, 1, form.height, form.width), 4, np.float32)
        upper[:, :, form.height // 2 :] = -4
        zero = g("Mul", small, g.constant(0, np.float32))
        one = g("Add", g("Slice", zero, g.ints(0, 0), g.ints(form.height, form.width), g.ints(2, 3)),
                g.constant(upper, np.float32))  # fmt: skip
        further["masks"] = g("Mul", one, g.constant(own, np.float32))


def load(path: Path) -> onnx.ModelProto:
    """The file as the onnx package reads it."""
    return onnx.load(str(path))
