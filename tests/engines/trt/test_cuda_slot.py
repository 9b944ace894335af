"""The same tests run on a stand-in, and on a GPU where there is one."""

import re

import numpy as np
import pytest

import edgevision.engines.trt.cuda_runtime as cuda_runtime
from edgevision.contract.manifest import TensorSpec
from edgevision.engines.trt.cuda_runtime import load_cuda, open_device
from edgevision.engines.trt.cuda_slot import CudaSlot
from edgevision.errors import EngineError
from edgevision.extras import local_command
from tests.support.cuda_fake import FakeCuda, cudaError_t
from tests.support.gpu import gpu_runtime

FRAMES = TensorSpec("frames", np.dtype(np.uint8), (None, 4))
SUMS = TensorSpec("sums", np.dtype(np.int32), (None,))


@pytest.fixture(params=["stand-in", pytest.param("gpu", marks=pytest.mark.gpu)])
def cuda(request):
    return FakeCuda() if request.param == "stand-in" else gpu_runtime()


@pytest.fixture
def fake():
    return FakeCuda()


def make_slot(cuda, **options):
    return CudaSlot(cuda, [FRAMES], [SUMS], **options)


def copy_through(slot, cuda, batch):
    """Work for a slot: each image's four bytes become one int32, which a copy on the device can do."""

    def work(stream):
        source, target = slot.address("frames"), slot.address("sums")
        kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        assert cuda.cudaMemcpyAsync(target, source, 4 * batch, kind, stream)[0] == 0

    return work


def answer(slot, cuda, images):
    """One request: int32 ``[N]`` from uint8 ``[N, 4]``."""
    batch = len(images)
    slot.reshape({"frames": (batch, 4), "sums": (batch,)})
    slot.array("frames")[:] = images
    slot.start(copy_through(slot, cuda, batch))
    slot.wait()
    return slot.array("sums").copy()


def images(batch, start=0):
    return (np.arange(4 * batch, dtype=np.uint8) + start).reshape(batch, 4)


def expected(batch):
    return batch.reshape(-1).view(np.int32)


def test_requests_before_and_after_the_capture_answer_alike(cuda):
    with make_slot(cuda) as slot:
        for turn in range(4):
            batch = images(3, turn)
            assert answer(slot, cuda, batch).tolist() == expected(batch).tolist()
            assert slot.has_graph == (turn > 0)  # the first of a shape runs call by call
        assert slot.graphs_captured == 1
        assert slot.graph_problem is None
        assert slot.device_ms() > 0


def test_a_new_shape_is_captured_anew(cuda):
    with make_slot(cuda) as slot:
        for batch in (images(2), images(2, 9), images(5), images(5, 7), images(1), images(1, 3)):
            assert answer(slot, cuda, batch).tolist() == expected(batch).tolist()
        assert slot.graphs_captured == 3


def test_shapes_that_take_turns_are_not_captured_each_time(cuda):
    with make_slot(cuda) as slot:
        for turn in range(3):
            answer(slot, cuda, images(1, turn))
            answer(slot, cuda, images(2, turn))
        assert slot.graphs_captured == 0


def test_buffers_grow_and_stay(cuda):
    with make_slot(cuda) as slot:
        assert slot.reshape({"frames": (4, 4), "sums": (4,)})
        first = slot.address("frames")
        assert not slot.reshape({"frames": (4, 4), "sums": (4,)})
        assert slot.reshape({"frames": (2, 4), "sums": (2,)})
        assert slot.address("frames") == first
        assert slot.array("frames").shape == (2, 4)
        assert slot.reshape({"frames": (64, 4), "sums": (64,)})
        assert slot.array("frames").shape == (64, 4)


def test_two_slots_are_in_flight_together(cuda):
    with make_slot(cuda) as one, make_slot(cuda) as other:
        slots = {one: images(2, 1), other: images(2, 50)}
        for _ in range(3):
            for slot, batch in slots.items():
                slot.reshape({"frames": (2, 4), "sums": (2,)})
                slot.array("frames")[:] = batch
                slot.start(copy_through(slot, cuda, 2))
            for slot, batch in slots.items():
                slot.wait()
                assert slot.array("sums").tolist() == expected(batch).tolist()
        assert one.has_graph
        assert other.has_graph


