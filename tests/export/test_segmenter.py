"""The exported segmenter against the torch model, on real photographs.

Also tests ``edgevision.graph.class_map``, ``edgevision.training.networks``.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgevision.config import config_folder
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize
from edgevision.contract.model_file import content_sha256, read_manifest
from edgevision.engines import load_engine
from edgevision.errors import CheckpointError
from edgevision.export.to_onnx import export_checkpoint
from edgevision.model import Model
from edgevision.models.backbone import normalise
from edgevision.models.torch_engine import TorchSegmenterEngine
from edgevision.models.unet import UNet
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.config import SegmenterTraining, load_run
from edgevision.training.networks import load_detector
from edgevision.training.segmentation import segmenter_manifest
from edgevision.types import SegmentationMap

WIDTH, HEIGHT = 224, 160
KINDS = {
    "light": [],
    "full size": [
        "model.backbone={name: resnet18, weights: random}",
        "model.channels=[32, 32, 24, 16, 16]",
        "model.decoder=transposed",
        "model.block=plain",
        "model.depthwise=true",
    ],
}


def configuration(kind: str) -> SegmenterTraining:
    """The shipped configuration, smaller, with random weights."""
    run = load_run(
        config_folder() / "models" / "unet-light.yaml",
        [
            "model.backbone.weights=random",
            f"model.input_width={WIDTH}",
            f"model.input_height={HEIGHT}",
            *KINDS[kind],
        ],
    )
    assert isinstance(run, SegmenterTraining)
    return run


def photographs() -> list[NDArray[np.uint8]]:
    data = pytest.importorskip("skimage.data", reason="the photographs come with scikit-image")
    return [np.ascontiguousarray(p[:, :, ::-1]) for p in (data.astronaut(), data.chelsea(), data.rocket())]


def frames() -> NDArray[np.uint8]:
    return np.stack(
        [Letterbox.fit(p.shape[1], p.shape[0], WIDTH, HEIGHT, Resize()).image(p) for p in photographs()]
    )


@pytest.fixture(scope="module", params=list(KINDS))
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[UNet, SegmenterTraining, Path]:
    """A network whose answers vary over the image, for its BatchNorm has seen the photographs."""
    torch.manual_seed(11)
    run = configuration(request.param)
    net = UNet(run.model, len(run.classes))
    nn.init.normal_(net.classifier.weight, std=0.1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for _ in range(2):
            net.train()(normalise(torch.from_numpy(frames())))
    path = tmp_path_factory.mktemp("export") / "unet.onnx"
    checkpoint = Checkpoint(run, 8, {}, net.state_dict(), {}, {"miou": 0.5}, 0.5)
    export_checkpoint(checkpoint, path)
    return net.eval(), run, path


@pytest.mark.parametrize("indices", [(0,), (2,), (0, 1, 2)], ids=str)
def test_the_file_answers_as_torch_does(
    exported: tuple[UNet, SegmenterTraining, Path], indices: tuple[int, ...]
) -> None:
    net, run, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    batch = frames()[list(indices)]
    (found,) = session.run(["class_map"], {"frames": batch})
    wanted = TorchSegmenterEngine(net, segmenter_manifest(run)).infer({"frames": batch})["class_map"]
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape == (len(indices), HEIGHT, WIDTH)
    with torch.inference_mode():
        best = net(normalise(torch.from_numpy(batch))).topk(2, dim=1).values
    clear = (best[:, 0] - best[:, 1] > 1e-4).numpy()
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found[clear], wanted[clear])
    shares = np.bincount(found.ravel(), minlength=11) / found.size
    assert (shares > 0.02).sum() >= 3, "one class everywhere would compare nothing"


def test_the_contract_is_in_the_file(exported: tuple[UNet, SegmenterTraining, Path]) -> None:
    _, run, path = exported
    manifest = read_manifest(path)
    assert (manifest.task, manifest.input_width, manifest.input_height) == ("segmentation", WIDTH, HEIGHT)
    assert manifest.classes[8] == "car"
    assert manifest.colours == run.colours
    assert manifest.figures == {"miou": 0.5}
    assert "CC BY-NC" in manifest.licence
    assert manifest.sha256 == content_sha256(path)
    graph = onnx.load(path).graph
    assert manifest.heads == ("logits",)
    assert "logits" in {name for node in graph.node for name in node.output}
    outputs = [(value.name, value.type.tensor_type.elem_type) for value in graph.output]
    assert outputs == [("class_map", onnx.TensorProto.UINT8)]


def test_the_graph_suits_every_tensorrt(exported: tuple[UNet, SegmenterTraining, Path]) -> None:
    model = onnx.load(exported[2])
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"NonZero", "If", "Loop", "BatchNormalization", "Dropout"}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 19)]
    # TensorRT has uint8 at the borders of a network only, made from floating point.
    assert [node.op_type for node in model.graph.node if "frames" in node.input] == ["Cast"]
    makers = {name: node for node in model.graph.node for name in node.output}
    last = makers["class_map"]
    before = makers[last.input[0]]
    assert (last.op_type, before.op_type, before.attribute[0].i) == ("Cast", "Cast", onnx.TensorProto.FLOAT)


def test_the_runtime_gives_maps_at_source_size(exported: tuple[UNet, SegmenterTraining, Path]) -> None:
    net, run, path = exported
    with load_engine(path) as engine:
        found = Model(engine)(photographs())
    wanted = Model(TorchSegmenterEngine(net, segmenter_manifest(run)))(photographs())
    for photo, ours, theirs in zip(photographs(), found, wanted, strict=True):
        assert isinstance(ours, SegmentationMap)
        assert isinstance(theirs, SegmentationMap)
        assert ours.class_map.shape == photo.shape[:2]
        assert (ours.class_map == theirs.class_map).mean() > 0.99


def test_weights_that_do_not_fit_and_other_tasks_are_refused(tmp_path: Path) -> None:
    run = configuration("light")
    other = UNet(msgspec.structs.replace(run.model, channels=(8,)), 11).state_dict()
    checkpoint = Checkpoint(run, 0, other, other, {}, {}, None)
    with pytest.raises(CheckpointError, match="do not fit its own configuration"):
        export_checkpoint(checkpoint, tmp_path / "x.onnx")
    with pytest.raises(CheckpointError, match="unet-light holds no detector"):
        load_detector(checkpoint)
    assert not list(tmp_path.iterdir())
