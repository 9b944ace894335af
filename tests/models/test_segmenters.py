"""Every segmenter family trains for a step, and its exported file answers as its torch model does.

Also tests ``edgevision.models.segmentation``.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgevision.config import config_folder
from edgevision.contract.manifest import INPUT_NAME
from edgevision.engines import load_engine
from edgevision.errors import ConfigError
from edgevision.export.segmenter import export_segmenter
from edgevision.export.trace import CORE_INPUT, trace
from edgevision.graph.lint import check_tensorrt
from edgevision.models.backbone import normalise
from edgevision.models.families import FAMILIES, SegmenterModel, with_weights, without_weights
from edgevision.models.segmentation import Segmenter, enlarge
from edgevision.models.segmentation_losses import SegmentationLoss
from edgevision.models.segmenters import build_segmenter
from edgevision.models.torch_engine import TorchSegmenterEngine
from edgevision.models.unpooling.pooling import max_pool, max_unpool
from edgevision.training.config import SegmenterTraining, load_run
from edgevision.training.segmentation import segmenter_manifest
from tests.support.plans import build_for_rtx, needs_rtx

SIZE = ["model.input_width=96", "model.input_height=64"]
KINDS = {
    "unet": [],
    "fcn": ["model.stride=8"],
    "fcn learnt": ["model.stride=16", "model.last=learnt"],
    "segnet": ["model.kernel=3"],
    "deconvnet": ["model.middle=24", "model.tied=false"],
    "deconvnet tied": ["model.middle=0", "model.tied=true"],
}
CLASSES = 4


def run(kind: str) -> SegmenterTraining:
    family = next(one for one in FAMILIES if one.name == kind.split()[0])
    settings = [*SIZE, *KINDS[kind], "classes=[sky, road, car, tree]", "colours=[]"]
    found = load_run(config_folder() / "models" / family.configuration, settings)
    assert isinstance(found, SegmenterTraining)
    return found


def network(model: SegmenterModel) -> Segmenter:
    """With scores that differ from pixel to pixel, and statistics of such images."""
    torch.manual_seed(5)
    net = build_segmenter(without_weights(model), CLASSES)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d) and name.startswith(("classifier", "head")):
            nn.init.normal_(layer.weight, std=0.3)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        net.train()(normalise(torch.from_numpy(frames())))
    return net.eval()


def frames() -> NDArray[np.uint8]:
    """Three images of soft colours, without equal neighbours: engines round sums in an order of their own."""
    rng = np.random.default_rng(0)
    small = rng.integers(20, 236, (3, 8, 12, 3)).astype(np.uint8)
    soft = np.stack([cv2.resize(one, (96, 64), interpolation=cv2.INTER_LINEAR) for one in small])
    return (soft + rng.integers(0, 20, soft.shape)).astype(np.uint8)


@dataclass(frozen=True)
class Exported:
    net: Segmenter
    config: SegmenterTraining
    path: Path


@pytest.fixture(scope="module", params=[kind for kind in KINDS if kind != "unet"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    config = run(request.param)
    net = network(config.model)
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    manifest = export_segmenter(net, config, {"miou": 0.5}, path)
    assert (manifest.name, manifest.task) == (config.name, "segmentation")
    return Exported(net, config, path)


@pytest.mark.parametrize(
    "family", [one for one in FAMILIES if one.task == "segmentation"], ids=lambda f: f.name
)
def test_every_family_has_a_configuration_and_a_network(family: object) -> None:
    config = load_run(config_folder() / "models" / family.configuration)  # type: ignore[attr-defined]
    assert isinstance(config, SegmenterTraining)
    assert family.name in KINDS  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_steps_on_one_batch_bring_its_loss_down(kind: str) -> None:
    config = run(kind)
    torch.manual_seed(0)
    net = build_segmenter(without_weights(config.model), CLASSES).train()
    criterion = SegmentationLoss(config.loss, CLASSES)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    images = normalise(torch.from_numpy(frames()[:2]))
    labels = torch.from_numpy((frames()[:2, ..., 0] // 64).astype(np.int64))
    totals = []
    for _ in range(10):
        total = torch.stack(list(criterion(net(images), labels).values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert all(np.isfinite(totals))
    assert totals[-1] < totals[0] * 0.95


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_file_answers_as_torch_does(exported: Exported, engine: str) -> None:
    if engine == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("the extra 'openvino' is not installed")
    inputs = {INPUT_NAME: frames()}
    wanted = TorchSegmenterEngine(exported.net, segmenter_manifest(exported.config)).infer(inputs)[
        "class_map"
    ]
    with load_engine(exported.path, engine, threads=1) as opened:
        found = opened.infer(inputs)["class_map"]
    with torch.inference_mode():
        best = exported.net(normalise(torch.from_numpy(frames()))).topk(2, dim=1).values
    clear = (best[:, 0] - best[:, 1] > 1e-3).numpy()
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found[clear], wanted[clear])
    assert len(np.unique(found)) >= 3, "one class everywhere would compare nothing"


def test_the_graph_has_operators_that_every_engine_has(exported: Exported) -> None:
    model = onnx.load(exported.path)
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"MaxUnpool", "MaxPool", "ScatterElements", "ScatterND", "NonZero", "Dropout"} - (
        {"MaxPool"} if "backbone" in dict(exported.net.named_children()) else set()
    )
    assert check_tensorrt(model) == []


class Unpooled(nn.Module):
    """Pools and puts every maximum back."""

    def forward(self, images: Tensor) -> Tensor:
        pooled = max_pool(images)
        return max_unpool(pooled.values, pooled.corners)


def test_equal_pixels_are_put_back_in_the_file_where_torch_puts_them() -> None:
    images = np.random.default_rng(0).integers(0, 2, (3, 3, 8, 12)).astype(np.float32)
    model = trace(Unpooled(), 12, 8, ["unpooled"])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["unpooled"], {CORE_INPUT: images})
    values, places = F.max_pool2d(torch.from_numpy(images), 2, return_indices=True)
    np.testing.assert_array_equal(found, F.max_unpool2d(values, places, 2).numpy())


@needs_rtx
def test_nvidias_builder_takes_it(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_for_rtx(exported.path, tmp_path, monkeypatch)


def test_one_class_is_no_choice() -> None:
    with pytest.raises(ConfigError, match="two classes or more"):
        build_segmenter(without_weights(run("segnet").model), 1)


def test_enlarging_by_one_changes_nothing() -> None:
    logits = torch.randn(1, 2, 3, 4)
    assert enlarge(logits, 1) is logits
    assert enlarge(logits, 2).shape == (1, 2, 6, 8)


def test_a_family_without_a_backbone_stays_as_it_is() -> None:
    segnet, unet = run("segnet").model, run("unet").model
    assert without_weights(segnet) is segnet
    assert without_weights(unet).backbone.weights == "random"  # type: ignore[union-attr]
    assert with_weights(unet, "imagenet").backbone.weights == "imagenet"  # type: ignore[union-attr]
