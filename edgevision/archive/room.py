"""How many workers a machine has room for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from edgevision.engines.base import usable_cores
from edgevision.suffixes import PLAN_SUFFIXES

_WORKER_BYTES = 1 << 30  # a model, its arenas and a few images of 4K
_GPU_JOBS = 2  # one decodes while the other's frames are inferred


def default_jobs(models: Sequence[Path], engine: str) -> int:
    """Workers that the machine has cores and memory for; with a plan, two share the GPU."""
    if needs_gpu(models, engine):
        return min(_GPU_JOBS, usable_cores())
    return max(1, min(usable_cores(), _free_bytes() // _WORKER_BYTES))


def needs_gpu(models: Sequence[Path], engine: str) -> bool:
    """Whether the models run on a GPU."""
    return engine in ("tensorrt", "onnxruntime-cuda") or any(
        path.suffix.lower() in PLAN_SUFFIXES for path in models
    )


def _free_bytes() -> int:
    """Memory that is free or can be freed."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
