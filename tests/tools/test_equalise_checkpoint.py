"""A network whose channels are brought to like ranges: its answers stay, its weights are as in a file."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgevision.calibration.channels import find_channels
from edgevision.calibration.equalise import best_factors, channel_reach, equalise
from edgevision.calibration.float_model import FloatModel
from edgevision.errors import CheckpointError
from edgevision.export.trace import trace
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.class_map import add_class_map
from edgevision.graph.compose import compose
from edgevision.graph.convolutions import find_convolutions
from edgevision.graph.preprocessing import add_preprocessing
from tests.support.benchmarks import load_tool
from tests.support.calibration import segmenter_manifest

equalise_checkpoint: Any = load_tool("equalise_checkpoint")

SIZE = 16


def network() -> nn.Sequential:
    """Unlike channels behind a BatchNorm, read depthwise; then those of a bias, read by all."""
    torch.manual_seed(5)
    layers = (
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.LeakyReLU(0.1)),
        nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.ReLU(inplace=True)),
        nn.Conv2d(6, 2, 1),
    )
    nn.init.uniform_(layers[0][1].weight, 0.02, 2)
    nn.init.uniform_(layers[0][1].bias, -0.5, 0.5)
    return nn.Sequential(*layers).eval()


def exported(model: nn.Module) -> FloatModel:
    before, after = GraphBuilder("pre/"), GraphBuilder("post/")
    add_preprocessing(before, "frames", "images", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    add_class_map(after, "logits", 1)
    manifest = msgspec.structs.replace(segmenter_manifest(), input_width=SIZE, input_height=SIZE)
    graph = compose(trace(model, SIZE, SIZE, ["logits"]), before, after, manifest)
    return FloatModel(Path("small.onnx"), "", manifest, graph, find_convolutions(graph, ("logits",)))


def weights(model: FloatModel) -> list[np.ndarray]:
    """Weights and bias of each convolution, in the order of the graph."""
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.graph.initializer}
    nodes = [node for node in model.graph.graph.node if node.op_type == "Conv"]
    return [stored[name] for node in nodes for name in node.input[1:]]


def test_answers_stay_and_the_exported_weights_are_those_that_calibrate_would_make() -> None:
    model, images = network(), torch.randn(2, 3, SIZE, SIZE)
    before, file = model(images), exported(model)
    frames = np.random.default_rng(0).integers(0, 255, (3, 1, SIZE, SIZE, 3), np.uint8)
    channels = find_channels(file.graph)
    reach = channel_reach(file.graph, channels.tensors, frames)
    wanted = replace(file, graph=equalise(file.graph, channels, best_factors(file.graph, channels, reach)))
    assert equalise_checkpoint.equalise_network(model, file, frames) == 2
    torch.testing.assert_close(model(images), before)
    folded = (fuse_conv_bn_eval(model[0][0], model[0][1]), model[1][0], model[2])
    made = [one.detach().numpy() for layer in folded for one in (layer.weight, layer.bias)]
    for found, expected, old in zip(made, weights(wanted), weights(file), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert len(old) == 2 or not np.allclose(found, old, rtol=0.05)  # the last one's bias is nobody's
    with pytest.raises(CheckpointError, match="the exported file has other convolutions than the network"):
        equalise_checkpoint.layers_of(nn.Sequential(nn.Conv2d(3, 2, 1)), file)


def test_answers_stay_behind_a_batchnorm_that_has_no_weights_or_that_two_convolutions_share() -> None:
    shared = nn.BatchNorm2d(6)
    nn.init.uniform_(shared.weight, 0.02, 2)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6, affine=False), nn.ReLU()),
        nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), shared, nn.ReLU()),
        nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), shared, nn.ReLU()),
        nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()),
        nn.Conv2d(6, 2, 1),
    ).eval()
    nn.init.uniform_(model[0][0].weight, -0.5, 0.5)
    images = torch.randn(2, 3, SIZE, SIZE)
    before, file = model(images), exported(model)
    assert len(find_channels(file.graph).tensors) == 4
    layers = equalise_checkpoint.layers_of(model, file)
    assert [id(one.weight) for one in layers.values()] == [id(model[3][0].weight), id(model[4].weight)]
    frames = np.random.default_rng(0).integers(0, 255, (3, 1, SIZE, SIZE, 3), np.uint8)
    assert equalise_checkpoint.equalise_network(model, file, frames) == 1
    torch.testing.assert_close(model(images), before)


def test_what_is_no_checkpoint_is_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.pt").write_bytes(b"nothing")
    words = [str(tmp_path / "mine.pt"), str(tmp_path / "out.pt"), "--from", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["equalise_checkpoint.py", *words])
    assert equalise_checkpoint.main() == 1
    assert "mine.pt is not an edgevision checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "out.pt").exists()


def test_an_output_that_exists_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.pt"
    out.write_bytes(b"mine")
    monkeypatch.setattr(
        sys, "argv", ["equalise_checkpoint.py", "retinanet-light", str(out), "--from", str(tmp_path)]
    )
    assert equalise_checkpoint.main() == 1
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
