"""A stand-in for ``cuda.bindings.runtime`` that really moves bytes, for machines without a GPU.

It keeps the rules that code for CUDA breaks most easily:

- work on a stream happens when somebody waits for it, not when it is enqueued;
- a captured stream records instead of working, and a graph replays the addresses that it recorded;
- allocating, freeing or waiting in a capture spoils it;
- copies are checked against the memory that exists: their direction, their bounds, and use after free;
- a fault on the device is the answer of every later call, and nothing clears it;
- the last error of a thread stays until somebody asks for it;
- arguments of another type are refused with the binding's own exceptions.

Every function returns a tuple that begins with an error code, as the binding does. Names, signatures, tuples
and refusals are those of cuda-python 12.9 and 13; ``tests/engines/trt/test_bindings.py`` holds them against
it where installed.
"""

# ruff: noqa: N801, N802, N803, N815  (the names are the binding's)

from __future__ import annotations

import ctypes
import enum
import functools
import inspect
import itertools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeAlias


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorInvalidResourceHandle = 400
    cudaErrorIllegalAddress = 700
    cudaErrorLaunchFailure = 719
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


_CudaError = cudaError_t

FAULTS = (cudaError_t.cudaErrorIllegalAddress, cudaError_t.cudaErrorLaunchFailure)
"""Errors of the device: the process has to end before it can use the GPU again."""


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


_CudaMemcpyKind = cudaMemcpyKind
_CudaStreamCaptureMode = cudaStreamCaptureMode

_TEXTS = {
    cudaError_t.cudaErrorInvalidValue: "invalid argument",
    cudaError_t.cudaErrorMemoryAllocation: "out of memory",
    cudaError_t.cudaErrorInsufficientDriver: "CUDA driver version is insufficient for CUDA runtime version",
    cudaError_t.cudaErrorNoDevice: "no CUDA-capable device is detected",
    cudaError_t.cudaErrorInvalidResourceHandle: "invalid resource handle",
    cudaError_t.cudaErrorIllegalAddress: "an illegal memory access was encountered",
    cudaError_t.cudaErrorLaunchFailure: "unspecified launch failure",
    cudaError_t.cudaErrorStreamCaptureUnsupported: "operation not permitted when stream is capturing",
    cudaError_t.cudaErrorStreamCaptureInvalidated: "operation failed due to a previous error during capture",
}

Op = Callable[[], None]
Answer = tuple[Any, ...]

_OK: Answer = (cudaError_t.cudaSuccess,)


class Handle:
    """What the binding gives for a stream, an event or a graph: ``int(handle)`` is its address."""

    def __init__(self, address: int) -> None:
        self.address = address

    def __int__(self) -> int:
        return self.address


