"""Other people's models, from their ONNX files into the contract. Needs onnx, never torch.

The file itself says of which family it is: :mod:`edgevision.export.importers.recognise` asks each family's
reader, which looks at notes, shapes and the numbers that the network answers on probe images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from edgevision.contract.manifest import Manifest
from edgevision.errors import UsageError
from edgevision.export.importers.core import Core, load_core
from edgevision.export.importers.inputs import Size
from edgevision.export.importers.reading import Choices, Reading
from edgevision.export.importers.recognise import KINDS, recognise
from edgevision.export.importers.suppression import without_suppression
from edgevision.export.importers.wrapping import wrap
from edgevision.graph.compose import compose, save_model

__all__ = ["KINDS", "Choices", "Imported", "conclusion", "import_model", "write_imported"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote.

    Attributes:
        manifest: the contract, as stored.
        batch: images that the graph takes at once; None for any number.
        kind: the family that was found or said.
        conclusion: what the file was read as, and why.
        pixels: what the network takes, and where that comes from.
        notes: what else the user should know, one line each.
    """

    manifest: Manifest
    batch: int | None
    kind: str
    conclusion: str
    pixels: str
    notes: tuple[str, ...] = ()


def import_model(path: Path, out: Path, choices: Choices | None = None) -> Imported:
    """Wraps a model's ONNX file into the contract: uint8 frames in, final results out.

    Args:
        path: the ONNX file as its own project exported it.
        out: the file to write.
        choices: what the user decides; the rest is found from the file's notes, shapes and numbers.

    Raises:
        ModelError: the file is missing, damaged, or not an ONNX model.
        ExportError: it is of no known family, or not of the kind that is said.
        UsageError: there is no such kind, two readings fit, what goes in cannot be told, or the class names
            do not fit.
    """
    choices = choices or Choices()
    choices.check()
    core, reading, inner = _read(path, choices)
    return write_imported(core, reading, inner, out, choices)


def write_imported(core: Core, reading: Reading, inner: Size, out: Path, choices: Choices) -> Imported:
    """Writes a network that has been read.

    Args:
        core: the network.
        reading: what it means.
        inner: height and width of the image inside its input.
        out: the file to write.
        choices: what the user decides.

    Raises:
        UsageError: what goes in cannot be told, or the class names do not fit.
        ExportError: the graph is invalid.
    """
    pixels = choices.pixels(reading.pixels)
    if pixels is None:
        raise _ask(core, reading)
    if pixels.resize.rule == "crop" and reading.task != "classification":
        raise UsageError(
            f"`resize` crop is for classifiers, and {core.origin} is {reading.title}; choose letterbox, "
            "top-left or stretch"
        )
    wrapping = wrap(core, reading, pixels, replace(choices, name=choices.name or out.stem), inner)
    model = compose(core.model, wrapping.before, wrapping.after, wrapping.manifest, core.batch)
    return Imported(
        save_model(model, out, wrapping.manifest),
        core.batch,
        reading.kind,
        f"{reading.title}: {reading.why}",
        f"{pixels}, {_told_by(choices, reading)}",
        _notes(core, reading, choices, inner) + wrapping.notes,
    )


def conclusion(path: Path) -> str:
    """The kind that an import would choose, for messages about a file that is not in the contract.

    Raises:
        EdgeVisionError: it would refuse the file, or ask.
    """
    core, reading, _ = _read(path, Choices())
    if reading.pixels is None:
        raise _ask(core, reading)
    return reading.kind


def _read(path: Path, choices: Choices) -> tuple[Core, Reading, Size]:
    """The network at the size that it is to have, what it is, and the size of the image inside its input."""
    core = load_core(path, choices.size)
    reading = recognise(core, choices)
    inner = choices.size or (core.height, core.width)
    if core.any_size and choices.size is None and reading.size is not None:
        inner = reading.size
    height, width = (math.ceil(side / reading.pad) * reading.pad for side in inner)
    if (height, width) != (core.height, core.width):
        core = load_core(path, (height, width))
        reading = recognise(core, choices)
    shape = (core.height, core.width)
    core, reading = without_suppression(core, reading, lambda ends: load_core(path, shape, ends))
    return core, reading, inner


def _ask(core: Core, reading: Reading) -> UsageError:
    """The error for a file whose numbers do not say what goes in."""
    from edgevision.export.importers.families.corner_rows import KINDS as ROWS

    kinds = f"`kind` (one of {', '.join(ROWS)}), or " if reading.kind in ROWS else ""
    return UsageError(
        f"{core.origin} is {reading.title} ({reading.why}), but nothing in it tells what it takes: pass "
        f"{kinds}"
        "`colours` (rgb or bgr), `scale` (unit, raw, imagenet or six numbers) and `resize` (letterbox, "
        "top-left or "
        "stretch) as its training had them"
    )


def _told_by(choices: Choices, reading: Reading) -> str:
    given = [name for name in ("colours", "scale", "resize", "fill") if getattr(choices, name) is not None]
    if not given:
        return reading.told_by
    return f"{', '.join(f'`{name}`' for name in given)} as you say" + (
        f", the rest {reading.told_by}" if reading.pixels is not None else ""
    )


def _notes(core: Core, reading: Reading, choices: Choices, inner: Size) -> tuple[str, ...]:
    found = list(reading.notes)
    if core.any_size and choices.size is None:
        where = "its notes say" if not core.assumed_size and reading.size is None else "is taken here"
        found.append(f"its graph takes any size; {inner[1]}x{inner[0]} {where}, `size` changes it")
    found += [f"its second input {name} is a constant now" for name in core.folded]
    silent = not _answers_anything(core, reading)
    if silent:
        found.append(
            "it finds nothing in a black, a white and a noise image: look at what it finds in an image of "
            "yours "
            "before use (`preview`)"
        )
    return tuple(found)


def _answers_anything(core: Core, reading: Reading) -> bool:
    return any(bool(output.any()) for run in core.probes.values() for output in run)
