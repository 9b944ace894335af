"""The JSON files of a folder, each read once and shown to every layout that may be its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgevision.data.formats.json_file import shape
from edgevision.data.formats.text import read_text
from edgevision.data.layouts.tree import Tree
from edgevision.errors import DataError


class Documents:
    """JSON by file; a file that is no JSON is in none of the answers.

    Args:
        tree: the folder.
        only: the one file that the user named.

    Attributes:
        broken: files called ``.json`` that are none, and why.
    """

    def __init__(self, tree: Tree, only: Path | None = None) -> None:
        self.broken: dict[Path, str] = {}
        self._found: dict[Path, Any] = {}
        files = tree.with_suffix(".json") if only is None else (only,)
        for path in files:
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            self._found[path] = json.loads(read_text(path))
        except (DataError, ValueError, RecursionError) as error:
            self.broken[path] = str(error)

    def mappings(self, *keys: str) -> dict[Path, dict[str, Any]]:
        """The files that hold an object with all of these keys."""
        return {
            path: found
            for path, found in self._found.items()
            if isinstance(found, dict) and all(key in found for key in keys)
        }

    def lists(self, *keys: str) -> dict[Path, list[Any]]:
        """The files that hold a list whose first entry is an object with all of these keys."""
        return {
            path: found
            for path, found in self._found.items()
            if isinstance(found, list)
            and found
            and isinstance(found[0], dict)
            and all(key in found[0] for key in keys)
        }

    def shape(self, path: Path) -> str:
        """What a file holds, in a few words."""
        if path in self.broken:
            return f"no JSON ({self.broken[path]})"
        return shape(self._found.get(path))
