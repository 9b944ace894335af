"""The steps of ``tools/gpu_day.sh``, which runs each in a process of its own.

    python tools/gpu_day.py pack FOLDER                 what the machine with the GPU lacks
    python tools/gpu_day.py STEP OUT.json [--rehearse]  one step
    python tools/gpu_day.py ended OUT.json CODE LIMIT   notes how a step's process ended

A step writes its result after every part of it, so that what hangs or crashes later loses nothing. A
rehearsal runs on the stand-ins of ``tests/support`` and on the processor, without the packages that the
machine with the GPU lacks.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import itertools
import json
import math
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock
from xml.etree import ElementTree

if TYPE_CHECKING:
    from edgevision.models.torch_engine import TorchEngine

ROOT = Path(__file__).resolve().parents[1]
PACK = ROOT / ".gpu_day"
WHEELS = {
    "msgspec": "msgspec",
    "pyyaml": "yaml",
    "typer": "typer",
    "rich": "rich",
    "shellingham": "shellingham",
    "markdown-it-py": "markdown_it",
    "mdurl": "mdurl",
    "pygments": "pygments",
    "click": "click",
    "cuda-bindings>=13,<14": "cuda.bindings",
    "cuda-pathfinder": "cuda.pathfinder",
}
"""What is packed, and the module by which it is known to be there already."""
LIMIT_BYTES = 64 << 20
ABSENT_THERE = (
    "av",
    "pycocotools",
    "tensorrt",
    "tensorrt_rtx",
    "openvino",
    "trackers",
    "supervision",
    "paho",
)
"""What that machine has not, and the pack does not bring: a rehearsal does without, too."""

SIZE, DETECTIONS = 64, 5

MIX = r"""
extern "C" __global__ void mix(unsigned char* out, const unsigned char* in, unsigned long long n,
                               unsigned long long n_in, unsigned int salt) {
    unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
    if (i < n) out[i] = in[i % n_in] ^ (unsigned char)(i * 31 + salt * 7);
}
extern "C" __global__ void poke(unsigned char* at) { *at = 1; }
"""


class Result:
    """What a step found, written to its file after each part."""

    def __init__(self, path: Path, name: str, is_rehearsal: bool) -> None:
        self._path = path
        self._started = time.monotonic()
        self.document: dict[str, Any] = {
            "step": name,
            "rehearsal": is_rehearsal,
            "ok": None,
            "problems": [],
            "found": {},
        }
        self._write()

    def found(self, **facts: Any) -> None:
        self.document["found"].update(facts)
        self._write()

    def expect(self, holds: bool, otherwise: str) -> None:
        """Notes a problem where something is not as it should be, and goes on."""
        if not holds:
            self.document["problems"].append(" ".join(otherwise.split()))
            self._write()

    def done(self) -> int:
        self.document["ok"] = not self.document["problems"]
        self._write()
        return 0 if self.document["ok"] else 1

    def _write(self) -> None:
        self.document["seconds"] = round(time.monotonic() - self._started, 2)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self.document, indent=2) + "\n")
        partial.replace(self._path)


class Day:
    """The machine: the real one, or a rehearsal's."""

    def __init__(self, result: Result, is_rehearsal: bool) -> None:
        self.result = result
        self.is_rehearsal = is_rehearsal
        self._kernels: dict[str, Any] = {}
        self._cuda: Any = None

    @property
    def cuda(self) -> Any:
        """``cuda.bindings.runtime``, opened; it holds what a stub of TensorRT asks a stand-in for, too."""
        if self._cuda is None:
            if self.is_rehearsal:
                from tests.support.cuda_fake import FakeCuda

                self._cuda = FakeCuda(capability=(9, 0), name="NVIDIA H200", multiprocessors=132)
            else:
                from edgevision.engines.trt.cuda_runtime import load_cuda

                self._cuda = load_cuda()
            from edgevision.engines.trt.cuda_runtime import open_device

            self.device = open_device(self._cuda)
        return self._cuda

    @property
    def torch_device(self) -> str:
        return "cpu" if self.is_rehearsal else "cuda"

    def launch(self, name: str, count: int, stream: int, *arguments: int) -> None:
        """Enqueues a kernel of :data:`MIX`; a rehearsal enqueues the same on the stand-in's stream."""
        from edgevision.errors import EngineError

        if self.is_rehearsal:
            self.cuda.stream(stream).add(lambda: mix_here(*arguments))
            return
        import ctypes

        from cuda.bindings import driver

        if not self._kernels:
            self._kernels = load_kernels(self.device.compute_capability)
        types = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulonglong, ctypes.c_ulonglong, ctypes.c_uint)
        parameters = (tuple(arguments), types[: len(arguments)])
        blocks = (count + 255) // 256
        (error,) = driver.cuLaunchKernel(
            self._kernels[name], blocks, 1, 1, 256, 1, 1, 0, stream, parameters, 0
        )
        if int(error):
            raise EngineError(f"the kernel {name} cannot be launched: {error!r}")


