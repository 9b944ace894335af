"""A detector with residual blocks, as the architectures for GPUs have them, from random weights to INT8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgevision.cache import Cache
from edgevision.calibration.calibrate import calibrate
from edgevision.calibration.float_model import FloatModel, load_float_model
from edgevision.calibration.outcome import Quantised, Settings
from edgevision.calibration.qdq import check_qdq
from edgevision.calibration.simulate import Simulation
from edgevision.config import config_folder
from edgevision.export.half_probe import agreement_db
from edgevision.export.plans.compile import compile_model
from edgevision.export.plans.layer_dump import node_precisions
from edgevision.export.to_half import export_half
from edgevision.export.to_onnx import export_checkpoint
from edgevision.graph.compose import save_model
from edgevision.graph.convolutions import cut_model
from edgevision.graph.lint import check_tensorrt
from edgevision.models.retinanet import RetinaNet
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.config import load_run
from tests.support.calibration import FakeFrames, Stages
from tests.support.plans import BARE, convolutions, needs_rtx

SMALLER = [
    "model.backbone.name=resnet18",
    "model.backbone.weights=random",
    "model.input_size=96",
    "model.channels=32",
    "model.head.layers=1",
]


def frames(count: int, seed: int) -> NDArray[np.uint8]:
    """Areas of any colour with noise on them: uint8 ``[count, 96, 96, 3]``."""
    rng = np.random.default_rng(seed)
    areas = np.kron(rng.integers(0, 256, (count, 6, 6, 3)), np.ones((1, 16, 16, 1)))
    return np.clip(areas + rng.normal(0, 12, areas.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    """Its BatchNorm has seen data, so that values are of a natural size."""
    torch.manual_seed(1)
    run = load_run(config_folder() / "models" / "retinanet-resnet50.yaml", SMALLER)
    net = RetinaNet(run.model, len(run.classes))  # type: ignore[arg-type]
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()(torch.randn(4, 3, 96, 96))
    path = tmp_path_factory.mktemp("resnet") / "resnet.onnx"
    export_checkpoint(Checkpoint(run, 0, {}, net.eval().state_dict(), {}, {}, None), path)
    return load_float_model(path)


@pytest.fixture(scope="module")
def quantised(model: FloatModel) -> Quantised:
    stages = Stages()
    settings = Settings(min_share=1.0)  # so that no layer is spared
    found = calibrate(model, FakeFrames(frames(12, seed=0)), settings, None, Cache(None), stages)  # type: ignore[arg-type]
    assert stages.opened[0] == "equalising channels"
    assert stages.opened[-3:] == ["measuring ranges", "counting magnitudes", "comparing ranges"]
    assert not any(label.startswith(("evaluating", "ranking")) for label in stages.opened), (
        "nothing is labelled"
    )
    assert found.equalisation is not None
    return found


@pytest.fixture(scope="module")
def written(quantised: Quantised, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "resnet.int8.onnx"
    save_model(quantised.graph, path, quantised.manifest)
    return path


def test_all_but_what_feeds_the_heads_is_int8(model: FloatModel, quantised: Quantised) -> None:
    last = {layer.name for layer in model.convolutions if layer.feeds_head}
    assert last == set(model.manifest.heads)
    assert {layer.name for layer in quantised.layers} == {layer.name for layer in model.convolutions} - last
    assert len(quantised.layers) > 20, "twenty convolutions of ResNet-18 and those of the pyramid and heads"
    facts = quantised.manifest.calibration
    assert facts is not None
    assert facts.int8_share > 0.8
    assert facts.frames == 12
    assert quantised.gate is None
    assert quantised.manifest.figures == {}, "nobody measured this file"
    check_qdq(quantised.graph, "resnet")
    assert check_tensorrt(quantised.graph) == []


def test_residuals_travel_in_int8_and_no_activation_is_cut_off(quantised: Quantised) -> None:
    graph = quantised.graph.graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    sums = [
        node for node in graph.node if node.op_type == "Add" and "Relu" in readers.get(node.output[0], ())
    ]
    assert len(sums) == 8, "two blocks in each of four stages"
    for node in sums:
        # The block's own convolution joins the sum; the way past it comes from int8, or from the
        # convolution that changes its size.
        assert sorted(makers[name] for name in node.input) in (["Conv", "DequantizeLinear"], ["Conv", "Conv"])
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            # Of the pyramid's convolutions some have no activation, so Q may follow them.
            followers = readers[node.input[0]] - {"QuantizeLinear"}
            assert "Relu" not in followers


def test_it_answers_as_the_float_model_does(model: FloatModel, quantised: Quantised) -> None:
    heads = model.manifest.heads
    unseen = frames(4, seed=7)
    told, wanted = (
        dict(zip(heads, Simulation(cut_model(graph, heads), heads)(unseen), strict=True))
        for graph in (quantised.graph, model.graph)
    )
    assert agreement_db(wanted, told) > 15


def test_the_rest_becomes_fp16(written: Path, tmp_path: Path) -> None:
    half = export_half(written, tmp_path / "both.onnx")
    assert half.kept == ()
    assert half.manifest.precision == "int8+fp16"
    assert check_tensorrt(onnx.load(tmp_path / "both.onnx")) == []


@needs_rtx
def test_nvidias_compiler_runs_it_in_int8(
    quantised: Quantised, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    compiled = compile_model(written, tmp_path / "resnet.engine", "rtx40", machine=BARE)
    chosen = {layer.name for layer in quantised.layers}
    nodes = {node.name: node.output[0] in chosen for node in convolutions(written)}
    found = node_precisions(compiled.info.layers, nodes)
    assert found == {name: "Int8" if is_int8 else "Float" for name, is_int8 in nodes.items()}
    assert compiled.notes == ()
