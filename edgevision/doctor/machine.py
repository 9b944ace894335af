"""What the checks can query of a machine. Tests replace it or give it another root folder."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.engines.trt.board import board_name

_TIMEOUT_S = 180.0  # long, because a busy machine is not broken


@dataclass(frozen=True, slots=True)
class Probe:
    """Result of loading a module in a separate process.

    Attributes:
        value: value of the expression, decoded from JSON; None on failure.
        error: the last line of the error message; empty on success.
    """

    value: Any
    error: str = ""


class Machine:
    """The machine that this process runs on.

    Args:
        root: folder in which its files are looked up.
        environ: its environment variables.

    Attributes:
        architecture: ``x86_64``, ``aarch64``.
        python: version, as numbers.
    """

    def __init__(self, root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> None:
        self.root = root
        self.environ = environ
        self.architecture = platform.machine()
        self.python: tuple[int, int, int] = sys.version_info[:3]

    def read(self, path: str) -> str | None:
        """The text of a file such as ``/etc/os-release``; None if it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(errors="replace").rstrip("\0\n ")
        except OSError:
            return None

    def files(self, folder: str, pattern: str) -> list[str]:
        """Sorted absolute paths of the entries of a folder that match a pattern."""
        found = (self.root / folder.lstrip("/")).glob(pattern)
        return sorted("/" + str(path.relative_to(self.root)) for path in found)

    def may_use(self, path: str) -> bool:
        """Whether this user can read and write a file or device."""
        return os.access(self.root / path.lstrip("/"), os.R_OK | os.W_OK)

    def free_bytes(self, folder: Path) -> int:
        """Free bytes for this user on the file system of ``folder``."""
        return shutil.disk_usage(folder).free

    def has_module(self, module: str) -> bool:
        """Whether a module is installed; it is not loaded."""
        return importlib.util.find_spec(module) is not None

    @functools.cached_property
    def packages(self) -> dict[str, str]:
        """Version of each installed package, by its normalised name (lower case, hyphens)."""
        found: dict[str, str] = {}
        for distribution in importlib.metadata.distributions():
            name = distribution.metadata["Name"]
            if name:  # leftovers of a package that was deleted by hand have none
                # The first one found is the one that Python imports.
                found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
        return found

    def try_module(self, module: str, expression: str = "None") -> Probe:
        """Loads a module in a separate process, where it may crash, and evaluates an expression.

        Args:
            module: its name; the expression refers to it as ``m``.
            expression: a Python expression whose value JSON can represent.
        """
        code = f"import json, importlib; m = importlib.import_module({module!r}); "
        code += f"print(json.dumps({expression}))"
        try:
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return Probe(None, f"did not load within {_TIMEOUT_S:.0f} s")
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
            # "ImportError: libGL.so.1: cannot open ..." without the exception's name
            return Probe(None, re.sub(r"^[\w.]*(Error|Exception): ", "", lines[-1].strip()))
        return Probe(json.loads(done.stdout.strip().splitlines()[-1]))

    def run(self, *command: str) -> str | None:
        """Standard output of a program; None if it is not installed or fails."""
        if shutil.which(command[0]) is None:
            return None
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, errors="replace"
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    # Used by several checks

    @property
    def l4t(self) -> tuple[int, str] | None:
        """Jetson Linux: its major release and its revision, such as ``(36, "4.3")``; None on a PC."""
        text = self.read("/etc/nv_tegra_release") or ""
        found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
        return None if found is None else (int(found[1]), found[2])

    @property
    def board(self) -> str:
        """What the board calls itself: a Jetson's name; ``""`` on a PC."""
        return board_name(self.root)

    @property
    def is_jetson(self) -> bool:
        """Whether it is a Jetson, also in a container that sees neither its release nor its name."""
        devices = self.files("/dev", "nvmap") + self.files("/dev", "nvhost-*")
        return self.l4t is not None or bool(devices) or "Jetson" in self.board or "Orin" in self.board

    @property
    def driver_release(self) -> int | None:
        """NVIDIA's driver on a PC by its first number, such as 550; None where there is none."""
        version = re.search(r"Module.*?\s(\d+)\.[\d.]+\s", self.read("/proc/driver/nvidia/version") or "")
        return None if version is None else int(version[1])

    @property
    def has_nvidia_gpu(self) -> bool:
        """Whether it has an NVIDIA GPU, with or without a driver."""
        if self.is_jetson or self.files("/dev", "nvidia[0-9]*"):
            return True
        for device in self.files("/sys/bus/pci/devices", "*"):
            is_display = (self.read(f"{device}/class") or "").startswith("0x03")
            if is_display and self.read(f"{device}/vendor") == "0x10de":
                return True
        return False

    @property
    def is_container(self) -> bool:
        return self.read("/.dockerenv") is not None or self.read("/run/.containerenv") is not None
