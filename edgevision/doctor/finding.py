"""What a check says."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["ok", "note", "problem"]


class Finding(msgspec.Struct, frozen=True):
    """One line of the report.

    Attributes:
        check: what was looked at, in one word.
        status: ``problem`` keeps something that edgevision needs from working; a ``note`` is worth
            knowing, and nothing is broken.
        found: what was found, on one line.
        fix: the command that mends it, or what to do where there is no such command; empty where
            nothing is to be done.
    """

    check: str
    status: Status
    found: str
    fix: str = ""
