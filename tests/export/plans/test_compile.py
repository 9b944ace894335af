"""Plans of a small model: built by TensorRT for RTX where it is installed, by stand-ins where it is not."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest

import edgevision.export.plans.build
import edgevision.export.plans.compile
from edgevision.contract.model_file import read_manifest
from edgevision.engines.trt.plan import BatchRange, check_plan, plan_info_path, read_plan_info
from edgevision.engines.trt.trust import is_built_here
from edgevision.errors import EngineError, ExportError, ModelError, OutputExistsError, SinkError, UsageError
from edgevision.export.plans.build import BuildOptions, PlanBuild
from edgevision.export.plans.compile import compile_model, rebuild_plan
from edgevision.export.plans.layer_dump import node_precisions
from edgevision.export.plans.progress import BuildProgress
from edgevision.export.plans.targets import BuildMachine, BuildsOnDeviceError
from edgevision.extras import install_command
from tests.support.paths import SUPPORT
from tests.support.plans import BARE, jetson, needs_rtx, write_conv_segmenter

BATCHES = BatchRange(1, 2, 4)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record of plans that were built here is the test's own, and outside the folder it looks at."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def model(own_state: Path) -> Path:
    return write_conv_segmenter(own_state / "colours.onnx")


@pytest.fixture
def plan(model: Path) -> Path:
    return model.with_name("colours.engine")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replaces the build by one that takes no time; returns what it was asked for."""
    asked: list[dict[str, Any]] = []

    def build(trt, model, data, manifest, profile, options, progress, timing_cache=None):
        asked.append({"profile": profile, "options": options, "timing_cache": timing_cache})
        measured = None if timing_cache is None else timing_cache + b"+measured"
        return PlanBuild(memoryview(b"plan"), options.batch or BatchRange(), (), (), measured)

    library = types.ModuleType("tensorrt")
    library.__version__ = "10.3.0.30"
    monkeypatch.setattr(edgevision.export.plans.compile, "build", build)
    monkeypatch.setattr(edgevision.export.plans.compile, "load_library", lambda flavour: library)
    return asked


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Built for real


@needs_rtx
def test_a_plan_and_what_lies_beside_it(model: Path, plan: Path) -> None:
    seen: list[tuple[float, str]] = []
    compiled = compile_model(
        model, plan, "rtx40", BuildOptions(BATCHES), machine=BARE, watch=lambda *told: seen.append(told)
    )
    assert names(plan.parent) == ["colours.engine", "colours.engine.json", "colours.onnx"]
    info = read_plan_info(plan)
    assert compiled.info == info
    assert not compiled.is_reused
    check_plan(plan, info)
    assert info.manifest == read_manifest(model)
    assert info.onnx_name == "colours.onnx"
    assert info.onnx_sha256 == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (info.flavour, info.target, info.compute_capability) == ("tensorrt-rtx", "rtx40", "8.9")
    assert info.tensorrt_version.count(".") == 2
    assert (info.batch, info.gpu, info.dla_core) == (BATCHES, "", None)
    assert info.plan_bytes == plan.stat().st_size
    assert node_precisions(info.layers, ["conv"]) == {"conv": "Float"}
    assert is_built_here(info.plan_sha256)
    assert str(model.parent) not in plan_info_path(plan).read_text()
    assert os.uname().nodename not in plan_info_path(plan).read_text()
    assert all(0 <= share <= 1 for share, _ in seen)
    assert [share for share, _ in seen] == sorted(share for share, _ in seen)


@needs_rtx
def test_a_model_of_one_batch_size_is_held_to_it(tmp_path: Path) -> None:
    model = write_conv_segmenter(tmp_path / "two.onnx", batch=2)
    plan = tmp_path / "two.engine"
    assert compile_model(model, plan, "rtx30", machine=BARE).info.batch == BatchRange(2, 2, 2)
    with pytest.raises(UsageError, match=r"two\.onnx takes batches of 2 only; leave `batch` out"):
        compile_model(model, plan, "rtx30", BuildOptions(BATCHES), machine=BARE, overwrite=True)
    assert compile_model(model, plan, "rtx30", machine=BARE).is_reused


@needs_rtx
def test_an_operator_that_tensorrt_lacks_is_named_with_its_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_conv_segmenter(tmp_path / "odd.onnx", operator="Det")
    monkeypatch.setattr(edgevision.export.plans.compile, "_look", lambda *_: ((), ()))
    with pytest.raises(
        ExportError, match=r"odd\.onnx: TensorRT cannot take node 'odd one' \(Det\): "
    ) as caught:
        compile_model(model, tmp_path / "odd.engine", "rtx30", machine=BARE)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["odd.onnx", "work"]


@needs_rtx
def test_what_is_known_to_be_refused_is_refused_in_our_words(tmp_path: Path) -> None:
    model = write_conv_segmenter(tmp_path / "odd.onnx", operator="NonZero")
    with pytest.raises(ExportError, match=r"odd\.onnx: TensorRT would refuse odd one \(NonZero\)"):
        compile_model(model, tmp_path / "odd.engine", "rtx30", machine=BARE)