def test_graphs_can_be_switched_off(cuda):
    with make_slot(cuda, use_graphs=False) as slot:
        for turn in range(3):
            batch = images(2, turn)
            assert answer(slot, cuda, batch).tolist() == expected(batch).tolist()
        assert slot.graphs_captured == 0
        assert slot.graph_problem == "switched off"


def test_work_that_cannot_be_captured_still_runs(cuda):
    with make_slot(cuda) as slot:
        slot.reshape({"frames": (2, 4), "sums": (2,)})

        def waits(stream):
            copy_through(slot, cuda, 2)(stream)
            if cuda.cudaStreamSynchronize(stream)[0]:
                raise EngineError("it waits for the device")

        for turn in range(3):
            slot.array("frames")[:] = batch = images(2, turn)
            slot.start(waits)
            slot.wait()
            assert slot.array("sums").tolist() == expected(batch).tolist()
        assert slot.graphs_captured == 0
        assert "it waits for the device" in slot.graph_problem


def test_nothing_happens_before_somebody_waits(fake):
    """Guards the stand-in itself: a slot that read too early would pass if it worked at once."""
    with make_slot(fake) as slot:
        slot.reshape({"frames": (1, 4), "sums": (1,)})
        slot.array("frames")[:] = images(1)
        slot.array("sums")[:] = -1
        slot.start(copy_through(slot, fake, 1))
        assert slot.array("sums").tolist() == [-1]
        slot.wait()
        assert slot.array("sums").tolist() == expected(images(1)).tolist()


def test_a_graph_is_one_launch(fake):
    with make_slot(fake) as slot:
        for turn in range(2):
            answer(slot, fake, images(2, turn))
        fake.calls.clear()
        answer(slot, fake, images(2))
        assert fake.calls == ["cudaEventRecord", "cudaGraphLaunch", "cudaEventRecord", "cudaEventSynchronize"]


def test_everything_is_given_back(fake):
    slot = make_slot(fake)
    for batch in (1, 1, 8, 8, 3):
        answer(slot, fake, images(batch))
    slot.close()
    slot.close()
    assert fake.alive() == 0
    for use in (slot.wait, lambda: slot.array("frames"), lambda: slot.reshape({}), slot.device_ms):
        with pytest.raises(EngineError, match="closed"):
            use()


@pytest.mark.parametrize("name", ["cudaStreamCreateWithFlags", "cudaEventCreateWithFlags"])
def test_a_slot_that_cannot_be_made_leaves_nothing(fake, name):
    fake.failing[name] = cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match="out of memory"):
        make_slot(fake)
    assert fake.alive() == 0


@pytest.mark.parametrize(("name", "where"), [("cudaMalloc", "on the GPU"), ("cudaHostAlloc", "in pinned")])
def test_memory_that_is_short_can_be_asked_for_again(fake, name, where):
    with make_slot(fake) as slot:
        answer(slot, fake, images(2))
        fake.failing[name] = cudaError_t.cudaErrorMemoryAllocation
        with pytest.raises(EngineError, match=rf"CUDA cannot take .* MB for frames {where}.*smaller `batch`"):
            slot.reshape({"frames": (9, 4), "sums": (9,)})
        del fake.failing[name]
        for batch in (images(9), images(2)):
            assert answer(slot, fake, batch).tolist() == expected(batch).tolist()
    assert fake.alive() == 0


def test_a_fault_on_the_device_is_one_line_and_closing_is_quiet(fake):
    slot = make_slot(fake)
    answer(slot, fake, images(1))
    fake.failing["cudaEventSynchronize"] = cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(EngineError, match=r"cannot finish the request: an illegal memory access .*\(cudaErr"):
        answer(slot, fake, images(1))
    slot.close()
    assert fake.alive() == 0


