"""Everything that needs a CUDA device, measured in one run.

Slots and graphs on their own, then one model on one batch in PyTorch (eager and compiled), ONNX Runtime's
CUDA provider and TensorRT (call by call, as a graph, two requests in flight), taking turns so that a clock
that changes speed changes it for all. The bare engine is TensorRT's own time on the device, its copies
included: what the processor adds to it, and how the others compare, is what the ratios show. What is not
installed, or fails, is left out and named.

    python benchmarks/gpu.py [--model NAME|PATH] [--plan PATH] [--checkpoint PATH] [--batch 1] [--json PATH]
                             [--no-compile]

Without --plan one is built for this GPU. PyTorch runs the network alone, without decoding and suppression;
--no-compile leaves out torch.compile, which takes minutes. "mapped" is a slot without copies, on memory that
device and processor share: on a Jetson it may be the faster one. Prints JSON; with --json the slots' figures
are in the file before the model is opened. Exit code 2, with one line, where there is no GPU.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from common import Figures, machine, new_parser, report
from numpy.typing import NDArray

from edgevision.contract.manifest import INPUT_NAME, Manifest, TensorSpec
from edgevision.contract.model_file import read_manifest
from edgevision.engines import Engine
from edgevision.engines.base import one_line
from edgevision.engines.trt.cuda_runtime import Device, load_cuda, open_device
from edgevision.engines.trt.cuda_slot import CudaSlot
from edgevision.engines.trt.engine import TensorRtEngine
from edgevision.engines.trt.plan import BatchRange
from edgevision.errors import EngineError
from edgevision.files import write_json
from edgevision.zoo import default_model, find_model

EXIT_NO_GPU = 2
_BLOCK = 20

Request = Callable[[], Any]
"""One request from the processor's side: its result is there when it returns."""


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--model", help="name or ONNX file; default: the first detector that ships")
    parser.add_argument("--plan", type=Path, help="a TensorRT plan of the model; default: built here")
    parser.add_argument("--checkpoint", type=Path, help="default: the one in weights/ of a model that ships")
    parser.add_argument("--batch", type=int, default=1, help="frames of a request")
    parser.add_argument("--requests", type=int, default=300, help="of each kind")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    options = parser.parse_args()
    try:
        cuda = load_cuda()
        device = open_device(cuda)
    except EngineError as error:
        print(f"no GPU to measure: {error}", file=sys.stderr)
        return EXIT_NO_GPU

    def measure() -> Figures:
        model = find_model(options.model) if options.model else default_model().path
        result: Figures = {
            "model": model.stem,
            "batch": options.batch,
            "machine": {**machine(), **describe(device)},
            "slots": measure_slots(cuda, read_manifest(model), options.batch, options.requests),
        }
        if options.json:
            write_json(options.json, result)  # a device is dear: what is known is kept
        checkpoint, with_compile = options.checkpoint, not options.no_compile
        found = measure_model(model, options.plan, checkpoint, options.batch, options.requests, with_compile)
        return {**result, **found}

    return report(measure, options.json)


def describe(device: Device) -> Figures:
    return {
        "gpu": device.name,
        "compute_capability": device.compute_capability,
        "driver_cuda": device.driver,
        "memory_gib": round(device.memory_bytes / (1 << 30), 1),
    }


def measure_slots(cuda: Any, manifest: Manifest, batch: int, requests: int) -> Figures:
    """What a request costs when the device has almost nothing to do: a copy in, one on it, a copy back."""
    frames = manifest.input_spec()
    shape = (batch, *(size or 0 for size in frames.shape[1:]))
    copy = TensorSpec("copy", frames.dtype, frames.shape)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
    with ExitStack() as opened:
        calls, one, other = (
            opened.enter_context(CudaSlot(cuda, [frames], [copy], use_graphs=graphs))
            for graphs in (False, True, True)
        )
        mapped = opened.enter_context(CudaSlot(cuda, [frames], [copy], is_mapped=True))

        def start(slot: CudaSlot) -> None:
            slot.reshape({INPUT_NAME: shape, "copy": shape})
            np.copyto(slot.array(INPUT_NAME), image)
            slot.start(
                lambda stream: cuda.cudaMemcpyAsync(
                    slot.address("copy"), slot.address(INPUT_NAME), image.nbytes, kind, stream
                )
            )

        def run(slot: CudaSlot) -> None:
            start(slot)
            slot.wait()

        def run_two() -> None:
            start(one)
            start(other)
            one.wait()
            other.wait()

        kinds: dict[str, Request] = {
            "call_by_call": lambda: run(calls),
            "graph": lambda: run(one),
            "two_in_flight": run_two,
            "mapped": lambda: run(mapped),
        }
        warm_up(kinds)
        times = take_turns(kinds, requests)
        for slot in (one, mapped):
            if not np.array_equal(slot.array("copy"), image):
                raise EngineError("the copy that went through the GPU differs from what was sent")
        return {
            **{name: summary(values) for name, values in times.items()},
            "bytes_each_way": image.nbytes,
            "graph_device_ms": round(one.device_ms(), 4),
            "mapped_device_ms": round(mapped.device_ms(), 4),
            "graph_problem": one.graph_problem,
        }


