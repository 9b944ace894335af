"""How fast the float and the int8 file run in the engines of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.contract.manifest import INPUT_NAME
from edgevision.engines import ENGINES, load_engine
from edgevision.errors import EdgeVisionError

_RUNS = 20
_SECONDS = 10.0


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """One engine on one machine, one image at a time, preprocessing and decoding in the graph included.

    Attributes:
        engine: its name and version.
        float_ms, int8_ms: median milliseconds a frame.
    """

    engine: str
    float_ms: float
    int8_ms: float


def measure_speed(
    float_path: Path,
    int8_path: Path,
    frame: NDArray[np.uint8],
    on_engine: Callable[[int], None] = lambda done: None,
) -> list[Speed]:
    """Times both files in each engine that is available here; the others are left out.

    Args:
        float_path, int8_path: models of the contract.
        frame: uint8 ``[1, H, W, 3]``.
        on_engine: called with the number of engines done.
    """
    found = []
    for done, name in enumerate(timed_engines(), start=1):
        speed = _time(float_path, int8_path, name, frame)
        if speed is not None:
            found.append(speed)
        on_engine(done)
    return found


def timed_engines() -> tuple[str, ...]:
    """The engines to try. ONNX Runtime's TensorRT builds for minutes; ``auto`` is one of the others."""
    return tuple(name for name in ENGINES if name not in ("auto", "tensorrt"))


def _time(float_path: Path, int8_path: Path, engine: str, frame: NDArray[np.uint8]) -> Speed | None:
    inputs = {INPUT_NAME: frame}
    try:
        with load_engine(float_path, engine) as first, load_engine(int8_path, engine) as second:
            float_ms, int8_ms = _median_ms(lambda: first.infer(inputs), lambda: second.infer(inputs))
            return Speed(engine=first.name, float_ms=round(float_ms, 2), int8_ms=round(int8_ms, 2))
    except EdgeVisionError:
        return None  # not installed, or without the device


def _median_ms(*runs: Callable[[], object]) -> list[float]:
    """Of each, run alternately, so that other load on the machine slows all of them equally."""
    for run in runs:
        run()  # the first call allocates
    times: list[list[float]] = [[] for _ in runs]
    end = time.monotonic() + len(runs) * _SECONDS
    while len(times[0]) < _RUNS and (len(times[0]) < 3 or time.monotonic() < end):
        for run, mine in zip(runs, times, strict=True):
            started = time.perf_counter()
            run()
            mine.append((time.perf_counter() - started) * 1e3)
    return [float(np.median(mine)) for mine in times]
