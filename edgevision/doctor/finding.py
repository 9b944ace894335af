"""The result of a check."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["ok", "note", "problem"]


class Finding(msgspec.Struct, frozen=True):
    """One line of the report.

    Attributes:
        check: what was checked, in one word.
        status: ``problem``: something that edgevision needs does not work; ``note``: worth knowing, but
            nothing is broken.
        found: what was found, on one line.
        fix: the command that fixes it, or what to do if there is none; empty if nothing needs to be done.
    """

    check: str
    status: Status
    found: str
    fix: str = ""
