"""The exported file against the torch model with torchvision's NMS, on real photographs.

Also tests ``edgevision.export.trace``, ``edgevision.models.torch_engine``,
``edgevision.graph.preprocessing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from edgevision.config import config_folder, load_config
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Manifest, Resize
from edgevision.contract.model_file import content_sha256, read_manifest
from edgevision.errors import CheckpointError
from edgevision.export.detector import export_detector
from edgevision.export.to_onnx import export_checkpoint
from edgevision.models.backbone import normalise
from edgevision.models.decode import DetectionDecoder
from edgevision.models.retinanet import RetinaNet
from edgevision.models.torch_engine import TorchDetectorEngine
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.config import DetectorTraining
from edgevision.training.detection import detector_manifest
from tests.support.paths import ROOT

SIZE = 256


def light() -> DetectorTraining:
    """The shipped configuration, without its data and with random weights."""
    return load_config(
        config_folder() / "models" / "retinanet-light.yaml",
        DetectorTraining,
        ["model.backbone.weights=random", f"model.input_size={SIZE}"],
    )


def photographs() -> list[NDArray[np.uint8]]:
    """Three real photographs, letterboxed: a person, a cat and a rocket."""
    data = pytest.importorskip("skimage.data", reason="the photographs come with scikit-image")
    photos = [data.astronaut(), data.chelsea(), data.rocket()]
    return [
        Letterbox.fit(p.shape[1], p.shape[0], SIZE, SIZE, Resize()).image(np.ascontiguousarray(p[:, :, ::-1]))
        for p in photos
    ]


@pytest.fixture(scope="module")
def model() -> RetinaNet:
    """A network that finds hundreds of overlapping things in anything: harder for NMS than a trained one.

    BatchNorm takes its statistics from the photographs, so that activations are of a natural size.
    """
    torch.manual_seed(7)
    config = light()
    net = RetinaNet(config.model, len(config.classes))
    for tower, spread in ((net.class_tower, 0.12), (net.box_tower, 0.05)):
        nn.init.normal_(tower.predict.weight, std=spread)
    nn.init.constant_(net.class_tower.predict.bias, -5.5)  # type: ignore[arg-type]
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for _ in range(3):
            net.train()(normalise(torch.from_numpy(np.stack(photographs()))))
    return net.eval()


@pytest.fixture(scope="module")
def exported(model: RetinaNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "light.onnx"
    export_detector(model, light(), {"ap50_mean": 0.5}, path)
    return path


@pytest.fixture(scope="module")
def session(exported: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])


def reference(model: RetinaNet, frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    config = light()
    decoder = DetectionDecoder(config.model, len(config.classes), config.decode)
    return TorchDetectorEngine(model, decoder, detector_manifest(config)).infer({"frames": frames})


def batch(indices: Sequence[int | None]) -> NDArray[np.uint8]:
    """Photographs by number; None stands for an image without anything in it."""
    photos = photographs()
    grey = np.full((SIZE, SIZE, 3), 114, np.uint8)
    return np.stack([grey if i is None else photos[i] for i in indices])


@pytest.mark.parametrize("indices", [(0,), (1,), (2,), (None,), (0, 1, 2), (2, None, 0)], ids=str)
def test_the_file_answers_as_torch_and_torchvision_do(
    model: RetinaNet, session: onnxruntime.InferenceSession, indices: tuple[int | None, ...]
) -> None:
    frames = batch(indices)
    names = ["boxes", "scores", "labels", "count"]
    found = dict(zip(names, session.run(names, {"frames": frames}), strict=True))
    wanted = reference(model, frames)
    np.testing.assert_array_equal(found["count"], wanted["count"])
    for image, count in enumerate(found["count"]):
        ours, theirs = settled(found, image), settled(wanted, image)
        assert len(ours["labels"]) >= count - 10
        np.testing.assert_array_equal(ours["labels"], theirs["labels"])
        np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-4)
        np.testing.assert_allclose(ours["boxes"], theirs["boxes"], atol=0.05)
        assert (np.diff(found["scores"][image]) <= 0).all(), "best first"
        if indices[image] is not None:
            assert count >= 20, "too few detections for the comparison to mean anything"


def settled(outputs: dict[str, NDArray[np.float32]], image: int) -> dict[str, NDArray[np.float32]]:
    """The detections of one image in an order that near ties do not change.

    An untrained network's scores nearly tie; where they do at the end of a full list, either may be in it.
    """
    scores = outputs["scores"][image]
    kept = scores > (scores[-1] + 1e-3 if scores[-1] else 0)
    rows = {name: outputs[name][image][kept] for name in ("boxes", "scores", "labels")}
    order = np.lexsort((rows["boxes"][:, 0], rows["labels"]))
    return {name: column[order] for name, column in rows.items()}


def test_a_image_without_objects_gives_padding(exported: Path, tmp_path: Path) -> None:
    quiet = onnx.load(exported)
    predictions = [node for node in quiet.graph.node if node.output[0].startswith("logits_p")]
    biases = {node.input[2] for node in predictions}
    for constant in quiet.graph.initializer:
        if constant.name in biases:
            constant.CopyFrom(numpy_helper.from_array(np.full(constant.dims, -30, np.float32), constant.name))
    session = onnxruntime.InferenceSession(quiet.SerializeToString(), providers=["CPUExecutionProvider"])
    boxes, scores, labels, count = session.run(["boxes", "scores", "labels", "count"], {"frames": batch([0])})
    assert count.tolist() == [0]
    assert (labels == -1).all()
    assert not boxes.any()
    assert not scores.any()


def test_the_contract_is_in_the_file(exported: Path) -> None:
    manifest = read_manifest(exported)
    assert isinstance(manifest, Manifest)
    assert (manifest.task, manifest.input_width, manifest.max_detections) == ("detection", SIZE, 100)
    assert (manifest.classes[0], len(manifest.classes)) == ("person", 80)
    assert manifest.figures == {"ap50_mean": 0.5}
    assert manifest.nms is not None
    assert (manifest.nms.form, manifest.nms.candidates, manifest.nms.rounds) == ("cluster", 300, 16)
    assert manifest.sha256 == content_sha256(exported)
    graph = onnx.load(exported).graph
    made = {name for node in graph.node for name in node.output}
    assert set(manifest.heads) <= made
    assert [(value.name, value.type.tensor_type.elem_type) for value in graph.input] == [("frames", 2)]
    assert [value.name for value in graph.output] == [spec.name for spec in manifest.output_specs()]


def test_the_graph_suits_every_tensorrt(exported: Path) -> None:
    model = onnx.load(exported)
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"NonMaxSuppression", "NonZero", "If", "Loop", "BatchNormalization"}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 19)]
    # TensorRT takes uint8 at the borders of a network only.
    first = [node for node in model.graph.node if "frames" in node.input]
    assert [node.op_type for node in first] == ["Cast"]


def test_nothing_of_the_machine_it_was_made_on_is_left_in_the_file(exported: Path) -> None:
    content = exported.read_bytes()
    assert str(ROOT).encode() not in content
    assert b"site-packages" not in content
    assert b"stack_trace" not in content


def test_a_checkpoint_exports_its_averaged_weights_and_equal_weights_give_an_equal_file(
    model: RetinaNet, exported: Path, tmp_path: Path
) -> None:
    config = light()
    garbage = RetinaNet(config.model, len(config.classes)).state_dict()
    checkpoint = Checkpoint(config, 100, garbage, model.state_dict(), {}, {"ap50_mean": 0.5}, 0.5)
    path = tmp_path / "checkpoint.onnx"
    export_checkpoint(checkpoint, path)
    assert path.read_bytes() == exported.read_bytes()


def test_weights_of_another_shape_are_refused(model: RetinaNet, tmp_path: Path) -> None:
    other = RetinaNet(model.config, classes=3).state_dict()
    checkpoint = Checkpoint(light(), 0, other, other, {}, {}, None)
    with pytest.raises(CheckpointError, match="do not fit its own configuration"):
        export_checkpoint(checkpoint, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
