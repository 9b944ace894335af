"""What pyproject.toml says, for tests of it."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from tests.support.paths import ROOT


def pyproject() -> dict[str, Any]:
    """The document as nested tables."""
    # Python has a reader since 3.11; pytest brings the same one for 3.10.
    reader = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    return dict(reader.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
