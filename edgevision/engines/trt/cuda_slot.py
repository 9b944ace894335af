"""Room for one request on a CUDA device: buffers, a stream, events, and the graph of the request.

It knows nothing of the library that does the work: that one is a function which enqueues on a stream.

Sources: CUDA Runtime API, "Stream Management", "Event Management" and "Graph Management"; CUDA C++
Programming Guide, "CUDA Graphs" (stream capture).

Example:
    >>> slot = CudaSlot(cuda, inputs, outputs)  # doctest: +SKIP
    >>> slot.reshape({"frames": (1, 64, 64, 3), "scores": (1, 100)})  # doctest: +SKIP
    >>> slot.array("frames")[:] = batch  # doctest: +SKIP
    >>> slot.start(enqueue_my_kernels)  # doctest: +SKIP
    >>> slot.wait()  # doctest: +SKIP
    >>> scores = slot.array("scores").copy()  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.closeable import Closeable
from edgevision.contract.manifest import TensorSpec
from edgevision.engines.trt.cuda_runtime import check
from edgevision.errors import EngineError

Work = Callable[[int], None]
"""Enqueues work on the stream whose handle it is given, and does not wait for it."""


@dataclass(slots=True)
class _Buffer:
    """One tensor: memory on the device, and pinned memory of the same size that the processor sees.

    Mapped, the two are one.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None = None  # None while there is no memory behind it
    capacity: int = 0
    device: int = 0
    host: int = 0

    @property
    def nbytes(self) -> int:
        return 0 if self.shape is None else math.prod(self.shape) * self.dtype.itemsize


