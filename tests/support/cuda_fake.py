"""A stand-in for ``cuda.bindings.runtime`` that really moves bytes, for machines without a GPU.

It keeps the rules that code for CUDA breaks most easily:

- work on a stream happens when somebody waits for it, not when it is enqueued;
- a captured stream records instead of working, and a graph replays the addresses that it recorded;
- allocating, freeing or waiting in a capture spoils it;
- copies are checked against the memory that exists: their direction, their bounds, and use after free.

Every function returns a tuple that begins with an error code, as the binding does. Names and signatures
are those of cuda-python 12.9 and 13; ``test_engines_cuda_slot`` holds them against it where installed.
"""

# ruff: noqa: N801, N802, N803, N815  (the names are the binding's)

from __future__ import annotations

import ctypes
import enum
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorInvalidResourceHandle = 400
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


_TEXTS = {
    cudaError_t.cudaErrorInvalidValue: "invalid argument",
    cudaError_t.cudaErrorMemoryAllocation: "out of memory",
    cudaError_t.cudaErrorInsufficientDriver: "CUDA driver version is insufficient for CUDA runtime version",
    cudaError_t.cudaErrorNoDevice: "no CUDA-capable device is detected",
    cudaError_t.cudaErrorIllegalAddress: "an illegal memory access was encountered",
    cudaError_t.cudaErrorStreamCaptureUnsupported: "operation not permitted when stream is capturing",
    cudaError_t.cudaErrorStreamCaptureInvalidated: "operation failed due to a previous error during capture",
}

Op = Callable[[], None]