def compile_kernels(compute_capability: str) -> bytes:
    """Machine code of :data:`MIX`; needs no GPU."""
    from cuda.bindings import nvrtc

    def call(result: tuple[Any, ...]) -> Any:
        if int(result[0]):
            raise RuntimeError(f"NVRTC: {result[0]!r}")
        return result[1] if len(result) > 1 else None

    program = call(nvrtc.nvrtcCreateProgram(MIX.encode(), b"mix.cu", 0, [], []))
    options = [f"--gpu-architecture=sm_{compute_capability.replace('.', '')}".encode()]
    call(nvrtc.nvrtcCompileProgram(program, len(options), options))
    size: int = call(nvrtc.nvrtcGetCUBINSize(program))
    code = b" " * size
    call(nvrtc.nvrtcGetCUBIN(program, code))
    return code


def load_kernels(compute_capability: str) -> dict[str, Any]:
    from cuda.bindings import driver

    error, module = driver.cuModuleLoadData(compile_kernels(compute_capability))
    if int(error):
        raise RuntimeError(f"the kernels cannot be loaded: {error!r}")
    return {name: driver.cuModuleGetFunction(module, name.encode())[1] for name in ("mix", "poke")}


def mixed(frames: Any, count: int, salt: int) -> Any:
    """What the kernel makes of an input, by NumPy: uint8 ``[count]``."""
    import numpy as np

    data = np.ascontiguousarray(frames).reshape(-1)
    index = np.arange(count, dtype=np.uint64)
    return data[index % len(data)] ^ ((index * 31 + salt * 7) & 0xFF).astype(np.uint8)


def mix_here(out: int, source: int, count: int, count_in: int, salt: int) -> None:
    import ctypes

    import numpy as np

    given = np.ctypeslib.as_array((ctypes.c_ubyte * count_in).from_address(source))
    np.ctypeslib.as_array((ctypes.c_ubyte * count).from_address(out))[:] = mixed(given, count, salt)


# 1. What machine it is


def machine(day: Day) -> None:
    result = day.result
    names = ("numpy", "torch", "cuda-bindings", "msgspec", "cv2", "onnx", "onnxruntime", "triton", "pytest")
    result.found(python=platform.python_version(), cores=os.cpu_count(), packages=versions(names))
    cuda = day.cuda
    result.found(
        device={name: getattr(day.device, name) for name in day.device.__slots__},
        runtime=cuda.cudaRuntimeGetVersion()[1],
    )
    from edgevision.export.plans import targets

    stand_in = mock.patch.object(targets, "load_cuda", return_value=cuda)
    with stand_in if day.is_rehearsal else nullcontext():
        machine_here = targets.this_machine()
    result.found(machine=str(machine_here), target=targets.find_target("auto", machine_here).name)
    wanted = "sm" + day.device.compute_capability.replace(".", "")
    result.expect(result.document["found"]["target"] == wanted, f"auto is not {wanted}")
    done = subprocess.run(
        [sys.executable, "-m", "edgevision", "doctor", "--json"], capture_output=True, text=True, check=False
    )
    try:
        findings = {one["check"]: one for one in json.loads(done.stdout)["findings"]}
    except (json.JSONDecodeError, KeyError):
        result.expect(False, f"doctor --json gave no report: {done.stderr[-500:]}")
        return
    kept = ("gpu", "driver", "cuda", "tensorrt", "onnxruntime")
    result.found(doctor={name: findings[name] for name in kept if name in findings})
    if not day.is_rehearsal:
        result.expect(findings.get("cuda", {}).get("status") == "ok", "the doctor finds no CUDA")


