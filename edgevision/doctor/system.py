"""Python, its packages, memory and disk."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgevision.doctor.finding import Finding
from edgevision.doctor.machine import Machine

# Also in pyproject.toml; a test checks that they agree.
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 14)
RUNTIME_PACKAGES = ("numpy", "av", "typer", "rich", "msgspec", "pyyaml")
"""Required packages, except OpenCV and ONNX Runtime, which several packages provide."""

GIB = 1 << 30
_FULL, _NEARLY_FULL = 256 << 20, 2 * GIB
_LITTLE_MEMORY = GIB


def check_python(machine: Machine) -> Iterator[Finding]:
    version = ".".join(map(str, machine.python))
    found = f"{version} on {machine.architecture}"
    if not OLDEST_PYTHON <= machine.python[:2] <= NEWEST_PYTHON:
        yield Finding(
            "python",
            "problem",
            f"{found}; expected 3.{OLDEST_PYTHON[1]} to 3.{NEWEST_PYTHON[1]}",
            f"python3.{NEWEST_PYTHON[1]} -m venv .venv && .venv/bin/pip install edgevision",
        )
    else:
        yield Finding("python", "ok", found)


def check_packages(machine: Machine) -> Iterator[Finding]:
    missing = [name for name in RUNTIME_PACKAGES if name not in machine.packages]
    if missing:
        names = " ".join(missing)
        yield Finding("packages", "problem", f"not installed: {', '.join(missing)}", f"pip install {names}")
    versions = ", ".join(
        f"{name} {machine.packages[name]}" for name in RUNTIME_PACKAGES if name in machine.packages
    )
    probe = machine.try_module("numpy", "m.__version__")
    if probe.error and "numpy" not in missing:
        yield Finding(
            "packages",
            "problem",
            f"NumPy does not load: {probe.error}",
            "pip install --force-reinstall numpy",
        )
    else:
        yield Finding("packages", "ok", versions or "none")


def check_memory(machine: Machine) -> Iterator[Finding]:
    text = machine.read("/proc/meminfo") or ""
    sizes = {name: int(kib) << 10 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    if "MemTotal" not in sizes:
        return
    free = sizes.get("MemAvailable", sizes.get("MemFree", 0))
    found = f"{free / GIB:.1f} of {sizes['MemTotal'] / GIB:.1f} GiB free"
    if free < _LITTLE_MEMORY:
        yield Finding(
            "memory",
            "note",
            f"{found}; building a plan or loading a large model may fail",
            "close other programs; list the largest with 'ps -eo rss,comm --sort=-rss | head'",
        )
    else:
        yield Finding("memory", "ok", found)


def check_disk(machine: Machine) -> Iterator[Finding]:
    folders = {"this folder": Path.cwd(), "temporary files": Path(tempfile.gettempdir())}
    for what, folder in folders.items():
        free = machine.free_bytes(folder)
        found = f"{free / GIB:.1f} GiB free for {what} ({folder})"
        clear = f"du -xhd1 {folder} 2>/dev/null | sort -h | tail"
        if free < _FULL:
            yield Finding("disk", "problem", f"{found}; outputs cannot be written", f"{clear}  # then delete")
        elif free < _NEARLY_FULL:
            yield Finding("disk", "note", f"{found}; an hour of video takes 1 GiB or more", clear)
        else:
            yield Finding("disk", "ok", found)
