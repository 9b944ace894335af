"""A run that goes on: what may differ from the configuration of its checkpoint, and what is said of it.

What the network is made of may not: ``task``, ``classes`` and ``model``, but for the weights that it first
started from. Everything else may, and is in force from the next step on; each key that differs is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgevision.errors import CheckpointError
from edgevision.models.families import without_weights
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.config import ClassifierTraining, TrainingRun

Run = TypeVar("Run", bound=TrainingRun)

_SHOWN = 100  # letters of a value


def differences(old: object, new: object, place: str = "") -> tuple[str, ...]:
    """The keys in which two configurations differ, a line each.

    Args:
        old, new: two structures; a key that is itself a structure, or a list of them, is looked into.
        place: where they stand; begins each key.

    >>> from edgevision.training.config import LoopConfig
    >>> differences(LoopConfig(images=8), LoopConfig(images=12, compile=True), "loop")
    ('loop.images: 8 -> 12', 'loop.compile: false -> true')
    """
    return tuple(_differences(old, new, place))


def _differences(old: Any, new: Any, place: str) -> Iterator[str]:
    if isinstance(old, msgspec.Struct) and isinstance(new, msgspec.Struct):
        if type(old) is type(new):
            for key in old.__struct_fields__:
                yield from _differences(getattr(old, key), getattr(new, key), _inside(place, key))
        else:
            kinds = old.__struct_config__, new.__struct_config__
            yield from _differences(kinds[0].tag, kinds[1].tag, _inside(place, str(kinds[0].tag_field)))
    elif isinstance(old, tuple) and isinstance(new, tuple) and _has_structures(old + new):
        for position, pair in enumerate(zip_longest(old, new)):
            yield from _differences(*pair, f"{place}[{position}]")
    elif old != new:
        yield f"{place}: {_values(old, new)}"


def _inside(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _has_structures(values: tuple[object, ...]) -> bool:
    return any(isinstance(one, msgspec.Struct) for one in values)


def _values(old: object, new: object) -> str:
    """Both as JSON; of long ones the part where they begin to differ."""
    texts = [msgspec.json.encode(value).decode() for value in (old, new)]
    same = next((at for at, pair in enumerate(zip(*texts, strict=False)) if len(set(pair)) > 1), 0)
    start = max(0, same - _SHOWN // 2)
    return " -> ".join(
        ("..." if start else "")
        + text[start : start + _SHOWN]
        + ("..." if len(text) > start + _SHOWN else "")
        for text in texts
    )


def check_same_network(old: TrainingRun, new: TrainingRun, file: Path) -> None:
    """Refuses to go on with another network.

    Args:
        old: the configuration in ``file``.
        new: that of the run that is to go on.

    Raises:
        CheckpointError: they differ in ``task``, ``classes`` or ``model``; the message has the keys.
    """
    found: Sequence[str] = ()
    if type(old) is not type(new):
        found = differences(old, new)
    else:
        found = (
            *differences(old.classes, new.classes, "classes"),
            *differences(without_weights(old.model), without_weights(new.model), "model"),
        )
    if found:
        raise CheckpointError(
            f"{file} belongs to another model ({'; '.join(found)}); resume with the configuration that it "
            "was trained with, or choose another folder with `out`"
        )


def as_begun(run: Run, folder: Path) -> Run:
    """A run as it is to go on: with the ranges of ``quantise`` that were measured when it began.

    Args:
        run: as its configuration says.
        folder: of the run; without a checkpoint in it the run begins, and stays as it is.

    Raises:
        CheckpointError: the checkpoint cannot be read, or is of another network.
    """
    file = folder / "last.pt"
    if not file.exists():
        return run
    begun = load_checkpoint(file).config
    check_same_network(begun, run, file)
    if isinstance(run, ClassifierTraining) or isinstance(begun, ClassifierTraining):
        return run
    asked, kept = run.quantise, begun.quantise
    if asked is None or kept is None or msgspec.structs.replace(kept, ranges={}) != asked:
        return run
    return msgspec.structs.replace(run, quantise=kept)
