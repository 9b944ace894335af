"""The quickest precision of a model that ships, on the machine at hand.

The processor and the engines that are installed say which precisions can be quicker at all: INT8 where
OpenVINO runs on a processor that sums INT8 products exactly (VNNI, or ARM's dot product), FP16 on a GPU.
Where one can be, it is timed beside the FP32 file, in turns. Where the turns agree, the result is kept in
``~/.cache/edgevision/speed`` under the processor, the number of threads, the versions of the engines and the
checksums of the files. Where they scatter, as they do while other programs run, nothing is kept, and FP32 is
taken unless the other was a tenth faster so often that chance does not explain it.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.cache import Cache, cache_folder
from edgevision.contract.manifest import INPUT_NAME
from edgevision.engines import Engine, load_engine
from edgevision.engines.base import usable_cores
from edgevision.engines.choose import FileFacts, MachineFacts, choose_engines, machine_facts
from edgevision.errors import EngineError, ModelError
from edgevision.extras import install_command
from edgevision.files import json_text
from edgevision.suffixes import IMAGE_SUFFIXES
from edgevision.zoo import ZooFile, ZooModel, find_model, shipped_model

MOST_DROP = 0.005
"""A file whose card says a larger loss of accuracy, or none, is never taken unless it is asked for."""

GAIN = 1.1
"""How many times as fast as the FP32 file another must be to be worth any loss."""

BRIEF = 100
"""So many frames are over before OpenVINO's longer start has paid (docs/benchmarks/int8.md)."""

STEADY = 1.3
"""How far turns may scatter where their times are believed: see :attr:`Timing.scatter`.

Ten measurements of nine turns beside two trainings on two cores scattered by 1.44 to 19.6.
"""

_RULES = 2  # goes up when the same machine would give other times, so that no old result is taken up
_MOST_TURNS = 15
_ENOUGH_TURNS = 5
_FEWEST_TURNS = 3
_SECONDS = 1.0  # no turn begins later where there were enough
_MOST_SECONDS = 2.0  # nor later than this where there were the fewest
_CHANCE = 0.05
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino")


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """What turns of a measurement say together.

    Attributes:
        times_ms: the median of each precision.
        gains: of each but FP32, the median of how many times as fast as FP32 it was in the same turn.
        least_gains: the same less its uncertainty, see :func:`least_median`.
        scatter: the largest of three quotients: a precision's median time and its shortest, and of each gain
            the upper quartile and the lower; 1 where all turns are alike.
        date: when it was measured, as ``2026-11-30``.
    """

    times_ms: dict[str, float]
    gains: dict[str, float]
    least_gains: dict[str, float] = {}
    scatter: float
    date: str

    @property
    def is_steady(self) -> bool:
        """Whether the turns agree well enough to be believed."""
        return self.scatter <= STEADY


_MEASURED: dict[str, Timing] = {}  # by this process: the same answer while it runs, kept or not


@dataclass(frozen=True, slots=True)
class QuickestFile:
    """A file, and why it was taken.

    Attributes:
        path: the file.
        reason: one line for the user; empty where there was nothing to choose.
    """

    path: Path
    reason: str = ""


def quickest_file(
    name_or_path: str | os.PathLike[str],
    engine: str = "auto",
    threads: int | None = None,
    *,
    is_brief: bool = False,
) -> QuickestFile:
    """The file of a model that answers soonest, of those whose card says a drop of at most 0.005.

    Args:
        name_or_path: a name that ships; a path is that file.
        engine: one of :data:`edgevision.engines.ENGINES`.
        threads: CPU threads; None for every core.
        is_brief: a few images are all that will come, for which no other engine is worth its longer start.

    Raises:
        ModelError: there is no such model.
    """
    model = shipped_model(name_or_path)
    if model is None:
        return QuickestFile(find_model(name_or_path))
    first = model.files[0]
    if is_brief or first.manifest.precision != "fp32" or len(model.files) == 1:
        return QuickestFile(first.path)
    machine = machine_facts()
    engines = {"fp32": (first, _engine(first, engine, machine))}
    for file in model.files[1:]:
        if file.drop is None or file.drop > MOST_DROP:
            continue
        own = _engine(file, engine, machine)
        if _can_gain(file, own, machine):
            engines[file.manifest.precision] = (file, own)
    if len(engines) == 1:
        return QuickestFile(first.path, _hint(model, engine, machine))
    timing, is_kept = _timing(engines, threads or usable_cores())
    return _choose({name: file for name, (file, _) in engines.items()}, timing, is_kept)