@needs_rtx
def test_a_build_that_is_called_off_leaves_nothing(model: Path, plan: Path) -> None:
    threads = threading.active_count()

    def interrupt(fraction: float, doing: str) -> None:
        raise KeyboardInterrupt

    slow = _slowed(edgevision.export.plans.build.progress_monitor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edgevision.export.plans.build, "progress_monitor", slow)
        with pytest.raises(KeyboardInterrupt):
            compile_model(model, plan, "rtx30", machine=BARE, watch=interrupt)
    assert names(plan.parent) == ["colours.onnx"]
    assert threading.active_count() == threads


def _slowed(real: Any) -> Any:
    """A monitor whose first step takes longer than the program looks away."""

    def make(trt: Any, progress: BuildProgress) -> Any:
        step = progress.step

        def wait(name: str, number: int) -> bool:
            while not progress.is_cancelled:
                time.sleep(0.01)
            return step(name, number)

        progress.step = wait  # type: ignore[method-assign]
        return real(trt, progress)

    return make


@needs_rtx
def test_ctrl_c_reaches_a_build_that_runs(model: Path, plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        edgevision.export.plans.build,
        "progress_monitor",
        _slowed(edgevision.export.plans.build.progress_monitor),
    )
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        compile_model(model, plan, "rtx30", machine=BARE)
    timer.join()
    assert names(plan.parent) == ["colours.onnx"]


