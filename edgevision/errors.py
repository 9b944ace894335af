"""Every error that edgevision raises on purpose, in one tree.

A message is one line that says what was found, what was expected and what to do next. It names settings by
their Python parameter in backticks; the command line replaces them by its options, prints the line and exits
with ``exit_code``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


def printable(name: str) -> str:
    """A name as text that can be encoded: bytes that are not UTF-8 become ``\\xff``, and what JSON can write
    that is no text ``\\ud800``."""
    try:
        encoded = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        encoded = name.encode("utf-8", "backslashreplace")
    return encoded.decode("utf-8", "backslashreplace")


class EdgeVisionError(Exception):
    """Root of the tree. Exit code 1."""

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class UsageError(EdgeVisionError):
    """The request is invalid: a threshold out of range, an unknown class. Exit code 2."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file is unreadable or incomplete, or has an unknown key."""


class SourceError(EdgeVisionError):
    """A video, image, camera or stream cannot be opened or read."""


class SourceTimeoutError(SourceError):
    """A source delivered no frame within its time limit. It may still recover."""


class SinkError(EdgeVisionError):
    """An output cannot be created or written."""


class OutputExistsError(SinkError):
    """An output already exists and overwriting was not requested. Exit code 2."""

    exit_code = 2


class ModelError(EdgeVisionError):
    """A model file is missing, unreadable, or does not follow the contract."""


class ManifestError(ModelError):
    """The metadata of a model file is missing, malformed, or of an unknown version."""


class ForeignModelError(ManifestError):
    """An ONNX file that another project wrote: it has no manifest at all, and can be imported.

    Attributes:
        path: the file.
    """

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class EngineError(EdgeVisionError):
    """An inference engine cannot be loaded on this machine or failed while running."""


class EngineMismatchError(EngineError):
    """A TensorRT plan does not match this machine, this library version, or the model it was built from.

    Args:
        found: the mismatch.
        remedy: what the user can do; a caller that does it for them shows ``found`` alone.
    """

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(f"{found}; {remedy}" if remedy else found)
        self.found = found


class DependencyError(EdgeVisionError):
    """A library or a file of the program is installed and cannot be loaded."""


class DataError(EdgeVisionError):
    """A dataset is missing, empty or inconsistent."""


class CheckpointError(EdgeVisionError):
    """A training checkpoint is unreadable or belongs to another model."""


class TrainingError(EdgeVisionError):
    """Training cannot continue, for example because the loss is not finite."""


class CalibrationError(EdgeVisionError):
    """A model cannot be quantised, or not within the accuracy budget."""


class PluginError(EdgeVisionError):
    """A package that brings a kind of source or output cannot be loaded."""


class ExportError(EdgeVisionError):
    """A model cannot be exported to a file that follows the contract."""


def nearest(name: str, known: Iterable[str], limit: int = 3) -> str:
    """A hint with the closest known spellings: ``"; did you mean 'car' or 'cat'?"``; empty if none is close.

    Args:
        name: the unknown name.
        known: the valid names.
        limit: at most this many suggestions.
    """
    options = {option.lower(): option for option in known}
    matches = difflib.get_close_matches(name.lower(), options, n=limit, cutoff=0.5)
    if not matches:
        return ""
    return "; did you mean " + " or ".join(f"'{options[match]}'" for match in matches) + "?"
