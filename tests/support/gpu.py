"""Plans, and machines with a GPU: real ones where there is one, and stand-ins."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgevision.engines.fake import fake_manifest
from edgevision.engines.trt import engine as trt_engine
from edgevision.engines.trt.cuda_runtime import load_cuda, open_device
from edgevision.engines.trt.plan import BatchRange, Host, PlanInfo, write_plan
from edgevision.engines.trt.trust import record_built_plan
from edgevision.errors import EngineError
from tests.support.cuda_fake import FakeCuda
from tests.support.manifests import colour_manifest
from tests.support.tensorrt_fake import FakeTensorRt, fake_plan

SIZE = 64
# printf 'plan' | sha256sum
SHA256_OF_PLAN = "64879f7d6b960a01909762d911a32d4582c20010c5641ee90278b644a9e3b525"


def plan_info(**changes: object) -> PlanInfo:
    fields: dict[str, object] = {
        "manifest": colour_manifest(),
        "onnx_name": "colours.onnx",
        "onnx_sha256": "0" * 64,
        "flavour": "tensorrt-rtx",
        "tensorrt_version": "1.7.1",
        "target": "rtx40",
        "compute_capability": "8.9",
        "batch": BatchRange(1, 4, 8),
        "key": "1" * 64,
        "built_at": "2025-01-02T03:04:05Z",
        "build_seconds": 1.5,
        "host": Host("Linux", "x86_64", "3.11.7", "0.1.0"),
        "plan_bytes": 4,
        "plan_sha256": SHA256_OF_PLAN,
    }
    return PlanInfo(**{**fields, **changes})  # type: ignore[arg-type]


class GpuMachine:
    """A machine with a GPU of compute capability 8.9 and TensorRT 10.3.0, and plans for it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.cuda = FakeCuda()
        self.trt = FakeTensorRt(self.cuda)
        monkeypatch.setattr(trt_engine, "load_library", self._library)
        monkeypatch.setattr(trt_engine, "load_cuda", lambda: self.cuda)

    def _library(self, flavour: str) -> FakeTensorRt:
        self.loaded = flavour
        return self.trt

    def plan(self, facts: dict[str, Any] | None = None, built_here: bool = True, **info: Any) -> Path:
        """A plan of the fake model, with its JSON file."""
        facts = facts or {}
        if info.get("flavour") == "tensorrt-rtx":
            facts = {"rtx": True, **facts}
        manifest = fake_manifest(width=SIZE, height=SIZE, max_detections=5)
        data = fake_plan(msgspec.json.encode(manifest), **facts)
        path = self.folder / "street.engine"
        fields: dict[str, Any] = {
            "manifest": manifest,
            "onnx_name": "street.onnx",
            "flavour": "tensorrt",
            "tensorrt_version": "10.3.0",
            "target": "this-machine",
            "plan_bytes": len(data),
            "plan_sha256": hashlib.sha256(data).hexdigest(),
            "batch": BatchRange(*facts.get("batch", (1, 2, 4))),
        }
        described = plan_info(**{**fields, **info})
        write_plan(path, data, described)
        if built_here:
            record_built_plan(path, described.plan_sha256)
        return path


def gpu_runtime() -> Any:
    """The real binding, or a skip that says what is missing."""
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")
    cuda = load_cuda()
    try:
        open_device(cuda)
    except EngineError as error:
        pytest.skip(str(error))
    return cuda