class FakeStream(Handle):
    """A queue of work."""

    def __init__(self, address: int) -> None:
        super().__init__(address)
        self.waiting: list[Op] = []
        self.captured: list[Op] | None = None
        self.capture_is_spoilt = False

    def add(self, op: Op) -> None:
        (self.waiting if self.captured is None else self.captured).append(op)

    def run(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


def _binding(values: int = 0, *, always: bool = False, releases: bool = False) -> Callable[[Any], Any]:
    """Makes a method a function of the binding.

    Args:
        values: how many values follow the error code; None in their place where it failed.
        always: it answers without a driver, and after a fault.
        releases: what it is given is gone even where it fails, for the device is.
    """

    def decorate(method: Callable[..., Answer]) -> Callable[..., Answer]:
        names = list(inspect.signature(method).parameters)[1:]

        @functools.wraps(method)
        def call(self: FakeCuda, *arguments: Any) -> Answer:
            for name, argument in zip(names, arguments, strict=True):
                _refuse_other_types(name, argument)
            self.calls.append(method.__name__)
            error = cudaError_t.cudaSuccess if always else self._error_of(method.__name__)
            if error and not (releases and self._has_gpu()):
                answer: Answer = (error,)
            else:
                answer = method(self, *arguments)
                answer = (error or answer[0], *answer[1:])
            if answer[0] and not always:
                self._last.error = answer[0]
            return (answer[0], *([None] * values)) if answer[0] else answer

        return call

    return decorate


def _refuse_other_types(name: str, argument: Any) -> None:
    """The binding's own refusals; it takes some numbers that it should not, which are refused here too."""
    if name in ("kind", "mode", "error"):
        if not isinstance(argument, enum.IntEnum):
            raise TypeError(f"{name} must be of the binding's enumeration")
    elif name in ("dst", "src", "devPtr", "ptr", "pHost"):
        if argument is not None and not (isinstance(argument, int) and argument >= 0):
            raise TypeError(
                f"Provided argument is of type {type(argument)} but expected Type None, int or object with "
                "Buffer Protocol"
            )
    elif name in ("stream", "event", "start", "end", "graph", "graphExec"):
        if argument is not None and not isinstance(argument, int | Handle):
            raise TypeError("an integer is required")
    elif not isinstance(argument, int):
        raise TypeError("an integer is required")
    elif argument < 0:
        raise OverflowError("can't convert negative value to size_t")


class _Last(threading.local):
    error = cudaError_t.cudaSuccess


class FakeCuda:
    """The module ``cuda.bindings.runtime`` of a machine with one GPU.

    Args:
        driver: CUDA version of the driver, as CUDA writes it; 0 for none.
        devices: how many GPUs the driver sees.
        capability: compute capability.
        name: the GPU's.
        multiprocessors: of the GPU.
        is_integrated: it shares its memory with the processor.

    Attributes:
        calls: the name of every function called, in order.
        failing: error that a function returns from now on, by its name. One of :data:`FAULTS` is from then
            on the answer of every function.
    """

    cudaError_t: TypeAlias = _CudaError
    cudaMemcpyKind: TypeAlias = _CudaMemcpyKind
    cudaStreamCaptureMode: TypeAlias = _CudaStreamCaptureMode
    cudaStreamNonBlocking = 1
    cudaEventBlockingSync = 1
    cudaHostAllocDefault = 0
    cudaHostAllocMapped = 2

    def __init__(
        self,
        driver: int = 13000,
        devices: int = 1,
        capability: tuple[int, int] = (8, 9),
        name: str = "NVIDIA Fake",
        multiprocessors: int = 24,
        is_integrated: bool = False,
    ) -> None:
        self.driver, self.devices, self.capability = driver, devices, capability
        self.name, self.multiprocessors, self.is_integrated = name, multiprocessors, is_integrated
        self.calls: list[str] = []
        self.failing: dict[str, cudaError_t] = {}
        self.device_memory: dict[int, ctypes.Array[Any]] = {}
        self.host_memory: dict[int, ctypes.Array[Any]] = {}
        self.streams: dict[int, FakeStream] = {}
        self.graphs: dict[int, list[Op]] = {}
        self.events: dict[int, FakeStream | None] = {}
        self._mapped: dict[int, ctypes.Array[Any]] = {}
        self._fault = cudaError_t.cudaSuccess
        self._handles = itertools.count(1)
        self._last = _Last()

    def alive(self) -> int:
        """How many things were made and not given back."""
        kinds = (self.device_memory, self.host_memory, self.streams, self.graphs, self.events)
        return sum(len(kind) for kind in kinds)

    def stream(self, handle: Any) -> FakeStream:
        return self.streams[int(handle)]

    def on_device(self, address: int, count: int) -> bool:
        """Whether the device may touch these bytes."""
        return _holds(self.device_memory, address, count) or _holds(self._mapped, address, count)

    # The driver and the device

    @_binding(1, always=True)
    def cudaDriverGetVersion(self) -> Answer:
        return cudaError_t.cudaSuccess, self.driver

    @_binding(1, always=True)
    def cudaRuntimeGetVersion(self) -> Answer:
        return cudaError_t.cudaSuccess, 13000

    @_binding(1)
    def cudaGetDeviceCount(self) -> Answer:
        return cudaError_t.cudaSuccess, self.devices

    @_binding()
    def cudaSetDevice(self, device: int) -> Answer:
        return _OK

    @_binding(1)
    def cudaGetDeviceProperties(self, device: int) -> Answer:
        major, minor = self.capability
        properties = SimpleNamespace(
            name=self.name.encode(),
            major=major,
            minor=minor,
            totalGlobalMem=8 << 30,
            integrated=int(self.is_integrated),
            multiProcessorCount=self.multiprocessors,
        )
        return cudaError_t.cudaSuccess, properties

    @_binding(1, always=True)
    def cudaGetErrorString(self, error: cudaError_t) -> Answer:
        return cudaError_t.cudaSuccess, _TEXTS.get(error, "unknown error").encode()

    @_binding(1, always=True)
    def cudaGetErrorName(self, error: cudaError_t) -> Answer:
        return cudaError_t.cudaSuccess, error.name.encode()

    @_binding(always=True)
    def cudaGetLastError(self) -> Answer:
        last, self._last.error = self._last.error, cudaError_t.cudaSuccess
        return (self._state() or last,)

    @_binding(always=True)
    def cudaPeekAtLastError(self) -> Answer:
        return (self._state() or self._last.error,)

    # Memory

    @_binding(2)
    def cudaMemGetInfo(self) -> Answer:
        total = 8 << 30
        return cudaError_t.cudaSuccess, total - sum(map(len, self.device_memory.values())), total

    @_binding(1)
    def cudaMalloc(self, size: int) -> Answer:
        return self._allocate(self.device_memory, size)

    @_binding(1)
    def cudaHostAlloc(self, size: int, flags: int) -> Answer:
        answer = self._allocate(self.host_memory, size)
        if flags & self.cudaHostAllocMapped and not answer[0]:
            self._mapped[answer[1]] = self.host_memory[answer[1]]
        return answer

    @_binding(1)
    def cudaHostGetDevicePointer(self, pHost: int, flags: int) -> Answer:
        if pHost not in self._mapped:
            return (cudaError_t.cudaErrorInvalidValue,)
        return cudaError_t.cudaSuccess, pHost  # one address for both, as on every system of today

    @_binding(releases=True)
    def cudaFree(self, devPtr: int) -> Answer:
        return self._release(self.device_memory, devPtr)

    @_binding(releases=True)
    def cudaFreeHost(self, ptr: int) -> Answer:
        self._mapped.pop(ptr, None)
        return self._release(self.host_memory, ptr)

    @_binding()
    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: Any) -> Answer:
        from_host = kind is cudaMemcpyKind.cudaMemcpyHostToDevice
        to_host = kind is cudaMemcpyKind.cudaMemcpyDeviceToHost

        def is_there() -> bool:
            source = _holds(self.host_memory, src, count) if from_host else self.on_device(src, count)
            target = _holds(self.host_memory, dst, count) if to_host else self.on_device(dst, count)
            return source and target

        if not is_there():
            return (cudaError_t.cudaErrorInvalidValue,)

        def copy() -> None:
            # Looked up again: a graph must not outlive its memory.
            assert is_there(), "the copy touches memory that was freed"
            ctypes.memmove(dst, src, count)

        return self._enqueue(stream, copy)

    @_binding()
    def cudaMemsetAsync(self, devPtr: int, value: int, count: int, stream: Any) -> Answer:
        if not self.on_device(devPtr, count):
            return (cudaError_t.cudaErrorInvalidValue,)

        def fill() -> None:
            ctypes.memset(devPtr, value, count)

        return self._enqueue(stream, fill)

    # Streams and events

    @_binding(1)
    def cudaStreamCreateWithFlags(self, flags: int) -> Answer:
        stream = FakeStream(next(self._handles))
        self.streams[stream.address] = stream
        return cudaError_t.cudaSuccess, stream

    @_binding(releases=True)
    def cudaStreamDestroy(self, stream: Any) -> Answer:
        destroyed = self.streams.pop(int(stream))
        if not self._fault:
            destroyed.run()
        return _OK

    @_binding()
    def cudaStreamSynchronize(self, stream: Any) -> Answer:
        if self._spoil_captures():
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        self.stream(stream).run()
        return _OK

    @_binding(1)
    def cudaEventCreateWithFlags(self, flags: int) -> Answer:
        event = Handle(next(self._handles))
        self.events[event.address] = None
        return cudaError_t.cudaSuccess, event

    @_binding(releases=True)
    def cudaEventDestroy(self, event: Any) -> Answer:
        del self.events[int(event)]
        return _OK

    @_binding()
    def cudaEventRecord(self, event: Any, stream: Any) -> Answer:
        self.events[int(event)] = self.stream(stream)
        return _OK

    @_binding()
    def cudaEventSynchronize(self, event: Any) -> Answer:
        if self._spoil_captures():
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        recorded = self.events[int(event)]
        if recorded is not None:
            recorded.run()
        return _OK

    @_binding(1)
    def cudaEventElapsedTime(self, start: Any, end: Any) -> Answer:
        if self.events[int(start)] is None or self.events[int(end)] is None:
            return (cudaError_t.cudaErrorInvalidResourceHandle,)
        return cudaError_t.cudaSuccess, 0.25

    # Graphs

    @_binding()
    def cudaStreamBeginCapture(self, stream: Any, mode: cudaStreamCaptureMode) -> Answer:
        self.stream(stream).captured = []
        self.stream(stream).capture_is_spoilt = False
        return _OK

    @_binding(1)
    def cudaStreamEndCapture(self, stream: Any) -> Answer:
        capturing = self.stream(stream)
        ops, capturing.captured = capturing.captured, None
        if ops is None or capturing.capture_is_spoilt:
            return (cudaError_t.cudaErrorStreamCaptureInvalidated,)
        return cudaError_t.cudaSuccess, self._keep(ops)

    @_binding(1)
    def cudaGraphInstantiate(self, graph: Any, flags: int) -> Answer:
        return cudaError_t.cudaSuccess, self._keep(list(self.graphs[int(graph)]))

    @_binding()
    def cudaGraphLaunch(self, graphExec: Any, stream: Any) -> Answer:
        ops = self.graphs[int(graphExec)]

        def replay() -> None:
            for op in ops:
                op()

        return self._enqueue(stream, replay)

    @_binding(releases=True)
    def cudaGraphDestroy(self, graph: Any) -> Answer:
        del self.graphs[int(graph)]
        return _OK

    @_binding(releases=True)
    def cudaGraphExecDestroy(self, graphExec: Any) -> Answer:
        del self.graphs[int(graphExec)]
        return _OK

    # What the functions share

    def _state(self) -> cudaError_t:
        """What every call answers with, whatever it asks."""
        if self._has_gpu():
            return self._fault
        too_old = self.driver < 12000
        return cudaError_t.cudaErrorInsufficientDriver if too_old else cudaError_t.cudaErrorNoDevice

    def _has_gpu(self) -> bool:
        return self.driver >= 12000 and self.devices > 0

    def _error_of(self, name: str) -> cudaError_t:
        error = self._state() or self.failing.get(name, cudaError_t.cudaSuccess)
        if error in FAULTS:
            self._fault = error
        return error

    def _enqueue(self, stream: Any, op: Op) -> Answer:
        self.stream(stream).add(op)
        return _OK

    def _keep(self, ops: list[Op]) -> Handle:
        graph = Handle(next(self._handles))
        self.graphs[graph.address] = ops
        return graph

    def _allocate(self, memory: dict[int, Any], size: int) -> Answer:
        if self._spoil_captures():
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        block = (ctypes.c_ubyte * size)()
        ctypes.memset(block, 0xCD, size)  # nobody may rely on zeros
        memory[ctypes.addressof(block)] = block
        return cudaError_t.cudaSuccess, ctypes.addressof(block)

    def _release(self, memory: dict[int, Any], address: int) -> Answer:
        self._spoil_captures()
        if not self._fault:
            for stream in self.streams.values():
                stream.run()  # cudaFree waits for the device
        if memory.pop(address, None) is None and address:
            return (cudaError_t.cudaErrorInvalidValue,)
        return _OK

    def _spoil_captures(self) -> bool:
        capturing = [stream for stream in self.streams.values() if stream.captured is not None]
        for stream in capturing:
            stream.capture_is_spoilt = True
        return bool(capturing)


def _holds(memory: dict[int, Any], address: int, count: int) -> bool:
    return any(start <= address and address + count <= start + len(block) for start, block in memory.items())
