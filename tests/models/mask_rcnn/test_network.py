"""A Mask R-CNN by hand: what masks learn, and its exported file.

Also tests ``edgevision.models.mask_rcnn.settings``.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from edgevision.config import config_folder
from edgevision.contract.manifest import INPUT_NAME
from edgevision.engines import load_engine
from edgevision.engines.choose import EngineName
from edgevision.errors import UsageError
from edgevision.export.detector import export_detector
from edgevision.export.limits import change_limits
from edgevision.graph.lint import check_tensorrt
from edgevision.graph.load import load_onnx
from edgevision.model import Model
from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.anchors import AnchorConfig
from edgevision.models.detectors import build_engine
from edgevision.models.faster_rcnn.network import TwoStageAnswers
from edgevision.models.faster_rcnn.settings import PROPOSAL_STRIDES, ProposalConfig
from edgevision.models.mask_rcnn.criterion import MaskLoss, MaskRcnnLoss, masks_in_regions
from edgevision.models.mask_rcnn.decoding import MaskRcnnDecoding, TorchMaskEngine
from edgevision.models.mask_rcnn.network import MaskRcnn
from edgevision.models.mask_rcnn.settings import MaskConfig, MaskRcnnConfig
from edgevision.models.regions import RegionAnswers, RegionSamples
from edgevision.models.settings import BackboneConfig, DecodeConfig, RegionConfig
from edgevision.training.config import DetectorTraining, load_run
from edgevision.training.detection import detector_manifest
from edgevision.types import Detections
from tests.support.networks import draw_weights
from tests.support.plans import build_for_rtx, needs_rtx

SIZE = 64
CONFIG = MaskRcnnConfig(
    BackboneConfig("resnet18", "random"),
    SIZE,
    16,
    ProposalConfig(AnchorConfig(PROPOSAL_STRIDES, 2.0, (1.0,), (1.0,)), count=12),
    RegionConfig(3, 16, samples=8),
    masks=MaskConfig(4, 8, 1),
)


def target(masks: torch.Tensor | None) -> DetectionTargets:
    boxes = torch.tensor([[0.0, 0, 16, 16]])
    return DetectionTargets(
        boxes, torch.tensor([1]), torch.tensor([False]), torch.tensor([True, True]), None, masks
    )


def left_half() -> torch.Tensor:
    """One object of 16 x 16 pixels of which the left half is there."""
    masks = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    masks[0, :16, :8] = 1
    return masks


def test_a_mask_is_cut_out_by_its_region() -> None:
    regions = torch.tensor([[0.0, 0, 16, 16], [4, 0, 12, 8]])
    cells = masks_in_regions(left_half(), regions, torch.tensor([0, 0]), 2)
    assert cells[0].tolist() == [[1, 0], [1, 0]]
    assert cells[1].tolist() == [[1, 0], [1, 0]]


def test_the_loss_by_hand() -> None:
    sample = RegionSamples(
        torch.tensor([[0.0, 0, 16, 16], [40, 40, 60, 60]]), torch.tensor([0]), torch.zeros(2, 2)
    )
    logits = torch.full((1, 2, 2, 2), 7.0)  # of class 0 whatever it is; of class 1:
    logits[0, 1] = torch.tensor([[math.log(3), -math.log(3)], [0.0, 0.0]])
    wanted = (2 * math.log(4 / 3) + 2 * math.log(2)) / 4  # p of 3/4, 1/4 and 1/2 where 1, 0, 1, 0 is right
    loss = MaskLoss()
    assert loss(logits, [sample], [target(left_half())]).item() == pytest.approx(wanted)
    assert loss(logits, [sample], [target(None)]).item() == 0
    assert loss(logits, [sample], [target(torch.zeros(1, SIZE, SIZE, dtype=torch.uint8))]).item() == 0


def test_all_three_branches_learn() -> None:
    torch.manual_seed(0)
    model, loss = MaskRcnn(CONFIG, 2).train(), MaskRcnnLoss(CONFIG)
    losses = loss(model(torch.randn(1, 3, SIZE, SIZE)), [target(left_half())])
    assert set(losses) == {"objectness", "proposal_box", "class", "box", "mask"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_classes_may_share_a_mask() -> None:
    shared = msgspec.structs.replace(CONFIG, masks=MaskConfig(4, 8, 1, class_specific=False))
    torch.manual_seed(0)
    model = MaskRcnn(shared, 3)
    maps = [torch.randn(1, CONFIG.channels, side, side) for side in (8, 4, 2, 1)]
    logits = model.segment(maps, torch.tensor([[0.0, 4, 4, 40, 30], [0, 8, 2, 20, 60]]))
    assert logits.shape == (2, 3, 8, 8)
    assert (logits == logits[:, :1]).all()
    assert not torch.equal(logits[0], logits[1])


def test_masks_are_drawn_in_what_is_left_of_the_boxes() -> None:
    proposals = torch.tensor([[[0.0, 0, 32, 32], [2, 0, 34, 32], [40, 40, 60, 60]]])
    logits = torch.log(torch.tensor([[1.0, 1, 8], [1, 1, 6], [8, 1, 1]]))  # two of class 1, and background
    drawn: list[torch.Tensor] = []

    def segment(regions: torch.Tensor) -> torch.Tensor:
        drawn.append(regions)
        return torch.zeros(len(regions), 2, 4, 4) + torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)

    answers = TwoStageAnswers(
        torch.zeros(1, 1),
        torch.zeros(1, 1, 4),
        proposals,
        lambda _: RegionAnswers(logits, torch.zeros(3, 2, 4)),
        segment,
    )
    decode = DecodeConfig(score_threshold=0.3, candidates=6, max_detections=3)
    found = MaskRcnnDecoding(SIZE, decode)(answers)
    assert found.scores[0].tolist() == pytest.approx([0.8, -1, -1])
    assert found.labels[0, 0].item() == 1
    assert drawn[0][0].tolist() == [0, 0, 0, 32, 32]
    torch.testing.assert_close(found.masks[0, 0], torch.full((4, 4), 1 / (1 + math.exp(-1))))
    with pytest.raises(ValueError, match="with masks"):
        MaskRcnnDecoding(SIZE, decode)(answers._replace(segment=None))


def small_run() -> DetectorTraining:
    overrides = [
        "classes=[cat, dog, person]",
        "decode.score_threshold=0.0",
        "decode.candidates=6",
        "decode.max_detections=8",
    ]
    found = load_run(config_folder() / "models" / "mask-rcnn.yaml", overrides)
    assert isinstance(found, DetectorTraining)
    return msgspec.structs.replace(found, model=CONFIG)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[MaskRcnn, Path]:
    """With scores, boxes and masks that differ from place to place."""
    path = tmp_path_factory.mktemp("mask-rcnn") / "model.onnx"
    torch.manual_seed(0)
    model = MaskRcnn(CONFIG, 3).eval()
    draw_weights(model, ("rpn", "predictor", "mask_predictor"))
    manifest = export_detector(model, small_run(), {}, path)
    assert (manifest.task, manifest.schema) == ("instance-segmentation", 2)
    assert manifest.max_detections == 6  # no more than enter suppression
    return model, path


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_the_exported_file_answers_as_torch_does(exported: tuple[MaskRcnn, Path], name: EngineName) -> None:
    model, path = exported
    run = small_run()
    frames = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    engine = build_engine(model, CONFIG, run.decode, detector_manifest(run))
    assert isinstance(engine, TorchMaskEngine)
    wanted = engine.infer({INPUT_NAME: frames})
    with load_engine(path, name, threads=1) as opened:
        seen = opened.infer({INPUT_NAME: frames})
    assert set(seen) == {spec.name for spec in detector_manifest(run).output_specs()}
    assert (seen["count"] > 2).all()
    assert seen["masks"].shape == (2, 6, 8, 8)
    for output in ("scores", "boxes", "masks"):
        np.testing.assert_allclose(np.sort(seen[output], axis=1), np.sort(wanted[output], axis=1), atol=0.02)


def test_its_answers_are_results_with_masks(exported: tuple[MaskRcnn, Path], tmp_path: Path) -> None:
    model, path = exported
    run = small_run()
    frame = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    engine = build_engine(model, CONFIG, run.decode, detector_manifest(run))
    (result,) = Model(engine, conf_threshold=0.0)([frame])
    assert isinstance(result, Detections)
    assert result.masks is not None
    with pytest.raises(UsageError, match="no suppression of ours"):
        change_limits(path, tmp_path / "other.onnx", iou=0.3)
    assert check_tensorrt(load_onnx(path)) == []


@needs_rtx
@pytest.mark.slow
@pytest.mark.usefixtures("slow_on_demand")
def test_nvidias_builder_takes_it(
    exported: tuple[MaskRcnn, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_for_rtx(exported[1], tmp_path, monkeypatch)


def test_a_mask_has_two_cells_for_each_that_is_pooled() -> None:
    assert MaskConfig(14).side == 28
