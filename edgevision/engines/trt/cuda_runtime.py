"""The CUDA runtime through ``cuda.bindings.runtime`` (package cuda-python): its errors become one line.

Every function of the binding returns a tuple that begins with an error code; :func:`check` takes it off.
The binding imports on any machine, so what is missing shows at the first call.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from edgevision.errors import EngineError

_NO_DRIVER = (
    "no NVIDIA driver is visible; install one and restart, or in a container pass --gpus all "
    "(on a Jetson --runtime nvidia)"
)


def load_cuda() -> Any:
    """The module ``cuda.bindings.runtime``.

    Raises:
        EngineError: cuda-python is not installed or cannot be loaded.
    """
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise EngineError(
            f"CUDA's Python bindings cannot be loaded ({error}); install them with "
            "'pip install cuda-python' (on JetPack 6: 'pip install \"cuda-python<13\"')"
        ) from error


def check(cuda: Any, result: tuple[Any, ...], doing: str) -> Any:
    """What a call returned besides its error code: None, one value, or a tuple.

    Args:
        cuda: the module of the call.
        result: what the call returned.
        doing: the end of "CUDA cannot ...", for the message.

    Raises:
        EngineError: the call failed.
    """
    error, *values = result
    if int(error):
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
            return _NO_DRIVER
        needed = cuda.cudaRuntimeGetVersion()[1]
        return (
            f"the NVIDIA driver knows CUDA {_version(driver)}, but the bindings are for CUDA "
            f"{_version(needed)}; update the driver, or run: pip install 'cuda-python=={_major(driver)}.*'"
        )
    if error == cuda.cudaError_t.cudaErrorNoDevice:
        return "the NVIDIA driver sees no GPU; check 'nvidia-smi' and CUDA_VISIBLE_DEVICES"
    if error == cuda.cudaError_t.cudaErrorMemoryAllocation:
        return f"{found}; close other programs that use the GPU, or compile with a smaller --batch"
    return found


@dataclass(frozen=True, slots=True)
class Device:
    """The GPU that this process uses: the first that CUDA_VISIBLE_DEVICES leaves visible.

    Attributes:
        name: as NVIDIA calls it.
        compute_capability: such as ``"8.9"``.
        driver: newest CUDA version that the driver knows, such as ``"12.6"``.
        memory_bytes: of the GPU; on a Jetson it is that of the whole machine.
        is_integrated: it shares its memory with the processor, as on a Jetson.
    """

    name: str
    compute_capability: str
    driver: str
    memory_bytes: int
    is_integrated: bool


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
    )


def _version(number: int) -> str:
    """CUDA writes 12.6 as 12060."""
    return f"{_major(number)}.{number % 1000 // 10}"


def _major(number: int) -> int:
    return number // 1000
