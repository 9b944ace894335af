"""Freed memory: kept for the next use, or returned to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FAULTS = """
import resource, numpy as np
from edgevision import allocator
if not allocator.{way}():
    print(-1)
    raise SystemExit
def use():
    np.ones(48 << 20, np.uint8)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize(
    ("way", "is_kept"),
    [("keep_freed_memory", True), ("keep_as_usual", False), ("give_back_freed_memory", False)],
)
def test_large_arrays_cost_page_faults_only_where_freed_memory_is_returned(way: str, is_kept: bool) -> None:
    code = _FAULTS.format(way=way)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    faults = int(done.stdout)
    if faults < 0:
        pytest.skip("needs glibc's malloc")
    # Huge pages make them few even where memory is returned: 48 MiB are 24 pages of 2 MiB.
    assert faults < 4 if is_kept else faults >= 4 * 24


def test_what_keeps_memory_can_be_undone() -> None:
    code = _FAULTS.format(way="keep_freed_memory").replace(
        "use()\nbefore", "use()\nallocator.keep_as_usual()\nuse()\nbefore"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if int(done.stdout) < 0:
        pytest.skip("needs glibc's malloc")
    assert int(done.stdout) >= 4 * 24


def test_memory_is_returned_where_keeping_it_ends() -> None:
    code = """
from pathlib import Path
import numpy as np
from edgevision.allocator import freed_memory_kept, keep_freed_memory
def held_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20
with freed_memory_kept():
    kept = keep_freed_memory()
    np.ones(200 << 20, np.uint8)
    within = held_mib()
print(kept, within - held_mib())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept, returned = done.stdout.split()
    if kept == "False":
        pytest.skip("needs glibc's malloc")
    assert int(returned) >= 190
