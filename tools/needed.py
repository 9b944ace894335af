"""For the tools beside it: one line in place of a traceback where what they import is not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def installed() -> Iterator[None]:
    """Around the imports of a tool: ends it with exit code 1 and a line that says what is missing.

    Raises:
        SystemExit: edgevision or its extra ``train`` is not installed, or something cannot be loaded.
    """
    try:
        from edgevision.errors import EdgeVisionError
        from edgevision.extras import needs_extra
    except ModuleNotFoundError as error:
        advice = f"run: make dev; then: .venv/bin/python {sys.argv[0]}"
        raise SystemExit(f"error: edgevision is not installed; {advice}") from error
    try:
        with needs_extra("train", Path(sys.argv[0]).name):
            yield
    except EdgeVisionError as error:
        raise SystemExit(f"error: {error}") from error
