"""Plans on a stand-in for TensorRT and CUDA; what needs the real ones is marked ``gpu``.

Also tests ``edgevision.engines.trt.plan_checks``.
"""

import importlib
import threading

import numpy as np
import pytest

from edgevision.engines import load_engine
from edgevision.engines.fake import bright_objects, fake_manifest
from edgevision.engines.trt import engine as trt_engine
from edgevision.engines.trt.engine import TensorRtEngine
from edgevision.engines.trt.plan import BatchRange, sha256_of
from edgevision.errors import EngineError, EngineMismatchError, ModelError
from tests.support import tensorrt_fake
from tests.support.cuda_fake import FakeCuda, cudaError_t
from tests.support.gpu import SIZE, GpuMachine
from tests.support.models import write_colour_model


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return GpuMachine(tmp_path, monkeypatch)


def image(seed):
    """A dark image with one bright block; where depends on the seed."""
    pixels = np.full((SIZE, SIZE, 3), 20, np.uint8)
    x, y = (7 * seed) % 40, (5 * seed) % 40
    pixels[y : y + 8 + seed % 5, x : x + 10] = 230
    return pixels


def batch(*seeds):
    return {"frames": np.stack([image(seed) for seed in seeds])}


def assert_answers(outputs, *seeds):
    assert len(outputs["count"]) == len(seeds)
    for i, seed in enumerate(seeds):
        wanted = bright_objects(image(seed))
        assert outputs["count"][i] == len(wanted) == 1
        assert outputs["boxes"][i, 0].tolist() == wanted.boxes[0].tolist()
        assert outputs["labels"][i].tolist() == [0, -1, -1, -1, -1]


def test_it_answers_each_batch_with_and_without_a_graph(machine):
    with TensorRtEngine(machine.plan()) as engine:
        for turn in range(12):
            assert_answers(engine.infer(batch(turn)), turn)
        for size in (2, 2, 2, 2, 4, 1, 3, 3, 3, 3):
            seeds = range(size, 2 * size)
            assert_answers(engine.infer(batch(*seeds)), *seeds)
        assert machine.cuda.calls.count("cudaGraphLaunch") > 10


def test_it_reports_the_contract_and_what_runs_it(machine):
    with TensorRtEngine(machine.plan()) as engine:
        assert engine.name == "TensorRT 10.3.0 (NVIDIA Fake)"
        assert engine.inputs[0].shape == (None, SIZE, SIZE, 3)
        assert [spec.name for spec in engine.outputs] == ["boxes", "scores", "labels", "count"]
        assert machine.loaded == "tensorrt"


def test_batches_that_the_plan_does_not_take_run_in_parts_or_filled_up(machine):
    with TensorRtEngine(machine.plan()) as engine:
        seeds = range(11)
        assert_answers(engine.infer(batch(*seeds)), *seeds)
    with TensorRtEngine(machine.plan({"batch": [3, 3, 4]})) as engine:
        assert_answers(engine.infer(batch(5)), 5)
        assert_answers(engine.infer(batch(1, 2, 3, 4, 5)), 1, 2, 3, 4, 5)
        with pytest.raises(EngineError, match="found none"):
            engine.infer({"frames": np.zeros((0, SIZE, SIZE, 3), np.uint8)})


def test_two_requests_are_in_flight_and_keep_apart(machine):
    with TensorRtEngine(machine.plan()) as engine:
        for turn in range(4):
            one, other = engine.submit(batch(turn)), engine.submit(batch(turn + 9))
            assert one.device_ms == 0
            first, second = one.result(), other.result()
            assert one.device_ms > 0
            assert_answers(first, turn)
            assert_answers(second, turn + 9)
            with pytest.raises(EngineError, match="taken before"):
                one.result()
    assert len(machine.trt.contexts) == 2


def test_a_third_request_waits_for_a_slot(machine, monkeypatch):
    monkeypatch.setattr(trt_engine, "_LANE_TIMEOUT_S", 0.02)
    with TensorRtEngine(machine.plan()) as engine:
        one, other = engine.submit(batch(1)), engine.submit(batch(2))
        with pytest.raises(EngineError, match=r"every slot of TensorRT 10\.3\.0 .* was in flight"):
            engine.submit(batch(3))
        one.result()
        assert_answers(engine.submit(batch(3)).result(), 3)
        other.result()


