"""The benchmark for GPUs, on stand-ins: it must not fail for the first time on somebody's device."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from edgevision.errors import EngineError
from edgevision.zoo import default_model
from tests.support.benchmarks import load_benchmark
from tests.support.cuda_fake import FakeCuda
from tests.support.gpu import GpuMachine, gpu_runtime
from tests.support.models import colour_manifest


@pytest.fixture(scope="module")
def gpu():
    return load_benchmark("gpu")


def test_without_a_gpu_it_says_so_in_one_line(gpu, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "load_cuda", lambda: FakeCuda(driver=0))
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("no GPU to measure: CUDA cannot find a GPU: no NVIDIA driver")
    assert shown.err.count("\n") == 1


def test_slots_are_measured(gpu):
    cuda = FakeCuda()
    found = gpu.measure_slots(cuda, colour_manifest(), batch=2, requests=30)
    assert found["bytes_each_way"] == 2 * 64 * 64 * 3
    for name in ("call_by_call", "graph", "two_in_flight"):
        assert found[name]["requests"] == 30
        assert 0 < found[name]["median_ms"] <= found[name]["p95_ms"]
    assert found["graph_problem"] is None
    assert cuda.alive() == 0


def test_a_plan_is_measured_and_what_is_missing_is_named(gpu, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    machine = GpuMachine(tmp_path, monkeypatch)
    kinds, bare = {}, []
    with ExitStack() as opened:
        frames = np.zeros((1, 64, 64, 3), np.uint8)
        kinds = gpu.tensorrt_requests(opened, Path("street.onnx"), machine.plan(), frames, bare)
        times = gpu.take_turns(kinds, 25)
    assert {name: len(values) for name, values in times.items()} == {
        "tensorrt_call_by_call": 25, "tensorrt_graph": 25, "tensorrt_two_in_flight": 25
    }  # fmt: skip
    assert set(bare) == {0.25}  # what the stand-in's device says
    assert machine.cuda.alive() == 0


def test_the_whole_command_writes_json(gpu, tmp_path, monkeypatch, capsys):
    cuda = FakeCuda()
    monkeypatch.setattr(gpu, "load_cuda", lambda: cuda)
    monkeypatch.setattr(gpu, "torch_requests", lambda checkpoint, frames, device: {"torch_eager": lambda: 0})

    def missing(*_):
        raise EngineError("not\ninstalled")

    monkeypatch.setattr(gpu, "tensorrt_requests", missing)
    monkeypatch.setattr(gpu, "onnx_runtime_request", missing)
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--requests", "5", "--json", str(out)])
    assert gpu.main() == 0
    document = json.loads(out.read_text())
    assert document == json.loads(capsys.readouterr().out)
    assert document["machine"]["gpu"] == "NVIDIA Fake"
    assert document["latency"]["torch_eager"]["requests"] == 5
    assert document["left_out"] == {"tensorrt": "not installed", "onnxruntime-cuda": "not installed"}


def test_the_network_alone_runs_in_torch(gpu):
    model = default_model("detection")
    shape = (1, model.manifest.input_height, model.manifest.input_width, 3)
    requests = gpu.torch_requests(model.name, np.zeros(shape, np.uint8), "cpu")
    assert set(requests) == {"torch_eager", "torch_compiled"}
    assert np.isfinite(requests["torch_eager"]())


def test_times_are_summed_up(gpu):
    times = [float(value) for value in range(100, 0, -1)]
    assert gpu.summary(times) == {"median_ms": 50.5, "p95_ms": 95.0, "requests": 100}


@pytest.mark.gpu
def test_it_runs_on_a_gpu(gpu):
    found = gpu.measure_slots(gpu_runtime(), colour_manifest(), batch=1, requests=40)
    assert found["graph_problem"] is None
    assert found["graph_device_ms"] > 0
