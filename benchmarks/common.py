"""What the benchmarks share: command line, description of the machine, report of the result."""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgevision.engines.base import usable_cores
from edgevision.errors import EdgeVisionError
from edgevision.files import atomic_path, json_text, write_json

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Clips and labelled images beside the checkout; they can be absent."""

Figures = dict[str, Any]
"""What a benchmark measured, as it stands in the JSON document."""


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the program's docstring, with the option ``--json``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result to this file too")
    return parser


def report(
    measure: Callable[[], Figures],
    json_path: Path | None = None,
    page_path: Path | None = None,
    show: Callable[[Figures], str] = json_text,
) -> int:
    """Measures, writes the result where that is asked for, and prints it.

    Args:
        measure: takes the measurement.
        json_path: where the result goes as JSON.
        page_path: where the text that is printed goes.
        show: the text of a result, line break at the end included.

    Returns:
        The program's exit code: 0, or that of the error, which is printed as one line.
    """
    try:
        result = measure()
        text = show(result)
        if json_path is not None:
            write_json(json_path, result)
        if page_path is not None:
            with atomic_path(page_path) as partial:
                partial.write_text(text, encoding="utf-8")
    except EdgeVisionError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(text, end="")
    return 0


def machine() -> Figures:
    """Processor, cores, system and the load at this moment: call it before the measurement."""
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def processor() -> str:
    """The processor's name; where the system does not tell it, its architecture."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        cpuinfo = ""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit that is measured, ``-dirty`` where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