def versions(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        module = {"cuda-bindings": "cuda.bindings"}.get(name, name)
        try:
            found[name] = str(getattr(importlib.import_module(module), "__version__", "here"))
        except ImportError as error:
            found[name] = f"absent ({error})"
    return found


# 2. The slots' own tests


def slots(day: Day) -> None:
    import pytest

    report = Path(tempfile.mkdtemp()) / "report.xml"
    marks = "not gpu" if day.is_rehearsal else "gpu"
    tests = ROOT / "tests/engines/trt/test_cuda_slot.py"
    code = pytest.main(["-q", "-p", "no:cacheprovider", "-m", marks, f"--junitxml={report}", str(tests)])
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    failed = {
        case.get("name"): (bad.get("message") or "")[:400]
        for case in suite.iter("testcase")
        for bad in (*case.findall("failure"), *case.findall("error"))
    }
    result = day.result
    result.found(**counts, failed=failed, exit_code=int(code))
    result.expect(not failed and not int(code), f"{len(failed)} tests failed")
    result.expect(counts["skipped"] == 0, f"{counts['skipped']} tests were skipped")
    result.expect(counts["tests"] >= 9, f"expected 9 tests or more, ran {counts['tests']}")


# 3. The engine, with a stub in TensorRT's place whose requests are a kernel


def engine(day: Day) -> None:
    import numpy as np

    result, trt_engine = day.result, stub_engine(day)
    plan = write_stub_plan(day)
    requests = 20 if day.is_rehearsal else 400
    wrong: list[str] = []
    checked = [0]

    def work(loaded: Any, seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for turn in range(requests):
                # Batches that take turns make one thread grow its buffers while the other captures.
                size = (1, 1, 3, 3, 4, 4, 7, 7)[(turn + seed) % 8]
                frames = rng.integers(0, 256, (size, SIZE, SIZE, 3), dtype=np.uint8)
                outputs = loaded.infer({"frames": frames})
                wrong.extend(differences(loaded, frames, outputs))
                checked[0] += sum(array.nbytes for array in outputs.values())
        except Exception as error:  # one thread's end must not pass unseen
            wrong.append(f"{type(error).__name__}: {error}")

    with trt_engine.TensorRtEngine(plan) as loaded:
        # The stand-in of CUDA keeps lists, which threads must not share.
        threads = [
            threading.Thread(target=work, args=(loaded, seed)) for seed in range(1 if day.is_rehearsal else 2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lanes = [loaded._free.get() for _ in range(loaded.requests)]
        result.found(
            threads=len(threads),
            requests=requests * len(threads),
            bytes_checked=checked[0],
            graphs_captured=[lane.slot.graphs_captured for lane in lanes],
            graph_problems=[lane.slot.graph_problem for lane in lanes],
            wrong=wrong[:5],
        )
        for lane in lanes:
            loaded._free.put(lane)
    result.expect(not wrong, f"{len(wrong)} answers are wrong; the first: {wrong[:1]}")
    captured = result.document["found"]["graphs_captured"]
    result.expect(sum(captured) > 0, "nothing was captured as a graph")
    problems = [problem for problem in result.document["found"]["graph_problems"] if problem]
    result.expect(not problems, f"captures failed: {problems}")


def stub_engine(day: Day) -> Any:
    """The engine's module, with the stand-in of TensorRT behind it; a context launches kernels."""
    from edgevision.engines.trt import engine as trt_engine
    from tests.support import tensorrt_fake

    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    cuda = day.cuda
    if not day.is_rehearsal:
        cuda.driver = 13000  # what the stand-in of TensorRT asks a stand-in of CUDA for

    def execute_async_v3(self: Any, stream_handle: int) -> bool:
        specs = self._engine._specs
        (frames,) = self._engine._inputs
        count_in = int(math.prod(self._shapes[frames]))
        for salt, name in enumerate(name for name in specs if name != frames):
            shape = self.get_tensor_shape(name)
            count = int(math.prod(shape)) * specs[name].dtype.itemsize
            day.launch(
                "mix",
                count,
                stream_handle,
                self._addresses[name],
                self._addresses[frames],
                count,
                count_in,
                salt,
            )
        return True

    trt = tensorrt_fake.FakeTensorRt(cuda)
    # For the rest of this process, which is the step's own.
    mock.patch.object(tensorrt_fake.IExecutionContext, "execute_async_v3", execute_async_v3).start()
    mock.patch.multiple(trt_engine, load_library=lambda flavour: trt, load_cuda=lambda: cuda).start()
    return trt_engine


def write_stub_plan(day: Day) -> Path:
    import hashlib

    import msgspec

    from edgevision.engines.fake import fake_manifest
    from edgevision.engines.trt.plan import BatchRange, write_plan
    from edgevision.engines.trt.trust import record_built_plan
    from tests.support.gpu import plan_info
    from tests.support.tensorrt_fake import fake_plan

    manifest = fake_manifest(width=SIZE, height=SIZE, max_detections=DETECTIONS)
    data = fake_plan(msgspec.json.encode(manifest))
    path = Path(tempfile.mkdtemp()) / "stub.engine"
    info = plan_info(
        manifest=manifest,
        flavour="tensorrt",
        tensorrt_version="10.3.0",
        compute_capability=day.device.compute_capability,
        batch=BatchRange(1, 2, 4),
        plan_bytes=len(data),
        plan_sha256=hashlib.sha256(data).hexdigest(),
    )
    write_plan(path, data, info)
    record_built_plan(path, info.plan_sha256)
    return path


def differences(loaded: Any, frames: Any, outputs: dict[str, Any]) -> list[str]:
    """Outputs of which a byte is not the kernel's; a batch of 7 runs as one of 4 and one of 3."""
    import numpy as np

    found = []
    for salt, spec in enumerate(loaded.outputs):
        wanted = []
        for start in range(0, len(frames), 4):
            part = frames[start : start + 4]
            count = outputs[spec.name][start : start + 4].nbytes
            wanted.append(mixed(part, count, salt))
        given = np.ascontiguousarray(outputs[spec.name]).reshape(-1).view(np.uint8)
        if not np.array_equal(given, np.concatenate(wanted)):
            found.append(f"{spec.name} of a batch of {len(frames)}")
    return found


# 4. Faults, each in a process of its own

FAULTS = ("illegal-address", "short-memory", "refused-capture", "exit-without-close", "hidden-gpu")


def faults(day: Day) -> None:
    for name in FAULTS:
        command = [sys.executable, __file__, f"fault-{name}", "-"]
        environment = dict(os.environ)
        if day.is_rehearsal:
            command.append("--rehearse")
        elif name == "hidden-gpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=60, env=environment, check=False
            )
        except subprocess.TimeoutExpired:
            day.result.expect(False, f"{name} hangs")
            continue
        line = done.stdout.strip().splitlines()[-1:] or [""]
        day.result.found(
            **{name: {"exit_code": done.returncode, "said": line[0], "stderr": done.stderr[-300:]}}
        )
        day.result.expect(done.returncode == 0, f"{name} ended with {done.returncode}: {done.stderr[-300:]}")


def fault(day: Day, name: str) -> str:
    """Provokes a fault; returns what the user would read. Raises where it goes otherwise than it should."""
    import numpy as np

    from edgevision.contract.manifest import TensorSpec
    from edgevision.engines.trt.cuda_slot import CudaSlot
    from edgevision.errors import EngineError

    if name == "hidden-gpu":
        if day.is_rehearsal:
            from edgevision.engines.trt.cuda_runtime import open_device
            from tests.support.cuda_fake import FakeCuda

            return refused(lambda: open_device(FakeCuda(devices=0)), "sees no GPU")
        return refused(lambda: day.cuda, "sees no GPU")
    cuda = day.cuda
    frames = TensorSpec("frames", np.dtype(np.uint8), (None,))
    copy = TensorSpec("copy", np.dtype(np.uint8), (None,))
    slot = CudaSlot(cuda, [frames], [copy])

    def request(count: int, work: Callable[[int], None] | None = None) -> None:
        slot.reshape({"frames": (count,), "copy": (count,)})
        sent = np.arange(count, dtype=np.uint64).astype(np.uint8)
        slot.array("frames")[:] = sent
        kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice

        def copies(stream: int) -> None:
            cuda.cudaMemcpyAsync(slot.address("copy"), slot.address("frames"), count, kind, stream)

        slot.start(work or copies)
        slot.wait()
        if work is None and not np.array_equal(slot.array("copy"), sent):
            raise AssertionError("the copy differs from what was sent")

    request(1000)
    if name == "illegal-address":
        if day.is_rehearsal:
            cuda.failing["cudaEventSynchronize"] = cuda.cudaError_t.cudaErrorIllegalAddress
        said = refused(lambda: request(1000, lambda stream: poke(day, stream)), "illegal memory access")
        refused(lambda: request(1000), "illegal memory access")  # it stays
        slot.close()
        return said
    if name == "short-memory":
        huge = 200_000_000_000
        if day.is_rehearsal:
            cuda.failing["cudaMalloc"] = cuda.cudaError_t.cudaErrorMemoryAllocation
            huge = 2000
        said = refused(lambda: slot.reshape({"frames": (huge,), "copy": (huge,)}), "out of memory")
        if day.is_rehearsal:
            cuda.failing.clear()
        last = int(cuda.cudaPeekAtLastError()[0])
        if last:
            raise AssertionError(f"error {last} was left behind for the next library")
        request(1000)  # and a good request goes on
        slot.close()
        return said
    if name == "refused-capture":

        def waits(stream: int) -> None:
            if int(cuda.cudaStreamSynchronize(stream)[0]):
                raise EngineError("it waits for the device")

        for _ in range(3):
            request(1000, waits)
        request(1000)
        slot.close()
        return f"{slot.graph_problem}; {slot.graphs_captured} captured"
    request(1000)  # exit-without-close: the process simply ends
    return "ended with the slot open"


def poke(day: Day, stream: int) -> None:
    if not day.is_rehearsal:
        day.launch("poke", 1, stream, 16)


def refused(action: Callable[[], Any], part: str) -> str:
    from edgevision.errors import EngineError

    try:
        action()
    except EngineError as error:
        if part not in str(error) or "\n" in str(error):
            raise AssertionError(f"expected one line with '{part}', found: {error}") from error
        return str(error)
    raise AssertionError(f"expected an error with '{part}', and there was none")


# 5. What a request costs, and whether anything grows


def measure(day: Day) -> None:
    from edgevision.contract.model_file import read_manifest
    from edgevision.zoo import default_model

    sys.path.insert(0, str(ROOT / "benchmarks"))
    gpu = importlib.import_module("gpu")
    manifest = read_manifest(default_model().path)
    requests = 20 if day.is_rehearsal else 300
    for batch in (1, 8):
        figures = gpu.measure_slots(day.cuda, manifest, batch, requests)
        day.result.found(**{f"batch_{batch}": figures})
        day.result.expect(figures["graph_problem"] is None, f"no graph: {figures['graph_problem']}")
    gpu.measure_slots(day.cuda, manifest, 1, 40)  # whatever is made once is made by now
    before = resident_mib(), free_mib(day)
    gpu.measure_slots(day.cuda, manifest, 1, 40 if day.is_rehearsal else 5000)
    after = resident_mib(), free_mib(day)
    grown = {"host_mib": round(after[0] - before[0], 2), "device_mib": round(before[1] - after[1], 2)}
    day.result.found(grown_over_5000_requests=grown)
    if not day.is_rehearsal:
        day.result.expect(max(grown.values()) < 8, f"memory grew: {grown}")


def resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def free_mib(day: Day) -> float:
    return float(day.cuda.cudaMemGetInfo()[1]) / (1 << 20)


# 6. The network in PyTorch on the GPU against the processor


def torch_step(day: Day) -> None:
    import torch

    result = day.result
    engine = checkpoint_engine()
    frames = sample_frames(1 if day.is_rehearsal else 8)
    with torch.inference_mode():
        wanted = forward(engine.model, frames, "cpu", torch.float32)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        with watched_activations(engine.model) as peaks:
            exact = forward(engine.model, frames, day.torch_device, torch.float32)
        top = sorted(peaks.items(), key=lambda item: -item[1])[:5]
        result.found(largest_activations={name: round(value, 2) for name, value in top})
        result.expect(top[0][1] < 65504, f"{top[0][0]} reaches {top[0][1]}, which FP16 cannot hold")
        apart = max(float((a - b.cpu()).abs().max()) for a, b in zip(wanted, exact, strict=True))
        result.found(fp32_largest_difference_of_a_head=apart)
        result.expect(apart < 1e-2, f"FP32 on the GPU is {apart} from the processor")
        half = forward(engine.model, frames, day.torch_device, torch.float16)
        difference = max(float((a - b.float().cpu()).abs().max()) for a, b in zip(wanted, half, strict=True))
        result.found(fp16_largest_difference_of_a_head=difference)
        result.expect(all(bool(torch.isfinite(one).all()) for one in half), "FP16 gives infinity or NaN")
        result.found(boxes=changed_boxes(engine, wanted, half))
        for batch in (1,) if day.is_rehearsal else (1, 4, 8):
            for dtype in (torch.float32, torch.float16):
                name = f"{str(dtype).removeprefix('torch.')}_batch_{batch}_ms"
                result.found(**{name: network_ms(day, engine.model, sample_frames(batch), dtype)})


def checkpoint_engine() -> TorchEngine:
    from edgevision.training.checkpoint import find_checkpoint, load_checkpoint
    from edgevision.training.networks import checkpoint_engine as load

    return load(load_checkpoint(find_checkpoint("retinanet-light")))


def sample_frames(count: int) -> Any:
    """uint8 ``[N, 416, 416, 3]``: the pack's, or noise with blocks where nothing was packed."""
    import numpy as np

    packed = PACK / "frames.npz"
    if packed.is_file():
        frames = np.load(packed)["frames"]
        return np.ascontiguousarray(np.resize(frames, (count, *frames.shape[1:])))
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 90, (count, 416, 416, 3), dtype=np.uint8)
    for frame in frames:
        x, y = rng.integers(0, 300, 2)
        frame[y : y + 100, x : x + 100] = rng.integers(100, 256, 3)
    return frames


def forward(model: Any, frames: Any, device: str, dtype: Any) -> list[Any]:
    """The head maps of a network in a precision, logits first."""
    import torch

    from edgevision.models.backbone import normalise

    network = copy.deepcopy(model).to(device=device, dtype=dtype)
    images = normalise(torch.from_numpy(frames).to(device)).to(dtype)
    maps = network(images.contiguous(memory_format=torch.channels_last))
    return [*maps.logits, *maps.deltas]


@contextmanager
def watched_activations(model: Any) -> Iterator[dict[str, float]]:
    """The largest absolute value that each layer gives, filled by the forward passes meanwhile."""
    peaks: dict[str, float] = {}

    def keep(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, given: Any, output: Any) -> None:
            if hasattr(output, "abs"):
                peaks[name] = max(peaks.get(name, 0.0), float(output.abs().max()))

        return hook

    hooks = [
        module.register_forward_hook(keep(name))
        for name, module in model.named_modules()
        if name and not list(module.children())
    ]
    try:
        yield peaks
    finally:
        for hook in hooks:
            hook.remove()


def changed_boxes(engine: Any, wanted: list[Any], half: list[Any]) -> dict[str, int]:
    """Detections of 0.3 and more in FP32 that FP16 lost or moved by more than 2 pixels, and what it added."""
    import numpy as np

    from edgevision.models.retinanet import HeadMaps

    def decode(maps: list[Any]) -> list[list[tuple[Any, Any]]]:
        levels = [one.float().cpu() for one in maps]
        middle = len(levels) // 2
        outputs = engine.finish(HeadMaps(levels[:middle], levels[middle:]))
        found = []
        columns = (outputs[name] for name in ("boxes", "scores", "labels"))
        for boxes, scores, labels in zip(*columns, strict=True):
            kept = scores >= 0.3
            found.append(list(zip(labels[kept], boxes[kept], strict=True)))
        return found

    lost = added = total = 0
    for before, after in zip(decode(wanted), decode(half), strict=True):
        total += len(before)
        matches = [
            any(label == other and np.abs(box - near).max() <= 2 for other, near in after)
            for label, box in before
        ]
        lost += matches.count(False)
        added += max(0, len(after) - matches.count(True))
    return {"in_fp32": total, "moved_or_lost": lost, "added": added}


def network_ms(day: Day, model: Any, frames: Any, dtype: Any) -> float:
    """Median of a forward pass, input and one number of the output copied."""
    import statistics

    import torch

    from edgevision.models.backbone import normalise

    network = copy.deepcopy(model).to(device=day.torch_device, dtype=dtype)
    host, times = torch.from_numpy(frames), []
    for _ in range(2 if day.is_rehearsal else 60):
        begun = time.perf_counter()
        images = normalise(host.to(day.torch_device)).to(dtype)
        maps = network(images.contiguous(memory_format=torch.channels_last))
        float(maps.logits[0].reshape(-1)[0])
        times.append((time.perf_counter() - begun) * 1e3)
    return round(statistics.median(times[len(times) // 3 :]), 3)


# 7. Twenty steps of training in mixed precision


def train(day: Day) -> None:
    import torch

    from edgevision.models.anchor_matching import DetectionTargets
    from edgevision.models.backbone import normalise
    from edgevision.models.detection_losses import DetectionLoss
    from edgevision.models.settings import RetinaNetConfig
    from edgevision.training.checkpoint import find_checkpoint, load_checkpoint
    from edgevision.training.config import DetectorTraining
    from edgevision.training.networks import load_detector
    from edgevision.training.optimiser import MixedPrecision, parameter_groups, set_training

    result, device = day.result, torch.device(day.torch_device)
    checkpoint = load_checkpoint(find_checkpoint("retinanet-light"))
    config = checkpoint.config
    assert isinstance(config, DetectorTraining)
    assert isinstance(config.model, RetinaNetConfig)
    model = load_detector(checkpoint).to(device).to(memory_format=torch.channels_last)
    set_training(model, config.optimiser, 1 << 30)
    criterion = DetectionLoss(config.loss, config.model.anchors, config.model.input_size, len(config.classes))
    criterion = criterion.to(device)
    batch = 2 if day.is_rehearsal else 16
    images = torch.from_numpy(sample_frames(batch)).to(device)
    box = torch.tensor([[100.0, 100.0, 200.0, 200.0]], device=device)
    target = DetectionTargets(
        box,
        torch.zeros(1, dtype=torch.int64, device=device),
        torch.zeros(1, dtype=torch.bool, device=device),
        torch.ones(len(config.classes), dtype=torch.bool, device=device),
    )
    optimiser = torch.optim.AdamW(parameter_groups(model, config.optimiser), lr=config.optimiser.lr / 10)
    precision = MixedPrecision("auto", device)
    losses, begun = [], time.perf_counter()
    for _ in range(2 if day.is_rehearsal else 20):
        with precision.autocast():
            maps = model(normalise(images).contiguous(memory_format=torch.channels_last))
            loss = sum(criterion(maps, [target] * batch).values())
        optimiser.zero_grad(set_to_none=True)
        precision.scaler.scale(loss).backward()
        precision.scaler.step(optimiser)
        precision.scaler.update()
        losses.append(float(loss.detach()))
        result.found(losses=[round(one, 4) for one in losses])
    rate = batch * len(losses) / (time.perf_counter() - begun)
    result.found(images_per_second=round(rate, 1), autocast=str(precision.autocast().fast_dtype))
    result.expect(all(one == one and abs(one) < 1e6 for one in losses), "a loss is not finite")
    result.expect(losses[-1] < losses[0], f"the loss does not fall: {losses[0]} to {losses[-1]}")


# 8. torch.compile, last, for it takes the longest and may fail


def compile_step(day: Day) -> None:
    import torch

    engine = checkpoint_engine()
    frames = sample_frames(1)
    with torch.inference_mode():
        eager = network_ms(day, engine.model, frames, torch.float32)
        day.result.found(eager_ms=eager)
        if day.is_rehearsal:
            return  # it compiles C++ for half a minute here, and says nothing of a GPU
        network = engine.model.to(day.torch_device)
        compiled = torch.compile(network)
        begun = time.perf_counter()
        from edgevision.models.backbone import normalise

        images = normalise(torch.from_numpy(frames).to(day.torch_device))
        first = compiled(images.contiguous(memory_format=torch.channels_last))
        day.result.found(compile_seconds=round(time.perf_counter() - begun, 1))
        wanted = network(images.contiguous(memory_format=torch.channels_last))
        apart = max(float((a - b).abs().max()) for a, b in zip(first.logits, wanted.logits, strict=True))
        day.result.found(largest_difference=apart)
        times = []
        for _ in range(60):
            begun = time.perf_counter()
            maps = compiled(images.contiguous(memory_format=torch.channels_last))
            float(maps.logits[0].reshape(-1)[0])
            times.append((time.perf_counter() - begun) * 1e3)
        day.result.found(compiled_ms=round(sorted(times)[30], 3))


STEPS: dict[str, Callable[[Day], None]] = {
    "1-machine": machine,
    "2-slots": slots,
    "3-engine": engine,
    "4-faults": faults,
    "5-measure": measure,
    "6-torch": torch_step,
    "7-train": train,
    "8-compile": compile_step,
}


# The pack, and how steps are run


def pack(folder: Path) -> int:
    """Wheels for Python 3.12 on x86-64, and frames of the demo; refuses to be larger than may travel."""
    import numpy as np

    from edgevision.contract.letterbox import Letterbox
    from edgevision.contract.model_file import read_manifest
    from edgevision.video import open_source
    from edgevision.zoo import find_model

    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.12", "--implementation", "cp", "--dest", str(folder)]
    for tag in ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014"):
        command += ["--platform", f"{tag}_x86_64"]
    subprocess.run([*command, *WHEELS], check=True)
    manifest, frames = read_manifest(find_model("retinanet-light")), []
    size = (manifest.input_width, manifest.input_height)
    with open_source("demo") as source:
        for frame in itertools.islice(source, 0, 8 * 15, 15):
            height, width = frame.image.shape[:2]
            frames.append(Letterbox.fit(width, height, *size, manifest.resize).image(frame.image))
    np.savez_compressed(folder / "frames.npz", frames=np.stack(frames))
    total = sum(path.stat().st_size for path in folder.iterdir())
    tracked = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=True)
    total += sum(
        (ROOT / name).stat().st_size for name in tracked.stdout.split("\0") if (ROOT / name).is_file()
    )
    sys.stdout.write(f"{folder} and the repository: {total / (1 << 20):.1f} MiB of {LIMIT_BYTES >> 20}\n")
    return 0 if total < LIMIT_BYTES else 1


def unpack_what_is_missing() -> None:
    """Wheels are archives: those of packages that the machine lacks are unpacked, for children too."""
    site = Path(tempfile.gettempdir()) / "gpu_day_site"
    sys.path.append(str(site))
    for name, module in WHEELS.items():
        stem = re.split("[><=]", name)[0].replace("-", "_")
        if not is_there(module):
            for wheel in PACK.glob(f"{stem}-*.whl"):
                zipfile.ZipFile(wheel).extractall(site)
            importlib.invalidate_caches()
    earlier = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), str(site), earlier]))


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False