def forget_times() -> int:
    """Drops every kept measurement, so that each model is measured again.

    Returns:
        How many there were.

    Raises:
        SinkError: one cannot be removed.
    """
    _MEASURED.clear()
    return Cache(cache_folder("speed")).clear()


def is_brief(sources: Sequence[str], max_frames: Sequence[int | None]) -> bool:
    """Whether so few images will come that no other engine is worth its longer start.

    Args:
        sources: one or more for True.
        max_frames: the most frames of each source; None where no number says so.

    Returns:
        True where each is a single image by its name, or ends after at most :data:`BRIEF` frames.
    """
    return bool(sources) and all(
        _is_image(source) or (most is not None and most <= BRIEF)
        for source, most in zip(sources, max_frames, strict=True)
    )


def _is_image(source: str) -> bool:
    return Path(source).suffix.lower() in IMAGE_SUFFIXES and not set("*?[").intersection(source)


def _engine(file: ZooFile, engine: str, machine: MachineFacts) -> str:
    return (
        choose_engines(machine, FileFacts(file.manifest.precision))[0].engine if engine == "auto" else engine
    )


def _can_gain(file: ZooFile, engine: str, machine: MachineFacts) -> bool:
    """Whether a precision can be quicker than FP32 there.

    ONNX Runtime computes in float between the Q/DQ nodes of an INT8 file, and on a CPU FP16 gains nothing
    (docs/benchmarks/engines.md).
    """
    if file.manifest.precision == "int8":
        return engine == "openvino" and machine.int8_sums
    return file.manifest.precision == "fp16" and engine == "onnxruntime-cuda"


def _hint(model: ZooModel, engine: str, machine: MachineFacts) -> str:
    """What would make the model quicker; empty where nothing is known to."""
    is_cpu = engine == "auto" and "cuda" not in machine.providers
    gains = any(file.manifest.precision == "int8" and (file.drop or 1) <= MOST_DROP for file in model.files)
    if is_cpu and gains and machine.int8_sums and not machine.openvino:
        return f"int8 would be faster here with OpenVINO ({install_command('openvino')})"
    return ""


def _choose(files: Mapping[str, ZooFile], timing: Timing, is_kept: bool) -> QuickestFile:
    first = files["fp32"]
    if not timing.gains:
        return QuickestFile(first.path)
    best = max(timing.gains, key=lambda name: timing.gains[name])
    timed = f"{timing.times_ms[best]:.1f} ms an image here, fp32 {timing.times_ms['fp32']:.1f} ms"
    if not timing.is_steady:
        if timing.least_gains.get(best, 0) < GAIN:
            return QuickestFile(
                first.path, f"fp32, since the times scatter too much to choose by ({best} {timed}); not kept"
            )
        timed += ", in turns that scatter; not kept"
    if is_kept:
        timed += f", measured on {timing.date}; 'edgevision models' can have it measured again"
    if timing.gains[best] < GAIN:
        return QuickestFile(first.path, f"fp32, since {best} is not faster ({timed})")
    return QuickestFile(
        files[best].path, f"{best} ({timed}; its card says a drop of {max(files[best].drop or 0, 0):.2g})"
    )


def _timing(engines: Mapping[str, tuple[ZooFile, str]], threads: int) -> tuple[Timing, bool]:
    """How fast each precision is that runs here, and whether another process measured it."""
    cache = Cache(cache_folder("speed"))
    key = {
        "rules": _RULES,
        "processor": processor_name(),
        "threads": threads,
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "files": {name: (file.manifest.sha256, engine) for name, (file, engine) in engines.items()},
    }
    in_process = json_text(key)
    if in_process in _MEASURED:
        return _MEASURED[in_process], False
    kept = cache.load(key, Timing)
    if kept is not None:
        return kept, True
    timing = _MEASURED[in_process] = judge(measure(engines, threads))
    if timing.is_steady:
        cache.store(key, timing)
    return timing, False


