"""The files of the page itself, read once: HTML, style and ES modules without a build step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file.

    Attributes:
        data: its bytes.
        media_type: for the browser.
        etag: changes with its bytes.
    """

    data: bytes
    media_type: str
    etag: str


def page_files() -> dict[str, PageFile]:
    """Every file by its path on the server; ``/`` is the page."""
    found = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            data = path.read_bytes()
            etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            found[f"/{path.name}"] = PageFile(data, _TYPES[path.suffix], etag)
    found["/"] = found["/index.html"]
    return found
