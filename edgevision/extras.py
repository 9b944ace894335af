"""One clear line where a command needs packages that are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgevision.errors import UsageError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turns a failed import inside the block into the command that mends it.

    Raises:
        UsageError: a package of the extra is missing.
    """
    try:
        yield
    except ImportError as error:
        missing = error.name or str(error)
        raise UsageError(
            f"this command needs {missing}, which is not installed; run: pip install 'edgevision[{extra}]'"
        ) from error
