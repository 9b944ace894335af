"""The files of a folder that people train on: links are followed, and what programs leave there is told."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edgevision.errors import DataError
from edgevision.suffixes import IMAGE_SUFFIXES, MAYBE_IMAGE_SUFFIXES

_LEFT_BY_PROGRAMS = {"__macosx", "thumbs.db", "desktop.ini", "labels.cache", "__pycache__"}

UNREAD_IMAGE_SUFFIXES = (
    *MAYBE_IMAGE_SUFFIXES, ".raw", ".dng", ".nef", ".cr2", ".arw", ".svg", ".psd", ".exr", ".jxl", ".dcm",
)  # fmt: skip
"""Images that a training does not read."""

_ROLES = (
    ("train", re.compile(r"(train|training|trn)(set|_set|val)?[-_]?\d*", re.IGNORECASE)),
    ("val", re.compile(r"(val|valid|validate|validation|dev|eval)(set|_set)?[-_]?\d*", re.IGNORECASE)),
    ("test", re.compile(r"(test|testing|tst|holdout)(set|_set)?[-_]?\d*", re.IGNORECASE)),
)


def role_of(name: str) -> str:
    """``train``, ``val`` or ``test`` for the name of a split as tools write it; empty for any other name.

    Example:
        >>> role_of("Valid"), role_of("train2017"), role_of("cam1")
        ('val', 'train', '')
    """
    return next((role for role, names in _ROLES if names.fullmatch(name)), "")


class Tree:
    """Every file below a folder, each once, in the order of their names.

    Args:
        root: the folder.
        images: where the images are, where that is another folder.

    Raises:
        DataError: a folder cannot be read.

    Attributes:
        root: the folder.
        files: the files that may belong to a data set.
        hidden: images with a name, or in a folder, that begins with a dot or that a program left there.
        images: those of ``files`` that can be read as images, by their suffix.
        unread: those of ``files`` that are images of a kind that is not read.
    """

    def __init__(self, root: Path, images: Path | None = None) -> None:
        self.root = root
        self._roots = [root] if images is None else [root, images]
        self.files: tuple[Path, ...] = ()
        self.hidden: tuple[Path, ...] = ()
        self.images: tuple[Path, ...] = ()
        self.unread: tuple[Path, ...] = ()
        self._ends: dict[str, list[Path]] = {}
        self._by_key: dict[str, Path] = {}
        self._fill([path for one in self._roots for path in _walk(one)])
        if images is not None:
            self._keep_below(images.absolute())
        self._index()

    def extend(self, folder: Path) -> None:
        """Takes in another folder that the labels name."""
        self._roots.append(folder)
        self._fill([*self.files, *self.hidden, *_walk(folder)])
        self._index()

    def _keep_below(self, folder: Path) -> None:
        self.images = tuple(path for path in self.images if path.absolute().is_relative_to(folder))

    def _fill(self, found: Iterable[Path]) -> None:
        kept: list[Path] = []
        hidden: list[Path] = []
        for path in dict.fromkeys(found):
            parts = self._parts(path)
            is_left = any(part.startswith(".") or part.lower() in _LEFT_BY_PROGRAMS for part in parts)
            (hidden if is_left else kept).append(path)
        suffixes = (*IMAGE_SUFFIXES, *UNREAD_IMAGE_SUFFIXES)
        self.files = tuple(kept)
        self.hidden = tuple(path for path in hidden if path.suffix.lower() in suffixes)
        self.images = tuple(path for path in kept if path.suffix.lower() in IMAGE_SUFFIXES)
        self.unread = tuple(path for path in kept if path.suffix.lower() in UNREAD_IMAGE_SUFFIXES)

    def _index(self) -> None:
        self._ends = {}
        for path in self.images:
            self._ends.setdefault(path.name.lower(), []).append(path)
        self._by_key = {str(path).lower(): path for path in self.files}

    def keep_folders(self, folders: set[Path]) -> None:
        """Forgets every image that is not in one of the folders."""
        self.images = tuple(path for path in self.images if path.parent in folders)
        self.unread = self.hidden = ()

    def with_suffix(self, *suffixes: str) -> tuple[Path, ...]:
        """The files with one of these suffixes, given in lower case."""
        return tuple(path for path in self.files if path.suffix.lower() in suffixes)

    def named(self, *names: str) -> tuple[Path, ...]:
        """The files with one of these names, given in lower case."""
        return tuple(path for path in self.files if path.name.lower() in names)

    def shown(self, path: Path) -> str:
        """A file's name below the root, for messages."""
        return "/".join(self._parts(path))

    def folders(self, path: Path) -> tuple[str, ...]:
        """The folders between the root and a file."""
        return self._parts(path)[:-1]

    def role(self, path: Path) -> str:
        """The role of the first folder above a file that has the name of a split, or empty."""
        return next((role for role in map(role_of, self.folders(path)) if role), "")

    def at(self, path: Path) -> Path | None:
        """The file at a path whose letters may be capitals there; None where there is none."""
        return self._by_key.get(str(path).lower())

    def find_image(self, name: str, near: Path | None = None, role: str = "") -> Path | None:
        """The image that a label file calls ``name``: the one whose path agrees with it the longest.

        Args:
            name: a file name, perhaps with folders that are not there, or with Windows' separators.
            near: the label file; of several images the one in its folder is taken.
            role: of the label file; of several images the one of the same split is taken.

        Returns:
            None where there is none, or where several agree equally.
        """
        wanted = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if not wanted:
            return None
        found = self._ends.get(wanted[-1].lower(), [])
        if len(found) > 1:
            found = _longest(found, lambda path: _common_end(path.parts, wanted))
        if len(found) > 1 and near is not None:
            found = [path for path in found if path.parent == near.parent] or found
        if len(found) > 1 and role:
            found = [path for path in found if self.role(path) == role] or found
        return found[0] if len(found) == 1 else None

    def _parts(self, path: Path) -> tuple[str, ...]:
        for root in self._roots:
            if path.is_relative_to(root):
                return path.relative_to(root).parts
        return path.parts


def _walk(root: Path) -> list[Path]:
    """Files below a folder. Linked folders are followed; each real folder is visited once."""
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot read the folder {error.filename}: {error.strerror}") from error

    seen = {_identity(root)}
    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        kept = []
        for name in sorted(folders):
            identity = _identity(Path(folder, name))
            if identity not in seen:
                seen.add(identity)
                kept.append(name)
        folders[:] = kept
        found += [Path(folder, name) for name in sorted(files)]
    return found


def _identity(folder: Path) -> tuple[int, int]:
    info = folder.stat()
    return info.st_dev, info.st_ino


def _common_end(parts: Sequence[str], wanted: Sequence[str]) -> int:
    count = 0
    for one, other in zip(reversed(parts), reversed(wanted), strict=False):
        if one.lower() != other.lower():
            break
        count += 1
    return count


def _longest(found: list[Path], agreement: Callable[[Path], int]) -> list[Path]:
    best = max(agreement(path) for path in found)
    return [path for path in found if agreement(path) == best]
