"""Which TensorRT plans this user's edgevision built.

A plan holds machine code that runs in the process which loads it, so a plan from elsewhere is as
dangerous as a program from elsewhere. Every plan built here is recorded by its SHA-256 in a file of the
user's own; any other is loaded only where the user says so.
"""

from __future__ import annotations

import os
import stat
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from edgevision.errors import EngineMismatchError, SinkError


class BuiltPlan(msgspec.Struct, frozen=True):
    """One line of the record.

    Attributes:
        sha256: of the plan.
        name: its file name, for people.
        built_at: UTC, ISO 8601.
    """

    sha256: str
    name: str
    built_at: str


def record_path() -> Path:
    """``plans.jsonl`` in edgevision's folder of the user's state: ``$XDG_STATE_HOME``, ``~/.local/state``."""
    home = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    state = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return state / "edgevision" / "plans.jsonl"


def record_built_plan(plan: str | os.PathLike[str], sha256: str) -> None:
    """Records that this user built a plan, so that it loads without a question.

    Raises:
        SinkError: the record cannot be written; the plan is then loaded with ``trust`` only.
    """
    path = record_path()
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    line = msgspec.json.encode(BuiltPlan(sha256, Path(plan).name, now)) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # One short append is whole even where two builds end together.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as stream:
            stream.write(line)
    except OSError as error:
        raise SinkError(
            f"cannot record {plan} as built here in {path} ({error.strerror}); pass `trust` to load it"
        ) from error


def is_built_here(sha256: str) -> bool:
    """True where the record holds this SHA-256.

    Raises:
        EngineMismatchError: others may write the record, so it proves nothing.
    """
    path = record_path()
    try:
        with path.open("rb") as stream:
            _check_private(path, os.fstat(stream.fileno()))
            lines = stream.read().splitlines()
    except OSError:
        return False
    return any(_sha256(line) == sha256 for line in lines)


def _check_private(path: Path, status: os.stat_result) -> None:
    if not hasattr(os, "getuid"):
        return
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EngineMismatchError(
            f"{path}, the record of plans built here, can be written by others, so it proves nothing; "
            f"run: chown {os.getuid()} {path} && chmod 600 {path}"
        )


def _sha256(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=BuiltPlan).sha256
    except msgspec.MsgspecError:  # half a line from a full disk
        return ""
