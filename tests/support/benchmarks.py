"""Loads programs of benchmarks/ as modules."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from tests.support.paths import ROOT


def load_benchmark(name: str) -> ModuleType:
    """The program ``benchmarks/<name>.py``, its neighbours importable as for one that is started there."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
