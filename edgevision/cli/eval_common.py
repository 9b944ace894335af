"""What ``edgevision eval`` does once its options are read: everything but the figures of one task."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from edgevision.cli.any_model import OpenModel, open_model
from edgevision.cli.app import EXIT_DAMAGED, Commands
from edgevision.cli.console import say
from edgevision.data.classes import canonical, parse_classes
from edgevision.engines import describe
from edgevision.errors import DataError, OutputExistsError, SinkError, UsageError, nearest
from edgevision.evaluation.report import Provenance, hash_files
from edgevision.files import refuse_existing
from edgevision.session.request import PlanPolicy

_NAMED = 5  # pictures that are named one by one


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of ``edgevision eval``; its help says what they mean. One model, or two to compare."""

    models: tuple[str, ...]
    data: Path
    images: Path | None
    split: str | None
    classes: str | None
    min_boxes: int
    engine: str
    plans: PlanPolicy
    json: Path | None
    plots: Path | None
    worst: Path | None
    overwrite: bool


def evaluate(request: Request) -> int:
    """Evaluates one model, or compares two; see ``edgevision eval --help``.

    Returns:
        The exit code: 0, or 3 where pictures could not be read.

    Raises:
        EdgeVisionError: the request is impossible, or nothing can be evaluated.
    """
    from edgevision.cli.eval_detection import evaluate_detection
    from edgevision.cli.eval_segmentation import evaluate_segmentation

    _check_outputs(request)
    task = "detection" if request.images is not None else "segmentation"
    with contextlib.ExitStack() as stack:
        models = [
            stack.enter_context(open_model(name, request.engine, request.plans)) for name in request.models
        ]
        for model in models:
            if model.engine.manifest.task != task:
                expected = "--data FOLDER --split NAME" if task == "detection" else "--data JSON --images DIR"
                raise UsageError(f"{model.text} is a {model.engine.manifest.task} model; expected {expected}")
        run = evaluate_detection if task == "detection" else evaluate_segmentation
        skipped = run(request, models, Console(), Console(stderr=True))
    return EXIT_DAMAGED if skipped else 0


def choose_classes(
    request: Request, models: Sequence[OpenModel], labelled: Sequence[str], notes: Console
) -> tuple[str, ...]:
    """The classes to evaluate, in the spelling that the user or else the first model has.

    Args:
        request: its ``classes`` names them, or is None for what all models and the data have.
        models: that are evaluated.
        labelled: classes of the data.
        notes: where to say what is left out.

    Raises:
        UsageError: a model lacks a class that was asked for.
        DataError: the data lack a class that was asked for, or no class is common to all.
    """
    known = [{canonical(name) for name in model.engine.manifest.classes} for model in models]
    in_data = {canonical(name) for name in labelled}
    if request.classes is not None:
        wanted = parse_classes(request.classes)
        for name in wanted:
            for model, names in zip(models, known, strict=True):
                if canonical(name) not in names:
                    raise UsageError(_lacks(model.text, name, model.engine.manifest.classes))
            if canonical(name) not in in_data:
                raise DataError(_lacks(str(request.data), name, labelled))
        return wanted
    common = in_data.intersection(*known)
    first = models[0].engine.manifest.classes
    chosen = tuple(name for name in first if canonical(name) in common)
    if not chosen:
        raise DataError(
            f"{request.data}: none of its {len(labelled)} classes is one of {models[0].text}"
            f"{nearest(first[0], labelled)}"
        )
    rest = [name for name in first if canonical(name) not in common]
    if rest:
        say(notes, f"note: not evaluated, for the data or a model lack them: {', '.join(rest)}")
    return chosen


def check_pictures(paths: Sequence[Path], request: Request) -> None:
    """Refuses a set whose pictures are not there: the figures would be those of another set.

    Raises:
        DataError: the set is empty, or files are missing.
    """
    if not paths:
        raise DataError(f"{request.data}: the set is empty; expected labelled pictures")
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(paths)} pictures of {request.data} are missing, "
            f"the first: {missing[0]}; check the folder, or the list"
        )


def provenance(
    request: Request, model: OpenModel, files: Sequence[Path], ms_per_image: float, skipped: tuple[str, ...]
) -> Provenance:
    """Where the figures of one model come from."""
    return Provenance(
        model=model.text,
        model_hash=model.sha256,
        data=str(request.data) if request.split is None else f"{request.data}/{request.split}",
        data_hash=hash_files(files),
        command=Commands.line,
        engine=describe(model.engine),
        ms_per_image=round(ms_per_image, 2),
        skipped=skipped,
    )


def say_skipped(skipped: Sequence[str], total: int, notes: Console) -> None:
    """Names the pictures that were left out."""
    for line in skipped[:_NAMED]:
        say(notes, f"warning: skipped: {line}")
    if skipped:
        rest = f" (the first {_NAMED} are named above)" if len(skipped) > _NAMED else ""
        say(notes, f"warning: skipped {len(skipped)} of {total} pictures{rest}; the figures are without them")


def _check_outputs(request: Request) -> None:
    if request.json is not None:
        refuse_existing(request.json, request.overwrite)
    if request.worst is not None and request.images is None:
        raise UsageError("--worst draws boxes; it has no meaning for segmentation")
    if request.worst is not None and request.worst == request.plots:
        raise UsageError("--plots and --worst name the same folder; choose different ones")
    for folder in (request.plots, request.worst):
        if folder is None:
            continue
        if folder.exists() and not folder.is_dir():
            raise SinkError(f"output {folder} is no folder; choose another name")
        if folder.is_dir() and any(folder.iterdir()) and not request.overwrite:
            raise OutputExistsError(
                f"output folder is not empty: {folder}; choose another or pass --overwrite"
            )


def make_folder(folder: Path) -> None:
    """Makes an output folder and those above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot create folder {folder}: {error.strerror}") from error


def _lacks(owner: str, name: str, known: Sequence[str]) -> str:
    hint = nearest(name, known) or f"; it has: {', '.join(known)}"
    return f"{owner} has no class '{name}'{hint}"
