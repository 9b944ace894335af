"""The suppression limits in a file's metadata are those of its graph: shown on the shipped detector's tail.

The tail is cut out at the tensors that the metadata calls heads, and fed with head maps that decode to
whatever boxes a test wants.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torchvision.ops import nms

import edgevision.zoo
from edgevision.config import config_folder, load_config
from edgevision.contract.manifest import Manifest, NmsLimits
from edgevision.contract.model_file import read_manifest
from edgevision.models.anchors import anchor_grid, encode_boxes
from edgevision.training.config import DetectorTraining

MODEL = Path(edgevision.zoo.__file__).parent / "retinanet-light.onnx"
OUTPUTS = ["boxes", "scores", "labels", "count"]


def contract() -> tuple[Manifest, NmsLimits]:
    manifest = read_manifest(MODEL)
    assert manifest.nms is not None
    return manifest, manifest.nms


@lru_cache
def training() -> DetectorTraining:
    return load_config(config_folder() / "models" / "retinanet-light.yaml", DetectorTraining)


@lru_cache
def tail() -> onnxruntime.InferenceSession:
    model = onnx.shape_inference.infer_shapes(onnx.load(MODEL))
    cut = onnx.utils.Extractor(model).extract_model(list(contract()[0].heads), OUTPUTS)
    return onnxruntime.InferenceSession(cut.SerializeToString(), providers=["CPUExecutionProvider"])


def predict(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The boxes that the tail keeps of the first class's predictions ``[M, 4]`` with ``[M]`` scores."""
    manifest, _ = contract()
    config = training()
    levels = anchor_grid(config.model.anchors, manifest.input_height, manifest.input_width)
    cell = len(config.model.anchors.scales) * len(config.model.anchors.ratios)
    feeds: dict[str, NDArray[np.float32]] = {}
    names = zip(manifest.heads[: len(levels)], manifest.heads[len(levels) :], strict=True)
    taken = 0
    for (logit_name, delta_name), anchors, stride in zip(
        names, levels, config.model.anchors.strides, strict=True
    ):
        side = -(-manifest.input_width // stride)
        logits = np.full((len(anchors), len(manifest.classes)), -30, np.float32)
        deltas = np.zeros((len(anchors), 4), np.float32)
        # Each level hands on 300 at the most, and of a cell's anchors the best for each class.
        here = slice(taken, taken + min(250, len(anchors) // cell))
        wanted = boxes[here]
        spots = np.arange(len(wanted)) * cell
        deltas[spots] = encode_boxes(wanted, anchors[spots])
        logits[spots, 0] = np.log(scores[here] / (1 - scores[here]))
        taken += len(wanted)
        for name, values in ((logit_name, logits), (delta_name, deltas)):
            maps = values.reshape(side, side, cell * values.shape[1])
            feeds[name] = np.ascontiguousarray(maps.transpose(2, 0, 1)[None])
    assert taken == len(boxes), "the pyramid has no room for so many"
    found, _, labels, count = (one[0] for one in tail().run(OUTPUTS, feeds))
    assert (labels[:count] == 0).all()
    return np.asarray(found[:count])


def chain(links: int) -> NDArray[np.float32]:
    """Boxes of side 30, each overlapping only its neighbours by more than half."""
    left = 9.0 * np.arange(links, dtype=np.float32) + 5
    return np.stack([left, 0 * left + 40, left + 30, 0 * left + 70], axis=1).astype(np.float32)


def falling(count: int) -> NDArray[np.float32]:
    return np.linspace(0.95, 0.2, count, dtype=np.float32)


def test_the_metadata_state_what_the_model_was_configured_with() -> None:
    manifest, limits = contract()
    wanted = training().decode
    assert limits == NmsLimits(
        form="cluster",
        iou_threshold=wanted.iou_threshold,
        candidates=wanted.candidates,
        rounds=wanted.rounds,
    )
    assert manifest.score_threshold == wanted.score_threshold
    assert manifest.max_detections == wanted.max_detections


@pytest.mark.parametrize("beyond", [-5, 0, 1, 12])
def test_chains_are_exact_for_the_stated_rounds_and_no_further(beyond: int) -> None:
    links = contract()[1].rounds + 1 + beyond
    boxes, scores = chain(links), falling(links)
    found = predict(boxes, scores)
    kept = nms(torch.from_numpy(boxes), torch.from_numpy(scores), contract()[1].iou_threshold)
    wanted = boxes[kept.numpy()]
    assert (len(found) == len(wanted)) == (beyond <= 0)
    if beyond <= 0:
        np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("behind", [False, True], ids=["the last candidate", "the first behind"])
def test_as_many_boxes_compete_as_the_metadata_state_and_no_more(behind: bool) -> None:
    candidates = contract()[1].candidates
    boxes = np.tile(np.array([[10, 10, 60, 60]], np.float32), (candidates + 50, 1))
    boxes[candidates - 1 + behind] = lone = [200, 210, 290, 300]
    found = predict(boxes, falling(len(boxes)))
    assert len(found) == 2 - behind
    if not behind:
        np.testing.assert_allclose(found[1], lone, atol=1e-3)
