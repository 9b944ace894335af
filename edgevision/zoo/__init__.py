"""The models that ship with edgevision: ``*.onnx`` files in this folder, described by their own manifests.

``NAME.onnx``, ``NAME.fp16.onnx`` and ``NAME.int8.onnx`` are one model in three precisions.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from edgevision.contract.foreign import export_advice
from edgevision.contract.manifest import TASKS, Manifest, Precision
from edgevision.contract.model_file import read_manifest
from edgevision.errors import ModelError, UsageError, nearest
from edgevision.suffixes import MODEL_SUFFIXES

_EXACT_FIRST: tuple[Precision, ...] = get_args(Precision)

PRECISIONS: tuple[str, ...] = ("auto", *_EXACT_FIRST)
"""What can be asked for; ``auto`` leaves the choice to the caller."""

CHECKPOINTS = {"retinanet-edge": "weights/retinanet-edge.pt"}
"""Models with a card whose file is too large to ship: their checkpoints in the repository."""


@dataclass(frozen=True, slots=True)
class ZooFile:
    """A file that ships: a model in one precision.

    Attributes:
        manifest: its contract, including measured figures.
        path: where it is.
    """

    manifest: Manifest
    path: Path

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.path.stat().st_size

    @property
    def drop(self) -> float | None:
        """By how much its first figure is below the FP32 file's on the same images; None if not known."""
        return self.manifest.figures.get("drop")


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A model that ships.

    Attributes:
        name: that users give.
        files: one for each precision, the most exact first; one or more.
    """

    name: str
    files: tuple[ZooFile, ...]

    @property
    def manifest(self) -> Manifest:
        """The contract of the most exact file."""
        return self.files[0].manifest

    @property
    def path(self) -> Path:
        """The most exact file."""
        return self.files[0].path

    @property
    def size(self) -> int:
        """Size of the most exact file in bytes."""
        return self.files[0].size

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Those that ship, the most exact first."""
        return tuple(file.manifest.precision for file in self.files)


def folder() -> Path:
    """The folder of the models; wheels are unpacked on installation, so it is an ordinary folder."""
    return Path(str(importlib.resources.files(__name__)))


def list_models() -> list[ZooModel]:
    """The models that ship, by task, the default of each task first. Unreadable files are left out."""
    found: dict[str, list[ZooFile]] = {}
    for path in sorted(folder().glob("*.onnx")):
        with contextlib.suppress(ModelError):  # one damaged file must not hide the others
            file = ZooFile(read_manifest(path), path)
            found.setdefault(_name(path), []).append(file)
    models = [ZooModel(name, tuple(sorted(files, key=_exactness))) for name, files in found.items()]
    return sorted(models, key=_rank)


def default_model(task: str = "detection") -> ZooModel:
    """The model to run if none is given.

    Among the models of the task the one with the smallest file, since it runs on every machine; names break
    ties.

    Raises:
        ModelError: no model of this task ships.
    """
    for model in list_models():
        if model.manifest.task == task:
            return model
    raise ModelError(f"no {task} model ships with this installation; set `model` to an ONNX file")


def check_precision(precision: str) -> None:
    """Raises :class:`UsageError`, which names the nearest one, if there is no such precision."""
    if precision not in PRECISIONS:
        hint = nearest(precision, PRECISIONS) or f"; choose one of {', '.join(PRECISIONS)}"
        raise UsageError(f"unknown precision '{precision}'{hint}")


def shipped_model(name_or_path: str | os.PathLike[str]) -> ZooModel | None:
    """The model of this name; None where none is called so, or a file of the current folder is."""
    text = os.fspath(name_or_path)
    path = Path(text)
    if path.is_file() or (path.is_dir() and export_advice(path)):
        return None
    return next((model for model in list_models() if model.name == text), None)


def find_model(name_or_path: str | os.PathLike[str], precision: str = "auto") -> Path:
    """The path of a shipped model, given by name, or of any model, given by path.

    Args:
        name_or_path: a name, or a path.
        precision: one of :data:`PRECISIONS`; ``auto`` is the most exact file of a name.
            :func:`edgevision.zoo.quickest.quickest_file` looks for the quickest one.

    Raises:
        ModelError: there is no such model; the message suggests the nearest names.
        UsageError: there is no such precision, or not of this model.
    """
    check_precision(precision)
    shipped = shipped_model(name_or_path)
    if shipped is not None:
        for file in shipped.files:
            if precision in ("auto", file.manifest.precision):
                return file.path
        raise UsageError(
            f"{shipped.name} ships in {' and '.join(shipped.precisions)}; found `precision` {precision}: "
            "make such a file with 'edgevision export' or 'edgevision calibrate' and give its path as `model`"
        )
    path = _find_file(name_or_path)
    if precision != "auto" and (found := read_manifest(path).precision) != precision:
        raise UsageError(
            f"{path} is {found}; `precision` {precision} chooses among the files of a model that ships: "
            "leave it out, or give the path of another file"
        )
    return path


def _find_file(name_or_path: str | os.PathLike[str]) -> Path:
    """The path of any model but those that are found by their name."""
    text = os.fspath(name_or_path)
    path = Path(text)
    if path.is_file():
        return path
    if path.is_dir() and export_advice(path):
        raise ModelError(f"{text} is {export_advice(path)}")
    models = list_models()
    by_file = {file.path.stem: file.path for model in models for file in model.files}
    if text in by_file:
        return by_file[text]
    if text in CHECKPOINTS:
        raise ModelError(
            f"{text} does not ship as a file: its weights are {CHECKPOINTS[text]} in the repository; make "
            f"{text}.onnx of them with 'edgevision export', and give that file as `model`"
        )
    if path.suffix.lower() in MODEL_SUFFIXES or len(path.parts) > 1:
        raise ModelError(
            f"model file not found: {text}; check the path, or list models with 'edgevision models'"
        )
    files = (file.name for file in Path().glob("*") if file.suffix.lower() in MODEL_SUFFIXES)
    hint = (
        nearest(text, (*(model.name for model in models), *by_file, *CHECKPOINTS, *files))
        or "; list the shipped models with 'edgevision models', or give the path of an ONNX file"
    )
    raise ModelError(f"unknown model '{text}'{hint}")


def _name(path: Path) -> str:
    """``retinanet-light`` of ``retinanet-light.int8.onnx``."""
    name, _, precision = path.stem.rpartition(".")
    return name if precision in _EXACT_FIRST else path.stem


def _exactness(file: ZooFile) -> tuple[int, str]:
    return (_EXACT_FIRST.index(file.manifest.precision), file.path.name)


def _rank(model: ZooModel) -> tuple[int, bool, int, str]:
    is_derived = model.manifest.precision != "fp32"
    return (TASKS.index(model.manifest.task), is_derived, model.size, model.name)