class FakeStream:
    """A queue of work; ``int(stream)`` is its handle, as of the binding's ``cudaStream_t``."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.waiting: list[Op] = []
        self.captured: list[Op] | None = None
        self.capture_is_spoilt = False

    def __int__(self) -> int:
        return self.handle

    def add(self, op: Op) -> None:
        (self.waiting if self.captured is None else self.captured).append(op)

    def run(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


class FakeCuda:
    """The module ``cuda.bindings.runtime`` of a machine with one GPU.

    Args:
        driver: CUDA version of the driver, as CUDA writes it; 0 for none.
        devices: how many GPUs the driver sees.

    Attributes:
        calls: the name of every function called, in order.
        failing: error that a function returns from now on, by its name.
    """

    cudaError_t = cudaError_t
    cudaMemcpyKind = cudaMemcpyKind
    cudaStreamCaptureMode = cudaStreamCaptureMode
    cudaStreamNonBlocking = 1
    cudaEventBlockingSync = 1
    cudaHostAllocDefault = 0

    def __init__(self, driver: int = 13000, devices: int = 1, capability: tuple[int, int] = (8, 9)) -> None:
        self.driver, self.devices, self.capability = driver, devices, capability
        self.calls: list[str] = []
        self.failing: dict[str, cudaError_t] = {}
        self.device_memory: dict[int, ctypes.Array[Any]] = {}
        self.host_memory: dict[int, ctypes.Array[Any]] = {}
        self.streams: dict[int, FakeStream] = {}
        self.graphs: dict[int, list[Op]] = {}
        self.events: dict[int, FakeStream | None] = {}
        self._handles = itertools.count(1)

    def alive(self) -> int:
        """How many things were made and not given back."""
        kinds = (self.device_memory, self.host_memory, self.streams, self.graphs, self.events)
        return sum(len(kind) for kind in kinds)

    def stream(self, handle: Any) -> FakeStream:
        return self.streams[int(handle)]

    # The driver and the device

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return cudaError_t.cudaSuccess, self.driver

    def cudaRuntimeGetVersion(self) -> tuple[Any, ...]:
        return cudaError_t.cudaSuccess, 13000

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        if self.driver < 12000:
            return cudaError_t.cudaErrorInsufficientDriver, None
        if not self.devices:
            return cudaError_t.cudaErrorNoDevice, None
        return self._answer("cudaGetDeviceCount", self.devices)

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:
        return self._answer("cudaSetDevice")

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        major, minor = self.capability
        properties = SimpleNamespace(
            name=b"NVIDIA Fake", major=major, minor=minor, totalGlobalMem=8 << 30, integrated=0
        )
        return self._answer("cudaGetDeviceProperties", properties)

    def cudaGetErrorString(self, error: cudaError_t) -> tuple[Any, ...]:
        return cudaError_t.cudaSuccess, _TEXTS.get(error, "unknown error").encode()

    def cudaGetErrorName(self, error: cudaError_t) -> tuple[Any, ...]:
        return cudaError_t.cudaSuccess, error.name.encode()

    def cudaGetLastError(self) -> tuple[Any, ...]:
        return self._answer("cudaGetLastError")

    # Memory

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return self._allocate("cudaMalloc", self.device_memory, size)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        return self._allocate("cudaHostAlloc", self.host_memory, size)

    def cudaFree(self, devPtr: int) -> tuple[Any, ...]:
        return self._release("cudaFree", self.device_memory, devPtr)

    def cudaFreeHost(self, ptr: int) -> tuple[Any, ...]:
        return self._release("cudaFreeHost", self.host_memory, ptr)

    def cudaMemcpyAsync(
        self, dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: Any
    ) -> tuple[Any, ...]:
        source = self.host_memory if kind is cudaMemcpyKind.cudaMemcpyHostToDevice else self.device_memory
        target = self.host_memory if kind is cudaMemcpyKind.cudaMemcpyDeviceToHost else self.device_memory
        if not (_holds(source, src, count) and _holds(target, dst, count)):
            return (cudaError_t.cudaErrorInvalidValue,)

        def copy() -> None:
            # Looked up again: a graph must not outlive its memory.
            assert _holds(source, src, count), "the copy reads memory that was freed"
            assert _holds(target, dst, count), "the copy writes memory that was freed"
            ctypes.memmove(dst, src, count)

        return self._enqueue("cudaMemcpyAsync", stream, copy)

    def cudaMemsetAsync(self, devPtr: int, value: int, count: int, stream: Any) -> tuple[Any, ...]:
        if not _holds(self.device_memory, devPtr, count):
            return (cudaError_t.cudaErrorInvalidValue,)
        return self._enqueue("cudaMemsetAsync", stream, lambda: ctypes.memset(devPtr, value, count))

    # Streams and events

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        stream = FakeStream(next(self._handles))
        answer = self._answer("cudaStreamCreateWithFlags", stream)
        if not answer[0]:
            self.streams[stream.handle] = stream
        return answer

    def cudaStreamDestroy(self, stream: Any) -> tuple[Any, ...]:
        self.streams.pop(int(stream)).run()
        return self._answer("cudaStreamDestroy")

    def cudaStreamSynchronize(self, stream: Any) -> tuple[Any, ...]:
        if self._spoil_captures():
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        self.stream(stream).run()
        return self._answer("cudaStreamSynchronize")

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        handle = next(self._handles)
        answer = self._answer("cudaEventCreateWithFlags", handle)
        if not answer[0]:
            self.events[handle] = None
        return answer

    def cudaEventDestroy(self, event: Any) -> tuple[Any, ...]:
        del self.events[event]
        return self._answer("cudaEventDestroy")

    def cudaEventRecord(self, event: Any, stream: Any) -> tuple[Any, ...]:
        self.events[event] = self.stream(stream)
        return self._answer("cudaEventRecord")

    def cudaEventSynchronize(self, event: Any) -> tuple[Any, ...]:
        if self._spoil_captures():
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        recorded = self.events[event]
        if recorded is not None:
            recorded.run()
        return self._answer("cudaEventSynchronize")

    def cudaEventElapsedTime(self, start: Any, end: Any) -> tuple[Any, ...]:
        if self.events[start] is None or self.events[end] is None:
            return cudaError_t.cudaErrorInvalidResourceHandle, None
        return self._answer("cudaEventElapsedTime", 0.25)

    # Graphs

    def cudaStreamBeginCapture(self, stream: Any, mode: Any) -> tuple[Any, ...]:
        answer = self._answer("cudaStreamBeginCapture")
        if not answer[0]:
            self.stream(stream).captured = []
            self.stream(stream).capture_is_spoilt = False
        return answer

    def cudaStreamEndCapture(self, stream: Any) -> tuple[Any, ...]:
        capturing = self.stream(stream)
        ops, capturing.captured = capturing.captured, None
        if ops is None or capturing.capture_is_spoilt:
            return cudaError_t.cudaErrorStreamCaptureInvalidated, None
        return self._answer("cudaStreamEndCapture", self._keep(ops))

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        return self._answer("cudaGraphInstantiate", self._keep(list(self.graphs[graph])))

    def cudaGraphLaunch(self, graphExec: int, stream: Any) -> tuple[Any, ...]:
        ops = self.graphs[graphExec]
        return self._enqueue("cudaGraphLaunch", stream, lambda: [op() for op in ops] and None)

    def cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        del self.graphs[graph]
        return self._answer("cudaGraphDestroy")

    def cudaGraphExecDestroy(self, graphExec: int) -> tuple[Any, ...]:
        del self.graphs[graphExec]
        return self._answer("cudaGraphExecDestroy")

    # What the functions share

    def _answer(self, name: str, value: Any = None) -> tuple[Any, ...]:
        self.calls.append(name)
        error = self.failing.get(name, cudaError_t.cudaSuccess)
        if value is None:
            return (error,)
        return error, (None if error else value)

    def _enqueue(self, name: str, stream: Any, op: Op) -> tuple[Any, ...]:
        answer = self._answer(name)
        if not answer[0]:
            self.stream(stream).add(op)
        return answer

    def _keep(self, ops: list[Op]) -> int:
        handle = next(self._handles)
        self.graphs[handle] = ops
        return handle

    def _allocate(self, name: str, memory: dict[int, Any], size: int) -> tuple[Any, ...]:
        if self._spoil_captures():
            return cudaError_t.cudaErrorStreamCaptureUnsupported, None
        block = (ctypes.c_ubyte * size)()
        ctypes.memset(block, 0xCD, size)  # nobody may rely on zeros
        answer = self._answer(name, ctypes.addressof(block))
        if not answer[0]:
            memory[answer[1]] = block
        return answer

    def _release(self, name: str, memory: dict[int, Any], address: int) -> tuple[Any, ...]:
        self._spoil_captures()
        for stream in self.streams.values():
            stream.run()  # cudaFree waits for the device
        if memory.pop(address, None) is None:
            return (cudaError_t.cudaErrorInvalidValue,)
        return self._answer(name)

    def _spoil_captures(self) -> bool:
        capturing = [stream for stream in self.streams.values() if stream.captured is not None]
        for stream in capturing:
            stream.capture_is_spoilt = True
        return bool(capturing)


def _holds(memory: dict[int, Any], address: int, count: int) -> bool:
    return any(start <= address and address + count <= start + len(block) for start, block in memory.items())
