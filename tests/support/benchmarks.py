"""Loads programs of benchmarks/ and tools/ as modules."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from tests.support.paths import ROOT


def load_benchmark(name: str) -> ModuleType:
    """The program ``benchmarks/<name>.py``, its neighbours importable as for one that is started there."""
    return _load("benchmarks", name)


def load_tool(name: str) -> ModuleType:
    """The same of ``tools/<name>.py``."""
    return _load("tools", name)


def _load(place: str, name: str) -> ModuleType:
    folder = str(ROOT / place)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
