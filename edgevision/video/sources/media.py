"""Images or videos in a folder or matching a pattern, in natural order."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevision.errors import SourceError
from edgevision.suffixes import IMAGE_SUFFIXES, MAYBE_IMAGE_SUFFIXES, VIDEO_SUFFIXES
from edgevision.video.sources.images import is_image_file


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
        files = sorted((path for path in names if path.is_file() and path.name[0] != "."), key=_natural)
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
        what = f"{len(files)} other files" if files else "nothing"
        raise SourceError(f"{place}: found {what}, expected images or videos such as .jpg, .png, .mp4, .mkv")
    return Media("images", images) if images else Media("videos", videos)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
