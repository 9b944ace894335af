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
    for name in ("call_by_call", "graph", "two_in_flight", "mapped"):
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
        gpu.warm_up(kinds)
        times = gpu.take_turns(kinds, 25)
    assert {name: len(values) for name, values in times.items()} == {
        "tensorrt_call_by_call": 25, "tensorrt_graph": 25, "tensorrt_two_in_flight": 25
    }  # fmt: skip
    assert set(bare) == {0.25}  # what the stand-in's device says
    assert machine.cuda.alive() == 0


def run_command(gpu, monkeypatch, out, *options):
    monkeypatch.setattr(gpu, "load_cuda", lambda: FakeCuda())
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--requests", "25", "--json", str(out), *options])
    return gpu.main()


def missing(*_):
    raise EngineError("not\ninstalled")


def test_the_whole_command_writes_json(gpu, tmp_path, monkeypatch, capsys):
    out = tmp_path / "gpu.json"
    early = []

    def torch_request(checkpoint, frames, device, is_compiled):
        early.append(json.loads(out.read_text()))
        return lambda: 0

    monkeypatch.setattr(gpu, "torch_request", torch_request)
    monkeypatch.setattr(gpu, "tensorrt_requests", missing)
    monkeypatch.setattr(gpu, "onnx_runtime_request", missing)
    assert run_command(gpu, monkeypatch, out, "--no-compile") == 0
    document = json.loads(out.read_text())
    assert document == json.loads(capsys.readouterr().out)
    assert document["machine"]["gpu"] == "NVIDIA Fake"
    assert document["latency"]["torch_eager"]["requests"] == 25
    assert "torch_compiled" not in document["latency"]
    assert document["left_out"] == {"tensorrt": "not installed", "onnxruntime-cuda": "not installed"}
    assert early[0]["slots"] == document["slots"], (
        "what is measured is written before the next thing is tried"
    )


def test_one_contender_that_fails_does_not_lose_the_others(gpu, tmp_path, monkeypatch):
    """torch.compile fails at its first call, and a contender may fail in the middle."""

    def torch_request(checkpoint, frames, device, is_compiled):
        def compiled():
            raise RuntimeError("Cannot find a working\ntriton installation")

        return compiled if is_compiled else lambda: 0

    calls = iter(range(30))  # ends in the first turn, after the warm-up
    monkeypatch.setattr(gpu, "torch_request", torch_request)
    monkeypatch.setattr(gpu, "tensorrt_requests", missing)
    monkeypatch.setattr(gpu, "onnx_runtime_request", lambda *_: lambda: next(calls))
    out = tmp_path / "gpu.json"
    assert run_command(gpu, monkeypatch, out) == 0
    document = json.loads(out.read_text())
    assert list(document["latency"]) == ["torch_eager"]
    assert document["left_out"] == {
        "tensorrt": "not installed",
        "onnxruntime-cuda": "StopIteration",
        "torch_compiled": "Cannot find a working triton installation",
    }
    with pytest.raises(ZeroDivisionError):
        gpu.take_turns({"slot": lambda: 1 // 0}, 5)


def test_the_network_alone_runs_in_torch(gpu):
    model = default_model("detection")
    shape = (1, model.manifest.input_height, model.manifest.input_width, 3)
    request = gpu.torch_request(model.name, np.zeros(shape, np.uint8), "cpu", is_compiled=False)
    assert np.isfinite(request())


def test_times_are_summed_up(gpu):
    times = [float(value) for value in range(100, 0, -1)]
    assert gpu.summary(times) == {"median_ms": 50.5, "p95_ms": 95.0, "requests": 100}


@pytest.mark.gpu
def test_it_runs_on_a_gpu(gpu):
    found = gpu.measure_slots(gpu_runtime(), colour_manifest(), batch=1, requests=40)
    assert found["graph_problem"] is None
    assert found["graph_device_ms"] > 0
