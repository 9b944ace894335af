"""A disk that is full."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mounts a small file system in memory; the test is skipped where that is not allowed.

    Args:
        folder: made here.
        size: as ``mount`` takes it, such as ``300k``.
    """
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "edgevision-test", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Writes a file until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1024))
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as filler:
        while True:
            filler.write(b"x")
