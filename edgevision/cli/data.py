"""``edgevision data check``: what labelled data are, what they hold, and what is wrong with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgevision.cli.app import name_options
from edgevision.cli.options import (
    CROWDS_OPTION,
    DATA_IMAGES_OPTION,
    UNLABELLED_OPTION,
    JsonOption,
    OverwriteOption,
)
from edgevision.errors import DataError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from edgevision.data.detection.check import DataFinding, DataReport
    from edgevision.data.formats.raw import RawSet
    from edgevision.data.layouts.ledger import Account
    from edgevision.data.layouts.reading import Choices
    from edgevision.data.layouts.recognise import FoundData

data_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Check labelled data and convert labels."
)

_Progress = Callable[[str, int], None]

_SHOWN = 8  # classes that the first line counts


@data_app.callback()
def _data() -> None:
    """Check or convert labelled data."""


@data_app.command("check")
def check_command(
    path: Path = typer.Argument(
        ...,
        help="A training configuration, or labelled data: a folder, a data.yaml, a label file, an archive.",
    ),
    images: Path | None = DATA_IMAGES_OPTION,
    split: str = typer.Option("", "--split", help="Only this split of a folder."),
    unlabelled: str = UNLABELLED_OPTION,
    crowds_are_objects: bool = CROWDS_OPTION,
    page: Path | None = typer.Option(
        None,
        "--page",
        help="Write an HTML page too: images drawn, boxes by class and size, near-equal images.",
    ),
    as_json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Report missing, unreadable and duplicate images, invalid boxes and labels, and the classes.

    The layout is recognised: YOLO in every form, COCO, PASCAL VOC, CVAT, labelme, CreateML, VIA, Supervisely,
    tables, and masks. The first line says which, and where the names of the classes come from. Exit code 1 if
    the data are broken.

    \b
    Examples:
      edgevision data check my-folder
      edgevision data check download.zip
      edgevision data check instances.json --images photos
      edgevision data check my-folder --page my-folder.html
      edgevision data check configs/models/retinanet-light.yaml
    """
    from rich.console import Console

    from edgevision.extras import needs_extra
    from edgevision.files import refuse_existing

    if page is not None:
        refuse_existing(page, overwrite)
    with needs_extra("train"):
        from edgevision.data.archives import unpacked

    choices = make_choices(images, unlabelled, crowds_are_objects)
    found: FoundData | None = None
    with _progress(Console(stderr=True)) as on_image, unpacked(path) as place:
        accounts: list[Account] = []
        if _is_run(place):
            report = _check_run(place, on_image)
        elif (place / "classes.json").is_file():
            report = _check_segmentation(place, split, on_image)
        else:
            found, report = _check_found(path, place, choices, split, on_image)
            accounts = _accounts(found)
        if place != path:
            report = _inside(report, place)
        if page is not None:
            _write_page(page, found, report, accounts)
    if as_json:
        typer.echo(json.dumps(_document(report, found, accounts), indent=2))
    else:
        # File names are long: in a pipe or a log the table need not fit a terminal.
        console = Console()
        _print(console if console.is_terminal else Console(width=160), report, found, accounts)
    if report.broken:
        faults = dict.fromkeys(one.fault.value for one in report.broken)  # each once, over all datasets
        raise DataError(f"{path} is broken: {', '.join(faults)}")


def _inside(report: DataReport, place: Path) -> DataReport:
    """A report of an unpacked archive, whose files are named as they are inside."""
    from dataclasses import replace

    def named(findings: Sequence[DataFinding]) -> tuple[DataFinding, ...]:
        return tuple(
            replace(one, examples=tuple(text.replace(f"{place}/", "") for text in one.examples))
            for one in findings
        )

    sets = tuple(replace(one, findings=named(one.findings)) for one in report.sets)
    return replace(report, sets=sets, between=named(report.between))


def _write_page(page: Path, found: FoundData | None, report: DataReport, accounts: Sequence[Account]) -> None:
    from edgevision.evaluation.data_page import write_data_page

    if found is None or found.masks is not None:
        raise UsageError(
            "--page draws boxes; it needs labelled data with boxes, not a configuration or masks"
        )
    write_data_page(page, headline(found), found, report, accounts)


