"""Images or videos in a folder or matching a pattern, in natural order."""

from __future__ import annotations

import contextlib
import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevision.errors import SourceError
from edgevision.suffixes import IMAGE_SUFFIXES, MAYBE_IMAGE_SUFFIXES, VIDEO_SUFFIXES
from edgevision.video.sources.images import is_image_file

_FOLDERS_LOOKED_INTO = 20


@dataclass(frozen=True, slots=True)
class Media:
    """Files of one kind, naturally ordered (``2.jpg`` before ``10.jpg``)."""

    kind: Literal["images", "videos"]
    paths: tuple[Path, ...]


def is_pattern(uri: str) -> bool:
    """Whether the address is a glob pattern and not the name of an existing file."""
    return glob.has_magic(uri) and not Path(uri).exists()


def find_media(uri: str) -> Media:
    """The images or videos in a folder (subfolders excluded) or matching a glob (``**`` matches subfolders).

    Raises:
        SourceError: there are no images or videos, or both kinds are present.
    """
    folder = Path(uri)
    # The glob module, because Path.glob takes no absolute pattern.
    try:
        names = folder.iterdir() if folder.is_dir() else map(Path, glob.glob(uri, recursive=True))  # noqa: PTH207
        shown = [path for path in names if not path.name.startswith(".")]
        files = sorted((path for path in shown if path.is_file()), key=_natural)
        folders = sorted((path for path in shown if path.is_dir()), key=_natural)
    except OSError as error:
        raise SourceError(f"cannot read {uri}: {error.strerror}") from error
    images = tuple(
        path for path in files if path.suffix.lower() in IMAGE_SUFFIXES or is_image_file(path)
    )  # of an animated PNG among images the first one is used
    used, known = set(images), {*VIDEO_SUFFIXES, *MAYBE_IMAGE_SUFFIXES}
    videos = tuple(path for path in files if path.suffix.lower() in known and path not in used)
    place = f"folder {uri}" if folder.is_dir() else f"'{uri}'"
    if images and videos:
        raise SourceError(
            f"{place}: found {len(images)} images and {len(videos)} videos, expected one kind; "
            f"choose with a pattern such as '{videos[0].parent / ('*' + videos[0].suffix)}'"
        )
    if not images and not videos:
        found = [_count(files, "other file"), _count(folders, "subfolder" if folder.is_dir() else "folder")]
        what = " and ".join(filter(None, found)) or "nothing"
        expected = f"expected images or videos such as .jpg, .png, .mp4, .mkv{_deeper(folders)}"
        raise SourceError(f"{place}: found {what}, {expected}")
    return Media("images", images) if images else Media("videos", videos)


def _count(paths: list[Path], noun: str) -> str:
    return f"{len(paths)} {noun}{'s' if len(paths) > 1 else ''}" if paths else ""


def _deeper(folders: list[Path]) -> str:
    """Where images or videos lie, if the first of these folders that can be read have some."""
    known = {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, *MAYBE_IMAGE_SUFFIXES}
    for folder in folders[:_FOLDERS_LOOKED_INTO]:
        with contextlib.suppress(OSError):
            for path in folder.iterdir():
                if path.suffix.lower() in known and path.name[0] != "." and path.is_file():
                    pattern = Path(glob.escape(str(folder.parent))) / "**" / f"*{path.suffix}"
                    return f"; folders in it are not read: name one, such as {folder}, or '{pattern}'"
    return ""


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
