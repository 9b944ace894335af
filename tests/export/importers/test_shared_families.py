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

OTHER_TASKS = ("ultralytics_cls", "ultralytics_obb", "ultralytics_pose", "ultralytics_seg")
"""Tasks that have no importer yet: refused, never read wrongly."""


def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.expected.json").read_text())
    return found


def answers(path: Path, threshold: float) -> list[tuple[list[float], float, int]]:
    with load_engine(path) as engine:
        (found,) = Model(engine, threshold)([FRAME])
    return [
        (box.tolist(), float(score), int(label))
        for box, score, label in zip(found.boxes, found.scores, found.class_ids, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="needs ../shared/cases/families")
@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith(OTHER_TASKS)])
def test_a_file_answers_what_its_own_postprocessing_does(tmp_path, name):
    said, out = expected(name), tmp_path / "model.onnx"
    imported = import_model(FOLDER / f"{name}.onnx", None, out, choices=NEEDS.get(name))
    own = said.get("own_result")
    if not isinstance(own, list):
        assert imported.conclusion
        return
    found = answers(out, said.get("thresholds", {}).get("score", 0.0))
    if "count" not in said and len(own) < 5:
        assert len(found) == len(own)
    for *box, score, label in own:
        if box[0] == box[2] or box[1] == box[3]:
            continue  # without area: nothing to draw, and left out
        near = [
            (other, other_score)
            for other, other_score, other_label in found
            if other_label == label and abs(other_score - score) < 0.01
        ]
        overlaps = iou(
            np.array([box], np.float32), np.array([one for one, _ in near], np.float32).reshape(-1, 4)
        )
        assert overlaps.max(initial=0) > 0.95, f"{name}: no answer like {box}, {score}, {label}"


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="needs ../shared/cases/families")
@pytest.mark.parametrize("name", ["yolov5_raw_heads", "yolov7_raw_heads"])
def test_anchors_are_asked_for(tmp_path, name):
    with pytest.raises(UsageError, match="`anchors`"):
        import_model(FOLDER / f"{name}.onnx", None, tmp_path / "model.onnx")
