"""The models that ship with edgevision: ``*.onnx`` files in this folder, described by their own manifests."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
from dataclasses import dataclass
from pathlib import Path

from edgevision.contract.foreign import export_advice
from edgevision.contract.manifest import TASKS, Manifest
from edgevision.contract.model_file import read_manifest
from edgevision.errors import ModelError, nearest
from edgevision.suffixes import MODEL_SUFFIXES


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A model that ships with edgevision.

    Attributes:
        manifest: its contract, including measured figures.
        path: the file.
    """

    manifest: Manifest
    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.path.stat().st_size


def folder() -> Path:
    """The folder of the models; wheels are unpacked on installation, so it is an ordinary folder."""
    return Path(str(importlib.resources.files(__name__)))


def list_models() -> list[ZooModel]:
    """The models that ship, by task, the default of each task first. Unreadable files are left out."""
    models = []
    for path in sorted(folder().glob("*.onnx")):
        with contextlib.suppress(ModelError):  # one damaged file must not hide the others
            models.append(ZooModel(read_manifest(path), path))
    return sorted(models, key=_rank)


def default_model(task: str = "detection") -> ZooModel:
    """The model to run if none is given.

    Among the models of the task, FP32 files come before derived ones (``name.int8.onnx``), then the smallest
    file, since it runs on every machine; names break ties.

    Raises:
        ModelError: no model of this task ships.
    """
    for model in list_models():
        if model.manifest.task == task:
            return model
    raise ModelError(f"no {task} model ships with this installation; set `model` to an ONNX file")


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The path of a shipped model, given by name, or of any model, given by path.

    Raises:
        ModelError: there is no such model; the message suggests the nearest names.
    """
    text = os.fspath(name_or_path)
    path = Path(text)
    if path.is_file():
        return path
    if path.is_dir() and export_advice(path):
        raise ModelError(f"{text} is {export_advice(path)}")
    known = {model.name: model.path for model in list_models()}
    if text in known:
        return known[text]
    if path.suffix.lower() in MODEL_SUFFIXES or len(path.parts) > 1:
        raise ModelError(
            f"model file not found: {text}; check the path, or list models with 'edgevision models'"
        )
    files = (file.name for file in Path().glob("*") if file.suffix.lower() in MODEL_SUFFIXES)
    hint = (
        nearest(text, (*known, *files))
        or "; list the shipped models with 'edgevision models', or give the path of an ONNX file"
    )
    raise ModelError(f"unknown model '{text}'{hint}")


def _rank(model: ZooModel) -> tuple[int, bool, int, str]:
    return (TASKS.index(model.manifest.task), "." in model.name, model.size, model.name)