def make_choices(images: Path | None, unlabelled: str, crowds_are_objects: bool) -> Choices:
    """What a user says about labelled data beside its place.

    Raises:
        UsageError, DataError: a choice is unknown, or the folder of the images is not there.
    """
    from edgevision.data.layouts.reading import UNLABELLED, Choices

    if unlabelled not in UNLABELLED:
        raise UsageError(f"`unlabelled` is '{unlabelled}'; expected one of: {', '.join(UNLABELLED)}")
    if images is not None and not images.is_dir():
        raise DataError(f"image folder not found: {images}")
    return Choices(images=images, unlabelled=unlabelled, crowds_are_objects=crowds_are_objects)


def _is_run(path: Path) -> bool:
    """Whether a path is a training configuration: a yaml that names no classes of its own data."""
    from edgevision.data.layouts.names import is_data_yaml

    return path.is_file() and path.suffix.lower() in (".yaml", ".yml") and not is_data_yaml(path)


def _check_found(
    path: Path, place: Path, choices: Choices, split: str, on_image: _Progress
) -> tuple[FoundData, DataReport]:
    from dataclasses import replace

    from edgevision.data.layouts.ledger import check_found
    from edgevision.data.layouts.recognise import recognise

    found = replace(recognise(place, choices), path=path)
    if found.masks is not None:
        return found, _check_masks(found, on_image)
    found = chosen_split(found, split)
    return found, check_found(found, lambda done: on_image(str(path), done))


def _check_masks(found: FoundData, on_image: _Progress) -> DataReport:
    """Label maps of other layouts are written in ours first, beside nothing of the user's."""
    from tempfile import TemporaryDirectory

    from edgevision.data.layouts.masks import write_segmentation
    from edgevision.data.layouts.recognise import mask_splits

    if found.masks is None:
        raise DataError(f"{found.path} holds no label maps")
    with TemporaryDirectory(prefix="edgevision-") as folder:
        write_segmentation(found.masks, mask_splits(found.masks.pairs), Path(folder))
        return _check_segmentation(Path(folder), "", on_image)


def chosen_split(found: FoundData, split: str) -> FoundData:
    """The data with one split alone, by its name or its role; a validation split is made where none is."""
    from dataclasses import replace

    from edgevision.data.layouts.tree import role_of
    from edgevision.data.splitting import with_validation

    if found.masks is not None:
        raise DataError(f"{found.path}: {found.layout} hold label maps and no boxes")
    if not split:
        return found
    ours = [one for one in found.splits if split in (one.name, one.role)]
    ours = ours or [one for one in found.splits if one.role == role_of(split)]
    if not ours and role_of(split) == "val":
        found = with_validation(found)
        ours = [one for one in found.splits if one.role == "val"]
    if not ours:
        known = ", ".join(one.name or one.role for one in found.splits)
        raise DataError(f"{found.path} has no split '{split}'; it has: {known}")
    return replace(found, splits=tuple(ours))


def joined_splits(found: FoundData) -> RawSet:
    """All splits as one set; an image that is in two of them comes once."""
    from edgevision.data.formats.raw import RawSet

    images = {image.path: image for one in found.splits for image in one.raw.images}
    problems = tuple(problem for one in found.splits for problem in one.raw.problems)
    return RawSet(str(found.path), tuple(images.values()), found.classes, problems)


def common_folder(raw: RawSet, root: Path) -> Path:
    """The deepest folder that all images are in, which file names are relative to."""
    import os

    folders = {str(image.path.parent) for image in raw.images}
    return Path(os.path.commonpath(folders)) if folders else root


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def headline(found: FoundData) -> str:
    """The first line: what it is, its splits with classes and boxes, and where the names come from."""
    parts = []
    for one in found.splits:
        counts = Counter(
            name
            for image in one.raw.images
            for name, ignore in zip(image.names, image.ignore, strict=True)
            if not ignore
        )
        boxes = ", ".join(f"{name} {counts[name]}" for name in found.classes[:_SHOWN])
        more = f" and {len(found.classes) - _SHOWN} more classes" if len(found.classes) > _SHOWN else ""
        parts.append(f"{one.name or 'all'} {_images(len(one.raw.images))} ({boxes}{more})")
    if found.masks is not None:
        from edgevision.data.layouts.recognise import mask_splits

        splits = mask_splits(found.masks.pairs)
        parts = [f"{role} {_images(len(pairs))}" for role, pairs in splits.items()]
        parts.append(f"classes {', '.join(found.classes)}")
    return f"{found.path}: {found.layout}; {', '.join(parts)}; names from {found.names_from}"


