"""Every detector family trains for a step, and its exported file answers as its torch model does.

Also tests ``edgevision.models.dense``, ``edgevision.graph.dense``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch

import edgevision as ev
from edgevision.config import config_folder
from edgevision.contract.manifest import INPUT_NAME
from edgevision.engines import load_engine
from edgevision.engines.choose import EngineName
from edgevision.errors import ConfigError
from edgevision.export.detector import export_detector
from edgevision.graph.lint import check_tensorrt
from edgevision.graph.load import load_onnx
from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.detectors import build_criterion, build_decoder, build_decoding, build_network
from edgevision.models.families import FAMILIES, DetectorModel, Family, with_family
from edgevision.models.settings import DetectionLossConfig, RetinaNetConfig
from edgevision.models.torch_engine import TorchDetectorEngine
from edgevision.training.config import DetectorTraining, load_run
from edgevision.training.detection import detector_manifest
from tests.support.plans import build_for_rtx, needs_rtx

DETECTORS = [one for one in FAMILIES if one.task == "detection"]
IN_STEPS = [one for one in DETECTORS if not one.name.endswith("rcnn") and one.name != "r-cnn"]
DENSE = [one for one in IN_STEPS if one.name != "retinanet"]
ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino")
SIZE = 128
FITTING = {
    "overfeat.yaml": ["model.units=1", "model.cells=1", "model.scales=[1.0, 1.5]"],
    "ssd.yaml": ["model.levels=4"],
    "yolo-v1.yaml": ["decode.candidates=1000", "decode.max_detections=1000"],
}
"""What a configuration needs beside it for an input of that size; of one, more answers than it can give."""

SPREAD = {"yolo-v3": 0.1}
"""Of weights of the predictions, where 0.5 would have scores of exactly 1, which are equal."""


def run(configuration: str, *changes: str) -> DetectorTraining:
    weights = "model.weights" if configuration == "yolo-v3.yaml" else "model.backbone.weights"
    overrides = [f"{weights}=random", f"model.input_size={SIZE}", "decode.score_threshold=0.0"]
    overrides += [*FITTING.get(configuration, []), *changes]
    found = load_run(config_folder() / "models" / configuration, overrides)
    assert isinstance(found, DetectorTraining)
    return found


def rows(answers: dict[str, np.ndarray], image: int) -> np.ndarray:
    """Label, box and score of each detection in an order of their own: float64 ``[count, 6]``."""
    columns = (answers["labels"][image][:, None], answers["boxes"][image], answers["scores"][image][:, None])
    found = np.concatenate(columns, axis=1)[: answers["count"][image]].astype(np.float64)
    return found[np.lexsort(found[:, :5].round().T)]


def targets(classes: int) -> list[DetectionTargets]:
    boxes = torch.tensor([[10.0, 12, 60, 70], [70, 40, 120, 110]])
    known = torch.ones(classes, dtype=torch.bool)
    return [DetectionTargets(boxes, torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool), known)] * 2


@pytest.mark.parametrize("family", IN_STEPS, ids=lambda one: one.name)
def test_a_few_steps_on_one_image_bring_its_loss_down(family: Family) -> None:
    config = run(family.configuration)
    torch.manual_seed(0)
    classes = len(config.classes)
    model = build_network(config.model, classes).train()
    criterion = build_criterion(config.model, config.loss, classes)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    images, totals = torch.randn(2, 3, SIZE, SIZE), []
    for _ in range(12):
        losses = criterion(model(images), targets(classes))
        total = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert all(np.isfinite(totals))
    assert totals[-1] < totals[0] * 0.8


@dataclass(frozen=True)
class Exported:
    family: Family
    config: DetectorTraining
    model: torch.nn.Module
    path: Path


@pytest.fixture(scope="module", params=DENSE, ids=lambda one: one.name)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """With scores that differ from place to place."""
    family: Family = request.param
    config = run(family.configuration)
    torch.manual_seed(3)
    model = build_network(config.model, len(config.classes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "head" in name or "predict" in name:
                parameter.normal_(0, SPREAD.get(family.name, 0.5))
    path = tmp_path_factory.mktemp(family.name) / "model.onnx"
    manifest = export_detector(model, config, {"ap50": 0.5}, path)
    assert manifest == msgspec.structs.replace(manifest, name=config.name, task="detection")
    if family.name == "yolo-v1":
        assert manifest.max_detections == 4 * 4 * 2 * len(config.classes)
    return Exported(family, config, model, path)


def test_the_exported_file_answers_as_torch_does(exported: Exported) -> None:
    config = exported.config
    frames = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    decoder = build_decoder(config.model, len(config.classes), config.decode)
    torch_engine = TorchDetectorEngine(exported.model, decoder, detector_manifest(config))
    wanted = torch_engine.infer({INPUT_NAME: frames})
    assert (wanted["count"] > (0 if exported.family.name == "largest-object" else 5)).all()
    for engine in ENGINES:
        with load_engine(exported.path, engine) as opened:
            seen = opened.infer({INPUT_NAME: frames})
        np.testing.assert_array_equal(seen["count"], wanted["count"], err_msg=engine)
        for image in range(len(frames)):  # near-equal scores may change places
            np.testing.assert_allclose(rows(seen, image), rows(wanted, image), atol=0.01, err_msg=engine)
    assert check_tensorrt(load_onnx(exported.path)) == []


def test_a_configuration_knows_how_many_boxes_its_network_gives(exported: Exported) -> None:
    model = exported.config.model
    assert not isinstance(model, RetinaNetConfig)
    decoding = build_decoding(model, len(exported.config.classes))
    with torch.inference_mode():
        boxes = decoding(exported.model(torch.zeros(1, 3, SIZE, SIZE))).boxes
    assert boxes.shape[1] == model.places


CAT = ["classes=[cat]"]
SMALL = ["model.input_size=64"]
FEW = [
    # 4 * 4 cells of 2 boxes, one class.
    ("yolo-v1.yaml", [*CAT, "decode.max_detections=5000"], (32, 32)),
    # 8 * 8, 4 * 4, 2 * 2 and 1 cells in four levels, of each the best 10 at most.
    ("retinanet-light.yaml", [*CAT, *SMALL, "decode.level_candidates=10"], (25, 25)),
    ("retinanet-light.yaml", [*SMALL, "decode.candidates=7"], (7, 7)),
    ("retinanet-light.yaml", [*SMALL, "decode.max_detections=3"], (300, 3)),
    # 2 proposals of each of 4 levels, three classes.
    ("faster-rcnn.yaml", ["classes=[a, b, c]", "model.proposals.level_candidates=2"], (24, 24)),
    ("mask-rcnn.yaml", ["classes=[a, b, c]", "model.proposals.count=5"], (15, 15)),
    ("r-cnn.yaml", [*CAT, "model.search.count=9"], (9, 9)),
    ("largest-object.yaml", ["decode.candidates=50"], (20, 1)),
]
"""A configuration, what is changed, and how many candidates and answers its file has."""


@pytest.mark.parametrize(("configuration", "changes", "limits"), FEW, ids=str)
def test_no_more_answers_are_promised_than_can_be_given(
    configuration: str, changes: list[str], limits: tuple[int, int]
) -> None:
    manifest = detector_manifest(run(configuration, *changes))
    assert manifest.nms is not None
    assert (manifest.nms.candidates, manifest.max_detections) == limits


def test_a_small_pyramid_is_exported_and_runs(tmp_path: Path) -> None:
    small = ["model.backbone={name: resnet18, weights: random}", "model.channels=16", "model.head.layers=1"]
    config = run("retinanet-light.yaml", *small, *CAT, "model.input_size=64", "decode.level_candidates=10")
    model, path = build_network(config.model, len(config.classes)).eval(), tmp_path / "model.onnx"
    manifest = export_detector(model, config, {}, path)  # onnx's checker has compared the shapes
    assert manifest.max_detections == 25
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((64, 64, 3), 90, np.uint8))
    ended = ev.run(path, tmp_path / "*.png", save_json=tmp_path / "found.jsonl")
    assert ended.written == 2
    frames = np.zeros((3, 64, 64, 3), np.uint8)
    with load_engine(path, "onnxruntime") as engine:
        seen = engine.infer({INPUT_NAME: frames})
    shapes = {spec.name: (3, *spec.shape[1:]) for spec in manifest.output_specs()}
    assert {name: values.shape for name, values in seen.items()} == shapes


@needs_rtx
@pytest.mark.slow
@pytest.mark.usefixtures("slow_on_demand")
def test_nvidias_builder_takes_it(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_for_rtx(exported.path, tmp_path, monkeypatch)


def test_a_family_that_is_left_out_is_the_first_of_its_task() -> None:
    assert with_family({"task": "detection", "model": {"input_size": 3}})["model"]["family"] == "retinanet"
    named = {"task": "detection", "model": {"family": "ssd"}}
    assert with_family(named) is named
    assert with_family({"task": "other", "model": {}}) == {"task": "other", "model": {}}


def test_an_unknown_family_is_told_with_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    text = (config_folder() / "models" / "ssd.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("family: ssd", "family: sdd"), encoding="utf-8")
    with pytest.raises(ConfigError, match="ssd"):
        load_run(path)


def test_a_detector_without_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one class"):
        build_network(run("r-cnn.yaml").model, 0)


def test_the_loss_of_another_family_is_refused() -> None:
    config = run("ssd.yaml")
    with pytest.raises(ConfigError, match="loss: is that of family retinanet"):
        build_criterion(config.model, DetectionLossConfig(alpha=0.5), 2)
    retinanet: DetectorModel = run("retinanet-light.yaml").model
    assert isinstance(retinanet, RetinaNetConfig)
    with pytest.raises(ConfigError, match="a decoder of its own"):
        build_decoding(retinanet, 2)
