"""TensorRT plans: TensorRT 10 and 11 and TensorRT for RTX, through the names that all of them share.

What belongs to CUDA alone is in ``cuda_slot``; what is known of a plan without loading it, in ``plan``.
"""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.closeable import Closeable, UseLock
from edgevision.contract.manifest import TensorSpec, check_contract
from edgevision.engines.base import Tensors, check_inputs, one_line_text
from edgevision.engines.trt.cuda_runtime import Device, load_cuda, open_device
from edgevision.engines.trt.cuda_slot import CudaSlot
from edgevision.engines.trt.kernel_cache import KernelCache
from edgevision.engines.trt.library import (
    ErrorLog,
    library_version,
    listening,
    load_library,
    one_line_errors,
    started,
)
from edgevision.engines.trt.plan import PlanInfo, flavour_name, read_plan_info
from edgevision.engines.trt.plan_checks import (
    board_notes,
    check_device,
    check_library,
    check_onnx,
    read_trusted_plan,
    remedy,
)
from edgevision.errors import EngineError, EngineMismatchError

_LANE_TIMEOUT_S = 30.0
_CLOSE_S = 3.0  # for a request that is under way; a device that hangs keeps what it has


class TensorRtEngine(Closeable):
    """A plan on this machine's GPU. :meth:`infer` may be called from several threads.

    Args:
        path: a plan of ``edgevision compile`` with its JSON file beside it.
        trust: load it though this user's edgevision did not build it. A plan holds machine code.
        slots: ``requests`` that can be in flight; each has its own context, stream and buffers.
        use_graphs: False enqueues every request call by call, to compare or to profile.

    Attributes:
        reason: what there is to know of how the plan was loaded: warnings of the library, another board.

    Raises:
        EngineMismatchError: the plan is not what was built, was built elsewhere, for another model,
            another library version or another GPU.
        EngineError: there is no GPU, no driver, no library, or too little memory.
        ModelError: the file is missing, or breaks the contract.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, trust: bool = False, slots: int = 2, use_graphs: bool = True
    ) -> None:
        path = Path(path)
        self.info = read_plan_info(path)
        self.manifest = self.info.manifest
        self.requests = slots
        # What needs no GPU first: it is quick, and says more than the library would.
        check_onnx(path, self.info)
        data = read_trusted_plan(path, self.info, trust)
        trt = load_library(self.info.flavour)
        check_library(path, self.info, library_version(trt))
        cuda = load_cuda()
        self.device = open_device(cuda)
        check_device(path, self.info, self.device)
        self.name = _name(self.info, self.device)

        self._free: queue.SimpleQueue[_ContextLane] = queue.SimpleQueue()
        library = flavour_name(self.info.flavour)
        log = ErrorLog()
        with contextlib.ExitStack() as opened:
            # While it loads only: later each lane listens for itself.
            with listening(trt, log) as logger:
                self._runtime, self._engine = _load(trt, logger, data, path, self.info, log)
                with one_line_errors(f"{path}: {library} does not describe this plan", log):
                    self.inputs, self.outputs = _specs(trt, self._engine)
                    least, _, most = self._engine.get_tensor_profile_shape(self.inputs[0].name, 0)
                    self._min_batch, self._max_batch = int(least[0]), int(most[0])
                check_contract(self.manifest, self.inputs, self.outputs, str(path))
                kernels = (
                    KernelCache(self._engine, path, trust) if self.info.flavour == "tensorrt-rtx" else None
                )
                if kernels is not None:
                    opened.callback(kernels.save)
                # TensorRT for RTX tunes kernels for a new shape while the first requests run on slower ones,
                # and a graph would keep the slower ones for good.
                may_capture = self.info.flavour == "tensorrt" or self._min_batch == self._max_batch
                for _ in range(slots):
                    context = _make_context(self._engine, kernels, library, log)
                    slot = CudaSlot(cuda, self.inputs, self.outputs, use_graphs=use_graphs and may_capture)
                    loaded = (self._runtime, self._engine)
                    lane = _ContextLane(context, slot, self.inputs, self.outputs, library, loaded)
                    opened.callback(lane.close)
                    self._free.put(lane)
                    opened.enter_context(listening(trt, lane.log))
                if kernels is not None:
                    kernels.save()  # a process that is killed never comes to its end
            notes = [*board_notes(self.info), *map(one_line_text, dict.fromkeys(log.warnings))]
            self.reason = "; ".join([*notes, *([kernels.problem] if kernels and kernels.problem else [])])
            self._opened: contextlib.ExitStack | None = opened.pop_all()

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs one batch; see :meth:`edgevision.engines.base.Engine.infer`. The arrays are the caller's.

        A batch that is greater than the plan takes runs in parts; one that is smaller is filled up.
        """
        check_inputs(inputs, self.inputs)
        # One part in flight: two threads that each hold a slot and want another would wait for ever.
        parts = [_cut(self.submit(part).result(), size) for part, size in self._parts(inputs)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def submit(self, inputs: Tensors) -> Pending:
        """Starts one batch and does not wait for it, so that several can be in flight.

        Args:
            inputs: as for :meth:`infer`, of a batch size that the plan takes.

        Raises:
            EngineError: an input does not fit, the engine failed, or every slot was in flight for 30 s.
        """
        if self._opened is None:
            raise EngineError("the engine is closed; open the model again")
        check_inputs(inputs, self.inputs)
        try:
            lane = self._free.get(timeout=_LANE_TIMEOUT_S)
        except queue.Empty:
            raise EngineError(
                f"every slot of {self.name} was in flight for {_LANE_TIMEOUT_S:.0f} s; "
                "take results before submitting more"
            ) from None
        try:
            lane.start(inputs)
        except BaseException:
            self._free.put(lane)
            raise
        return Pending(lane, self._free)

    def _parts(self, inputs: Tensors) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
        """Batches that the plan takes, each with how many of its images count."""
        total = len(inputs[self.inputs[0].name])
        if total == 0:
            raise EngineError("expected a batch of one image or more, found none")
        for start in range(0, total, self._max_batch):
            size = min(self._max_batch, total - start)
            part = {spec.name: inputs[spec.name][start : start + size] for spec in self.inputs}
            missing = self._min_batch - size
            if missing > 0:
                part = {
                    name: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
                    for name, array in part.items()
                }
            yield part, size

    def close(self) -> None:
        """Waits for the device and gives everything back. May be called again.

        What another thread is using is given back there, where its request takes more than three seconds.
        """
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
            self._free = queue.SimpleQueue()
            self._engine = None  # in this order: the runtime must outlive what it loaded
            self._runtime = None


class Pending:
    """A batch in flight. Its slot is free again once :meth:`result` was called.

    Attributes:
        device_ms: how long it took on the device, copies included, in milliseconds; 0 before its result.
    """

    def __init__(self, lane: _ContextLane, free: queue.SimpleQueue[_ContextLane]) -> None:
        self.device_ms = 0.0
        self._lane: _ContextLane | None = lane
        self._free = free

    def result(self) -> dict[str, NDArray[Any]]:
        """Waits for the batch and returns its outputs, which are the caller's. Call it once.

        Raises:
            EngineError: the batch failed on the device, or its result was taken before.
        """
        lane, self._lane = self._lane, None
        if lane is None:
            raise EngineError("the result of this batch was taken before")
        try:
            outputs, self.device_ms = lane.finish()
            return outputs
        finally:
            self._free.put(lane)


class _ContextLane:
    """An execution context with the buffers and the stream it works on. One thread uses it at a time.

    Attributes:
        log: what the library said of this lane's request, and of no other that is in flight.
    """

    def __init__(
        self,
        context: Any,
        slot: CudaSlot,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        library: str,
        loaded: tuple[Any, Any],
    ) -> None:
        self.log = ErrorLog()
        self.slot = slot
        self._context = context
        self._loaded: tuple[Any, Any] | None = loaded  # the runtime and the engine, which outlive the context
        self._use = UseLock(self._close, _CLOSE_S)
        self._inputs, self._outputs, self._library = inputs, outputs, library
        self._shapes: dict[str, tuple[int, ...]] = {}

    def start(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        with self._use.used():
            if self._use.is_closed:
                raise EngineError("the engine is closed; open the model again")
            self.log.begin()
            shapes = {spec.name: inputs[spec.name].shape for spec in self._inputs}
            if shapes != self._shapes:
                self._set_shapes(shapes)
            for spec in self._inputs:
                np.copyto(self.slot.array(spec.name), inputs[spec.name])
            self.slot.start(self._enqueue)

    def finish(self) -> tuple[dict[str, NDArray[Any]], float]:
        """The outputs, and how long they took on the device, in milliseconds."""
        with self._use.used():
            self.slot.wait()
            outputs = {spec.name: self.slot.array(spec.name).copy() for spec in self._outputs}
            return outputs, self.slot.device_ms()

    def close(self) -> None:
        self._use.close()

    def _close(self) -> None:
        self.slot.close()
        self._context = self._loaded = None

    def _set_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        context = self._context
        self._shapes = {}  # unknown until all of it is done
        for name, shape in shapes.items():
            with one_line_errors(f"{self._library} refuses the shape {list(shape)} of {name}", self.log):
                is_set = context.set_input_shape(name, shape)
            if not is_set:
                raise EngineError(f"{self._library} refuses the shape {list(shape)} of {name} ({self.log})")
        with one_line_errors(f"{self._library} cannot tell the shapes of the outputs", self.log):
            unknown = context.infer_shapes()
            outputs = {
                spec.name: tuple(map(int, context.get_tensor_shape(spec.name))) for spec in self._outputs
            }
        # One that depends on the data has a size of -1; there is no buffer to make for it.
        unknown = [*unknown, *(name for name, shape in outputs.items() if min(shape, default=0) < 0)]
        if unknown:
            raise EngineError(
                f"{self._library} cannot tell the shapes of the outputs; {', '.join(unknown)} is open"
            )
        self.slot.reshape({**shapes, **outputs})
        for name in (*shapes, *outputs):
            with one_line_errors(f"{self._library} refuses the buffer of {name}", self.log):
                is_set = context.set_tensor_address(name, self.slot.address(name))
            if not is_set:
                raise EngineError(f"{self._library} refuses the buffer of {name} ({self.log})")
        self._shapes = shapes

    def _enqueue(self, stream: int) -> None:
        with one_line_errors(f"{self._library} failed while running the model", self.log):
            is_enqueued = self._context.execute_async_v3(stream)
        if not is_enqueued:
            raise EngineError(f"{self._library} failed while running the model ({self.log})")


def _make_context(engine: Any, kernels: KernelCache | None, library: str, log: ErrorLog) -> Any:
    with one_line_errors(f"{library} cannot make an execution context", log):
        context = engine.create_execution_context() if kernels is None else kernels.make_context()
    if context is None:
        raise EngineError(
            f"{library} cannot make an execution context ({log}); close other programs that use the GPU"
        )
    return context


def _load(
    trt: Any, logger: Any, data: bytes, path: Path, info: PlanInfo, errors: ErrorLog
) -> tuple[Any, Any]:
    """The runtime, which must outlive the engine, and the engine."""
    library = flavour_name(info.flavour)
    runtime = started(lambda: trt.Runtime(logger), info.flavour, errors)
    with one_line_errors(f"{path}: {library} {info.tensorrt_version} cannot load this plan", errors):
        if info.dla_core is not None:
            if info.dla_core >= runtime.num_DLA_cores:
                raise EngineMismatchError(
                    f"{path}: built for DLA core {info.dla_core}, but this machine has "
                    f"{runtime.num_DLA_cores} of them",
                    "compile it again without `dla_core`",
                )
            runtime.DLA_core = info.dla_core
        engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise EngineMismatchError(
            f"{path}: {library} {info.tensorrt_version} refuses this plan ({errors})",
            remedy(path, info),
        )
    return runtime, engine


def _specs(trt: Any, engine: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape = tuple(None if size < 0 else int(size) for size in engine.get_tensor_shape(name))
        spec = TensorSpec(name, np.dtype(trt.nptype(engine.get_tensor_dtype(name))), shape)
        (inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs).append(spec)
    return tuple(inputs), tuple(outputs)


def _name(info: PlanInfo, device: Device) -> str:
    core = device.name if info.dla_core is None else f"{device.name}, DLA core {info.dla_core}"
    return f"{flavour_name(info.flavour)} {info.tensorrt_version} ({core})"


def _cut(outputs: dict[str, NDArray[Any]], size: int) -> dict[str, NDArray[Any]]:
    """Outputs without those of the images that only filled the batch up."""
    return {name: array[:size] for name, array in outputs.items()}