def _check_run(path: Path, on_image: _Progress) -> DataReport:
    from edgevision.training.check import (
        check_classifier_data,
        check_detector_data,
        check_segmenter_data,
    )
    from edgevision.training.config import ClassifierTraining, DetectorTraining, load_run

    run = load_run(path)
    if isinstance(run, DetectorTraining):
        return check_detector_data(run, True, on_image)
    if isinstance(run, ClassifierTraining):
        return check_classifier_data(run, True, on_image)
    return check_segmenter_data(run, on_image)


def _check_segmentation(path: Path, split: str, on_image: _Progress) -> DataReport:
    """One split, or every split of the folder, ``train`` first."""
    from edgevision.data.detection.check import SetReport, check_sets
    from edgevision.data.segmentation.check import report_segmentation
    from edgevision.data.segmentation.dataset import SegmentationSet, load_segmentation

    splits = [split] if split else sorted(file.stem for file in path.glob("*.txt"))
    splits.sort(key=lambda name: name != "train")
    sets = [load_segmentation(path, name) for name in splits or [""]]

    def report(one: SegmentationSet) -> SetReport:
        return report_segmentation(one, lambda done: on_image(one.name, done))

    reports = [report(one) for one in sets]
    return check_sets(reports[:1], reports[1:])


def _document(report: DataReport, found: FoundData | None, accounts: Sequence[Account]) -> dict[str, Any]:
    def rows(findings: tuple[DataFinding, ...]) -> list[dict[str, Any]]:
        return [
            {
                "fault": one.fault.value,
                "breaks": one.fault.breaks,
                "count": one.count,
                "examples": list(one.examples),
            }
            for one in findings
        ]

    sets = [
        {
            "name": one.name,
            "images": one.images,
            "classes": dict(one.counts),
            "findings": rows(one.findings),
        }
        for one in report.sets
    ]
    document = {"broken": bool(report.broken), "sets": sets, "between": rows(report.between)}
    if found is not None:
        document |= {
            "layout": found.layout,
            "names_from": found.names_from,
            "classes": list(found.classes),
            "notes": list(found.notes),
            "accounts": [_account(one) for one in accounts],
        }
    return document


def _accounts(found: FoundData) -> list[Account]:
    from edgevision.data.layouts.ledger import account_boxes, account_images

    images = account_images(found)
    return [images] if found.masks is not None else [images, account_boxes([one.raw for one in found.splits])]


def _account(one: Account) -> dict[str, Any]:
    return {"what": one.what, "on_disk": one.on_disk, "used": one.used, "left_out": dict(one.left_out)}


def _print(
    console: Console, report: DataReport, found: FoundData | None, accounts: Sequence[Account]
) -> None:
    from rich.table import Table

    def line(text: str) -> None:
        console.print(name_options(text), highlight=False, markup=False, soft_wrap=True)

    if found is not None:
        line(headline(found))
    else:
        for number, one in enumerate(report.sets, start=1):
            line(f"set {number}: {one.name}")
    names = [str(number) for number in range(1, len(report.sets) + 1)]
    if found is not None and found.masks is None:
        names = [one.name or "all" for one in found.splits]
    table = Table("set", "found", "count", "for example", box=None, header_style="bold", pad_edge=False)
    for name, one in zip(names, report.sets, strict=True):
        table.add_row(name, "images", str(one.images), "")
        _add_findings(table, name, one.findings)
    _add_findings(table, "all", report.between)
    console.print(table, highlight=False, markup=False)
    classes = list(dict.fromkeys(name for one in report.sets for name in one.counts))
    counts = Table("class", *names, box=None, header_style="bold", pad_edge=False)
    for name in classes:
        counts.add_row(name, *(str(one.counts.get(name, "")) for one in report.sets))
    console.print()
    console.print(counts, highlight=False, markup=False)
    if found is not None:
        for note in found.notes:
            line(f"note: {note}")
        if found.missing_val:
            line(f"note: no validation split ({found.missing_val}): a training makes one of its images")
    for account in accounts:
        line(str(account))


def _add_findings(table: Table, where: str, findings: tuple[DataFinding, ...]) -> None:
    from rich.text import Text

    for one in findings:
        style = "red" if one.fault.breaks else ""
        shown = name_options("; ".join(one.examples))
        table.add_row(where, Text(one.fault.value, style), str(one.count), Text(shown))


@contextmanager
def _progress(console: Any) -> Iterator[_Progress]:
    if not console.is_terminal:
        yield lambda name, done: None
        return
    with console.status("reading images") as status:
        yield lambda name, done: status.update(f"{name}: {done} images") if done % 50 == 0 else None
