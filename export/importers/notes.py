"""The notes that exporters leave in their files: who wrote it, for which task, with which class names."""

from __future__ import annotations

import ast
import json
from typing import Literal

from edgevision.errors import UsageError
from edgevision.export.importers.core import Core


def maker(core: Core) -> Literal["ultralytics", "libreyolo"] | None:
    """The program whose notes the file carries; None where it carries none that are known."""
    said = core.metadata
    if "libreyolo_version" in said or "model_family" in said:
        return "libreyolo"
    if said.get("author") == "Ultralytics" or {"task", "stride", "imgsz"} <= set(said):
        return "ultralytics"
    return None


def family(core: Core) -> str | None:
    """The ``model_family`` that libreyolo writes."""
    return core.metadata.get("model_family")


def task(core: Core) -> str:
    """The task that the file names; ``detect`` where it names none."""
    return core.metadata.get("task", "detect")


def names(core: Core) -> tuple[str, ...] | None:
    """Class names from the ``names`` note that exporters leave: ``{0: 'person', 1: 'car'}``, or as JSON.

    JSON has text for keys: ``{"0": "person", "1": "car"}``.

    Raises:
        UsageError: a name is empty or given twice.
    """
    found = _parsed(core.metadata.get("names", ""))
    if isinstance(found, dict):
        keyed = {int(key): name for key, name in found.items() if str(key).isdecimal()}
        if len(keyed) != len(found) or sorted(keyed) != list(range(len(found))):
            return None
        found = [keyed[i] for i in range(len(found))]
    if not isinstance(found, list | tuple):
        return None
    texts = tuple(str(name).strip() for name in found)
    for position, text in enumerate(texts):
        if not text or text in texts[:position]:
            wrong = f"'{text}', as is number {texts.index(text)}" if text else "empty"
            raise UsageError(
                f"{core.origin}: the class name number {position} in its own list is {wrong}; pass `classes` "
                f"with {len(texts)} different names"
            )
    return texts


def name_count(core: Core) -> int | None:
    """How many class names the file carries, whether they are good ones or not; None for no list."""
    found = _parsed(core.metadata.get("names", ""))
    return len(found) if isinstance(found, dict | list | tuple) and found else None


def _parsed(text: str) -> object:
    """A note that is a Python literal or JSON; None for any other."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