def measure(engines: Mapping[str, tuple[ZooFile, str]], threads: int) -> dict[str, list[float]]:
    """Times one image at a time in turns, each in the other order than the one before.

    Args:
        engines: for each precision the file and the name of its engine.
        threads: CPU threads of each.

    Returns:
        For each precision the milliseconds of its call in each turn, all of one length; those that cannot be
        opened are left out.
    """
    with ExitStack() as opened:
        tried = {name: _opened(file, engine, threads) for name, (file, engine) in engines.items()}
        ready = {name: opened.enter_context(one) for name, one in tried.items() if one is not None}
        inputs = {name: _inputs(engines[name][0]) for name in ready}
        turns_ms: dict[str, list[float]] = {name: [] for name in ready}
        began = time.monotonic()
        for turn in range(_MOST_TURNS):
            if _is_over(turn, time.monotonic() - began):
                break
            for name in list(ready)[:: -1 if turn % 2 else 1]:
                start = time.perf_counter()
                ready[name].infer(inputs[name])
                turns_ms[name].append(1e3 * (time.perf_counter() - start))
    return turns_ms


def _is_over(turns: int, seconds: float) -> bool:
    return (turns >= _ENOUGH_TURNS and seconds > _SECONDS) or (
        turns >= _FEWEST_TURNS and seconds > _MOST_SECONDS
    )


def judge(turns_ms: Mapping[str, Sequence[float]]) -> Timing:
    """Medians of turns, and how far these scatter.

    Args:
        turns_ms: as :func:`measure` returns them.

    Example:
        >>> judge({"fp32": [30, 33, 30], "int8": [20, 22, 24]}).gains
        {'int8': 1.5}
    """
    floats = turns_ms.get("fp32", ())
    gains = {
        name: [first / own for first, own in zip(floats, times, strict=True)]
        for name, times in turns_ms.items()
        if name != "fp32" and floats
    }
    scatter = [statistics.median(times) / min(times) for times in turns_ms.values() if times]
    for one in gains.values():
        low, _, high = statistics.quantiles(one, n=4, method="inclusive")
        scatter.append(high / low)
    return Timing(
        times_ms={name: round(statistics.median(times), 2) for name, times in turns_ms.items()},
        gains={name: round(statistics.median(one), 3) for name, one in gains.items()},
        least_gains={name: round(least_median(one), 3) for name, one in gains.items()},
        scatter=round(max(scatter, default=1.0), 3),
        date=date.today().isoformat(),
    )


def least_median(values: Sequence[float]) -> float:
    """What the median of the values' distribution is not below, with a certainty of 95 %, or 0.

    The sign test (Dixon and Mood 1946, doi:10.1080/01621459.1946.10501898): as many of the values as chance
    rarely puts below a median may lie below. Fewer than five say nothing.

    Example:
        >>> least_median([2.0, 1.5, 1.2, 1.9, 1.7]), least_median([2.0, 2.0, 2.0, 2.0])
        (1.2, 0.0)
    """
    below, chance = 0, 0.0
    while (chance := chance + math.comb(len(values), below) / 2 ** len(values)) <= _CHANCE:
        below += 1
    return sorted(values)[below - 1] if below else 0.0


def _opened(file: ZooFile, engine: str, threads: int) -> Engine | None:
    """A file that has answered once, since the first call allocates; None where it does not run here."""
    try:
        opened = load_engine(file.path, engine, threads)
    except (EngineError, ModelError):
        return None
    try:
        opened.infer(_inputs(file))
    except EngineError:
        opened.close()
        return None
    return opened


def _inputs(file: ZooFile) -> dict[str, NDArray[np.uint8]]:
    manifest = file.manifest
    shape = (1, manifest.input_height, manifest.input_width, 3)
    return {INPUT_NAME: np.random.default_rng(0).integers(0, 256, shape, np.uint8)}


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What tells processors apart: the model's name where the system says it, and what it can do."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    wanted = ("model name", "flags", "Features", "CPU part", "CPU implementer")
    told = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    known = " ".join(told[name] for name in wanted if name in told)
    return known or f"{platform.machine()} {platform.processor()}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
