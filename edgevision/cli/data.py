"""``edgevision data``: checks datasets and converts labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgevision.cli.options import ImagesOption, JsonOption, OverwriteOption
from edgevision.errors import DataError, UsageError

if TYPE_CHECKING:
    from edgevision.data.detection.check import DataFinding, DataReport

data_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Check labelled data and convert labels."
)

_Progress = Callable[[str, int], None]


@data_app.callback()
def _data() -> None:
    """Check or convert labelled data."""


@data_app.command("check")
def check_command(
    path: Path = typer.Argument(
        ...,
        help="A training configuration, a COCO JSON file, or a VOC, YOLO or segmentation folder.",
    ),
    images: ImagesOption = None,
    split: str = typer.Option("", "--split", help="Only this split of a folder."),
    as_json: JsonOption = False,
) -> None:
    """Report missing, unreadable and duplicate images, invalid boxes and labels, and the classes.

    Exit code 1 if the data are broken.

    \b
    Examples:
      edgevision data check configs/models/retinanet-light.yaml
      edgevision data check instances.json --images photos
      edgevision data check my-yolo-folder --split train
    """
    from rich.console import Console

    from edgevision.extras import needs_extra

    with needs_extra("train"):
        import edgevision.data.images  # noqa: F401  # Pillow comes with the extra

    with _progress(Console(stderr=True)) as on_image:
        report = _check(path, images, split, on_image)
    if as_json:
        typer.echo(json.dumps(_document(report), indent=2))
    else:
        # File names are long: in a pipe or a log the table need not fit a terminal.
        console = Console()
        _print(console if console.is_terminal else Console(width=160), report)
    if report.broken:
        faults = dict.fromkeys(one.fault.value for one in report.broken)  # each once, over all datasets
        raise DataError(f"{path} is broken: {', '.join(faults)}")


@data_app.command("convert")
def convert_command(
    path: Path = typer.Argument(..., help="A VOC or YOLO folder."),
    out: Path = typer.Option(..., "--out", help="The COCO JSON file to write."),
    split: str = typer.Option("", "--split", help="Only this split of the folder."),
    overwrite: OverwriteOption = False,
) -> None:
    """Write the labels of a VOC or YOLO folder as COCO JSON, which 'edgevision eval' reads.

    \b
    Example:
      edgevision data convert my-yolo-folder --split val --out val.json
    """
    from edgevision.extras import needs_extra
    from edgevision.files import refuse_existing

    refuse_existing(out, overwrite)
    with needs_extra("train"):
        from edgevision.data.formats.coco import to_coco
        from edgevision.data.formats.voc import read_voc
        from edgevision.data.formats.yolo import read_yolo

    if (path / "Annotations").is_dir():
        raw, images = read_voc(path, split), path / "JPEGImages"
    else:
        raw, images = read_yolo(path, split), path / "images" / split
    to_coco(raw, images).write(out)
    typer.echo(f"{out}: {len(raw.images)} images, {len(raw.classes)} classes; the images are in {images}")


def _check(path: Path, images: Path | None, split: str, on_image: _Progress) -> DataReport:
    from edgevision.data.detection.check import DataReport, SetReport, check_set, check_sets
    from edgevision.data.formats.coco import read_coco
    from edgevision.data.formats.raw import RawSet
    from edgevision.data.formats.voc import read_voc
    from edgevision.data.formats.yolo import find_splits, read_data_yaml, read_yolo

    def checked(raw: RawSet) -> SetReport:
        return check_set(raw, on_image=lambda done: on_image(raw.name, done))

    def one(raw: RawSet) -> DataReport:
        return DataReport((checked(raw),))

    def several(sets: Sequence[RawSet]) -> DataReport:
        reports = [checked(raw) for raw in sets]
        return check_sets(reports[:1], reports[1:])

    if not path.exists():
        raise DataError(f"not found: {path}")
    if path.suffix.lower() in (".yaml", ".yml"):
        named = read_data_yaml(path)
        return _check_run(path, on_image) if named is None else several(named)
    if path.suffix.lower() == ".json":
        if images is None:
            raise UsageError(f"{path}: a COCO JSON file needs the folder of its images; pass --images")
        return one(read_coco(path, images))
    if (path / "Annotations").is_dir():
        return one(read_voc(path, split))
    if (path / "classes.json").is_file():
        return _check_segmentation(path, split, on_image)
    if (path / "images").is_dir() and (path / "labels").is_dir():
        return one(read_yolo(path, split))
    splits = find_splits(path)
    if splits:
        return several([read_yolo(path, name) for name in ([split] if split else splits)])
    raise DataError(
        f"{path} is not a known dataset; expected a COCO .json, a training .yaml, or a folder "
        "with Annotations and JPEGImages (VOC), images and labels (YOLO), or classes.json (segmentation)"
    )


def _check_run(path: Path, on_image: _Progress) -> DataReport:
    from edgevision.training.check import check_detector_data, check_segmenter_data
    from edgevision.training.config import DetectorTraining, load_run

    run = load_run(path)
    if isinstance(run, DetectorTraining):
        return check_detector_data(run, True, on_image)
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


def _document(report: DataReport) -> dict[str, Any]:
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
    return {"broken": bool(report.broken), "sets": sets, "between": rows(report.between)}


def _print(console: Any, report: DataReport) -> None:
    from rich.table import Table

    for number, one in enumerate(report.sets, start=1):
        console.print(f"set {number}: {one.name}", highlight=False, markup=False, soft_wrap=True)
    table = Table("set", "found", "count", "for example", box=None, header_style="bold", pad_edge=False)
    for number, one in enumerate(report.sets, start=1):
        table.add_row(str(number), "images", str(one.images), "")
        _add_findings(table, str(number), one.findings)
    _add_findings(table, "all", report.between)
    console.print(table, highlight=False, markup=False)
    names = list(dict.fromkeys(name for one in report.sets for name in one.counts))
    columns = [f"set {position}" for position in range(1, len(report.sets) + 1)]
    counts = Table("class", *columns, box=None, header_style="bold", pad_edge=False)
    for name in names:
        counts.add_row(name, *(str(one.counts.get(name, "")) for one in report.sets))
    console.print()
    console.print(counts, highlight=False, markup=False)


def _add_findings(table: Any, where: str, findings: tuple[DataFinding, ...]) -> None:
    from rich.text import Text

    for one in findings:
        style = "red" if one.fault.breaks else ""
        table.add_row(where, Text(one.fault.value, style), str(one.count), Text("; ".join(one.examples)))


@contextmanager
def _progress(console: Any) -> Iterator[_Progress]:
    if not console.is_terminal:
        yield lambda name, done: None
        return
    with console.status("reading images") as status:
        yield lambda name, done: status.update(f"{name}: {done} images") if done % 50 == 0 else None
