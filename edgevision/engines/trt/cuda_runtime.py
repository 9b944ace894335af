"""The CUDA runtime through ``cuda.bindings.runtime`` (package cuda-python): its errors become one line.

Every function of the binding returns a tuple that begins with an error code; :func:`check` takes it off.
The binding imports on any machine, so what is missing shows at the first call.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from dataclasses import dataclass
from typing import Any

from edgevision.errors import EngineError
from edgevision.extras import local_command

CUDA_12_TENSORRT = (
    "pip uninstall -y tensorrt tensorrt-cu13 tensorrt-cu13-libs tensorrt-cu13-bindings && "
    "pip install tensorrt-cu12"
)
"""Puts TensorRT for CUDA 12 in place of the one for CUDA 13, which is what the package 'tensorrt' brings."""


def load_cuda() -> Any:
    """The module ``cuda.bindings.runtime``.

    Raises:
        EngineError: cuda-python is not installed or cannot be loaded.
    """
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        command = local_command("pip install cuda-python")
        raise EngineError(
            f"CUDA's Python bindings cannot be loaded ({error}); install them with: {command} "
            "(on JetPack 6: 'cuda-python<13')"
        ) from error


def check(cuda: Any, result: tuple[Any, ...], doing: str) -> Any:
    """What a call returned besides its error code: None, one value, or a tuple.

    Args:
        cuda: the module of the call.
        result: what the call returned.
        doing: the end of "CUDA cannot ...", for the message.

    Raises:
        EngineError: the call failed. CUDA keeps the last error of each thread for whoever asks next, so it is
            cleared: another library's check would report it as its own.
    """
    error, *values = result
    if int(error):
        cuda.cudaGetLastError()
        raise EngineError(f"CUDA cannot {doing}: {_explain(cuda, error)}")
    if len(values) == 1:
        return values[0]
    return tuple(values) if values else None


def _explain(cuda: Any, error: Any) -> str:
    text = cuda.cudaGetErrorString(error)[1].decode()
    found = f"{text} ({cuda.cudaGetErrorName(error)[1].decode()})"
    if error == cuda.cudaError_t.cudaErrorInsufficientDriver:
        driver = cuda.cudaDriverGetVersion()[1]
        if not driver:
            return _no_driver()
        needed = cuda.cudaRuntimeGetVersion()[1]
        mend = f"pip install 'cuda-python=={_major(driver)}.*'"
        if _major(driver) == 12 and has_tensorrt_for_cuda_13():
            mend += f" && {CUDA_12_TENSORRT}"
        mend = local_command(mend)
        return (
            f"the NVIDIA driver knows CUDA {_version(driver)}, but the bindings are for CUDA "
            f"{_version(needed)}; update the driver, or run: {mend}"
        )
    if error == cuda.cudaError_t.cudaErrorNoDevice:
        return "the NVIDIA driver sees no GPU; check 'nvidia-smi' and CUDA_VISIBLE_DEVICES"
    if error == cuda.cudaError_t.cudaErrorMemoryAllocation:
        return f"{found}; close other programs that use the GPU, or compile with a smaller `batch`"
    return found


def _no_driver() -> str:
    """A container sees the driver only where its runtime hands it in, and a Jetson has its own runtime."""
    option = "--runtime nvidia" if platform.machine() == "aarch64" else "--gpus all"
    return f"no NVIDIA driver is visible; install one and restart, or start the container with '{option}'"


def has_tensorrt_for_cuda_13() -> bool:
    """Whether TensorRT's package for CUDA 13 is installed; it needs a driver of release 580 or later."""
    try:
        importlib.metadata.version("tensorrt-cu13")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Device:
    """The GPU that this process uses: the first that CUDA_VISIBLE_DEVICES leaves visible.

    Attributes:
        name: as NVIDIA calls it.
        compute_capability: such as ``"8.9"``.
        driver: newest CUDA version that the driver knows, such as ``"12.6"``.
        memory_bytes: of the GPU; on a Jetson it is that of the whole machine.
        is_integrated: it shares its memory with the processor, as on a Jetson.
        multiprocessors: how many it has; GPUs of one name and compute capability differ in it, as those of
            the Orins do.
    """

    name: str
    compute_capability: str
    driver: str
    memory_bytes: int
    is_integrated: bool
    multiprocessors: int = 0


def open_device(cuda: Any) -> Device:
    """Makes the GPU ready for this process and says what it is.

    Raises:
        EngineError: there is no driver, it is too old, or it sees no GPU.
    """
    # Asks first: this call tells the missing driver and the missing GPU apart.
    check(cuda, cuda.cudaGetDeviceCount(), "find a GPU")
    # Sets up the primary context, which every library in the process shares.
    check(cuda, cuda.cudaSetDevice(0), "use the GPU")
    properties = check(cuda, cuda.cudaGetDeviceProperties(0), "describe the GPU")
    driver = check(cuda, cuda.cudaDriverGetVersion(), "ask the driver for its version")
    name = properties.name
    return Device(
        name=name.decode() if isinstance(name, bytes) else str(name),
        compute_capability=f"{properties.major}.{properties.minor}",
        driver=_version(driver),
        memory_bytes=int(properties.totalGlobalMem),
        is_integrated=bool(properties.integrated),
        multiprocessors=int(properties.multiProcessorCount),
    )


def _version(number: int) -> str:
    """CUDA writes 12.6 as 12060."""
    return f"{_major(number)}.{number % 1000 // 10}"


def _major(number: int) -> int:
    return number // 1000