def test_threads_share_one_engine(machine):
    wrong = []
    with TensorRtEngine(machine.plan()) as engine:
        # The stand-in's streams are plain lists; only handing out slots is what is tested here.
        device = threading.Lock()

        def work(seed):
            for turn in range(20):
                with device:
                    pending = engine.submit(batch(seed + turn))
                with device:
                    outputs = pending.result()
                if outputs["boxes"][0, 0].tolist() != bright_objects(image(seed + turn)).boxes[0].tolist():
                    wrong.append(seed + turn)

        threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_outputs_stay_when_the_next_batch_runs(machine):
    with TensorRtEngine(machine.plan(), slots=1) as engine:
        first = engine.infer(batch(1))
        for seed in range(5, 9):
            engine.infer(batch(seed))
        assert_answers(first, 1)


def test_an_input_that_does_not_fit_is_refused(machine):
    with TensorRtEngine(machine.plan()) as engine:
        with pytest.raises(EngineError, match=r"expected input frames uint8 \[N, 64, 64, 3\]"):
            engine.infer({"frames": np.zeros((1, 32, SIZE, 3), np.uint8)})
        with pytest.raises(EngineError, match=r"refuses the shape \[5, 64, 64, 3\].*any profile"):
            engine.submit(batch(1, 2, 3, 4, 5))
        assert_answers(engine.infer(batch(1)), 1)


def test_rtx_captures_only_plans_of_one_batch_size(machine):
    for flavour, sizes, captured in (
        ("tensorrt", (1, 2, 4), True),
        ("tensorrt-rtx", (1, 2, 4), False),
        ("tensorrt-rtx", (2, 2, 2), True),
    ):
        machine.cuda.calls.clear()
        with TensorRtEngine(machine.plan({"batch": sizes}, flavour=flavour), slots=1) as engine:
            assert machine.loaded == flavour
            for turn in range(3):
                assert_answers(engine.infer(batch(turn, turn + 1)), turn, turn + 1)
        assert ("cudaGraphLaunch" in machine.cuda.calls) == captured


def test_an_engine_that_cannot_be_captured_runs_call_by_call(machine):
    with TensorRtEngine(machine.plan({"capturable": False})) as engine:
        for turn in range(5):
            assert_answers(engine.infer(batch(turn)), turn)
    assert "cudaStreamBeginCapture" in machine.cuda.calls
    assert "cudaGraphLaunch" not in machine.cuda.calls


def test_everything_is_given_back(machine):
    engine = TensorRtEngine(machine.plan())
    pending = engine.submit(batch(1))
    engine.infer(batch(1, 2))
    engine.close()
    engine.close()
    assert machine.cuda.alive() == 0
    for use in (lambda: engine.infer(batch(1)), lambda: engine.submit(batch(1)), pending.result):
        with pytest.raises(EngineError, match="closed"):
            use()


def test_all_engines_of_a_process_share_one_logger(machine):
    with TensorRtEngine(machine.plan()), TensorRtEngine(machine.plan()):
        pass
    assert len(machine.trt.loggers) == 2
    assert len(set(machine.trt.loggers)) == 1


def test_a_dla_core_is_chosen_before_the_plan_is_loaded(machine, monkeypatch):
    chosen = []
    original = tensorrt_fake.Runtime.deserialize_cuda_engine

    def spy(self, serialized_engine):
        chosen.append(self.DLA_core)
        return original(self, serialized_engine)

    monkeypatch.setattr(tensorrt_fake.Runtime, "deserialize_cuda_engine", spy)
    with TensorRtEngine(machine.plan(dla_core=1)) as engine:
        assert chosen == [1]
        assert engine.name.endswith("(NVIDIA Fake, DLA core 1)")
    with pytest.raises(
        EngineMismatchError, match=r"DLA core 2, but this machine has 2 .* without `dla_core`"
    ):
        TensorRtEngine(machine.plan(dla_core=2))


# Plans that must not be loaded


