"""Which outputs a run has, and whether they may be made; nothing is opened here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevision.address import display, find_address
from edgevision.errors import UsageError, printable
from edgevision.events import find_outlet_plugin
from edgevision.events.mqtt import BrokerAddress
from edgevision.files import make_folder, refuse_existing, safe_name
from edgevision.session.spec import StreamSpec
from edgevision.suffixes import SAVED_IMAGE_SUFFIXES
from edgevision.video.base import SourceInfo
from edgevision.video.sinks.images import is_pattern
from edgevision.video.sinks.network import PLAYLIST_SUFFIX
from edgevision.video.sinks.window import why_no_display

WINDOW = "window"
"""Address and name of the sink that people look at."""


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """The outputs of one source, as addresses for ``open_sink``.

    Attributes:
        images: what shows or records the drawn image.
        records: the JSON lines file, or None.
        no_window: why a live source that has no output is not shown in a window; empty otherwise.
    """

    images: tuple[str, ...]
    records: str | None
    no_window: str = ""


def plan_outputs(spec: StreamSpec, info: SourceInfo, with_defaults: bool = True) -> OutputPlan:
    """Where the results of ``info`` go.

    Without any output named, and ``with_defaults``, a file is drawn into ``<stem>.edgevision.mp4`` in the
    current folder (an image into an image, a folder of images into a folder), and a live source is shown in a
    window where there is a display. An output that is a folder, or has no suffix, takes files of those names.
    One called ``hls`` or ``NAME.hls`` takes playlists with their segments.
    A stream that the user gave a name is called that instead of its stem. Masks, events and recordings are
    outputs too, but not opened by their addresses.
    """
    output, save_json = spec.files().get("output"), spec.files().get("save_json")
    default_name = _default_name(info)
    if spec.name:
        default_name = default_name.replace(default_stem(info), f"{safe_name(spec.name)}.edgevision", 1)
    images: list[str] = []
    by_default = with_defaults and not spec.has_outputs
    no_window = why_no_display() or "" if by_default and info.is_live else ""
    if spec.display or (by_default and info.is_live and not no_window):
        images.append(WINDOW)
    if output is not None:
        name = f"{_stem_of(default_name)}{PLAYLIST_SUFFIX}" if is_hls(output) else default_name
        images.append(str(output / name if names_folder(output) else output))
    elif spec.output is not None:
        images.append(spec.output)
    elif by_default and not info.is_live:
        images.append(default_name)
    records = None
    if save_json is not None:
        named_folder = names_folder(save_json)
        stem = f"{safe_name(spec.name)}.edgevision" if spec.name else default_stem(info)
        records = str(save_json / f"{stem}.jsonl" if named_folder else save_json)
    return OutputPlan(tuple(images), records, no_window)


def names_folder(path: Path) -> bool:
    """Whether an output means a folder: it is one, or its name has no suffix and nothing of it exists yet.

    One whose name ends in ``.hls`` does, too.
    """
    return path.is_dir() or ((not path.suffix or is_hls(path)) and not path.exists())


def is_hls(path: Path) -> bool:
    """Whether a folder takes playlists and segments for browsers: ``hls``, or ``NAME.hls``."""
    return path.name == "hls" or path.suffix == ".hls"


def default_stem(info: SourceInfo) -> str:
    """What an output of this source is called, without a suffix: ``street.edgevision``."""
    return _stem_of(_default_name(info))


def _stem_of(default_name: str) -> str:
    return Path(default_name).parts[0].rsplit(".", 1)[0]


def _default_name(info: SourceInfo) -> str:
    place = info.path if info.path is not None else Path(info.name)
    if info.is_image:
        suffix = place.suffix.lower()
        return f"{printable(place.stem)}.edgevision{suffix if suffix in SAVED_IMAGE_SUFFIXES else '.png'}"
    if info.path is not None and (info.path.is_dir() or info.width is None):
        return f"{info.path.resolve().name}.edgevision/%06d.jpg"
    return f"{safe_name(place.stem)}.edgevision.mp4"


def check_files(outputs: Sequence[tuple[str, Path]], inputs: Sequence[str], overwrite: bool) -> None:
    """Refuses what can be refused before anything is opened, and makes the folders that were named.

    Args:
        outputs: each setting and what it names; once for every stream that has it.
        inputs: files that are read, which no output may replace.
        overwrite: True lets outputs be replaced.

    Raises:
        UsageError: two outputs, or an output and an input, are the same file, or several streams share one.
        OutputExistsError, SinkError: see :func:`edgevision.files.refuse_existing`.
    """
    taken: dict[Path, str] = {}
    for setting, path in outputs:
        refuse_address(setting, str(path))
    for (setting, path), count in Counter(outputs).items():
        place = path.resolve()
        if taken.setdefault(place, setting) != setting and not place.is_dir():
            raise UsageError(f"`{taken[place]}` and `{setting}` both name {path}; choose different files")
        for name in inputs:
            if Path(name).is_file() and path.exists() and path.samefile(name):
                raise UsageError(f"`{setting}` {path} would overwrite an input; choose another name")
        if setting != "stats" and names_folder(path):
            make_folder(path)
            continue
        if count > 1:
            raise UsageError(f"`{setting}` {path}: {count} sources need a folder, not one file")
        if is_pattern(str(path)):
            make_folder(path.parent)
        refuse_existing(path, overwrite or is_pattern(str(path)))


def refuse_address(setting: str, text: str) -> None:
    """Raises :class:`UsageError` where a file or folder is asked for and an address is given."""
    found = find_address(text)
    if found is not None:
        raise UsageError(f"`{setting}` {found} looks like an address; expected a file or a folder")


def check_events(address: str, streams: int, overwrite: bool) -> None:
    """Refuses an address of events that cannot be used, before anything is opened.

    Args:
        address: a ``.jsonl`` file, a folder or a broker.
        streams: how many streams send their events there.
        overwrite: True lets the file be replaced.

    Raises:
        UsageError: it is no address, or one file for several streams.
        SinkError: the file exists or its folder does not.
    """
    if "://" in address:
        if find_outlet_plugin(address) is None:
            BrokerAddress.parse(address)
        return
    mistyped = find_address(address)
    if mistyped is not None:
        raise UsageError(
            f"events cannot go to '{mistyped}'; the address of a broker starts with mqtt:// or mqtts://"
        )
    if not names_folder(Path(address)):
        if not address.endswith(".jsonl"):
            raise UsageError(
                f"events cannot go to '{display(address)}'; expected a .jsonl file, a folder or mqtt://host/prefix"
            )
        if streams > 1:
            raise UsageError(f"`events` {address}: several streams need a folder, not one file")
        refuse_existing(address, overwrite)
