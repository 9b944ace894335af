"""Every classifier family trains for a step, and its exported file answers as its torch model does.

Also tests ``edgevision.export.classifier``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgevision.config import config_folder
from edgevision.contract.manifest import INPUT_NAME
from edgevision.engines import load_engine
from edgevision.export.classifier import export_classifier
from edgevision.graph.lint import check_tensorrt
from edgevision.graph.load import load_onnx
from edgevision.models.backbone import normalise
from edgevision.models.classifiers import build_classifier, build_label_criterion
from edgevision.models.families import FAMILIES, Family
from edgevision.models.torch_engine import TorchClassifierEngine
from edgevision.training.classification import classifier_manifest
from edgevision.training.config import ClassifierTraining, load_run
from tests.support.plans import build_for_rtx, needs_rtx

CLASSIFIERS = [one for one in FAMILIES if one.task == "classification"]
SIZE = 64


def run(family: Family) -> ClassifierTraining:
    found = load_run(
        config_folder() / "models" / family.configuration,
        ["model.backbone.weights=random", f"model.input_size={SIZE}", "model.channels=32"],
    )
    assert isinstance(found, ClassifierTraining)
    return found


@pytest.mark.parametrize("family", CLASSIFIERS, ids=lambda one: one.name)
def test_a_few_steps_on_one_batch_bring_its_loss_down(family: Family) -> None:
    config = run(family)
    torch.manual_seed(0)
    model = build_classifier(config.model, len(config.classes)).train()
    criterion = build_label_criterion(config.model)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    images, labels = torch.randn(4, 3, SIZE, SIZE), torch.eye(len(config.classes))[:4]
    totals = []
    for _ in range(8):
        total = criterion(model(images), labels, torch.ones_like(labels))["class"]
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert totals[-1] < totals[0] * 0.8


@pytest.mark.parametrize("family", CLASSIFIERS, ids=lambda one: one.name)
def test_the_exported_file_answers_as_torch_does(family: Family, tmp_path: Path) -> None:
    config = run(family)
    torch.manual_seed(3)
    frames = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    model = build_classifier(config.model, len(config.classes))
    torch.nn.init.normal_(model.classify.weight, std=2.0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():  # statistics of these frames, so that activations are of a natural size
        model.train()(normalise(torch.from_numpy(frames)))
    model.eval()
    path = tmp_path / "model.onnx"
    manifest = export_classifier(model, config, {"top1": 0.5}, path)
    assert (manifest.task, manifest.multi_label, manifest.schema) == (
        "classification",
        family.name == "multi-label",
        2,
    )
    wanted = TorchClassifierEngine(model, classifier_manifest(config)).infer({INPUT_NAME: frames})
    assert wanted["probabilities"].max() > 0.2
    for engine in ("onnxruntime", "openvino"):
        with load_engine(path, engine) as opened:  # type: ignore[arg-type]  # names are checked there
            found = opened.infer({INPUT_NAME: frames})["probabilities"]
            np.testing.assert_allclose(found, wanted["probabilities"], atol=2e-3)
    sums = wanted["probabilities"].sum(axis=1)
    assert np.allclose(sums, 1, atol=1e-5) is (family.name == "classifier")
    assert check_tensorrt(load_onnx(path)) == []


@needs_rtx
@pytest.mark.slow
@pytest.mark.usefixtures("slow_on_demand")
@pytest.mark.parametrize("family", CLASSIFIERS, ids=lambda one: one.name)
def test_nvidias_builder_takes_it(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = run(family)
    path = tmp_path / "model.onnx"
    export_classifier(build_classifier(config.model, len(config.classes)), config, {}, path)
    build_for_rtx(path, tmp_path, monkeypatch)