def test_a_plan_from_elsewhere_needs_the_users_word(machine):
    plan = machine.plan(built_here=False)
    with pytest.raises(EngineMismatchError, match=r"not built here.*machine code.*`trust`"):
        TensorRtEngine(plan)
    assert machine.trt.loggers == []  # the library never saw it
    with TensorRtEngine(plan, trust=True) as engine:
        assert_answers(engine.infer(batch(3)), 3)


def test_load_engine_opens_plans(machine):
    plan = machine.plan(built_here=False)
    for name in ("auto", "tensorrt"):
        with pytest.raises(EngineMismatchError, match="`trust`"):
            load_engine(plan, name)
        with load_engine(plan, name, trust=True) as engine:
            assert engine.reason == ("the file is a TensorRT plan" if name == "auto" else "")
            assert_answers(engine.infer(batch(4)), 4)
    with pytest.raises(ModelError, match="plan not found"):
        load_engine(machine.folder / "absent.engine")


def test_changed_bytes_are_noticed_even_when_trusted(machine):
    plan = machine.plan()
    plan.write_bytes(plan.read_bytes() + b" ")
    with pytest.raises(EngineMismatchError, match=r"not those that street\.engine\.json describes"):
        TensorRtEngine(plan, trust=True)


def test_an_onnx_that_changed_since_is_noticed(machine):
    onnx = write_colour_model(machine.folder / "street.onnx")
    with TensorRtEngine(machine.plan(onnx_sha256=sha256_of(onnx))):
        pass
    with onnx.open("ab") as stream:
        stream.write(b"\x72\x00")
    with pytest.raises(
        EngineMismatchError, match=r"another street\.onnx.*changed since; pass `rebuild`"
    ) as caught:
        TensorRtEngine(machine.plan(onnx_sha256="0" * 64))
    assert str(caught.value).endswith(f"build it again from {onnx.name}, with the options it was built with")


@pytest.mark.parametrize(
    ("info", "line"),
    [
        ({"tensorrt_version": "10.13.2"}, r"built by TensorRT 10\.13\.2, but this machine has 10\.3\.0"),
        (
            {"compute_capability": "8.7", "target": "jetson-orin-nano"},
            r"compute capability 8\.7 \(jetson-orin-nano\), but the NVIDIA Fake here has 8\.9",
        ),
    ],
)
def test_a_plan_for_another_machine_is_explained(machine, info, line):
    with pytest.raises(
        EngineMismatchError, match=rf"{line}.*street\.onnx beside it and pass `rebuild`"
    ) as caught:
        TensorRtEngine(machine.plan(**info))
    assert "\n" not in str(caught.value)


def test_a_plan_that_tensorrt_refuses_gives_its_reason_on_one_line(machine):
    with pytest.raises(
        EngineMismatchError, match=r"refuses this plan \(IRuntime.*magic tag does not match\)"
    ) as caught:
        TensorRtEngine(machine.plan({"readable": False}))
    assert "\n" not in str(caught.value)


def test_a_contract_that_the_plan_does_not_follow_is_refused(machine):
    other = fake_manifest(width=SIZE, height=SIZE, max_detections=7)
    with pytest.raises(
        ModelError, match=r"expected boxes float32 \[N, 7, 4\], found boxes float32 \[N, 5, 4\]"
    ):
        TensorRtEngine(machine.plan(manifest=other))
    assert machine.cuda.alive() == 0


@pytest.mark.parametrize(
    ("cuda", "line"),
    [
        (FakeCuda(driver=0), "no NVIDIA driver is visible"),
        (FakeCuda(devices=0), "the NVIDIA driver sees no GPU"),
    ],
)
def test_a_machine_without_a_gpu_says_so(machine, cuda, line):
    machine.cuda = cuda
    with pytest.raises(EngineError, match=line):
        TensorRtEngine(machine.plan())


def test_memory_that_is_short_leaves_nothing_behind(machine):
    with pytest.raises(EngineError, match=r"cannot make an execution context \(Requested amount"):
        TensorRtEngine(machine.plan({"no_memory": True}))
    machine.cuda.failing["cudaHostAlloc"] = cudaError_t.cudaErrorMemoryAllocation
    with TensorRtEngine(machine.plan()) as engine:
        for _ in range(3):  # a slot that failed is handed out again
            with pytest.raises(EngineError, match=r"out of memory.*smaller `batch`"):
                engine.infer(batch(1))
        machine.cuda.failing.clear()
        assert_answers(engine.infer(batch(1)), 1)
    assert machine.cuda.alive() == 0


