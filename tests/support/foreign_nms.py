"""Small ONNX files that end in NonMaxSuppression, in the forms of other projects' exporters.

All hold the object of :mod:`tests.support.foreign` and, two pixels beside it, a weaker copy that suppression
takes away; a third box of another class lies on the object and stays.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgevision.graph.builder import GraphBuilder
from tests.support import foreign
from tests.support.foreign import CLASSES, SIZE, Network

IOU, LIMIT = 0.6, 0.25
COPY, OTHER = 0.7, 0.6
"""Scores of the copy, and of the box of another class."""
_AT, _BESIDE, _ON = 20, 21, 22
_CENTRE = np.array([32.0, 24.0, 32.0, 32.0])


def tables() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre and size ``[M, 4]`` around cells, and class scores ``[M, C]``."""
    grid = foreign.cells()
    boxes = foreign.centred(grid)
    boxes[_AT], boxes[_BESIDE], boxes[_ON] = _CENTRE, _CENTRE + np.array([2, 0, 0, 0]), _CENTRE
    scores = foreign.scores(len(grid), _AT)
    scores[_BESIDE, foreign.CLASS] = COPY
    scores[_ON, 0] = OTHER
    return boxes, scores


def corners(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([centred[:, :2] - centred[:, 2:] / 2, centred[:, :2] + centred[:, 2:] / 2], axis=1)


Outputs = dict[str, tuple[int, list[int | str | None]]]
"""Name to type and shape."""


def _ending(base: Network, g: GraphBuilder, outputs: Outputs) -> onnx.ModelProto:
    """A network with these nodes behind it, and these outputs: name to type and shape."""
    model = base.model()
    model.graph.node.extend(g.nodes)
    model.graph.initializer.extend(g.constants)
    del model.graph.output[:]
    for name, (kind, shape) in outputs.items():
        model.graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    return model


def _limits(g: GraphBuilder, score: float = LIMIT, most: int = 100) -> tuple[str, str, str]:
    return g.ints(most), g.constant([IOU], np.float32), g.constant([score], np.float32)


def _column(g: GraphBuilder, chosen: str, index: int) -> str:
    """A column of NonMaxSuppression's ``[n, 3]``: ``[n]``."""
    return g("Gather", chosen, g.constant(index, np.int64), axis=1)


def _best_of_class(g: GraphBuilder, scores: str) -> tuple[str, str]:
    """Best score and its class of each row: ``[1, M, C]`` to ``[1, M, 1]`` twice."""
    return g("ReduceMax", scores, axes=[2], keepdims=1), g("ArgMax", scores, axis=2, keepdims=1)


def apart(*, agnostic: bool = False) -> onnx.ModelProto:
    """Rows ``[n, 7]`` of image, corners, class, score; boxes of every class are moved apart before."""
    boxes, scores = tables()
    g = GraphBuilder("end/")
    best, label = _best_of_class(g, "scores")
    number = g("Cast", label, to=TensorProto.FLOAT)
    moved = g("Add", "boxes", g("Mul", number, g.constant(0.0 if agnostic else 640.0, np.float32)))
    chosen = g("NonMaxSuppression", moved, g("Transpose", best, perm=[0, 2, 1]), *_limits(g))
    row = _column(g, chosen, 2)
    parts = [g("Unsqueeze", g("Cast", _column(g, chosen, 0), to=TensorProto.FLOAT), g.ints(1))]
    for table in ("boxes", number, best):
        flat = g("Squeeze", table, g.ints(0))
        parts.append(g("Gather", flat, row, axis=0))
    g("Concat", *parts, axis=1, out="output")
    base = Network({"boxes": corners(boxes)[None], "scores": scores[None]})
    return _ending(base, g, {"output": (TensorProto.FLOAT, ["n", 7])})


def filtered() -> onnx.ModelProto:
    """Rows ``[1, 50, 6]``; weak rows are left out, and boxes normalised, before NonMaxSuppression."""
    boxes, scores = tables()
    g = GraphBuilder("end/")
    table = g("Transpose", "table", perm=[0, 2, 1])
    four = g("Slice", table, g.ints(0), g.ints(4), g.ints(2))
    classes = g("Slice", table, g.ints(4), g.ints(4 + CLASSES), g.ints(2))
    best = g("ReduceMax", classes, axes=[-1], keepdims=0)
    label = g("ArgMax", classes, axis=-1, keepdims=0)
    first = g.constant(0, np.int64)
    four, best, label = (g("Gather", one, first, axis=0) for one in (four, best, label))
    strong = g("Transpose", g("NonZero", g("Greater", best, g.constant(LIMIT, np.float32))), perm=[1, 0])
    four, best, label = (g("GatherND", one, strong) for one in (four, best, label))
    number = g("Unsqueeze", g("Cast", label, to=TensorProto.FLOAT), g.ints(1))
    small = g("Mul", g("Div", four, g.constant(SIZE, np.float32)), g.constant(1 / 3, np.float32))
    moved = g("Add", small, g("Mul", number, g.constant(1.0, np.float32)))
    chosen = g(
        "NonMaxSuppression",
        g("Unsqueeze", moved, g.ints(0)),
        g("Unsqueeze", best, g.ints(0, 1)),
        g.ints(1000),
        g.constant([IOU], np.float32),
    )
    row = _column(g, chosen, 2)
    rows = [g("Gather", one, row, axis=0) for one in (four, g("Unsqueeze", best, g.ints(1)), number)]
    found = g("Concat", *rows, axis=1)
    more = g("Concat", found, g.constant(np.zeros((50, 6)), np.float32), axis=0)
    g("Unsqueeze", g("Slice", more, g.ints(0), g.ints(50), g.ints(0)), g.ints(0), out="output0")
    values = np.concatenate([corners(boxes), scores], axis=1).T[None]
    base = Network({"table": values}, {"names": "{0: 'a', 1: 'b', 2: 'c'}"})
    return _ending(base, g, {"output0": (TensorProto.FLOAT, [1, 50, 6])})


def paddle() -> onnx.ModelProto:
    """Rows ``[n, 6]`` of class, score, corners in pixels of the image, by ``scale_factor`` (y, x)."""
    boxes, scores = tables()
    g = GraphBuilder("end/")
    factors = g("Gather", "scale_factor", g.ints(1, 0, 1, 0), axis=1)
    own = g("Div", "boxes", g("Unsqueeze", factors, g.ints(1)))
    by_class = g("Transpose", "scores", perm=[0, 2, 1])
    chosen = g("NonMaxSuppression", own, by_class, *_limits(g))
    label, row = _column(g, chosen, 1), _column(g, chosen, 2)
    pair = g("Concat", *(g("Unsqueeze", one, g.ints(1)) for one in (label, row)), axis=1)
    score = g("GatherND", g("Squeeze", by_class, g.ints(0)), pair)
    four = g("Gather", g("Squeeze", own, g.ints(0)), row, axis=0)
    number = g("Cast", label, to=TensorProto.FLOAT)
    g("Concat", *(g("Unsqueeze", one, g.ints(1)) for one in (number, score)), four, axis=1, out="rows")
    g("Shape", "rows", start=0, end=1, out="count")
    base = Network({"boxes": corners(boxes)[None], "scores": scores[None]}, name="image")
    model = _ending(base, g, {"rows": (TensorProto.FLOAT, ["n", 6]), "count": (TensorProto.INT64, [1])})
    model.graph.input.append(helper.make_tensor_value_info("scale_factor", TensorProto.FLOAT, [1, 2]))
    return model


def tensorflow() -> onnx.ModelProto:
    """``detection_boxes`` and others; boxes are shares of the image, y first, and classes begin at 1."""
    boxes, scores = tables()
    g = GraphBuilder("end/")
    by_class = g("Transpose", "scores", perm=[0, 2, 1])
    chosen = g("NonMaxSuppression", "boxes", by_class, *_limits(g))
    label, row = _column(g, chosen, 1), _column(g, chosen, 2)
    pair = g("Concat", *(g("Unsqueeze", one, g.ints(1)) for one in (label, row)), axis=1)
    score = g("GatherND", g("Squeeze", by_class, g.ints(0)), pair)
    more = g("Concat", score, g.constant(np.zeros(10), np.float32), axis=0)
    best, order = g.many("TopK", 2, more, g.ints(10), axis=0)
    four = g("Gather", g("Squeeze", "boxes", g.ints(0)), row, axis=0)
    four = g("Concat", four, g.constant(np.zeros((10, 4)), np.float32), axis=0)
    number = g("Add", g("Cast", label, to=TensorProto.FLOAT), g.constant(1.0, np.float32))
    number = g("Concat", number, g.constant(np.ones(10), np.float32), axis=0)
    for name, value in (("detection_boxes", g("Gather", four, order, axis=0)), ("detection_scores", best)):
        g("Unsqueeze", value, g.ints(0), out=name)
    g("Unsqueeze", g("Gather", number, order, axis=0), g.ints(0), out="detection_classes")
    base = Network(
        {"boxes": np.clip(corners(boxes), 0, SIZE)[None][..., [1, 0, 3, 2]] / SIZE, "scores": scores[None]},
        layout="NHWC",
        element=TensorProto.UINT8,
        name="input_tensor",
    )
    outputs: Outputs = {
        "detection_boxes": (TensorProto.FLOAT, [1, 10, 4]),
        "detection_scores": (TensorProto.FLOAT, [1, 10]),
        "detection_classes": (TensorProto.FLOAT, [1, 10]),
    }
    return _ending(base, g, outputs)


def mmdeploy() -> onnx.ModelProto:
    """``dets [1, n, 5]`` and int64 ``labels [1, n]``."""
    boxes, scores = tables()
    g = GraphBuilder("end/")
    by_class = g("Transpose", "scores", perm=[0, 2, 1])
    chosen = g("NonMaxSuppression", "boxes", by_class, *_limits(g))
    label, row = _column(g, chosen, 1), _column(g, chosen, 2)
    pair = g("Concat", *(g("Unsqueeze", one, g.ints(1)) for one in (label, row)), axis=1)
    score = g("GatherND", g("Squeeze", by_class, g.ints(0)), pair)
    four = g("Gather", g("Squeeze", "boxes", g.ints(0)), row, axis=0)
    rows = g("Concat", four, g("Unsqueeze", score, g.ints(1)), axis=1)
    g("Unsqueeze", rows, g.ints(0), out="dets")
    g("Unsqueeze", label, g.ints(0), out="labels")
    base = Network({"boxes": corners(boxes)[None], "scores": scores[None]}, name="input")
    return _ending(
        base, g, {"dets": (TensorProto.FLOAT, [1, "n", 5]), "labels": (TensorProto.INT64, [1, "n"])}
    )


def zoo_yolov3() -> onnx.ModelProto:
    """``boxes [1, N, 4]``, y first, by ``image_shape`` (h, w); ``scores [1, C, N]``; indices ``[n, 3]``."""
    boxes, scores = tables()
    g = GraphBuilder("end/")
    own = g("Mul", "shares", g("Unsqueeze", g("Concat", "image_shape", "image_shape", axis=1), g.ints(1)))
    g("Identity", own, out="yolonms_layer_1")
    g("Transpose", "raw", perm=[0, 2, 1], out="yolonms_layer_1:1")
    g("NonMaxSuppression", own, "yolonms_layer_1:1", *_limits(g), out="yolonms_layer_1:2")
    base = Network(
        {"shares": corners(boxes)[None][..., [1, 0, 3, 2]] / SIZE, "raw": scores[None]}, name="input_1"
    )
    model = _ending(
        base,
        g,
        {
            "yolonms_layer_1": (TensorProto.FLOAT, [1, len(boxes), 4]),
            "yolonms_layer_1:1": (TensorProto.FLOAT, [1, CLASSES, len(boxes)]),
            "yolonms_layer_1:2": (TensorProto.INT64, ["n", 3]),
        },
    )
    model.graph.input.append(helper.make_tensor_value_info("image_shape", TensorProto.FLOAT, [1, 2]))
    return model


def decoded_late() -> onnx.ModelProto:
    """As :func:`apart`, but boxes are computed from the chosen rows only: nothing can be cut off."""
    model = apart()
    for node in model.graph.node:
        if node.op_type == "Concat" and node.output[0] == "output":
            node.output[0] = "early"
    g = GraphBuilder("late/")
    # Another factor for each row: no constant leads from the rows before to these.
    bent = g("Pow", g("Relu", "early"), g.constant([1, 1.02, 1.02, 1.02, 1.02, 1, 1], np.float32))
    g("Identity", bent, out="output")
    model.graph.node.extend(g.nodes)
    model.graph.initializer.extend(g.constants)
    return model


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Writes it."""
    onnx.save(model, str(path))
    return path