@needs_rtx
@pytest.mark.parametrize("release", ["tensorrt-10.3", "tensorrt-10.13", "tensorrt-11.4"])
def test_the_same_source_builds_with_the_names_of_each_release(
    release: str, model: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a Jetson, on TensorRT for RTX cut down to the names that a release has."""
    real = importlib.import_module("tensorrt_rtx")
    surfaces = json.loads((SUPPORT / "tensorrt_api.json").read_text(encoding="utf-8"))

    class Builder(real.Builder):
        def create_builder_config(self) -> Any:
            config = super().create_builder_config()
            # There is no GPU to build for, which TensorRT proper would insist on.
            config.num_compute_capabilities = 1
            config.set_compute_capability(real.ComputeCapability.SM86, 0)
            return config

    cut = types.ModuleType("tensorrt")
    for name in surfaces[release][""]:
        if hasattr(real, name):
            setattr(cut, name, getattr(real, name))
    cut.Builder, cut.__version__ = Builder, release.removeprefix("tensorrt-") + ".0.1"
    monkeypatch.setattr(edgevision.export.plans.compile, "load_library", lambda flavour: cut)
    options = BuildOptions(BATCHES, workspace_mib=64)
    cache = plan.with_name("timing.cache")
    machine = jetson("NVIDIA Jetson Orin Nano Developer Kit")
    with pytest.warns(DeprecationWarning, match="no-ops"):  # RTX measures nothing; the others do
        info = compile_model(model, plan, "auto", options, machine=machine, timing_cache=cache).info
    assert (info.flavour, info.target, info.gpu) == ("tensorrt", "jetson-orin-nano", "Orin")
    assert info.tensorrt_version == release.removeprefix("tensorrt-") + ".0"
    assert info.workspace_mib == 64
    assert cache.stat().st_size > 0


# What a build depends on


@pytest.mark.parametrize(
    "changed",
    [
        {"target": "rtx30"},
        {"options": BuildOptions(BatchRange(1, 1, 1))},
        {"options": BuildOptions(BATCHES, workspace_mib=256)},
    ],
)
def test_a_plan_of_other_things_is_replaced_on_request_only(builds, model, plan, changed) -> None:
    first = {"target": "rtx40", "options": BuildOptions(BATCHES), "machine": BARE}
    compile_model(model, plan, **first)
    assert compile_model(model, plan, **first).is_reused
    assert len(builds) == 1
    with pytest.raises(OutputExistsError, match=r"colours\.engine; choose another name or pass `overwrite`"):
        compile_model(model, plan, **{**first, **changed})
    assert not compile_model(model, plan, **{**first, **changed}, overwrite=True).is_reused
    assert len(builds) == 2


def test_changed_weights_another_release_and_damage_build_again(builds, model, plan, monkeypatch) -> None:
    def build_again() -> bool:
        return not compile_model(model, plan, "rtx40", machine=BARE, overwrite=True).is_reused

    assert build_again()
    assert not build_again()
    write_conv_segmenter(model, operator="Sigmoid")
    assert build_again()
    edgevision.export.plans.compile.load_library("tensorrt-rtx").__version__ = "10.4.0.1"
    assert build_again()
    plan.write_bytes(b"damaged")
    assert build_again()
    plan_info_path(plan).unlink()
    assert build_again()
    assert not build_again()


def test_another_gpu_builds_again(builds, model, plan) -> None:
    compile_model(model, plan, machine=jetson(gpu="Orin (nvgpu)", board="Jetson AGX Orin"))
    with pytest.raises(OutputExistsError):
        compile_model(model, plan, machine=jetson(gpu="Orin", board="Jetson AGX Orin"))


def test_the_timing_cache_is_started_read_and_kept(builds, model, plan) -> None:
    cache = plan.with_name("timing.cache")
    for expected in (b"", b"+measured"):
        compile_model(model, plan, machine=jetson(), timing_cache=cache, overwrite=True)
        assert builds[-1]["timing_cache"] == expected
        plan.unlink()
    assert cache.read_bytes() == b"+measured+measured"


def test_a_plan_is_rebuilt_from_the_model_beside_it(builds, model, plan, monkeypatch) -> None:
    compile_model(model, plan, "rtx40", BuildOptions(BATCHES, workspace_mib=32), machine=BARE)
    monkeypatch.setattr(edgevision.export.plans.compile, "this_machine", jetson)
    rebuilt = rebuild_plan(plan)
    assert (rebuilt.info.target, rebuilt.info.batch) == ("jetson-agx-orin", BATCHES)
    assert builds[-1]["options"] == BuildOptions(BATCHES, workspace_mib=32)
    model.unlink()
    with pytest.raises(ModelError, match=r"colours\.onnx"):
        rebuild_plan(plan)


@pytest.mark.parametrize(
    ("chosen", "board", "rebuilt_with"),
    [
        (None, "NVIDIA Jetson AGX Orin Developer Kit", 2048),
        (512, "NVIDIA Jetson AGX Orin Developer Kit", 512),
        (16384, "NVIDIA Jetson AGX Orin Developer Kit", 2048),
        (4096, "NVIDIA Jetson Orin Nano", 4096),
    ],
    ids=["larger-boards-own", "fits-anyway", "larger-boards-choice", "this-boards-choice"],
)
def test_a_larger_boards_scratch_memory_is_not_taken_here(
    builds, model, plan, monkeypatch, chosen, board, rebuilt_with
) -> None:
    def orin(board: str, gigabytes: int) -> BuildMachine:
        return jetson(board=board, is_integrated=True, memory_bytes=gigabytes << 30)

    options = BuildOptions(BATCHES, workspace_mib=chosen)
    compile_model(model, plan, "auto", options, machine=orin(board, 64))
    monkeypatch.setattr(
        edgevision.export.plans.compile, "this_machine", lambda: orin("NVIDIA Jetson Orin Nano", 8)
    )
    assert rebuild_plan(plan).info.workspace_mib == rebuilt_with


# Refused before anything is built


def test_refusals(builds, model, plan, tmp_path) -> None:
    def refuse(kind: type[Exception], match: str, target: str = "rtx40", **changes: Any) -> None:
        fields: dict[str, Any] = {"model": model, "plan": plan, "target": target, "machine": BARE, **changes}
        with pytest.raises(kind, match=match) as caught:
            compile_model(**fields)
        assert "\n" not in str(caught.value)

    refuse(UsageError, "Jetson Orin Nano has no DLA", "jetson-orin-nano", options=BuildOptions(dla_core=0))
    refuse(UsageError, "40 series .* has no DLA", options=BuildOptions(dla_core=0))
    refuse(UsageError, "has 2 DLA cores, counted", "jetson-agx-orin", options=BuildOptions(dla_core=2))
    refuse(UsageError, "keeps no timing cache", timing_cache=tmp_path / "cache")
    refuse(SinkError, "output folder does not exist", plan=tmp_path / "no" / "x.engine")
    refuse(SinkError, "not a regular file", plan=tmp_path)
    refuse(ModelError, "model file not found", model=tmp_path / "no.onnx")
    both = BuildOptions(BATCHES, workspace_mib=9, dla_core=1)
    refuse(
        BuildsOnDeviceError, "compile it there$", "jetson-agx-orin", options=both, timing_cache=tmp_path / "t"
    )
    damaged = model.with_name("damaged.onnx")
    damaged.write_bytes(model.read_bytes().replace(b"odd one", b"odd two"))
    refuse(ModelError, "differs from the checksum", model=damaged)
    plan_info_path(plan).write_text("somebody's notes")
    refuse(OutputExistsError, r"colours\.engine\.json")
    assert builds == []


def test_a_library_that_is_not_there(model, plan, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"TensorRT is not installed.*python3-libnvinfer"):
        compile_model(model, plan, machine=jetson())


def test_a_record_that_cannot_be_written_is_a_note(builds, model, plan, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    notes = compile_model(model, plan, "rtx40", machine=BARE).notes
    assert "pass `trust` to load it" in notes[-1]
    assert plan.exists()


def test_without_the_onnx_package_the_build_goes_on_and_says_so(builds, model, plan, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    notes = compile_model(model, plan, "rtx40", machine=BARE).notes
    assert notes == (
        f"the model was not checked before the build, which needs onnx; run: {install_command('export')}",
    )