def measure_model(
    model: Path, plan: Path | None, checkpoint: Path | None, batch: int, requests: int, with_compile: bool
) -> Figures:
    """The model in everything that is here: times from the processor's side, and the bare engine's."""
    manifest = read_manifest(model)
    shape = (batch, manifest.input_height, manifest.input_width, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    kinds: dict[str, Request] = {}
    missing: dict[str, str] = {}
    bare: list[float] = []
    with ExitStack() as opened:

        def add(name: str, make: Callable[[], Mapping[str, Request]]) -> None:
            try:
                made = make()
                warm_up(made)
            except Exception as error:  # whatever one library raises, the others are measured
                missing[name] = one_line(error) or type(error).__name__
            else:
                kinds.update(made)

        def add_torch(name: str, is_compiled: bool) -> None:
            found = str(checkpoint or model.stem)
            add(name, lambda: {name: torch_request(found, frames, "cuda", is_compiled)})

        add("tensorrt", lambda: tensorrt_requests(opened, model, plan, frames, bare))
        add("onnxruntime-cuda", lambda: {"onnxruntime-cuda": onnx_runtime_request(opened, model, frames)})
        add_torch("torch_eager", False)
        if with_compile:
            add_torch("torch_compiled", True)
        times = take_turns(kinds, requests, missing)
    engine_ms = statistics.median(bare) if bare else None
    latency = {name: summary(values) for name, values in times.items()}
    if engine_ms:
        for figures in latency.values():
            figures["over_bare_engine"] = round(figures["median_ms"] / engine_ms, 3)
    return {
        "bare_engine_ms": None if engine_ms is None else round(engine_ms, 4),
        "latency": latency,
        "left_out": missing,
    }


def tensorrt_requests(
    opened: ExitStack, model: Path, plan: Path | None, frames: NDArray[np.uint8], bare: list[float]
) -> dict[str, Request]:
    """Requests of a plan; each in a graph notes its time on the device in ``bare``."""
    if plan is None:
        from edgevision.export.plans.build import BuildOptions
        from edgevision.export.plans.compile import compile_model

        folder = opened.enter_context(tempfile.TemporaryDirectory())
        plan = Path(folder) / f"{model.stem}.engine"
        compile_model(model, plan, options=BuildOptions(BatchRange(*[len(frames)] * 3)))
    calls = opened.enter_context(TensorRtEngine(plan, slots=1, use_graphs=False))
    graphs = opened.enter_context(TensorRtEngine(plan, slots=2))
    inputs = {INPUT_NAME: frames}

    def graph() -> None:
        pending = graphs.submit(inputs)
        pending.result()
        bare.append(pending.device_ms)

    def two() -> None:
        first, second = graphs.submit(inputs), graphs.submit(inputs)
        first.result()
        second.result()

    return {
        "tensorrt_call_by_call": lambda: calls.infer(inputs),
        "tensorrt_graph": graph,
        "tensorrt_two_in_flight": two,
    }


def onnx_runtime_request(opened: ExitStack, model: Path, frames: NDArray[np.uint8]) -> Request:
    from edgevision.engines import load_engine

    engine: Engine = opened.enter_context(load_engine(model, "onnxruntime-cuda"))
    return lambda: engine.infer({INPUT_NAME: frames})


def torch_request(checkpoint: str, frames: NDArray[np.uint8], device: str, is_compiled: bool) -> Request:
    """The network alone, eager or compiled; images go to the device and one number comes back."""
    import torch

    from edgevision.models.backbone import normalise
    from edgevision.training.checkpoint import find_checkpoint, load_checkpoint
    from edgevision.training.networks import checkpoint_engine

    network = checkpoint_engine(load_checkpoint(find_checkpoint(checkpoint))).model.to(device)
    host = torch.from_numpy(frames)

    forward = torch.compile(network) if is_compiled else network

    def run() -> float:
        with torch.inference_mode():
            outputs = forward(normalise(host.to(device)))
            # Reading one number waits for the device.
            return float(first_tensor(outputs).reshape(-1)[0])

    return run


def first_tensor(outputs: Any) -> Any:
    """The first tensor in what a network returns."""
    while not hasattr(outputs, "reshape"):
        outputs = next(iter(outputs.values() if isinstance(outputs, dict) else outputs))
    return outputs


def warm_up(kinds: Mapping[str, Request]) -> None:
    """One block of each: kernels are compiled and graphs captured at the first requests."""
    for request in kinds.values():
        for _ in range(_BLOCK):
            request()


def take_turns(
    kinds: Mapping[str, Request], requests: int, failed: dict[str, str] | None = None
) -> dict[str, list[float]]:
    """Milliseconds of each request, in blocks that take turns.

    Args:
        kinds: requests that were warmed up.
        requests: of each.
        failed: takes the names of those that fail, with the reason; without it their error is raised.
    """
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for start in range(0, requests, _BLOCK):
        for name in list(times):
            problem = _run_block(kinds[name], min(_BLOCK, requests - start), times[name], failed is None)
            if problem and failed is not None:
                failed[name] = problem
                del times[name]
    return times


def _run_block(request: Request, count: int, times: list[float], is_raised: bool) -> str:
    """Adds the times of some requests; returns what failed, on one line, where it is not to be raised."""
    try:
        for _ in range(count):
            begun = time.perf_counter()
            request()
            times.append((time.perf_counter() - begun) * 1e3)
    except Exception as error:
        if is_raised:
            raise
        return one_line(error) or type(error).__name__
    return ""


def summary(times_ms: list[float]) -> dict[str, float]:
    ordered = sorted(times_ms)
    return {
        "median_ms": round(statistics.median(ordered), 4),
        "p95_ms": round(ordered[math.ceil(0.95 * len(ordered)) - 1], 4),
        "requests": len(ordered),
    }


if __name__ == "__main__":
    sys.exit(main())
