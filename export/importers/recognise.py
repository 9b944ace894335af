"""Which family a file is of: one table of readers, each held against the file's notes, shapes and numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from edgevision.errors import ExportError, UsageError, nearest
from edgevision.export.importers import notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.families import (
    automl,
    best_class_rows,
    box_and_score,
    classifier,
    corner_rows,
    darknet,
    detr,
    detr_authors,
    effdet_maps,
    final_rows,
    mmdeploy,
    nanodet,
    nms_plugin,
    objectness,
    paddle,
    picodet,
    raw_heads,
    rtdetr,
    semantic,
    tensorflow,
    torchvision,
    yolo,
    yolo_tasks,
    yolov3_2020,
    zoo_retinanet,
    zoo_yolov3,
    zoo_yolov4,
)
from edgevision.export.importers.reading import Choices, Reading

Reader = Callable[[Core, Choices], Reading | None]

TABLE: tuple[tuple[tuple[str, ...], Reader], ...] = tuple(
    (module.KINDS, module.read)
    for module in (
        yolo,
        yolo_tasks,
        rtdetr,
        objectness,
        raw_heads,
        final_rows,
        corner_rows,
        box_and_score,
        darknet,
        detr,
        detr_authors,
        torchvision,
        tensorflow,
        mmdeploy,
        paddle,
        zoo_yolov3,
        zoo_yolov4,
        zoo_retinanet,
        yolov3_2020,
        automl,
        effdet_maps,
        best_class_rows,
        nms_plugin,
        nanodet,
        picodet,
        semantic,
        classifier,
    )
)
"""The kinds of each family's module, and its reader. A new family is one module and one line here."""

KINDS = tuple(kind for kinds, _ in TABLE for kind in kinds)
"""The words that choose a family."""


def recognise(core: Core, choices: Choices) -> Reading:
    """What the file is.

    Args:
        core: the network and its answers.
        choices: with ``kind`` set, only that family is asked.

    Raises:
        UsageError: there is no such kind, or the user has to choose between several.
        ExportError: it is of no known family, or not of the kind that the user says.
    """
    kind = choices.kind
    if kind is None:
        readings = [reading for _, read in TABLE if (reading := read(core, choices)) is not None]
        if len(readings) == 1:
            return readings[0]
        if readings:
            raise UsageError(
                f"{core.origin} can be read in {len(readings)} ways: "
                + "; ".join(f"`kind` {one.kind}: {one.title} ({one.why})" for one in readings)
                + "; pass `kind`"
            )
        raise _unknown(core)
    if kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'{nearest(kind, KINDS) or ''}; choose {', '.join(KINDS)}")
    (read,) = (read for kinds, read in TABLE if kind in kinds)
    reading = read(core, choices)
    if reading is None:
        raise _not_of_kind(core, kind)
    return reading


def _not_of_kind(core: Core, kind: str) -> ExportError:
    """Why it is not of the kind that the user says, and of which it seems to be."""
    others = _others(core, kind)
    hint = f"; it reads as `kind` {others[0].kind}: {others[0].title} ({others[0].why})" if others else ""
    if notes.task(core) != "detect":
        hint = f"; its notes name the task '{notes.task(core)}'" + hint
    return core.refuse(kind, "what its numbers on probe images would show", hint or f"; {_ADVICE}")


def _unknown(core: Core) -> ExportError:
    found = ", ".join(str(output) for output in core.outputs)
    task = notes.task(core)
    named = "" if task == "detect" else f" and notes that name the task '{task}'"
    others = _others(core, None)
    said = "; ".join(f"`kind` {one.kind} if it is {one.title}" for one in others)
    return ExportError(
        f"{core.origin} is of no family that edgevision knows for certain: found outputs {found}{named}; "
        f"{f'pass {said}' if said else f'its numbers on probe images fit no kind of model here; {_ADVICE}'}"
    )


def _others(core: Core, kind: str | None) -> list[Reading]:
    """The readings that a file's numbers show, else those that they allow and a word would settle."""
    shown = _readings(core, [None])
    return shown or _readings(core, [other for other in KINDS if other != kind])


def _readings(core: Core, kinds: Sequence[str | None]) -> list[Reading]:
    found: dict[str, Reading] = {}
    for kind in kinds:
        choices = Choices(kind=kind, anchors="yolov5")
        for known, read in TABLE:
            if kind is not None and kind not in known:
                continue
            with contextlib.suppress(ExportError, UsageError):
                reading = read(core, choices)
                if reading is not None:
                    found.setdefault(reading.kind, reading)
    return list(found.values())


_ADVICE = "export it without postprocessing, or name its `kind` if you know it"
