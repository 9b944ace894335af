"""The stand-ins are no kinder than what they stand for: held against cuda-bindings and TensorRT for RTX.

Both bindings import and refuse without a GPU, so names, parameters, tuples and refusals are compared here on
any machine. What needs a device to answer at all (a loaded engine) is compared by its documented signature.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

import edgevision.engines.trt.cuda_runtime as cuda_runtime
import edgevision.engines.trt.cuda_slot as cuda_slot
from edgevision.engines.fake import fake_manifest
from edgevision.engines.trt.cuda_runtime import open_device
from edgevision.engines.trt.library import listening
from edgevision.errors import EngineError
from tests.support import tensorrt_fake
from tests.support.cuda_fake import FakeCuda, cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode
from tests.support.paths import SHARED
from tests.support.plans import needs_rtx, write_conv_segmenter
from tests.support.tensorrt_fake import FakeTensorRt, fake_plan

# CUDA


@pytest.fixture
def cuda() -> Any:
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")
    return importlib.import_module("cuda.bindings.runtime")


@pytest.fixture
def driverless(cuda: Any) -> Any:
    if cuda.cudaDriverGetVersion()[1]:
        pytest.skip("this machine has a driver")
    return cuda


def used_names() -> list[str]:
    """Every ``cuda.X`` and ``cuda.X.Y`` in our sources."""
    found = set()
    for module in (cuda_runtime, cuda_slot):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("cuda"):
                inner = node.value.attr if isinstance(node.value, ast.Attribute) else ""
                found.add(f"{inner}.{node.attr}" if inner.startswith("cuda") else node.attr)
    return sorted(found)


FUNCTIONS = sorted(
    name for name, _ in inspect.getmembers(FakeCuda, inspect.isfunction) if name.startswith("cuda")
)


def parameters(name: str) -> list[str]:
    return list(inspect.signature(getattr(FakeCuda, name)).parameters)[1:]


def plausible(name: str, cuda: Any) -> list[Any]:
    """Arguments that a function takes; every handle and address is null."""
    enumerations = {
        "kind": lambda: cuda.cudaMemcpyKind.cudaMemcpyHostToDevice,
        "mode": lambda: cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal,
        "error": lambda: cuda.cudaError_t.cudaErrorNoDevice,
    }
    return [enumerations.get(parameter, lambda: 0)() for parameter in parameters(name)]


def test_the_stand_in_has_every_name_that_is_used() -> None:
    assert len(used_names()) > 30
    for name in used_names():
        found: Any = FakeCuda
        for part in name.split("."):
            assert hasattr(found, part), name
            found = getattr(found, part)


def test_the_binding_has_every_name_with_the_stand_ins_parameters(cuda: Any) -> None:
    for name in used_names():
        found = cuda
        for part in name.split("."):
            found = getattr(found, part)
    for name in FUNCTIONS:
        theirs = getattr(cuda, name).__doc__.splitlines()[0]
        # Parameters are written in C's way with the type before, or in Python's with the type behind.
        inside = theirs[theirs.index("(") + 1 : theirs.rindex(")")]
        names = [part.split(":")[0].split()[-1] for part in inside.split(",") if part.strip()]
        assert names == parameters(name), theirs


@pytest.mark.parametrize("name", FUNCTIONS)
def test_without_a_driver_each_function_gives_the_same_tuple(name: str, driverless: Any) -> None:
    fake = FakeCuda(driver=0)
    if name == "cudaRuntimeGetVersion":
        assert len(getattr(driverless, name)()) == len(getattr(fake, name)()) == 2
        return
    assert getattr(fake, name)(*plausible(name, fake)) == getattr(driverless, name)(
        *plausible(name, driverless)
    )


@pytest.mark.parametrize("wrong", ["text", object(), [1]], ids=["text", "object", "list"])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if parameters(name) and "Error" not in name])
def test_an_argument_of_another_type_is_refused_by_both(name: str, wrong: Any, cuda: Any) -> None:
    for index, parameter in enumerate(parameters(name)):
        if parameter in ("kind", "mode"):
            continue  # 12.9 asks it for its value, 13 makes a number of it
        for module in (FakeCuda(), cuda):
            arguments = plausible(name, module)
            arguments[index] = wrong
            with pytest.raises(TypeError):
                getattr(module, name)(*arguments)


@pytest.mark.parametrize("name", ["cudaMalloc", "cudaHostAlloc"])
def test_a_negative_size_is_refused_by_both(name: str, cuda: Any) -> None:
    for module in (FakeCuda(), cuda):
        with pytest.raises(OverflowError):
            getattr(module, name)(*[-1] * len(parameters(name)))


def test_without_a_driver_the_binding_answers_as_the_stand_in_does(driverless: Any) -> None:
    with pytest.raises(EngineError) as ours:
        open_device(FakeCuda(driver=0))
    with pytest.raises(EngineError) as theirs:
        open_device(driverless)
    assert str(theirs.value) == str(ours.value)


def test_a_fault_of_the_stand_ins_device_is_the_answer_of_every_later_call() -> None:
    fake = FakeCuda()
    _, memory = fake.cudaMalloc(16)
    _, stream = fake.cudaStreamCreateWithFlags(1)
    fake.failing["cudaStreamSynchronize"] = cudaError_t.cudaErrorIllegalAddress
    assert fake.cudaStreamSynchronize(stream) == (cudaError_t.cudaErrorIllegalAddress,)
    fake.failing.clear()
    assert fake.cudaMalloc(16) == (cudaError_t.cudaErrorIllegalAddress, None)
    assert fake.cudaFree(memory) == (cudaError_t.cudaErrorIllegalAddress,)
    for _ in range(2):  # asking does not clear it
        assert fake.cudaGetLastError() == (cudaError_t.cudaErrorIllegalAddress,)


def test_the_stand_ins_last_error_stays_until_somebody_asks() -> None:
    fake = FakeCuda()
    fake.failing["cudaMalloc"] = cudaError_t.cudaErrorMemoryAllocation
    fake.cudaMalloc(16)
    fake.failing.clear()
    assert fake.cudaSetDevice(0) == (cudaError_t.cudaSuccess,)
    assert fake.cudaPeekAtLastError() == (cudaError_t.cudaErrorMemoryAllocation,)
    assert fake.cudaGetLastError() == (cudaError_t.cudaErrorMemoryAllocation,)
    assert fake.cudaGetLastError() == (cudaError_t.cudaSuccess,)


def test_enumerations_have_the_bindings_numbers(cuda: Any) -> None:
    for ours in (cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode):
        theirs = getattr(cuda, ours.__name__)
        assert {member.name: int(member) for member in ours} == {
            member.name: int(getattr(theirs, member.name)) for member in ours
        }
    for name in ("cudaHostAllocMapped", "cudaHostAllocDefault", "cudaStreamNonBlocking"):
        assert getattr(FakeCuda, name) == getattr(cuda, name)


# TensorRT


RTX_ONLY = {"IRuntimeConfig", "IRuntimeCache", "RtxCudaEngine"}
OURS = {"FakeTensorRt", "FakeEngine", "FakeCuda"}


def stand_ins() -> list[Any]:
    kinds = [value for value in vars(tensorrt_fake).values() if inspect.isclass(value)]
    return [kind for kind in kinds if kind.__module__ == tensorrt_fake.__name__ and kind.__name__ not in OURS]


def real_name(kind: Any) -> str:
    return str(kind.__name__).replace("RtxCudaEngine", "ICudaEngine")


def public_members(kind: Any) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def surfaces() -> list[Path]:
    found = sorted((SHARED / "tensorrt" / "api").glob("*.json"))
    if not found:
        pytest.skip("../shared/tensorrt/api is not here")
    return found


def test_the_stand_in_has_no_name_that_a_release_lacks() -> None:
    assert len(stand_ins()) >= 24
    for surface in surfaces():
        names = json.loads(surface.read_text())
        for kind in stand_ins():
            if kind.__name__ in RTX_ONLY and "rtx" not in surface.name:
                continue
            lacking = public_members(kind) - {*names[real_name(kind)], "log"}
            # An enumeration's member may be newer than a release; no code may need it there.
            assert lacking <= {"ADJUST_FOR_DLA"}, (surface.name, kind, lacking)


@needs_rtx
def test_the_stand_ins_methods_have_the_parameters_of_the_real_ones() -> None:
    real = importlib.import_module("tensorrt_rtx")
    compared = 0
    for kind in stand_ins():
        for name in public_members(kind) - {"log"}:
            theirs, ours = getattr(getattr(real, real_name(kind)), name), inspect.getattr_static(kind, name)
            assert isinstance(theirs, property) == isinstance(ours, property), (kind, name)
            if not inspect.isfunction(ours):
                continue
            # Of several overloads one must have them, in this order.
            heads = [line for line in theirs.__doc__.splitlines() if re.match(rf"(\d+\. )?{name}\(", line)]
            wanted = list(inspect.signature(ours).parameters)[1:]
            pattern = r"\(self: [^,)]*" + "".join(rf", {parameter}: .*?" for parameter in wanted)
            pattern += r"(, \w+: [^=]+ = .*)?\) ->"  # further ones have a default
            assert any(re.search(pattern, head) for head in heads), (kind, name, heads)
            compared += 1
    assert compared >= 25


Parts = dict[str, Any]


def build_parts(trt: Any, logger: Any) -> Parts:
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    return {
        "trt": trt,
        "builder": builder,
        "network": network,
        "config": builder.create_builder_config(),
        "parser": trt.OnnxParser(network, logger),
        "profile": builder.create_optimization_profile(),
    }


@pytest.fixture
def both() -> Any:
    """The parts of a build, of the stand-in and of the real library."""
    real = importlib.import_module("tensorrt_rtx")
    with ExitStack() as stack:
        made = []
        for trt in (FakeTensorRt(FakeCuda()), real):
            logger = stack.enter_context(listening(trt, lambda *_: None))
            made.append(build_parts(trt, logger))
        yield made


REFUSED: dict[str, Callable[[Parts], Any]] = {
    "a builder without a logger": lambda p: p["trt"].Builder(None),
    "a runtime without a logger": lambda p: p["trt"].Runtime(None),
    "flags that are text": lambda p: p["builder"].create_network("x"),
    "a model that is text": lambda p: p["parser"].parse("x"),
    "a parser's flag that is a number": lambda p: p["parser"].set_flag(1),
    "no timing cache": lambda p: p["config"].set_timing_cache(None, False),
    "half a call": lambda p: p["config"].set_timing_cache(p["config"].create_timing_cache(b"")),
    "a timing cache that is text": lambda p: p["config"].create_timing_cache("x"),
    "a limit that is text": lambda p: p["config"].set_memory_pool_limit(
        p["trt"].MemoryPoolType.WORKSPACE, "x"
    ),
    "a limit below 0": lambda p: p["config"].set_memory_pool_limit(p["trt"].MemoryPoolType.WORKSPACE, -1),
    "a pool that is a number": lambda p: p["config"].set_memory_pool_limit(1, 1 << 20),
    "a flag that is a number": lambda p: p["config"].set_flag(1),
    "two shapes": lambda p: p["profile"].set_shape("frames", (1, 2), (1, 2)),
    "a shape that is text": lambda p: p["profile"].set_shape("frames", "x", (1, 2), (1, 2)),
    "a size with a fraction": lambda p: p["profile"].set_shape("frames", (1.5, 2), (2, 2), (3, 2)),
    "no network": lambda p: p["builder"].build_serialized_network(None, p["config"]),
}


@needs_rtx
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_what_the_binding_refuses_the_stand_in_refuses(both: list[Parts], refused: Any) -> None:
    for parts in both:
        with pytest.raises(TypeError):
            refused(parts)


@needs_rtx
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_fails_without_an_exception_fails_so_in_both(both: list[Parts]) -> None:
    for parts in both:
        assert parts["parser"].parse(b"garbage") is False
        assert parts["parser"].num_errors == 1
        assert "Failed to parse" in parts["parser"].get_error(0).desc()
        assert parts["network"].get_input(99) is None
        assert parts["network"].get_layer(99) is None
        assert parts["config"].get_timing_cache() is None
        assert parts["config"].add_optimization_profile(None) == -1
        parts["profile"].set_shape("frames", (3, 2), (2, 2), (1, 2))
        assert parts["config"].add_optimization_profile(parts["profile"]) == -1
        assert parts["config"].can_run_on_DLA(None) is False


@needs_rtx
def test_both_read_the_same_network(both: list[Parts], tmp_path: Path) -> None:
    data = write_conv_segmenter(tmp_path / "m.onnx").read_bytes()
    found = []
    for parts in both:
        assert parts["parser"].parse(data)
        network = parts["network"]
        kinds = [network.get_layer(index).type.name for index in range(network.num_layers)]
        frames = network.get_input(0)
        found.append((network.num_inputs, frames.name, tuple(frames.shape), kinds.count("CONVOLUTION")))
    assert found[0] == found[1] == (1, "frames", (-1, 32, 32, 3), 1)


def test_an_engine_of_the_stand_in_refuses_other_types() -> None:
    """The real one needs a device to be loaded; these are what its signatures take."""
    trt = FakeTensorRt(FakeCuda())
    with listening(trt, lambda *_: None) as logger:
        plan = fake_plan(msgspec.json.encode(fake_manifest(width=64, height=64)))
        context = trt.Runtime(logger).deserialize_cuda_engine(plan).create_execution_context()
    for refused in (
        lambda: context.set_input_shape("frames", 3),
        lambda: context.set_tensor_address("frames", "text"),
        lambda: context.set_tensor_address("frames"),
        lambda: context.execute_async_v3("stream"),
    ):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            refused()
