"""Models and machines for the tests of plans."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.calibration.qdq import insert_qdq, quantise_weights
from edgevision.calibration.ranges import measure_ranges, thresholds
from edgevision.contract.manifest import Manifest
from edgevision.contract.model_file import read_manifest
from edgevision.engines.trt.plan import PlanInfo, check_plan
from edgevision.export.plans.compile import compile_model
from edgevision.export.plans.targets import BuildMachine
from edgevision.graph.compose import save_model
from edgevision.graph.convolutions import find_convolutions

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT for RTX is not installed (pip install 'edgevision[tensorrt-rtx]', x86-64, Python 3.11+)",
)

BARE = BuildMachine("x86_64", "", "", "", "no NVIDIA driver is visible", frozenset({"tensorrt-rtx"}))
"""A PC without a GPU."""


def build_for_rtx(model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> PlanInfo:
    """NVIDIA's own builder makes a plan of a model for ``rtx40``, a GPU that need not be here."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    plan = folder / "model.engine"
    compiled = compile_model(model, plan, "rtx40", machine=BARE)
    check_plan(plan, compiled.info)
    assert compiled.info.manifest == read_manifest(model)
    return compiled.info


def jetson(board: str = "NVIDIA Jetson AGX Orin Developer Kit", **changes: Any) -> BuildMachine:
    facts: dict[str, Any] = {
        "architecture": "aarch64",
        "board": board,
        "gpu": "Orin",
        "compute_capability": "8.7",
        "no_gpu": "",
        "libraries": frozenset({"tensorrt"}),
    }
    return BuildMachine(**{**facts, **changes})


def write_conv_segmenter(
    path: Path, batch: int | str = "N", operator: str = "Relu", precision: str = "fp32"
) -> Path:
    """A segmenter of one convolution and one other operator: the class of a pixel is its greatest channel."""
    size = 32
    nodes = [
        helper.make_node("Cast", ["frames"], ["float"], name="pre/cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["images"], name="pre/transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["images", "weight"], ["maps"], name="conv"),
        helper.make_node(operator, ["maps"], ["logits"], name="odd one"),
        helper.make_node("ArgMax", ["logits"], ["best"], name="post/argmax", axis=1, keepdims=0),
        helper.make_node("Cast", ["best"], ["bestf"], name="post/cast", to=TensorProto.FLOAT),
        helper.make_node("Cast", ["bestf"], ["class_map"], name="post/cast8", to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [batch, size, size, 3])],
        [helper.make_tensor_value_info("class_map", TensorProto.UINT8, [batch, size, size])],
        [numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    manifest = Manifest(
        name="colours",
        task="segmentation",
        classes=("blue", "green", "red"),
        input_width=size,
        input_height=size,
        heads=("logits",),
        precision=precision,  # type: ignore[arg-type]
    )
    save_model(model, path, manifest)
    return path


def write_int8(source: Path, path: Path, one_scale: bool = False) -> set[str]:
    """A model in INT8, all but the convolutions that end in a head; returns those kept in float.

    With ``one_scale`` each weight has one, and convolutions in groups are kept too.
    The ranges are those of noise: what matters here is the form of the graph, not its accuracy.
    """
    manifest, model = read_manifest(source), onnx.load(source)
    found = find_convolutions(model, manifest.heads)
    layers = [one for one in found if not one.feeds_head and not (one_scale and one.groups > 1)]
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    rounded = {one.weight: quantise_weights(weights[one.weight], one_scale) for one in layers}
    shape = (1, manifest.input_height, manifest.input_width, 3)
    noise = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    statistics = measure_ranges(model, [layer.data for layer in layers], lambda: iter([noise]), False)
    quantised = insert_qdq(model, layers, thresholds(statistics, "minmax"), rounded)
    save_model(quantised, path, msgspec.structs.replace(manifest, precision="int8"))
    chosen = {layer.name for layer in layers}
    return {node.name for node in convolutions(path) if node.output[0] not in chosen}


def convolutions(path: Path) -> list[onnx.NodeProto]:
    return [node for node in onnx.load(path).graph.node if node.op_type in ("Conv", "ConvTranspose")]
