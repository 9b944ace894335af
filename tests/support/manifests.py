"""Contracts for models that tests make up; nothing here needs onnx or PyAV."""

from __future__ import annotations

from edgevision.contract.manifest import Manifest, NmsLimits

COLOURS = ("blue", "green", "red")
SIZE = 64


def colour_manifest(size: int = SIZE, **changes: object) -> Manifest:
    """The contract of :func:`write_colour_model`."""
    fields: dict[str, object] = {
        "name": "colours",
        "task": "detection",
        "classes": COLOURS,
        "input_width": size,
        "input_height": size,
        "score_threshold": 0.05,
        "nms": NmsLimits(form="none", iou_threshold=0.5, candidates=1, rounds=0),
        "max_detections": 2,
        "licence": "made by a test",
        "figures": {"ap50_mean": 0.5},
    }
    return Manifest(**{**fields, **changes})  # type: ignore[arg-type]
