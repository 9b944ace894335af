"""A Fast R-CNN: regions that are remembered, its loss, and that it is not exported.

Also tests ``edgevision.models.fast_rcnn.criterion``, ``edgevision.models.fast_rcnn.settings``.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from edgevision.config import config_folder
from edgevision.errors import ExportError
from edgevision.export.detector import export_detector
from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.backbone import normalise
from edgevision.models.detectors import build_criterion, build_decoder
from edgevision.models.fast_rcnn import proposals
from edgevision.models.fast_rcnn.network import FastRcnn
from edgevision.models.fast_rcnn.proposals import SearchedProposals, as_pixels
from edgevision.models.fast_rcnn.settings import FastRcnnConfig, SearchConfig
from edgevision.models.settings import BackboneConfig, DecodeConfig, DetectionLossConfig, RegionConfig
from edgevision.training.config import DetectorTraining, load_run

CONFIG = FastRcnnConfig(
    BackboneConfig("resnet18", "random"), 64, SearchConfig(count=6), RegionConfig(3, 16, samples=8)
)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """What is searched, in place of the search, which finds two boxes."""
    seen: list[np.ndarray] = []

    def search(image: np.ndarray, config: SearchConfig) -> np.ndarray:
        seen.append(image)
        return np.array([[8, 8, 40, 40], [0, 0, 20, 20]], np.float32)

    monkeypatch.setattr(proposals, "selective_search", search)
    return seen


def test_an_image_is_searched_once_as_it_was_before_it_was_normalised(searched: list[np.ndarray]) -> None:
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8))
    images = normalise(frames)
    search = SearchedProposals(SearchConfig(count=3))
    found = search(images)
    assert found.tolist() == [[[8, 8, 40, 40], [0, 0, 20, 20], [0, 0, 32, 32]]] * 2
    search(images)
    assert len(searched) == 2
    np.testing.assert_array_equal(searched[0], frames[0].numpy())
    np.testing.assert_array_equal(np.stack(as_pixels(images)), frames.numpy())


def test_it_learns_and_finds(searched: list[np.ndarray]) -> None:
    torch.manual_seed(0)
    model = FastRcnn(CONFIG, 2).train()
    loss = build_criterion(CONFIG, DetectionLossConfig(), 2)
    known = torch.tensor([True, True])
    truth = DetectionTargets(
        torch.tensor([[8.0, 8, 40, 40]]), torch.tensor([1]), torch.tensor([False]), known
    )
    losses = loss(model(torch.randn(2, 3, 64, 64)), [truth, truth])
    assert set(losses) == {"class", "box"}
    torch.stack(list(losses.values())).sum().backward()
    assert model.predictor.cls_score.weight.grad is not None
    with torch.inference_mode():
        raw = model.eval()(torch.randn(1, 3, 64, 64))
        found = build_decoder(CONFIG, 2, DecodeConfig(score_threshold=0.0))(raw)
    assert len(found[0]) > 0


def test_there_is_nothing_to_export(tmp_path: Path) -> None:
    run = load_run(config_folder() / "models" / "fast-rcnn.yaml")
    assert isinstance(run, DetectorTraining)
    with pytest.raises(ExportError, match=r"family fast-rcnn looks at regions .* train family faster-rcnn"):
        export_detector(
            FastRcnn(CONFIG, 2), msgspec.structs.replace(run, model=CONFIG), {}, tmp_path / "m.onnx"
        )


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"least_overlap is 0\.6"):
        msgspec.convert({**msgspec.to_builtins(CONFIG), "least_overlap": 0.6}, FastRcnnConfig)