class CudaSlot(Closeable):
    """Buffers and a stream for one request in flight. Not thread-safe: one thread uses it at a time.

    A request is: copy the inputs to the device, work, copy the outputs back. The first request of new
    shapes is enqueued call by call; the second is captured as a CUDA graph, and from then on the whole
    request is one launch. What cannot be captured goes on call by call, and :attr:`graph_problem` says
    why.

    Args:
        cuda: the module ``cuda.bindings.runtime``.
        inputs, outputs: names and element types; their shapes are set by :meth:`reshape`.
        use_graphs: False enqueues every request call by call, to compare or to profile.
        is_mapped: the device works on the processor's memory itself and nothing is copied. On a Jetson, whose
            GPU shares its memory with the processor, that may be faster (``benchmarks/gpu.py`` measures it);
            elsewhere each access goes over the bus.

    Raises:
        EngineError: CUDA refuses.

    Attributes:
        graph_problem: why requests are not captured, or None.
        graphs_captured: how many graphs were captured so far.
    """

    def __init__(
        self,
        cuda: Any,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        use_graphs: bool = True,
        is_mapped: bool = False,
    ) -> None:
        self._is_mapped = is_mapped
        self.graph_problem = None if use_graphs else "switched off"
        self.graphs_captured = 0
        self._cuda = cuda
        self._buffers = {spec.name: _Buffer(spec.dtype) for spec in (*inputs, *outputs)}
        self._inputs = [self._buffers[spec.name] for spec in inputs]
        self._outputs = [self._buffers[spec.name] for spec in outputs]
        self._graph: Any = None
        self._ran_at_these_shapes = False
        self._is_open = True
        with contextlib.ExitStack() as taken:
            # What fails while all is given back must not look like an error of the next library's.
            taken.callback(cuda.cudaGetLastError)
            taken.callback(self._free_buffers)
            self._stream = self._check(
                cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking), "make a stream"
            )
            taken.callback(cuda.cudaStreamDestroy, self._stream)
            self._begun, self._ended = self._make_event(taken), self._make_event(taken)
            taken.callback(self._drop_graph)
            # Last in, first out: nothing is freed while the device works on it.
            taken.callback(cuda.cudaStreamSynchronize, self._stream)
            self._release = taken.pop_all()

    def _make_event(self, taken: contextlib.ExitStack) -> Any:
        # A thread that waits for a blocking event sleeps; decoding and encoding need the core.
        event = self._check(
            self._cuda.cudaEventCreateWithFlags(self._cuda.cudaEventBlockingSync), "make an event"
        )
        taken.callback(self._cuda.cudaEventDestroy, event)
        return event

    def reshape(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Sets the shapes of the next requests. Buffers grow where they must and never shrink.

        Args:
            shapes: of every tensor that changes.

        Returns:
            True where a shape or an address differs from before, so that the graph is gone and whoever
            works with the addresses must ask for them again.

        Raises:
            EngineError: the slot is closed, or memory is short.
        """
        self._check_open()
        if all(self._buffers[name].shape == tuple(shape) for name, shape in shapes.items()):
            return False
        self.wait()
        self._drop_graph()
        self._ran_at_these_shapes = False
        for name, shape in shapes.items():
            buffer = self._buffers[name]
            nbytes = math.prod(shape) * buffer.dtype.itemsize
            if nbytes > buffer.capacity:
                self._grow(buffer, name, nbytes)
            buffer.shape = tuple(shape)
        return True

    def array(self, name: str) -> NDArray[Any]:
        """A tensor's pinned memory at its present shape: write an input before ``start``, read an output
        after ``wait``. Not to be used after ``close``."""
        self._check_open()
        buffer = self._buffers[name]
        if buffer.shape is None:
            raise EngineError(f"tensor {name} has no shape yet; reshape the slot first")
        memory = (ctypes.c_ubyte * buffer.nbytes).from_address(buffer.host)
        return np.frombuffer(memoryview(memory), buffer.dtype).reshape(buffer.shape)

    def address(self, name: str) -> int:
        """Where a tensor lies on the device; it stays until ``reshape`` returns True."""
        return self._buffers[name].device

    @property
    def stream(self) -> int:
        """Handle of the slot's stream."""
        return int(self._stream)

    def start(self, work: Work) -> None:
        """Starts a request: inputs to the device, ``work``, outputs back. Does not wait.

        Args:
            work: enqueues the same calls each time as long as shapes and addresses stay.

        Raises:
            EngineError: CUDA refuses, or ``work`` raised.
        """
        self._check_open()
        cuda = self._cuda
        if self._graph is None and self._ran_at_these_shapes and self.graph_problem is None:
            self._capture(work)
        self._check(cuda.cudaEventRecord(self._begun, self._stream), "record an event")
        if self._graph is not None:
            self._check(cuda.cudaGraphLaunch(self._graph, self._stream), "launch the graph")
        else:
            self._enqueue(work)
            self._ran_at_these_shapes = True
        self._check(cuda.cudaEventRecord(self._ended, self._stream), "record an event")

    def wait(self) -> None:
        """Waits until the request that was started is done. Errors of the device show here.

        Raises:
            EngineError: the work failed on the device.
        """
        self._check_open()
        self._check(self._cuda.cudaEventSynchronize(self._ended), "finish the request")

    def device_ms(self) -> float:
        """How long the last finished request took on the device, copies included, in milliseconds."""
        self._check_open()
        elapsed = self._check(self._cuda.cudaEventElapsedTime(self._begun, self._ended), "time the request")
        return float(elapsed)

    @property
    def has_graph(self) -> bool:
        """True where the next request of the present shapes is one graph launch."""
        return self._graph is not None

    def close(self) -> None:
        """Waits for the device and gives everything back. May be called again."""
        self._is_open = False
        # Errors are passed over: after a fault on the device each of these calls reports it again.
        self._release.close()

    def _enqueue(self, work: Work) -> None:
        cuda = self._cuda
        to_device, to_host = (
            cuda.cudaMemcpyKind.cudaMemcpyHostToDevice,
            cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost,
        )
        for buffer in () if self._is_mapped else self._inputs:
            copied = cuda.cudaMemcpyAsync(buffer.device, buffer.host, buffer.nbytes, to_device, self._stream)
            self._check(copied, "copy an input to the GPU")
        work(self.stream)
        for buffer in () if self._is_mapped else self._outputs:
            copied = cuda.cudaMemcpyAsync(buffer.host, buffer.device, buffer.nbytes, to_host, self._stream)
            self._check(copied, "copy an output from the GPU")

    def _capture(self, work: Work) -> None:
        """Captures a request as a graph, or notes why that cannot be done."""
        cuda = self._cuda
        # Of this thread only: another slot's thread may allocate meanwhile.
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        try:
            self._check(cuda.cudaStreamBeginCapture(self._stream, mode), "begin a capture")
            try:
                self._enqueue(work)
            finally:
                # Also after a failure: a stream that is left capturing can never be used again.
                ended = cuda.cudaStreamEndCapture(self._stream)
            graph = self._check(ended, "capture the request")
            try:
                self._graph = self._check(cuda.cudaGraphInstantiate(graph, 0), "make a graph")
            finally:
                cuda.cudaGraphDestroy(graph)
            self.graphs_captured += 1
        except EngineError as error:
            cuda.cudaGetLastError()  # or the next library that looks for errors finds ours
            self.graph_problem = str(error)

    def _grow(self, buffer: _Buffer, name: str, nbytes: int) -> None:
        self._free(buffer)
        cuda, doing = self._cuda, f"take {nbytes / 1e6:.1f} MB for {name}"
        if self._is_mapped:
            pinned = cuda.cudaHostAlloc(nbytes, cuda.cudaHostAllocMapped)
            buffer.host = self._check(pinned, f"{doing} in mapped memory")
            buffer.device = int(self._check(cuda.cudaHostGetDevicePointer(buffer.host, 0), f"map {name}"))
        else:
            buffer.device = self._check(cuda.cudaMalloc(nbytes), f"{doing} on the GPU")
            pinned = cuda.cudaHostAlloc(nbytes, cuda.cudaHostAllocDefault)
            buffer.host = self._check(pinned, f"{doing} in pinned memory")
        buffer.capacity = nbytes

    def _free(self, buffer: _Buffer) -> None:
        if buffer.device and not self._is_mapped:
            self._cuda.cudaFree(buffer.device)
        if buffer.host:
            self._cuda.cudaFreeHost(buffer.host)
        buffer.device = buffer.host = buffer.capacity = 0
        buffer.shape = None

    def _free_buffers(self) -> None:
        for buffer in self._buffers.values():
            self._free(buffer)

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._cuda.cudaGraphExecDestroy(self._graph)
            self._graph = None

    def _check(self, result: tuple[Any, ...], doing: str) -> Any:
        return check(self._cuda, result, doing)

    def _check_open(self) -> None:
        if not self._is_open:
            raise EngineError("the engine is closed; open the model again")
