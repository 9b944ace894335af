"""``edgevision data convert``, ``split`` and ``merge``: labelled data written anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.app import name_options
from edgevision.cli.data import data_app
from edgevision.cli.options import CROWDS_OPTION, DATA_IMAGES_OPTION, UNLABELLED_OPTION, OverwriteOption
from edgevision.errors import UsageError

if TYPE_CHECKING:
    from edgevision.data.layouts.recognise import FoundData

TO_OPTION = typer.Option("", "--to", help="yolo, coco or voc: write a folder of it, images copied.")


def convert_command(
    path: Path = typer.Argument(..., help="Labelled data in any layout that 'data check' knows."),
    out: Path = typer.Option(..., "--out", help="The COCO JSON file to write, or with --to a new folder."),
    to: str = TO_OPTION,
    images: Path | None = DATA_IMAGES_OPTION,
    split: str = typer.Option("", "--split", help="Only this split of the folder."),
    unlabelled: str = UNLABELLED_OPTION,
    crowds_are_objects: bool = CROWDS_OPTION,
    overwrite: OverwriteOption = False,
) -> None:
    """Write labels of any layout as COCO JSON, which 'edgevision eval' reads, or as a folder with the images.

    \b
    Examples:
      edgevision data convert my-folder --split val --out val.json
      edgevision data convert download.zip --to yolo --out my-yolo
    """
    from dataclasses import replace

    from edgevision.cli.data import chosen_split, common_folder, joined_splits, make_choices
    from edgevision.extras import needs_extra
    from edgevision.files import refuse_existing

    with needs_extra("train"):
        from edgevision.data.archives import is_archive, unpack, unpacked
        from edgevision.data.formats.coco import to_coco
        from edgevision.data.layouts.recognise import recognise

    choices = make_choices(images, unlabelled, crowds_are_objects)
    if to:
        _check_form(to)
        with unpacked(path) as place:
            found = chosen_split(replace(recognise(place, choices), path=path), split)
            _write(found, out, to)
        return
    refuse_existing(out, overwrite)
    place = path
    if is_archive(path):
        place = out.with_suffix("")
        refuse_existing(place, overwrite=False)
        unpack(path, place)
    found = chosen_split(replace(recognise(place, choices), path=path), split)
    raw = joined_splits(found)
    folder = common_folder(raw, found.root)
    to_coco(raw, folder).write(out)
    _say(found)
    typer.echo(f"{out}: {len(raw.images)} images, {len(raw.classes)} classes; the images are in {folder}")


def split_command(
    path: Path = typer.Argument(..., help="Labelled data in any layout that 'data check' knows."),
    out: Path = typer.Option(..., "--out", help="The folder to write; it must not exist."),
    val: float = typer.Option(0.2, "--val", min=0.0, max=1.0, help="Share of the images that validate."),
    test: float = typer.Option(0.0, "--test", min=0.0, max=1.0, help="Share of the images that test."),
    seed: int = typer.Option(0, "--seed", help="Of the draw."),
    again: bool = typer.Option(False, "--again", help="Draw anew from the images of all splits."),
    to: str = TO_OPTION,
    images: Path | None = DATA_IMAGES_OPTION,
    unlabelled: str = UNLABELLED_OPTION,
    crowds_are_objects: bool = CROWDS_OPTION,
) -> None:
    """Draw a validation split, and a test split, with every class in each and near-equal images on one side.

    \b
    Example:
      edgevision data split my-folder --val 0.2 --test 0.1 --out my-split
    """
    from dataclasses import replace

    from rich.console import Console

    from edgevision.cli.console import counting
    from edgevision.cli.data import make_choices
    from edgevision.extras import needs_extra

    _check_form(to or "yolo")
    with needs_extra("train"):
        from edgevision.data.archives import unpacked
        from edgevision.data.changes import divide_data
        from edgevision.data.layouts.recognise import recognise

    with unpacked(path) as place:
        found = replace(recognise(place, make_choices(images, unlabelled, crowds_are_objects)), path=path)
        with counting(Console(stderr=True), "looking at the images", None) as on_image:
            found = divide_data(found, val, test, seed, again, on_image)
        _write(found, out, to or "yolo")


def merge_command(
    paths: list[Path] = typer.Argument(..., help="Two or more sets of labelled data, in any layouts."),
    out: Path = typer.Option(..., "--out", help="The folder to write; it must not exist."),
    rename: list[str] = typer.Option(
        [], "--rename", metavar="OLD=NEW", help="Call a class otherwise; OLD= leaves its boxes out."
    ),
    to: str = TO_OPTION,
    unlabelled: str = UNLABELLED_OPTION,
    crowds_are_objects: bool = CROWDS_OPTION,
) -> None:
    """Make one set of several; a table says what becomes of each class.

    \b
    Example:
      edgevision data merge yard street --rename automobile=car --out both
    """
    from contextlib import ExitStack
    from dataclasses import replace

    from rich.console import Console
    from rich.table import Table

    from edgevision.cli.data import make_choices
    from edgevision.extras import needs_extra

    _check_form(to or "yolo")
    if len(paths) < 2:
        raise UsageError("one set of labelled data; expected two or more to merge")
    renamed = {}
    for one in rename:
        old, equals, new = one.partition("=")
        if not equals or not old:
            raise UsageError(f"--rename {one}: expected OLD=NEW, such as automobile=car")
        renamed[old] = new.strip()
    with needs_extra("train"):
        from edgevision.data.archives import unpacked
        from edgevision.data.changes import class_table, merge_data
        from edgevision.data.layouts.recognise import recognise

    choices = make_choices(None, unlabelled, crowds_are_objects)
    with ExitStack() as stack:
        several = [
            replace(recognise(stack.enter_context(unpacked(path)), choices), path=path) for path in paths
        ]
        merged = merge_data(several, renamed, out)
        table = Table("class", "becomes", *map(str, paths), box=None, header_style="bold", pad_edge=False)
        for row in class_table(several, renamed):
            table.add_row(*row)
        console = Console()
        (console if console.is_terminal else Console(width=160)).print(table, highlight=False, markup=False)
        _write(merged, out, to or "yolo")


def _check_form(to: str) -> None:
    from edgevision.errors import nearest

    known = ("yolo", "coco", "voc")
    if to not in known:
        raise UsageError(f"--to {to}: expected yolo, coco or voc{nearest(to, known)}")


def _write(found: FoundData, out: Path, form: str) -> None:
    from rich.console import Console

    from edgevision.cli.console import counting
    from edgevision.data.writers import write_data
    from edgevision.errors import DataError

    problems = [
        one for split in found.splits for one in split.raw.problems if one.kind in ("class", "ambiguous")
    ]
    if problems:
        raise DataError(
            f"{found.path}: {len(problems)} labels cannot be written, the first: {problems[0].text}"
        )
    total = sum(len(one.raw.images) for one in found.splits)
    with counting(Console(stderr=True), "writing", total) as on_image:
        written = write_data(found, out, form, on_image)
    _say(found)
    left = ", ".join(f"{count} {reason}" for reason, count in written.left_out.items())
    typer.echo(
        f"{out}: {written.images} images, {written.boxes} boxes{f'; left out: {left}' if left else ''}"
    )


def _say(found: FoundData) -> None:
    from edgevision.cli.data import headline
    from edgevision.data.layouts.ledger import account_boxes, account_images

    lines: Sequence[object] = (
        headline(found),
        *(f"note: {note}" for note in found.notes),
        account_images(found),
        account_boxes([one.raw for one in found.splits]),
    )
    for line in lines:
        typer.echo(name_options(str(line)))


data_app.command("convert")(convert_command)
data_app.command("split")(split_command)
data_app.command("merge")(merge_command)
