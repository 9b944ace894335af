"""What a run says where stderr is no terminal."""

from __future__ import annotations

import re

_TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", re.MULTILINE)


def without_times(text: str) -> str:
    """The lines of a log without the time of day before each."""
    return _TIME.sub("", text)
