"""Which outputs a run has, and whether they may be made; nothing is opened here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevision.errors import SinkError, UsageError
from edgevision.files import refuse_existing
from edgevision.video.base import SourceInfo
from edgevision.video.sinks.images import SUFFIXES, is_pattern
from edgevision.video.sinks.window import why_no_display


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """The outputs of one source, as addresses for ``open_sink``.

    Attributes:
        pictures: what shows or records the drawn picture.
        records: the JSON lines file, or None.
        hint: what to tell people who watch the terminal.
    """

    pictures: tuple[str, ...]
    records: str | None
    hint: str = ""


def plan_outputs(
    info: SourceInfo,
    output: Path | None,
    save_json: Path | None,
    display: bool,
    save_masks: Path | None = None,
    name: str = "",
    is_watched: bool = False,
) -> OutputPlan:
    """Where the results of ``info`` go.

    Without any output named, a file is drawn into ``<stem>.edgevision.mp4`` in the current folder (an image
    into an image, a folder of images into a folder), and a live source is shown in a window, or on a status
    line where there is no display. An output that is a folder, or has no suffix, takes files of those names.
    A stream that the user gave a ``name`` is called that instead of its stem. Events and recordings
    (``is_watched``) are outputs too, but not opened here.
    """
    default_name = _default_name(info)
    if name:
        default_name = default_name.replace(default_stem(info), f"{safe_name(name)}.edgevision", 1)
    pictures: list[str] = []
    hint = ""
    named = display or is_watched or any(path is not None for path in (output, save_json, save_masks))
    if display or (not named and info.is_live and why_no_display() is None):
        pictures.append("window")
        hint = "(q in the window or Ctrl-C ends)"
    elif not named and info.is_live:
        hint = f"({why_no_display()}; --output out.mp4 records; Ctrl-C ends)"
    if output is not None:
        pictures.append(str(output / default_name if names_folder(output) else output))
    elif not named and not info.is_live:
        pictures.append(default_name)
    records = None
    if save_json is not None:
        named_folder = names_folder(save_json)
        stem = f"{safe_name(name)}.edgevision" if name else default_stem(info)
        records = str(save_json / f"{stem}.jsonl" if named_folder else save_json)
    return OutputPlan(tuple(pictures), records, hint)


def make_folder(path: Path) -> None:
    """Makes one folder where it is missing; the one above it must exist, so that a misspelt path is noticed.

    Raises:
        SinkError: it cannot be made.
    """
    try:
        path.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise SinkError(f"output folder does not exist: {path.parent}; create it first") from error
    except OSError as error:
        raise SinkError(f"cannot make the output folder {path}: {error.strerror}") from error


def names_folder(path: Path) -> bool:
    """Whether an output means a folder: it is one, or its name has no suffix and nothing of it exists yet."""
    return path.is_dir() or (not path.suffix and not path.exists())


def default_stem(info: SourceInfo) -> str:
    """What an output of this source is called, without a suffix: ``street.edgevision``."""
    return Path(_default_name(info)).parts[0].rsplit(".", 1)[0]


def _default_name(info: SourceInfo) -> str:
    place = info.path if info.path is not None else Path(info.name)
    if info.is_image:
        suffix = place.suffix.lower()
        return f"{place.stem}.edgevision{suffix if suffix in SUFFIXES else '.png'}"
    if info.path is not None and (info.path.is_dir() or info.width is None):
        return f"{info.path.resolve().name}.edgevision/%06d.jpg"
    return f"{safe_name(place.stem)}.edgevision.mp4"


def safe_name(name: str) -> str:
    """A name without what means something in a path."""
    letters = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    return letters.strip("_.") or "live"


def check_named_outputs(
    outputs: dict[str, Path | None], inputs: Sequence[str], sources: int, overwrite: bool
) -> None:
    """Refuses what can be refused before anything is opened, and makes the folders that were named.

    Args:
        outputs: each option and what it names.
        inputs: files that are read, which no output may replace.
        sources: how many sources there are; several need folders.
        overwrite: True lets outputs be replaced.

    Raises:
        UsageError: two outputs, or an output and an input, are the same file.
        OutputExistsError, SinkError: see :func:`edgevision.files.refuse_existing`.
    """
    taken: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if place in taken and not place.is_dir():
            raise UsageError(f"{taken[place]} and {option} both name {path}; choose different files")
        taken[place] = option
        for name in inputs:
            if Path(name).is_file() and path.exists() and path.samefile(name):
                raise UsageError(f"{option} {path} would overwrite an input; choose another name")
        if option != "--stats" and names_folder(path):
            make_folder(path)
            continue
        if sources > 1 and option != "--stats":
            raise UsageError(f"{option} {path}: {sources} sources need a folder, not one file")
        if is_pattern(str(path)):
            make_folder(path.parent)
        refuse_existing(path, overwrite or is_pattern(str(path)))
