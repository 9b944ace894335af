"""Every error that edgevision raises on purpose, in one tree.

A message is one line that says what was found, what was expected and what to do next. The command
line prints it and exits with ``exit_code``; the traceback is shown only with ``--debug``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgeVisionError(Exception):
    """Root of the tree. Exit code 1."""

    exit_code = 1


class UsageError(EdgeVisionError):
    """The request itself cannot be carried out: an impossible threshold, an unknown class. Exit code 2."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file is unreadable, incomplete, or has a key that does not exist."""


class SourceError(EdgeVisionError):
    """A video, image, camera or stream cannot be opened or read."""


class SourceTimeoutError(SourceError):
    """A source delivered no frame in the time allowed. It may still recover."""


class SinkError(EdgeVisionError):
    """An output cannot be created or written."""


class OutputExistsError(SinkError):
    """An output exists already and nobody asked to overwrite it. Exit code 2."""

    exit_code = 2


class ModelError(EdgeVisionError):
    """A model file is missing, unreadable, or does not follow the contract."""


class ManifestError(ModelError):
    """The metadata of a model file is missing, malformed, or of an unknown version."""


class EngineError(EdgeVisionError):
    """An inference engine cannot be loaded on this machine or failed while running."""


class EngineMismatchError(EngineError):
    """A compiled plan does not fit this machine, this library version, or the model it was built from.

    Args:
        found: what is wrong with the plan.
        remedy: what the user does about it; whoever does it for them leaves it out of the message.
    """

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(f"{found}; {remedy}" if remedy else found)
        self.found = found


class DataError(EdgeVisionError):
    """A data set is missing, empty, or inconsistent."""


class CheckpointError(EdgeVisionError):
    """A training checkpoint is unreadable or belongs to another model."""


class TrainingError(EdgeVisionError):
    """Training cannot go on, for example because the loss is not finite."""


class CalibrationError(EdgeVisionError):
    """A model cannot be quantised, or not within the accuracy budget that was set."""


class ExportError(EdgeVisionError):
    """A model cannot be written in the contract's form."""


def nearest(name: str, known: Iterable[str], limit: int = 3) -> str:
    """A hint that names the closest known spellings: ``"; did you mean 'car' or 'cat'?"``, or ``""``.

    Args:
        name: what was found.
        known: what exists.
        limit: how many spellings to name at the most.
    """
    options = {option.lower(): option for option in known}
    matches = difflib.get_close_matches(name.lower(), options, n=limit, cutoff=0.5)
    if not matches:
        return ""
    return "; did you mean " + " or ".join(f"'{options[match]}'" for match in matches) + "?"
