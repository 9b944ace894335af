"""What the checks can ask of a machine. Tests replace it, or give it another root folder."""

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

_TIMEOUT_S = 180.0  # a machine that is busy with other things is not broken


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of trying a module in a process of its own.

    Attributes:
        value: what the expression gave, as JSON has it; None where it failed.
        error: the last line of what went wrong; empty where nothing did.
    """

    value: Any
    error: str = ""


class Machine:
    """The machine that this process runs on.

    Args:
        root: where its files are looked for.
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
        """The text of a file such as ``/etc/os-release``, or None where there is none."""
        try:
            return (self.root / path.lstrip("/")).read_text(errors="replace").rstrip("\0\n ")
        except OSError:
            return None

    def files(self, folder: str, pattern: str) -> list[str]:
        """Sorted paths of what in a folder matches a pattern, as the machine itself names them."""
        found = (self.root / folder.lstrip("/")).glob(pattern)
        return sorted("/" + str(path.relative_to(self.root)) for path in found)

    def may_use(self, path: str) -> bool:
        """Whether this user may read and write a file or device."""
        return os.access(self.root / path.lstrip("/"), os.R_OK | os.W_OK)

    def free_bytes(self, folder: Path) -> int:
        """Room that is left for this user where ``folder`` lies."""
        return shutil.disk_usage(folder).free

    def has_module(self, module: str) -> bool:
        """Whether a module is installed; it is not loaded."""
        return importlib.util.find_spec(module) is not None

    @functools.cached_property
    def packages(self) -> dict[str, str]:
        """Version of each installed package, by its name in lower case with hyphens."""
        found: dict[str, str] = {}
        for distribution in importlib.metadata.distributions():
            name = distribution.metadata["Name"]
            if name:  # what is left of a package that was removed by hand has none
                # The first one found is the one that Python imports.
                found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
        return found

    def try_module(self, module: str, expression: str = "None") -> Probe:
        """Loads a module in a process of its own, where it may crash, and evaluates an expression.

        Args:
            module: its name; the expression knows it as ``m``.
            expression: Python that gives what JSON can hold.
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
        """What a program prints, or None where it is missing or fails."""
        if shutil.which(command[0]) is None:
            return None
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, errors="replace"
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    # What several checks ask

    @property
    def l4t(self) -> tuple[int, str] | None:
        """Jetson Linux: its major release and its revision, such as ``(36, "4.3")``; None on a PC."""
        text = self.read("/etc/nv_tegra_release") or ""
        found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
        return None if found is None else (int(found[1]), found[2])

    @property
    def has_nvidia_gpu(self) -> bool:
        """Whether there is an NVIDIA GPU in it, with or without a driver."""
        if self.l4t is not None or self.files("/dev", "nvidia[0-9]*"):
            return True
        for device in self.files("/sys/bus/pci/devices", "*"):
            is_display = (self.read(f"{device}/class") or "").startswith("0x03")
            if is_display and self.read(f"{device}/vendor") == "0x10de":
                return True
        return False

    @property
    def is_container(self) -> bool:
        return self.read("/.dockerenv") is not None or self.read("/run/.containerenv") is not None
