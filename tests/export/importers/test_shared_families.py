"""The families' files beside the checkout, imported without options, held against their own postprocessing.

``NAME.expected.json`` beside each says which frame was used, the family's thresholds, and what its own code
answers. Slow: some sixty imports.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.boxes import iou
from edgevision.engines import load_engine
from edgevision.errors import UsageError
from edgevision.export.importers import Choices, import_model
from edgevision.model import Model
from tests.support.paths import SHARED

FOLDER = SHARED / "cases" / "families"
FILES = sorted(path.stem for path in FOLDER.glob("*.onnx"))
FRAME = np.random.default_rng(7).integers(0, 256, (90, 160, 3), np.uint8)

NEEDS = {
    # Anchors are not in the file; torchvision resizes inside, so its answers need the frame's own size.
    "yolov5_raw_heads": Choices(anchors="yolov5"),
    "yolov7_raw_heads": Choices(anchors="yolov7"),
    **{
        f"torchvision_{name}": Choices(size=(90, 160))
        for name in ("faster", "fcos", "mask", "retinanet", "ssd", "keypoint")
    },
}


def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.expected.json").read_text())
    return found


def answer(path: Path, threshold: float) -> Any:
    with load_engine(path) as engine:
        (found,) = Model(engine, threshold)([FRAME])
    return found


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="needs ../shared/cases/families")
@pytest.mark.parametrize("name", FILES)
def test_a_file_answers_what_its_own_postprocessing_does(tmp_path, name):
    said, out = expected(name), tmp_path / "model.onnx"
    imported = import_model(FOLDER / f"{name}.onnx", out, NEEDS.get(name))
    found = answer(out, said.get("thresholds", {}).get("score", 0.0))
    assert imported.conclusion
    if "own_probs" in said:
        np.testing.assert_allclose(found.probabilities, said["own_probs"], atol=5e-3)
    if "own_result_xywhr" in said:
        own = np.array(said["own_result_xywhr"])
        np.testing.assert_allclose(found.rotated_boxes, own[:, :5], atol=0.02)
        np.testing.assert_allclose(found.scores, own[:, 5], atol=1e-3)
    if "own_result" in said and not name.startswith("segmentation"):
        check_boxes(said, found)
    if "own_keypoints" in said:
        np.testing.assert_allclose(found.keypoints, said["own_keypoints"], atol=0.02)
    if "own_masks" in said:
        area = said["own_masks"].get("area")
        assert found.masks is not None
        if area is not None:
            np.testing.assert_allclose(found.masks.areas()[: len(area)], area, rtol=0.05)
        own = said["own_masks"].get("area_at_0.5")
        if own is not None:
            # torchvision pastes into boxes rounded to whole pixels, with a border of zeros around the mask,
            # and random weights hardly pass the threshold: .54 at most.
            np.testing.assert_allclose(found.masks.areas()[: len(own)], own, rtol=0.1)


def check_boxes(said: dict[str, Any], found: Any) -> None:
    """Each box of the family's own answer is among ours, with its score and class, and we have no others."""
    own = said["own_result"]
    if "count" not in said and len(own) < 5:
        assert len(found) == len(own)
    for *box, score, label in own:
        if box[0] == box[2] or box[1] == box[3]:
            continue  # without area: nothing to draw, and left out
        near = (found.class_ids == label) & (np.abs(found.scores - score) < 0.01)
        overlaps = iou(np.array([box], np.float32), found.boxes[near])
        assert overlaps.max(initial=0) > 0.95, f"no answer like {box}, {score}, {label}"


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="needs ../shared/cases/families")
@pytest.mark.parametrize("name", ["yolov5_raw_heads", "yolov7_raw_heads"])
def test_anchors_are_asked_for(tmp_path, name):
    with pytest.raises(UsageError, match="`anchors`"):
        import_model(FOLDER / f"{name}.onnx", tmp_path / "model.onnx")