def test_a_fault_on_the_device_is_one_line(machine):
    with TensorRtEngine(machine.plan()) as engine:
        machine.cuda.failing["cudaEventSynchronize"] = cudaError_t.cudaErrorIllegalAddress
        with pytest.raises(EngineError, match="an illegal memory access"):
            engine.infer(batch(1))


# What the bindings do where they fail


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"shapes_raise": "shape inference\n failed"}, r"shapes of the outputs \(shape inference failed\)"),
        ({"open": "boxes"}, r"TensorRT cannot tell the shapes of the outputs; boxes is open"),
    ],
)
def test_shapes_that_the_library_cannot_tell_are_one_line(machine, facts, line):
    with TensorRtEngine(machine.plan(facts)) as engine:
        for _ in range(3):  # the slot goes back
            with pytest.raises(EngineError, match=line):
                engine.infer(batch(1))
    assert machine.cuda.alive() == 0


def test_a_library_that_cannot_start_is_one_line(machine, monkeypatch):
    monkeypatch.setattr("edgevision.engines.trt.library.has_tensorrt_for_cuda_13", lambda: True)
    machine.trt.for_cuda, machine.cuda.driver = 13000, 12040
    with pytest.raises(EngineError, match=r"cannot start \(.*error: 35.*pip install tensorrt-cu12") as caught:
        TensorRtEngine(machine.plan())
    assert "\n" not in str(caught.value)


def test_an_exception_of_the_binding_is_one_line(machine, monkeypatch):
    def broken(self, stream_handle):
        raise RuntimeError("std::exception\n out of something")

    with TensorRtEngine(machine.plan()) as engine:
        monkeypatch.setattr(tensorrt_fake.IExecutionContext, "execute_async_v3", broken)
        with pytest.raises(EngineError, match=r"failed while running the model \(std::exception out of"):
            engine.infer(batch(1))


def test_a_request_that_fails_gives_its_own_reason(machine, monkeypatch):
    """Another thread's request begins while this one's fails."""
    with TensorRtEngine(machine.plan()) as engine:
        real = tensorrt_fake.IExecutionContext.execute_async_v3

        def fails(self, stream_handle):
            self._logger.log(tensorrt_fake.ILogger.ERROR, "the reason of the first")
            monkeypatch.setattr(tensorrt_fake.IExecutionContext, "execute_async_v3", real)
            other = threading.Thread(target=lambda: engine.submit(batch(2)).result())
            other.start()
            other.join()
            return False

        monkeypatch.setattr(tensorrt_fake.IExecutionContext, "execute_async_v3", fails)
        with pytest.raises(EngineError, match="the reason of the first"):
            engine.submit(batch(1))


def test_an_error_leaves_none_behind_for_the_next_library(machine):
    machine.cuda.failing["cudaHostAlloc"] = cudaError_t.cudaErrorMemoryAllocation
    with TensorRtEngine(machine.plan()) as engine:
        with pytest.raises(EngineError, match="out of memory"):
            engine.infer(batch(1))
        assert machine.cuda.cudaPeekAtLastError() == (cudaError_t.cudaSuccess,)


# Plans of another GPU, and what TensorRT warns of


def test_warnings_of_the_load_are_kept(machine):
    warning = "Using an engine plan file across different models of devices is not\n recommended"
    plan = machine.plan({"load_warning": warning})
    with TensorRtEngine(plan) as engine:
        assert engine.reason == " ".join(warning.split())
    with load_engine(plan) as engine:
        assert engine.reason == f"the file is a TensorRT plan; {' '.join(warning.split())}"


