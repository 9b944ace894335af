"""The build path of TensorRT proper on a stand-in: what it breaks at, and what its list of layers says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import edgevision.engines.trt.library
import edgevision.export.plans.compile
from edgevision.contract.model_file import read_manifest
from edgevision.engines.trt.plan import BatchRange
from edgevision.errors import EngineError, ExportError, UsageError
from edgevision.export.plans.build import BuildOptions, PlanBuild, build
from edgevision.export.plans.compile import Compiled, compile_model
from edgevision.export.plans.progress import BuildProgress
from edgevision.export.plans.targets import find_target
from edgevision.zoo import find_model
from tests.support.cuda_fake import FakeCuda
from tests.support.plans import jetson, write_conv_segmenter, write_int8
from tests.support.tensorrt_fake import FakeTensorRt

ORIN = jetson()


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_conv_segmenter(tmp_path / "m.onnx", precision="fp16")


def build_with(trt: FakeTensorRt, model: Path, data: bytes | None = None, **options: Any) -> PlanBuild:
    profile = find_target("jetson-agx-orin", ORIN).profile
    cache = options.pop("timing_cache", None)
    data = model.read_bytes() if data is None else data
    manifest = read_manifest(model)
    return build(trt, model, data, manifest, profile, BuildOptions(**options), BuildProgress(), cache)


def fake(**facts: Any) -> FakeTensorRt:
    return FakeTensorRt(FakeCuda(capability=(8, 7), name="Orin"), **facts)


def test_a_plan_is_built_and_its_layers_are_listed(model: Path) -> None:
    built = build_with(fake(), model, batch=BatchRange(1, 2, 4), workspace_mib=64)
    assert built.batch == BatchRange(1, 2, 4)
    assert [layer.precision for layer in built.layers if "conv" in layer.nodes] == ["Float"]


# INT8 in both spellings


def compiled(trt: FakeTensorRt, model: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Compiled:
    monkeypatch.setattr(edgevision.export.plans.compile, "load_library", lambda flavour: trt)
    machine = options.pop("machine", ORIN)
    plan = model.with_suffix(".engine")
    return compile_model(model, plan, machine=machine, overwrite=True, options=BuildOptions(**options))


@pytest.mark.parametrize("spelling", ["tensorrt", "rtx"])
def test_int8_that_stays_int8_is_not_called_float(spelling, tmp_path, monkeypatch) -> None:
    path = tmp_path / "int8.onnx"
    kept = write_int8(find_model("retinanet-light"), path)
    found = compiled(fake(spelling=spelling), path, monkeypatch)
    assert found.notes == ()
    in_int8 = {node for layer in found.info.layers if layer.precision == "Int8" for node in layer.nodes}
    assert len(in_int8) == 110
    assert not in_int8 & kept
    lost = compiled(fake(spelling=spelling, int8_lost=True, version="10.3.1"), path, monkeypatch)
    assert "none of the 110 INT8 convolutions runs in INT8 on jetson-agx-orin: TensorRT" in lost.notes[0]


# What the bindings do where they fail


@pytest.mark.parametrize("has_cu13", [True, False])
def test_tensorrt_for_cuda_13_on_a_driver_of_cuda_12_is_told_as_that(model, monkeypatch, has_cu13) -> None:
    monkeypatch.setattr(edgevision.engines.trt.library, "has_tensorrt_for_cuda_13", lambda: has_cu13)
    trt = FakeTensorRt(FakeCuda(driver=12040), version="11.4.0.1", for_cuda=13000)
    with pytest.raises(EngineError, match=r"TensorRT cannot start \(CUDA init.* error: 35") as caught:
        build_with(trt, model)
    assert "\n" not in str(caught.value)
    assert ("pip install tensorrt-cu12" in str(caught.value)) == has_cu13
    assert "update the driver" in str(caught.value)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"build_raises": "CUDA error\n 2"}, r"m\.onnx: TensorRT 10\.3\.0 cannot build it \(CUDA error 2\)"),
        ({"build_logs": "no tactic"}, r"cannot be built for Jetson AGX Orin \(no tactic\)"),
    ],
)
def test_a_build_that_fails_is_one_line(model: Path, facts: dict[str, str], says: str) -> None:
    with pytest.raises(EngineError, match=says) as caught:
        build_with(fake(**facts), model)
    assert "\n" not in str(caught.value)


def test_an_argument_that_the_binding_refuses_is_one_line(model: Path, monkeypatch) -> None:
    with pytest.raises(EngineError, match=r"TensorRT 10\.3\.0 cannot build it \(.*incompatible function"):
        build_with(fake(), model, workspace_mib=-1)


def test_batch_sizes_that_the_library_refuses_are_not_passed_over(model: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        "tests.support.tensorrt_fake.IBuilderConfig.add_optimization_profile", lambda self, profile: -1
    )
    with pytest.raises(EngineError, match="refuses the batch sizes 1 1 1"):
        build_with(fake(), model)


def test_a_file_that_is_no_onnx_is_named(model: Path) -> None:
    with pytest.raises(ExportError, match=r"m\.onnx: TensorRT cannot take the model: Failed to parse"):
        build_with(fake(), model, b"garbage")


@pytest.mark.parametrize(
    ("earlier", "measured", "note"),
    [
        (b"", b"measured", None),
        (b"earlier", b"earlier", None),
        (b"other GPU's", b"measured", "a new one is started"),
        (b"garbage", b"measured", "a new one is started"),  # TensorRT gives None for it
    ],
)
def test_a_timing_cache(model: Path, earlier: bytes, measured: bytes, note: str | None) -> None:
    built = build_with(fake(), model, timing_cache=earlier)
    assert built.timing_cache == measured
    assert [note in text for text in built.notes] == ([] if note is None else [True])


def test_a_library_that_keeps_no_timing_cache_leaves_none(model: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        "tests.support.tensorrt_fake.IBuilderConfig.create_timing_cache", lambda self, data: None
    )
    built = build_with(fake(), model, timing_cache=b"")
    assert built.timing_cache is None


# The deep learning accelerator


def test_the_layers_that_a_dla_cannot_run_are_reported(model: Path) -> None:
    trt = fake()
    built = build_with(trt, model, dla_core=1)
    assert "conv" not in built.dla_fallback
    assert set(built.dla_fallback) >= {"pre/cast", "post/argmax"}


@pytest.mark.parametrize("dla_lists", [True, False])
def test_a_plan_that_put_nothing_on_the_dla_is_no_plan_for_it(model: Path, dla_lists: bool) -> None:
    nothing = fake(dla_takes=("SOFTMAX",), dla_lists=dla_lists)
    with pytest.raises(EngineError, match=r"the DLA can run none of the 1 convolutions, .* GPU alone"):
        build_with(nothing, model, dla_core=0)


@pytest.mark.parametrize("severity", [3, 4], ids=["info", "verbose"])
def test_what_the_builder_says_of_the_dla_counts(model: Path, monkeypatch, severity: int) -> None:
    """It may say of a layer that the DLA can run it, and put it on the GPU all the same."""
    monkeypatch.setattr(
        "tests.support.tensorrt_fake.Builder._say_dla",
        lambda self, network, config: self._logger.log(
            severity, "---------- Layers Running on DLA ----------"
        ),
    )
    with pytest.raises(EngineError, match=r"TensorRT 10\.3\.0 put nothing on the DLA"):
        build_with(fake(), model, dla_core=0)


@pytest.mark.parametrize(
    ("version", "precision", "says"),
    [
        ("10.3.0.30", "fp16", None),
        ("10.7.0.1", "fp16", None),
        ("10.3.0.30", "int8", r"runs FP16 only: .* from TensorRT 11\.4\.1 on"),
        ("10.3.0.30", "int8+fp16", "runs FP16 only"),
        ("10.3.0.30", "fp32", "a DLA runs FP16 only"),
        ("11.4.1.2", "fp32", "a DLA runs FP16 and INT8 only"),
        ("10.8.0.1", "fp16", r"TensorRT 10\.8\.0 has no DLA: 10\.7 was the last and 11\.4\.1 has it again"),
        ("10.13.2.1", "fp16", "has no DLA"),
        ("11.4.0.1", "fp16", "has no DLA"),
        ("11.4.1.2", "fp16", None),
        ("11.4.1.2", "int8+fp16", None),
    ],
)
def test_a_dla_is_used_where_it_is_documented(tmp_path: Path, version, precision, says) -> None:
    model = write_conv_segmenter(tmp_path / "m.onnx", precision=precision)
    trt = fake(version=version)
    if says is None:
        assert build_with(trt, model, dla_core=0).dla_fallback
        return
    with pytest.raises(UsageError, match=says):
        build_with(trt, model, dla_core=0)
    assert trt.loggers == []  # nothing was started


@pytest.mark.parametrize(
    ("cores", "core", "batch", "says"),
    [
        (0, 0, BatchRange(), "sees 0 DLA cores"),
        (2, 2, BatchRange(), "this machine's TensorRT sees 2 DLA cores"),
        (2, 0, BatchRange(1, 2, 4), "one batch size"),
    ],
)
def test_what_a_dla_cannot_have(model: Path, cores: int, core: int, batch: BatchRange, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        build_with(fake(dla_cores=cores), model, dla_core=core, batch=batch)


def test_the_parser_is_told_of_the_dla_where_it_knows_of_one(model: Path, monkeypatch) -> None:
    told = []
    monkeypatch.setattr(
        "tests.support.tensorrt_fake.OnnxParser.set_flag", lambda self, flag: told.append(flag.name)
    )
    build_with(fake(), model, dla_core=0)
    build_with(fake(), model)
    assert told == ["ADJUST_FOR_DLA"]
    older = fake()
    older.OnnxParserFlag = type("OnnxParserFlag", (), {})
    build_with(older, model, dla_core=0)
    assert told == ["ADJUST_FOR_DLA"]


# Memory that the GPU shares


def test_a_gpu_that_shares_its_memory_gets_a_quarter_of_it_for_scratch(model, monkeypatch) -> None:
    shared = jetson(is_integrated=True, memory_bytes=8 << 30, multiprocessors=8)
    found = compiled(fake(), model, monkeypatch, machine=shared)
    assert (found.info.workspace_mib, found.info.multiprocessors) == (2048, 8)
    assert found.info.board == "NVIDIA Jetson AGX Orin Developer Kit"
    assert compiled(fake(), model, monkeypatch, machine=shared, workspace_mib=99).info.workspace_mib == 99
    own = jetson(memory_bytes=8 << 30)
    assert compiled(fake(), model, monkeypatch, machine=own).info.workspace_mib is None
