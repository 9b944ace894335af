"""How fast the model files at hand run on this machine, and which of them to take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import msgspec
import numpy as np

from edgevision.contract.manifest import Manifest
from edgevision.engines import load_engine
from edgevision.engines.base import one_line, requests_of, usable_cores
from edgevision.engines.choose import MachineFacts, machine_facts
from edgevision.errors import EdgeVisionError
from edgevision.model import Model
from edgevision.suffixes import MODEL_SUFFIXES, PLAN_SUFFIXES
from edgevision.types import Image

LEAST_CALLS = 3
"""Of one measurement, after one that does not count."""

ALMOST = 1.1
"""A more accurate file is taken where it takes up to this many times as long."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """One way to run a file.

    Attributes:
        file: its path.
        engine: its name, as of :func:`edgevision.engines.load_engine`.
        threads: CPU threads in all.
        batch: images in a call.
        requests: calls at the same time, which share the threads.
    """

    file: str
    engine: str
    threads: int
    batch: int = 1
    requests: int = 1


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a setup.

    Attributes:
        setup: which.
        name, precision: of the model; empty where it could not be opened.
        latency_ms: median wall time from an image to results, of a call; 0 where it failed.
        images_per_second: letterbox, inference and reading of results included.
        figures: of accuracy, as the file says them (its card).
        error: why there is nothing, one line; else None.
    """

    setup: Setup
    name: str = ""
    precision: str = ""
    latency_ms: float = 0.0
    images_per_second: float = 0.0
    figures: dict[str, float] = {}
    error: str | None = None

    @property
    def accuracy(self) -> float:
        """The first of its figures; 0 where it has none."""
        return next(iter(self.figures.values()), 0.0)


def files_beside(path: Path) -> list[Path]:
    """The file, and others of the same model: ``NAME.int8.onnx``, ``NAME.engine`` beside ``NAME.onnx``."""
    stem = path.name.split(".")[0]
    others = (one for one in path.parent.glob(f"{stem}.*") if one.suffix.lower() in MODEL_SUFFIXES)
    return list(dict.fromkeys([path, *sorted(others)]))


def setups(files: Sequence[Path], machine: MachineFacts, cores: int) -> list[Setup]:
    """What is worth measuring: each engine on one thread and on all, in batches, and several calls at a time.

    Args:
        files: ONNX files and plans.
        machine: which engines there are.
        cores: threads to use at most.
    """
    found: list[Setup] = []
    on_cpu = ["onnxruntime"] * ("cpu" in machine.providers) + ["openvino"] * machine.openvino
    for file in map(str, files):
        if Path(file).suffix.lower() in PLAN_SUFFIXES:
            found += [Setup(file=file, engine="tensorrt", threads=cores, batch=batch) for batch in (1, 4)]
            continue
        if "cuda" in machine.providers:
            gpu = "onnxruntime-cuda"
            found += [Setup(file=file, engine=gpu, threads=cores, batch=batch) for batch in (1, 4)]
        for engine in on_cpu:
            requests = requests_of(cores, for_throughput=True)
            threads = dict.fromkeys((1, cores))
            found += [Setup(file=file, engine=engine, threads=count) for count in threads]
            found.append(Setup(file=file, engine=engine, threads=cores, batch=4))
            if requests > 1:
                found.append(Setup(file=file, engine=engine, threads=cores, requests=requests))
    return found


def street(width: int = 1280, height: int = 720) -> Image:
    """A made-up image, uint8 ``[H, W, 3]``: what is in it hardly changes how long a model takes."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def measure(setup: Setup, seconds: float, trust: bool = False) -> Speed:
    """Opens a file and runs it for a while; what goes wrong is in the result.

    Args:
        setup: how.
        seconds: how long, at least; never fewer than :data:`LEAST_CALLS` calls.
        trust: load a plan that was not built here.
    """
    try:
        engine = load_engine(setup.file, setup.engine, setup.threads, requests=setup.requests, trust=trust)
        with engine:
            model = Model(engine)
            images = [street()] * setup.batch
            model(images)
            wall_s, times_s = _timed(lambda: model(images), setup.requests, seconds)
            manifest: Manifest = model.manifest
    except EdgeVisionError as error:
        return Speed(setup=setup, error=one_line(error))
    return Speed(
        setup=setup,
        name=manifest.name,
        precision=manifest.precision,
        latency_ms=round(1e3 * statistics.median(times_s), 2),
        images_per_second=round(len(times_s) * setup.batch / wall_s, 1),
        figures=dict(manifest.figures),
    )


def _timed(call: Callable[[], object], requests: int, seconds: float) -> tuple[float, list[float]]:
    """Wall time of all, and that of each call; ``requests`` of them run at the same time."""
    began = time.perf_counter()

    def repeat(_: int) -> list[float]:
        times_s: list[float] = []
        while len(times_s) < LEAST_CALLS or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            call()
            times_s.append(time.perf_counter() - start)
        return times_s

    with ThreadPoolExecutor(requests) as pool:
        found = [one for each in pool.map(repeat, range(requests)) for one in each]
    return time.perf_counter() - began, found


def measure_all(
    files: Sequence[Path], seconds: float, *, threads: int | None = None, trust: bool = False
) -> Iterator[Speed]:
    """Measures each setup in turn; see :func:`setups`."""
    for setup in setups(files, machine_facts(), threads or usable_cores()):
        yield measure(setup, seconds, trust)


def best(speeds: Sequence[Speed], cost: Callable[[Speed], float]) -> Speed | None:
    """The cheapest; a more accurate file where it costs hardly more. None where nothing ran."""
    ran = [one for one in speeds if one.error is None]
    if not ran:
        return None
    limit = ALMOST * min(map(cost, ran))
    return min((one for one in ran if cost(one) <= limit), key=lambda one: (-one.accuracy, cost(one)))


def for_camera(speeds: Sequence[Speed]) -> Speed | None:
    """What answers a single frame soonest."""
    single = [one for one in speeds if one.setup.batch == one.setup.requests == 1]
    return best(single, lambda one: one.latency_ms)


def for_recordings(speeds: Sequence[Speed]) -> Speed | None:
    """What gets through most frames a second."""
    return best(speeds, lambda one: 1 / one.images_per_second)
