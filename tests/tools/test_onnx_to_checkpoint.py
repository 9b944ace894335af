"""The tool that makes a checkpoint of an exported file: it answers as the file does, and can be trained."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import cv2
import msgspec
import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edgevision.export.to_onnx import export_checkpoint
from edgevision.models.backbone import normalise
from edgevision.training.checkpoint import Checkpoint, load_checkpoint
from edgevision.training.networks import load_segmenter
from edgevision.training.segmentation import SegmentationTask
from tests.support.paths import ROOT
from tests.support.segmentation import small_run, write_set


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("onnx_to_checkpoint")


@pytest.fixture(params=["shufflenet_v2_x1_0", "resnet18"])
def arguments(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """A network with BatchNorms that do something, exported, and the configuration of its training."""
    backbone = f"model.backbone={{name: {request.param}, weights: random}}"
    run = small_run(write_set(tmp_path / "set"), backbone)
    model = SegmentationTask(run).model
    torch.manual_seed(4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    state = model.state_dict()
    state["classifier.bias"].uniform_(-0.1, 0.1)
    state["classifier.weight"].normal_()
    export_checkpoint(Checkpoint(run, 8, state, state, {}, {}, None), tmp_path / "file.onnx")
    (tmp_path / "run.yaml").write_bytes(msgspec.yaml.encode(run))
    paths = [str(tmp_path / name) for name in ("file.onnx", "run.yaml", "out.pt")]
    return ["onnx_to_checkpoint.py", *paths, "--from", str(tmp_path / "set/images/train")]


def test_the_checkpoint_answers_as_the_file_and_normalises_by_what_it_read(
    tool: ModuleType, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    assert tool.main() == 0
    model = load_segmenter(load_checkpoint(tmp_path / "out.pt"))
    session = onnxruntime.InferenceSession(str(tmp_path / "file.onnx"))
    _, height, width, _ = session.get_inputs()[0].shape
    frames = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), np.uint8)
    wanted = [session.run(None, {"frames": frame[None]})[0][0] for frame in frames]
    with torch.inference_mode():
        own = model(normalise(torch.from_numpy(frames))).argmax(dim=1).numpy()
    assert (own == np.stack(wanted)).mean() > 0.999
    assert len(np.unique(own)) > 1
    norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)]
    photographs = [cv2.imread(str(path)) for path in sorted((tmp_path / "set/images/train").iterdir())]
    read: list[torch.Tensor] = []
    norms[0].register_forward_pre_hook(lambda module, given: read.append(given[0]))
    with torch.inference_mode():
        model(normalise(torch.from_numpy(np.stack(photographs))))
    torch.testing.assert_close(norms[0].running_mean, read[0].mean((0, 2, 3)), rtol=0.01, atol=0.01)
    variance = read[0].var((0, 2, 3), correction=0)
    torch.testing.assert_close(norms[0].running_var, variance, rtol=0.02, atol=0.01)


def test_another_network_and_other_classes_are_one_line(
    tool: ModuleType,
    arguments: list[str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = Path(arguments[2])
    before = config.read_text()
    for change, words in (
        (before.replace("sign", "post"), "has other classes than"),
        (before.replace("input_height: 64", "input_height: 96"), "has another input size than"),
        (before.replace("fill: 114", "fill: 0"), "has another resize rule than"),
        (before.replace(request.node.callspec.params["arguments"], "mobilenet_v2"), "of another network"),
        ("task: nothing", "run.yaml"),
    ):
        config.write_text(change)
        monkeypatch.setattr(sys, "argv", arguments)
        assert tool.main() == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert words in said
    assert not Path(arguments[3]).exists()
