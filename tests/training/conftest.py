"""What several tests of this folder need."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(params=["openvino", "onnxruntime"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that a teacher runs in: OpenVINO, or ONNX Runtime where OpenVINO is not installed."""
    if request.param == "onnxruntime":
        monkeypatch.setitem(sys.modules, "openvino", None)
        monkeypatch.delitem(sys.modules, "edgevision.engines.ov_core", raising=False)
    else:
        pytest.importorskip("openvino")