@pytest.mark.parametrize(
    ("info", "line"),
    [
        ({"gpu": "NVIDIA A10"}, r"built on and for the GPU NVIDIA A10, but this machine has NVIDIA Fake"),
        (
            {"gpu": "NVIDIA Fake", "multiprocessors": 16},
            r"a GPU of 16 multiprocessors \(this-machine\), but the NVIDIA Fake here has 24",
        ),
    ],
)
def test_a_plan_of_another_gpu_of_the_same_compute_capability_is_refused(machine, info, line):
    with pytest.raises(EngineMismatchError, match=line):
        TensorRtEngine(machine.plan(**info))
    with TensorRtEngine(machine.plan(gpu="NVIDIA Fake", multiprocessors=24)) as engine:
        assert engine.reason == ""


def test_a_plan_of_another_board_with_the_same_gpu_is_told(machine, monkeypatch):
    monkeypatch.setattr("edgevision.engines.trt.plan_checks.board_name", lambda: "Orin NX")
    with TensorRtEngine(machine.plan(board="Orin Nano")) as engine:
        assert engine.reason.startswith("the plan was built on 'Orin Nano' and this is 'Orin NX'")
    with TensorRtEngine(machine.plan(board="Orin NX")) as engine:
        assert engine.reason == ""


@pytest.mark.gpu
@pytest.mark.parametrize("library", ["tensorrt", "tensorrt_rtx"])
def test_a_real_plan_answers_as_onnx_runtime_does(tmp_path, library):
    """Builds the colour model with a TensorRT that is here and holds the answers against ONNX Runtime."""
    pytest.importorskip(library, reason=f"{library} is not installed")
    cuda = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    if cuda.cudaGetDeviceCount()[0]:
        pytest.skip("no CUDA device")
    to_engine = pytest.importorskip("edgevision.export.plans.compile", reason="there is no compiler of plans")
    from edgevision.engines.onnxrt import OnnxRuntimeEngine

    onnx = write_colour_model(tmp_path / "colours.onnx")
    plan = tmp_path / "colours.engine"
    options = importlib.import_module("edgevision.export.plans.build").BuildOptions(BatchRange(1, 2, 4))
    target = "auto"
    if library == "tensorrt_rtx":
        targets = importlib.import_module("edgevision.export.plans.targets")
        capability = trt_engine.open_device(cuda).compute_capability
        profiles = targets.load_targets().items()
        fitting = [
            name
            for name, profile in profiles
            if profile.builds_anywhere and profile.compute_capability == capability
        ]
        if not fitting:
            pytest.skip(f"TensorRT for RTX has no target for compute capability {capability}")
        target = fitting[0]
    to_engine.compile_model(onnx, plan, target, options=options)
    with TensorRtEngine(plan) as engine, OnnxRuntimeEngine(onnx) as reference:
        for seeds in ([1], [2], [3], [1, 2], [3, 4], [5, 6], [1, 2, 3, 4, 5, 6, 7]):
            found, wanted = engine.infer(batch(*seeds)), reference.infer(batch(*seeds))
            for name, array in wanted.items():
                assert np.allclose(found[name], array, atol=1e-3), name


def test_a_close_leaves_a_slot_to_the_thread_that_waits_for_its_request(machine, monkeypatch):
    """CUDA crashes where one thread frees the memory of a request that another one is in."""
    monkeypatch.setattr(trt_engine, "_CLOSE_S", 0.05)
    engine, found = TensorRtEngine(machine.plan()), []
    synchronize = machine.cuda.cudaEventSynchronize
    inside, resume = threading.Event(), threading.Event()

    def stalled(event):
        inside.set()
        resume.wait()
        return synchronize(event)

    pending, other = engine.submit(batch(3)), engine.submit(batch(4))
    monkeypatch.setattr(machine.cuda, "cudaEventSynchronize", stalled)
    waiter = threading.Thread(target=lambda: found.append(pending.result()), daemon=True)
    waiter.start()
    assert inside.wait(30)
    engine.close()
    assert machine.cuda.calls.count("cudaStreamDestroy") == 1  # of the slot that nobody is in
    resume.set()
    waiter.join(30)
    assert machine.cuda.calls.count("cudaStreamDestroy") == 2
    assert_answers(found[0], 3)
    for use in (other.result, lambda: engine.submit(batch(5))):
        with pytest.raises(EngineError, match="the engine is closed"):
            use()
