"""Files with the same content under other names. Only files of equal size are read, which is cheap."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path


def find_copies(files: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each file that repeats one before it, with the first of those."""
    often = Counter(_size(path) for path in files)
    first: dict[bytes, Path] = {}
    pairs = ((path, first.setdefault(_digest(path), path)) for path in files if often[_size(path)] > 1)
    return [(path, before) for path, before in pairs if path is not before]


def find_shared(files: Sequence[Path], others: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each of ``files`` whose content is also among ``others``, with the first that has it there."""
    sizes = {_size(path) for path in files} & {_size(path) for path in others}
    first: dict[bytes, Path] = {}
    for path in _of(sizes, others):
        first.setdefault(_digest(path), path)
    found = ((path, first.get(_digest(path))) for path in _of(sizes, files))
    return [(path, other) for path, other in found if other is not None]


def _of(sizes: set[int], files: Iterable[Path]) -> Iterable[Path]:
    return (path for path in files if _size(path) in sizes)


def _size(path: Path) -> int:
    return path.stat().st_size


def _digest(path: Path) -> bytes:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
