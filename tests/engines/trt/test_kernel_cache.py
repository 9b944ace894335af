"""Kernels that TensorRT for RTX compiles are kept beside the plan, on a stand-in that counts them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edgevision.engines.trt.engine import TensorRtEngine
from edgevision.engines.trt.kernel_cache import kernel_cache_path
from tests.support.gpu import GpuMachine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuMachine:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return GpuMachine(tmp_path, monkeypatch)


def rtx_plan(machine: GpuMachine, **facts: Any) -> Path:
    return machine.plan(facts, flavour="tensorrt-rtx")


def test_the_second_start_compiles_nothing(machine: GpuMachine) -> None:
    plan = rtx_plan(machine)
    with TensorRtEngine(plan) as engine:
        assert machine.trt.compiled == 1, "two contexts share one cache"
        assert engine.reason == ""
        # A process that is killed keeps it, too.
        assert kernel_cache_path(plan).read_bytes() == b"kernels for this GPU"
    with TensorRtEngine(plan):
        assert machine.trt.compiled == 1


def test_a_cache_that_nobody_here_wrote_is_not_loaded(machine: GpuMachine) -> None:
    plan = rtx_plan(machine)
    kernel_cache_path(plan).write_bytes(b"kernels of a stranger")
    with TensorRtEngine(plan):
        assert machine.trt.compiled == 1
    assert kernel_cache_path(plan).read_bytes() == b"kernels for this GPU"
    kernel_cache_path(plan).write_bytes(b"kernels of a stranger")
    with TensorRtEngine(plan, trust=True):
        assert machine.trt.compiled == 1, "who vouches for the plan vouches for what lies beside it"


def test_a_cache_of_another_gpu_is_replaced(machine: GpuMachine) -> None:
    plan = rtx_plan(machine)
    kernel_cache_path(plan).write_bytes(b"another GPU's")
    with TensorRtEngine(plan, trust=True):
        assert machine.trt.compiled == 1
    assert kernel_cache_path(plan).read_bytes() == b"kernels for this GPU"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_takes_no_files_costs_time_only(machine: GpuMachine) -> None:
    plan = rtx_plan(machine)
    machine.folder.chmod(0o500)
    try:
        with TensorRtEngine(plan) as engine:
            assert "every start compiles them again: cannot write" in engine.reason
    finally:
        machine.folder.chmod(0o700)


def test_a_cache_that_cannot_be_written_costs_time_only(machine: GpuMachine) -> None:
    plan = rtx_plan(machine)
    kernel_cache_path(plan).mkdir()
    with TensorRtEngine(plan) as engine:
        assert "compiled kernels are not kept, so every start compiles them again" in engine.reason
        assert "\n" not in engine.reason


def test_a_library_that_makes_no_cache_runs_without(machine: GpuMachine) -> None:
    with TensorRtEngine(rtx_plan(machine, no_cache=True)) as engine:
        assert "the library makes no cache" in engine.reason
        assert machine.trt.compiled == 2
    assert not kernel_cache_path(machine.folder / "street.engine").exists()


def test_a_plan_of_tensorrt_has_none(machine: GpuMachine) -> None:
    with TensorRtEngine(machine.plan()):
        pass
    assert not kernel_cache_path(machine.folder / "street.engine").exists()
