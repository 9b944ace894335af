"""JSON files of labels: reading them, and saying in a few words what they hold or what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgevision.errors import DataError

INSTANCES = ("images", "annotations", "categories")
"""What COCO instances json holds at least."""
_ROW = ("image_id", "category_id", "bbox", "score")


def load_json(path: Path, kind: str, missing: str) -> Any:
    """What a json file holds.

    Args:
        path: the file.
        kind: of json that is expected, for messages.
        missing: what the file is called where it is not found.

    Raises:
        DataError: the file is missing, cannot be read or is no json.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{missing} not found: {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not {kind} json: it is no json ({fault(error)})") from error


def shape(document: Any) -> str:
    """What json holds, in a few words.

    Example:
        >>> shape([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.5}])
        'a list of results rows'
        >>> shape({"images": [], "annotations": [], "categories": []})
        'COCO instances (images, annotations, categories)'
    """
    if isinstance(document, dict):
        if all(key in document for key in INSTANCES):
            return f"COCO instances ({', '.join(INSTANCES)})"
        keys = ", ".join(f"'{key}'" for key in list(document)[:6])
        return f"an object with {keys or 'no keys'}"
    if isinstance(document, list):
        first = document[0] if document else None
        if isinstance(first, dict) and all(key in first for key in _ROW):
            return "a list of results rows"
        return f"a list of {len(document)}"
    return "a single value"


def fault(error: Exception) -> str:
    """Why json cannot be read or used, without the names of Python's classes."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is no text in {error.encoding}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"an entry has no {error}"
    return str(error)
