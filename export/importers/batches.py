"""How many images a foreign network takes at once: any number, where that gives the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgevision.errors import EdgeVisionError
from edgevision.export.importers.inputs import Layout, Size, image_shape
from edgevision.export.importers.probing import Session

_DYNAMIC = "N"
_COUNTED = {"NonMaxSuppression", "NonZero"}
"""Operators that answer as many rows as they find."""


def counts_rows(model: onnx.ModelProto) -> bool:
    """Whether the length of an output may differ from image to image."""
    return any(node.op_type in _COUNTED for node in model.graph.node)


def free_batch(
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
    if "N" not in layout or counts_rows(model):
        return model, declared or 1, Session(model, path)
    fixed = declared or 1
    shape = image_shape(layout, 2 * fixed, *size)
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