class _Without:
    """Finds modules as Python does, but for those that the machine with the GPU lacks."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        is_absent = name.partition(".")[0] in ABSENT_THERE
        return None if is_absent else self._finder.find_spec(name, path, target)


def ended(path: Path, code: int, limit: int) -> int:
    """Writes how a step's process ended into its result; says it in a line."""
    try:
        document = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        document = {"step": path.stem, "problems": [], "found": {}}
    document["exit_code"] = code
    if code in (124, 137):
        document["problems"].append(f"it took longer than {limit} s")
    elif code and not document["problems"]:
        document["problems"].append(f"its process ended with {code}")
    document["ok"] = not document["problems"]
    path.write_text(json.dumps(document, indent=2) + "\n")
    state = "ok" if document["ok"] else f"FAILED: {'; '.join(document['problems'])[:300]}"
    sys.stdout.write(f"{path.stem}: {state} ({document.get('seconds', '?')} s)\n")
    return 0 if document["ok"] else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    known = ("pack", "ended", *STEPS, *(f"fault-{name}" for name in FAULTS))
    parser.add_argument("step", choices=known, metavar="STEP", help=f"one of {', '.join(known)}")
    parser.add_argument("rest", nargs="*", metavar="ARGUMENT", help="of the step, as above")
    parser.add_argument("--rehearse", action="store_true", help="on stand-ins, without a GPU")
    options = parser.parse_args()
    wanted = {"ended": 3}.get(options.step, 1)
    if len(options.rest) != wanted:
        parser.error(f"{options.step} takes {wanted} more, as --help shows")
    sys.path.insert(0, str(ROOT))
    if options.step == "pack":
        return pack(Path(options.rest[0]))
    if options.step == "ended":
        return ended(Path(options.rest[0]), int(options.rest[1]), int(options.rest[2]))
    unpack_what_is_missing()
    if options.rehearse:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of a busy processor wait for each other
        sys.meta_path[:] = [_Without(finder) for finder in sys.meta_path]
    if options.step.startswith("fault-"):
        day = Day(
            Result(Path(tempfile.mkdtemp()) / "fault.json", options.step, options.rehearse), options.rehearse
        )
        sys.stdout.write(fault(day, options.step.removeprefix("fault-")) + "\n")
        return 0
    result = Result(Path(options.rest[0]), options.step, options.rehearse)
    try:
        STEPS[options.step](Day(result, options.rehearse))
    except Exception as error:
        result.expect(False, f"{type(error).__name__}: {error}")
        result.done()
        raise
    return result.done()


if __name__ == "__main__":
    sys.exit(main())