@pytest.mark.parametrize(
    ("machine", "line"),
    [
        (FakeCuda(driver=0), r"find a GPU: no NVIDIA driver is visible; install .*--gpus all"),
        (
            FakeCuda(driver=11040),
            r"the NVIDIA driver knows CUDA 11\.4, .* CUDA 13\.0; update .*'cuda-python==11",
        ),
        (FakeCuda(devices=0), r"the NVIDIA driver sees no GPU; check 'nvidia-smi'"),
    ],
)
def test_a_machine_without_a_gpu_says_what_is_missing(machine, line):
    with pytest.raises(EngineError, match=line):
        open_device(machine)


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 4090", "Orin"])
def test_a_device_has_its_own_name(name):
    device = open_device(FakeCuda(name=name, multiprocessors=16, is_integrated=True))
    assert (device.name, device.multiprocessors, device.is_integrated) == (name, 16, True)


def test_the_device_is_described(cuda):
    device = open_device(cuda)
    assert device.name  # 'NVIDIA ...' on a PC, 'Orin' on a Jetson
    assert device.multiprocessors > 0
    assert 5 <= float(device.compute_capability) < 20
    assert device.memory_bytes > 1 << 28


def test_bindings_that_are_missing_say_how_to_install_them(monkeypatch):
    def fail(name):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(cuda_runtime.importlib, "import_module", fail)
    with pytest.raises(EngineError, match=re.escape(local_command("pip install cuda-python"))):
        load_cuda()


def test_an_error_is_cleared_before_it_is_raised(fake):
    """CUDA keeps it for the thread's next library, whose check would blame itself."""
    with make_slot(fake) as slot:
        fake.failing["cudaMalloc"] = cudaError_t.cudaErrorMemoryAllocation
        with pytest.raises(EngineError, match="out of memory"):
            slot.reshape({"frames": (9, 4), "sums": (9,)})
        assert fake.cudaPeekAtLastError() == (cudaError_t.cudaSuccess,)


def test_closing_leaves_no_error_either(fake):
    slot = make_slot(fake)
    answer(slot, fake, images(1))
    fake.failing["cudaFree"] = cudaError_t.cudaErrorInvalidValue
    slot.close()
    assert fake.cudaPeekAtLastError() == (cudaError_t.cudaSuccess,)


def test_mapped_memory_needs_no_copies(cuda):
    with make_slot(cuda, is_mapped=True) as slot:
        for turn in range(4):
            batch = images(3, turn)
            assert answer(slot, cuda, batch).tolist() == expected(batch).tolist()
        assert slot.has_graph
        assert answer(slot, cuda, images(7)).tolist() == expected(images(7)).tolist()


def test_a_request_on_mapped_memory_is_the_work_alone(fake):
    with make_slot(fake, is_mapped=True) as slot:
        answer(slot, fake, images(2))
        assert fake.calls.count("cudaMemcpyAsync") == 1  # the work itself
        assert "cudaMalloc" not in fake.calls
    assert fake.alive() == 0


def test_a_driver_of_cuda_12_is_told_of_both_packages(monkeypatch):
    """Bindings for CUDA 12 alone lead to a TensorRT for CUDA 13 that cannot start."""
    for has, wanted in ((True, True), (False, False)):
        monkeypatch.setattr(cuda_runtime, "has_tensorrt_for_cuda_13", lambda has=has: has)
        fake = FakeCuda(driver=12040)
        fake.failing["cudaGetDeviceCount"] = cudaError_t.cudaErrorInsufficientDriver
        with pytest.raises(EngineError, match=r"'cuda-python==12\.\*'") as caught:
            open_device(fake)
        assert (local_command("pip install tensorrt-cu12") in str(caught.value)) == wanted


@pytest.mark.parametrize(
    ("architecture", "option"), [("x86_64", "--gpus all"), ("aarch64", "--runtime nvidia")]
)
def test_a_container_without_a_driver_is_started_as_its_machine_needs(monkeypatch, architecture, option):
    monkeypatch.setattr(cuda_runtime.platform, "machine", lambda: architecture)
    with pytest.raises(EngineError, match=rf"start the container with '{option}'"):
        open_device(FakeCuda(driver=0))
