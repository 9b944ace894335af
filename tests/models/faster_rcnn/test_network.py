"""A Faster R-CNN by hand: proposals, pooling, the loss of the first stage, and its exported file."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from edgevision.config import config_folder
from edgevision.contract.manifest import INPUT_NAME
from edgevision.engines import load_engine
from edgevision.engines.choose import EngineName
from edgevision.export.detector import export_detector
from edgevision.graph.lint import check_tensorrt
from edgevision.graph.load import load_onnx
from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.anchors import AnchorConfig
from edgevision.models.detectors import build_decoder
from edgevision.models.faster_rcnn.criterion import FasterRcnnLoss, ProposalLoss
from edgevision.models.faster_rcnn.network import FasterRcnn
from edgevision.models.faster_rcnn.pooling import (
    SAMPLES,
    PyramidPool,
    align_by_products,
    region_levels,
    sample_weights,
)
from edgevision.models.faster_rcnn.proposals import Proposals
from edgevision.models.faster_rcnn.settings import PROPOSAL_STRIDES, FasterRcnnConfig, ProposalConfig
from edgevision.models.regions import as_regions
from edgevision.models.settings import BackboneConfig, RegionConfig
from edgevision.models.torch_engine import TorchDetectorEngine
from edgevision.training.config import DetectorTraining, load_run
from edgevision.training.detection import detector_manifest
from tests.support.networks import draw_weights
from tests.support.plans import build_for_rtx, needs_rtx

SIZE = 64
ONE_SQUARE = AnchorConfig(PROPOSAL_STRIDES, 2.0, (1.0,), (1.0,))
CONFIG = FasterRcnnConfig(
    BackboneConfig("resnet18", "random"),
    SIZE,
    16,
    ProposalConfig(ONE_SQUARE, level_candidates=2, count=12),
    RegionConfig(3, 16, samples=8),
)
SQUARES = 64 + 16 + 4 + 1
"""Anchors of an input of 64 pixels: one a cell of maps of 8, 4, 2 and 1 cells a side."""


def target(boxes: list[list[float]], ignore: bool = False, known: bool = True) -> DetectionTargets:
    count = len(boxes)
    flags = torch.full((count,), ignore)
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return DetectionTargets(
        corners, torch.zeros(count, dtype=torch.int64), flags, torch.tensor([known, True])
    )


def test_the_best_anchors_are_proposed_and_their_doubles_last() -> None:
    propose = Proposals(ProposalConfig(ONE_SQUARE, count=4, iou_threshold=0.3), SIZE)
    assert propose.counts == (64, 16, 4, 1)
    objectness = torch.full((1, SQUARES), -9.0)
    objectness[0, [27, 28, 70]] = torch.tensor([3.0, 2.0, 1.0])  # 27 and 28 overlap by a third
    found = propose(objectness, torch.zeros(1, SQUARES, 4))
    assert found[0, 0].tolist() == [20, 20, 36, 36]  # row 3, column 3 of stride 8
    assert found[0, 1].tolist() == [24, 8, 56, 40]  # cell 6 of stride 16: row 1, column 2
    assert found.shape == (1, 4, 4)
    offsets = torch.zeros(1, SQUARES, 4)
    offsets[0, 27] = torch.tensor([0.5, 0, math.log(2), -20.0])  # half a width right, twice as wide, a line
    moved = propose(objectness, offsets)[0, 0].tolist()
    assert moved == pytest.approx([20, 28, 52, 29], abs=1e-3)


def test_a_region_is_looked_at_in_the_map_of_its_size() -> None:
    sides = torch.tensor([4.0, 55, 57, 111, 113, 223, 225, 900])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], dim=1)
    assert region_levels(boxes).tolist() == [0, 0, 0, 0, 1, 1, 2, 2]


def test_pooling_takes_the_values_of_that_map_in_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = torch.arange(32.0).expand(2, 1, 32, 32)  # the value of a cell is its column
    maps = [columns, torch.full((2, 1, 16, 16), 50.0), torch.full((2, 1, 8, 8), 70.0)]
    regions = torch.tensor([[0.0, 8, 8, 40, 40], [0, 0, 0, 1, 1], [1, 0, 0, 120, 120], [1, 0, 0, 250, 250]])
    found = PyramidPool(2)(maps, regions)
    # Cells have their centres at .5: a quarter of 32 pixels from the left is 16 pixels, 2 cells less a half.
    assert found[0, 0, 0].tolist() == pytest.approx([1.5, 3.5])
    assert found[2].unique().tolist() == [50]
    assert found[3].unique().tolist() == [70]
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(PyramidPool(2)(maps, regions), found)


def test_mixed_precision_does_not_move_regions() -> None:
    columns = torch.arange(40.0).expand(1, 1, 40, 40)
    maps = [columns, columns[..., :20, :20], columns[..., :10, :10]]
    regions = torch.tensor([[0.0, 261, 8, 307, 40]])  # bfloat16 has 260 and 262, 306 and 308
    wanted = PyramidPool(2)(maps, regions)
    with torch.autocast("cpu", torch.bfloat16):
        found = PyramidPool(2)([one.bfloat16() for one in maps], regions)
    torch.testing.assert_close(found, wanted)


def test_products_of_matrices_align_regions_as_torchvision_does() -> None:
    torch.manual_seed(0)
    one, size = torch.randn(2, 5, 8, 12), torch.tensor([96.0, 64])
    low = torch.rand(2, 6, 2) * size
    boxes = torch.cat([low, low + torch.rand(2, 6, 2) * (size - low)], dim=-1)
    boxes[0, 0] = torch.tensor([0.0, 0, 96, 64])
    boxes[1, 1] = torch.tensor([95.0, 63, 96, 64])  # beyond the centre of the last cell
    boxes[1, 2] = torch.tensor([0.0, 0, 0, 64])  # a line
    wanted = roi_align(one, as_regions(boxes), 3, 1 / 8, SAMPLES, aligned=True)
    torch.testing.assert_close(align_by_products(one, boxes, 3, 8), wanted, atol=1e-5, rtol=1e-5)


def test_the_weights_of_samples_by_hand() -> None:
    # Two points of a cell of 2, at 0.5 and 1.5 from its start: the centres of cells 1 and 2.
    assert sample_weights(torch.tensor(1.0), torch.tensor(3.0), 1, 4).tolist() == [[0, 0.5, 0.5, 0]]
    # At 0.25 and 0.75: before the first centre, which counts, and a quarter of a cell behind it.
    assert sample_weights(torch.tensor(0.0), torch.tensor(1.0), 1, 2).tolist() == [[0.875, 0.125]]


def test_the_loss_of_the_first_stage_by_hand() -> None:
    loss = ProposalLoss(ProposalConfig(ONE_SQUARE, samples=200), SIZE)
    objectness, offsets = torch.zeros(1, SQUARES), torch.zeros(1, SQUARES, 4)
    objectness[0, 27] = math.log(3)  # p = 0.75
    found = loss(objectness, offsets, [target([[20, 20, 36, 36]])])
    # One anchor is the object, 27; those that overlap it by 0.3 or more, its four neighbours, are silent.
    counted = SQUARES - 4
    wanted = (math.log(4 / 3) + (counted - 1) * math.log(2)) / counted
    assert found["objectness"].item() == pytest.approx(wanted)
    assert found["proposal_box"].item() == 0
    offsets[0, 27, 0] = 1.0  # smooth L1 beyond 1/9: 1 - 1/18
    found = loss(objectness, offsets, [target([[20, 20, 36, 36]])])
    assert found["proposal_box"].item() == pytest.approx((1 - 1 / 18) / counted)


def test_images_with_unlabelled_classes_teach_no_background() -> None:
    loss = ProposalLoss(ProposalConfig(ONE_SQUARE, samples=200), SIZE)
    raw = torch.zeros(1, SQUARES), torch.zeros(1, SQUARES, 4)
    found = loss(*raw, [target([[20, 20, 36, 36]], known=False)])
    assert found["objectness"].item() == pytest.approx(math.log(2))  # of the one anchor that shows something
    nothing = loss(*raw, [target([], known=False)])
    assert nothing["objectness"].item() == 0


def test_both_stages_learn_and_the_way_to_the_second_is_open_in_training() -> None:
    torch.manual_seed(0)
    model, loss = FasterRcnn(CONFIG, 2).train(), FasterRcnnLoss(CONFIG)
    losses = loss(model(torch.randn(2, 3, SIZE, SIZE)), [target([[8, 8, 40, 40]]), target([])])
    assert set(losses) == {"objectness", "proposal_box", "class", "box"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[8, 16, 32, 64\]"):
        ProposalConfig(AnchorConfig())
    with pytest.raises(ValueError, match=r"background_iou is 0\.8"):
        ProposalConfig(ONE_SQUARE, background_iou=0.8)


def rows(answers: dict[str, np.ndarray], image: int) -> np.ndarray:
    """Label, score and box of each detection in an order of their own: float64 ``[count, 6]``."""
    columns = (answers["labels"][image][:, None], answers["scores"][image][:, None], answers["boxes"][image])
    found = np.concatenate(columns, axis=1)[: answers["count"][image]].astype(np.float64)
    return found[np.lexsort((found[:, 3], found[:, 1].round(3), found[:, 0]))]


def small_run() -> DetectorTraining:
    overrides = ["classes=[cat, dog, person]", "decode.score_threshold=0.0", "decode.candidates=60"]
    found = load_run(config_folder() / "models" / "faster-rcnn.yaml", overrides)
    assert isinstance(found, DetectorTraining)
    return msgspec.structs.replace(found, model=CONFIG)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[FasterRcnn, Path]:
    """With scores and boxes that differ from place to place."""
    path = tmp_path_factory.mktemp("faster-rcnn") / "model.onnx"
    torch.manual_seed(0)
    model = FasterRcnn(CONFIG, 3).eval()
    draw_weights(model, ("rpn", "predictor"))
    manifest = export_detector(model, small_run(), {}, path)
    # Two proposals of each level but the last, which has one cell; three classes each.
    assert (manifest.task, manifest.max_detections) == ("detection", 7 * 3)
    assert CONFIG.places == 7
    return model, path


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_exported_file_answers_as_torch_does_at_any_batch_size(
    exported: tuple[FasterRcnn, Path], engine: EngineName
) -> None:
    model, path = exported
    run = small_run()
    frames = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    decoder = build_decoder(CONFIG, 3, run.decode)
    wanted = TorchDetectorEngine(model, decoder, detector_manifest(run)).infer({INPUT_NAME: frames})
    with load_engine(path, engine, threads=1) as opened:
        for batch in (frames, frames[:1]):
            seen = opened.infer({INPUT_NAME: batch})
            assert (seen["count"] > 5).all()
            np.testing.assert_array_equal(seen["count"], wanted["count"][: len(batch)])
            for image in range(len(batch)):
                np.testing.assert_allclose(rows(seen, image), rows(wanted, image), atol=0.02)


def test_every_engine_has_its_operators(exported: tuple[FasterRcnn, Path]) -> None:
    model = load_onnx(exported[1])
    assert check_tensorrt(model) == []
    assert "RTX 30 or later" in check_tensorrt(model, compute_capability="7.5")[0].text  # products in FP32
    assert not {node.op_type for node in model.graph.node} & {"RoiAlign", "MaxRoiPool", "NonMaxSuppression"}


@needs_rtx
@pytest.mark.slow
@pytest.mark.usefixtures("slow_on_demand")
def test_nvidias_builder_takes_it(
    exported: tuple[FasterRcnn, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_for_rtx(exported[1], tmp_path, monkeypatch)
