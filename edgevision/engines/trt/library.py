"""TensorRT and TensorRT for RTX: two libraries with one Python API, and the one logger of a process."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edgevision.engines.base import one_line, one_line_text
from edgevision.engines.trt.cuda_runtime import CUDA_12_TENSORRT, has_tensorrt_for_cuda_13
from edgevision.engines.trt.plan import Flavour, flavour_name
from edgevision.errors import EngineError
from edgevision.extras import local_command

MODULES: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""The Python module of each library."""

_INSTALL: dict[Flavour, str] = {
    "tensorrt": "pip install 'edgevision[tensorrt]'; on a Jetson it comes with JetPack: sudo apt install "
    "python3-libnvinfer, and a virtual environment that was made with --system-site-packages",
    "tensorrt-rtx": "pip install 'edgevision[tensorrt-rtx]' (x86-64, Python 3.11 or later)",
}

Listener = Callable[[str, str], None]
"""Takes a severity (``error``, ``warning``, ``info``, ``verbose``) and the message."""


def is_installed(flavour: Flavour) -> bool:
    """Whether the library's Python module is there; it is not loaded."""
    return importlib.util.find_spec(MODULES[flavour]) is not None


def load_library(flavour: Flavour) -> Any:
    """The library's Python module.

    Raises:
        EngineError: it is not installed, or cannot be loaded; the message says how to install it.
        KeyboardInterrupt, SystemExit: a signal while it was loading, which takes seconds.
    """
    try:
        return importlib.import_module(MODULES[flavour])
    except (ImportError, OSError) as error:  # OSError: a shared library that it needs is missing
        _raise_interrupt(error)
        reason = "is not installed" if not is_installed(flavour) else f"cannot be loaded ({error})"
        raise EngineError(
            f"{flavour_name(flavour)} {reason}; expected the Python module {MODULES[flavour]}; "
            f"install it: {local_command(_INSTALL[flavour])}"
        ) from error


def _raise_interrupt(error: BaseException) -> None:
    """Raises the KeyboardInterrupt or SystemExit of a signal that pybind11 made this error of, if any."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (KeyboardInterrupt, SystemExit)):
            raise seen
        seen = seen.__cause__ or seen.__context__


def library_version(trt: Any) -> str:
    """The library's version without its build number, as plans depend on it: ``10.3.0``."""
    return ".".join(str(trt.__version__).split(".")[:3])


@functools.cache
def process_logger(trt: Any) -> Any:
    """The only logger that this process gives to a library.

    TensorRT keeps the first logger that it meets and warns of any other, so builders, parsers and runtimes
    share this one. It is silent but for those that listen: see :func:`listening`.
    """
    severities = {
        trt.ILogger.INTERNAL_ERROR: "error",
        trt.ILogger.ERROR: "error",
        trt.ILogger.WARNING: "warning",
        trt.ILogger.INFO: "info",
        trt.ILogger.VERBOSE: "verbose",
    }

    class ProcessLogger(trt.ILogger):  # type: ignore[misc]  # known only once the library is loaded
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.listeners: list[Listener] = []

        def log(self, severity: Any, message: str) -> None:
            for listener in tuple(self.listeners):
                listener(severities.get(severity, "error"), message)

    return ProcessLogger()


@contextmanager
def listening(trt: Any, listener: Listener) -> Iterator[Any]:
    """While it lasts, ``listener`` hears what the library logs, on whatever thread; yields the logger."""
    logger = process_logger(trt)
    logger.listeners.append(listener)
    try:
        yield logger
    finally:
        logger.listeners.remove(listener)


class ErrorLog:
    """Listens for what went wrong, so that an exception can say it.

    Attributes:
        errors, warnings: what the library logged, in order.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self._thread: int | None = None

    def begin(self) -> None:
        """Forgets what was said, and from now on hears this thread only: what several requests in flight
        are told apart by."""
        self._thread = threading.get_ident()
        self.errors.clear()
        self.warnings.clear()

    def __call__(self, severity: str, message: str) -> None:
        if self._thread not in (None, threading.get_ident()):
            return
        if severity == "error":
            self.errors.append(message)
        elif severity == "warning":
            self.warnings.append(message)

    def __str__(self) -> str:
        """The first error in one line of a reasonable length: the ones after it follow from it."""
        # Without a GPU, TensorRT for RTX logs that there is none beside each error, whatever that is about.
        errors = [error for error in self.errors if "catchCudaError" not in error] or self.errors
        return one_line_text(errors[0] if errors else "no error was logged", 300)


@contextmanager
def one_line_errors(doing: str, log: ErrorLog) -> Iterator[None]:
    """Turns what a binding raises into an error of one line; around calls of the library only.

    Most failures are a returned False or None. Some are exceptions: RuntimeError where the library threw,
    TypeError where it gave null, ValueError or OverflowError for a number that it does not take.

    Args:
        doing: the beginning of the message: ``"TensorRT cannot build street.onnx"``.
        log: what the library logged, which says more than the exception.

    Raises:
        EngineError: the block raised one of these.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        _raise_interrupt(error)
        reason = str(log) if log.errors else one_line(error) or type(error).__name__
        raise EngineError(f"{doing} ({reason})") from error


def started(make: Callable[[], Any], flavour: Flavour, log: ErrorLog) -> Any:
    """A runtime or a builder, the first thing that the library makes and the first that needs the driver.

    Raises:
        EngineError: the library cannot start; the message says what to do.
    """
    try:
        return make()
    except (RuntimeError, TypeError) as error:  # pybind11 raises TypeError where a constructor gave null
        _raise_interrupt(error)
        if re.search(r"(?i)error:? 35\b|driver version is insufficient", " ".join(log.errors)) is None:
            mend = "run: edgevision doctor"
        elif flavour == "tensorrt" and has_tensorrt_for_cuda_13():
            mend = (
                "it is built for CUDA 13, which needs NVIDIA's driver 580 or later; update the driver, or "
                f"run: {CUDA_12_TENSORRT}"
            )
        else:
            mend = "the NVIDIA driver is older than the CUDA it is built for; update the driver"
        raise EngineError(f"{flavour_name(flavour)} cannot start ({log}); {mend}") from error
