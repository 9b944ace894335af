"""Checkpoints: everything that a run needs to go on, or that an export needs, in one file."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any

import msgspec
import torch
from torch import nn

from edgevision.contract.foreign import export_advice
from edgevision.data.classes import map_classes
from edgevision.errors import CheckpointError, SinkError, nearest
from edgevision.files import atomic_path
from edgevision.models.families import with_family
from edgevision.training.config import TrainingRun

_FORMAT = 2
_READABLE = (1, 2)
_PARTS: dict[str, type | UnionType] = {
    "config": str,
    "seen": int,
    "model": dict,
    "average": dict,
    "optimiser": dict,
    "figures": dict,
    "best": float | None,
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One moment of a training run.

    Attributes:
        config: the whole configuration of the run.
        seen: images trained on so far.
        model: state dict of the trained weights.
        average: state dict of the averaged weights, which are the ones to use; equal to ``model``
            where nothing is averaged.
        optimiser: state dict of the optimiser and the number of averages taken.
        figures: measured at the last validation.
        best: highest value of the validation metric so far; None before the first.
    """

    config: TrainingRun
    seen: int
    model: dict[str, Any]
    average: dict[str, Any]
    optimiser: dict[str, Any]
    figures: dict[str, float]
    best: float | None


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes atomically: a kill at any moment leaves the old file or the new one.

    Raises:
        SinkError: the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "config": msgspec.json.encode(checkpoint.config).decode(),
        "seen": checkpoint.seen,
        "model": checkpoint.model,
        "average": checkpoint.average,
        "optimiser": checkpoint.optimiser,
        "figures": checkpoint.figures,
        "best": checkpoint.best,
    }
    with atomic_path(path) as partial:
        try:
            torch.save(content, partial)
        except RuntimeError as error:  # torch raises this for a full disk, without saying that it is full
            free = shutil.disk_usage(path.parent).free / 2**20
            raise SinkError(f"cannot write {path}; {free:.0f} MiB are free there") from error


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint; nothing in it can run code.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint not found: {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many unrelated types for a damaged or foreign file
        raise CheckpointError(
            f"{path} is not an edgevision checkpoint, or it is damaged{_advice(path)}"
        ) from error
    if not isinstance(content, dict) or content.get("format") not in _READABLE:
        raise CheckpointError(
            f"{path} is a PyTorch file, but not an edgevision checkpoint of format "
            f"{' or '.join(map(str, _READABLE))}; expected a best.pt or last.pt of 'edgevision train'"
            f"{_advice(path)}"
        )
    for part, kind in _PARTS.items():
        if part not in content or not isinstance(content[part], kind):
            found = f"is of type {type(content[part]).__name__}" if part in content else "is missing"
            raise CheckpointError(
                f"{path} is not whole: its '{part}' {found}; expected a best.pt or last.pt as "
                "'edgevision train' wrote it"
            )
    try:
        document = msgspec.json.decode(content["config"])
        if content["format"] == 1:
            _upgrade(document)
        config: TrainingRun = msgspec.convert(with_family(document), TrainingRun)
    except msgspec.MsgspecError as error:
        raise CheckpointError(f"{path}: its configuration does not fit this version ({error})") from error
    fields = {part: content[part] for part in _PARTS if part != "config"}
    return Checkpoint(config=config, **fields)


def _advice(path: Path) -> str:
    """Whose weights they may be, for the end of a message."""
    return f"; if it is another project's, it is {export_advice(path)}" if path.stat().st_size else ""


def find_checkpoint(name_or_path: str) -> Path:
    """The file of a checkpoint: a path, or the name of one in the repository's folder ``weights``.

    An installed package does not have the folder: training needs a clone, and a device needs no checkpoint.

    Args:
        name_or_path: ``runs/mine/best.pt``, or ``retinanet-light`` for ``weights/retinanet-light.pt``.

    Raises:
        CheckpointError: there is neither; says which names there are, or where the weights lie.
    """
    path = Path(name_or_path)
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path
    folder = Path(str(resources.files("edgevision"))).parent / "weights"
    known = {found.stem: found for found in sorted(folder.glob("*.pt"))}
    if name_or_path in known:
        return known[name_or_path]
    if known:
        hint = nearest(name_or_path, known) or f"; expected a path, or one of: {', '.join(known)}"
    else:
        hint = (
            f"; trained weights are in the folder 'weights' of a clone of edgevision, which an installed "
            f"package lacks: give the path of its {name_or_path}.pt"
        )
    raise CheckpointError(f"checkpoint not found: {name_or_path}{hint}")


def _upgrade(document: Any) -> None:
    """Format 1 knew one kind of detection data and one learning-rate factor."""
    optimiser = document["optimiser"]
    if "backbone_lr_factor" in optimiser:
        optimiser["lr_factors"] = {"backbone": optimiser.pop("backbone_lr_factor")}
    if document["task"] == "detection":
        for source in (*document["data"]["train"], document["data"]["val"]):
            source.setdefault("kind", "coco")


def start_from(
    model: nn.Module,
    path: str,
    classes: Sequence[str],
    class_layers: tuple[str, ...],
    added_layers: tuple[str, ...] = (),
) -> str:
    """Loads a checkpoint's averaged weights to train on from: transfer learning.

    The layers of the classes are taken only where the checkpoint has the same classes in the same order,
    however they are spelt (:func:`~edgevision.data.classes.map_classes`): as many others would fit as well.

    Args:
        model: the network to fill.
        path: a checkpoint of the same architecture, or its name as in :func:`find_checkpoint`.
        classes: names of the model's classes.
        class_layers: names of the parts that keep their fresh weights where the checkpoint has other classes.
        added_layers: names of the parts that keep them where the checkpoint lacks them.

    Returns:
        Which parts begin anew and why, in one line; empty where none does.

    Raises:
        CheckpointError: the file is missing, or the checkpoint is of another architecture.
    """
    checkpoint, own = load_checkpoint(find_checkpoint(path)), model.state_dict()
    found, others = checkpoint.average, checkpoint.config.classes
    known = map_classes(others, classes)
    is_same = len(others) == len(classes) and [known.get(name) for name in others] == [*range(len(classes))]
    fitting = {
        key: value
        for key, value in found.items()
        if key in own
        and value.shape == own[key].shape
        and (is_same or not key.startswith(tuple(f"{layer}." for layer in class_layers)))
    }
    missing = [key for key in {**found, **own} if key not in fitting]
    anew = [
        layer
        for layer in (*class_layers, *added_layers)
        if any(key.startswith(f"{layer}.") for key in missing)
    ]
    misfits = [key for key in missing if not key.startswith(tuple(f"{layer}." for layer in anew))]
    if misfits:
        raise CheckpointError(
            f"initial: {path} belongs to another model ({misfits[0]} differs); expected the same architecture"
        )
    model.load_state_dict(fitting, strict=False)
    if not anew:
        return ""
    why = "it has none of that form" if is_same else f"its classes are {', '.join(others)}"
    return f"initial: {', '.join(anew)} begin anew, all else is that of {path}: {why}"
