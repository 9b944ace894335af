"""A folder of panoptic maps that can be written in several goes: what is not whole goes on where it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import msgspec

from edgevision.closeable import Closeable
from edgevision.errors import OutputExistsError, SinkError, UsageError
from edgevision.files import (
    LineFile,
    atomic_path,
    make_folder,
    refuse_existing,
    remove_partial_files,
    write_json,
)
from edgevision.panoptic.coco import (
    PanopticAnnotation,
    PanopticCategory,
    PanopticDocument,
    PanopticImage,
    coloured,
    describe,
    panoptic_colours,
    read_map,
)
from edgevision.panoptic.join import PanopticMap
from edgevision.video.sinks.masks import refuse_existing_folder

INDEX = "panoptic.json"
"""What every map shows; it is there once all maps are."""
UNFINISHED = "panoptic.partial.jsonl"
"""The same until then, a line for each map, behind a line that says what they are made from."""
_MAP = re.compile(r"\d{6,}\.png")


class _Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: maps of another origin do not belong to these."""

    info: dict[str, str | float]
    categories: list[PanopticCategory]


class _Written(msgspec.Struct, frozen=True, kw_only=True):
    """A line for a map."""

    image: PanopticImage
    annotation: PanopticAnnotation


class _Name(msgspec.Struct, frozen=True):
    file_name: str


class _Names(msgspec.Struct, frozen=True):
    annotations: list[_Name]


def check_panoptic_folder(folder: Path, overwrite: bool) -> None:
    """Checks an output folder before any work is done.

    Raises:
        OutputExistsError: it holds maps that are whole, or other files, and ``overwrite`` is False.
        SinkError: it cannot be written, is no folder, or its parent does not exist.
    """
    try:
        has_index, is_continued = (folder / INDEX).exists(), (folder / UNFINISHED).is_file()
    except OSError as error:  # such as a name that is too long
        raise SinkError(f"cannot use folder {folder}: {error.strerror}; choose another") from error
    refuse_existing_folder(folder, overwrite or has_index or is_continued, "panoptic maps")
    if has_index:
        refuse_existing(folder / INDEX, overwrite)


class PanopticFolder(Closeable):
    """Maps ``000001.png`` and so on, and ``panoptic.json``.

    Each map is described in ``panoptic.partial.jsonl`` as soon as it is written, so that nothing is lost with
    the process; the json takes its place in :meth:`finish`. A folder whose maps were not finished goes on
    where they end, if they are of the same origin.

    Args:
        folder: made where it is missing.
        info: what the maps are made from: names, hashes and settings.
        categories: all classes that there can be.
        overwrite: remove the maps of an earlier run as soon as the first of this one is to be written; files
            that are none of its maps stay.

    Attributes:
        count: maps that are written.
        is_continued: an earlier run of the same origin was ended here.

    Raises:
        OutputExistsError: the folder holds something else, and ``overwrite`` is False.
        SinkError: it cannot be written, or holds a PNG of such a name that is none of its maps.
        UsageError: another program writes it now.

    Example:
        >>> with PanopticFolder(Path("out"), {}, categories) as maps:  # doctest: +SKIP
        ...     maps.add(joined, PanopticImage(id=1, file_name="a.jpg", width=640, height=480))
        ...     maps.finish()
    """

    def __init__(
        self,
        folder: Path,
        info: Mapping[str, str | float],
        categories: Sequence[PanopticCategory],
        *,
        overwrite: bool = False,
    ) -> None:
        self._folder = folder
        self._origin = _Origin(info=dict(info), categories=list(categories))
        self._categories = {one.id: one for one in categories}
        self._by_name = {one.name: one for one in categories}
        self._written: list[_Written] = []
        self._lines: LineFile | None = None
        self.is_continued = False
        check_panoptic_folder(folder, overwrite)
        make_folder(folder)
        self._lock = _locked(folder)
        try:
            self._earlier = _map_names(folder) if overwrite else []
            if not overwrite and (folder / UNFINISHED).exists():
                self.is_continued = True
                self._written = self._read_unfinished(folder / UNFINISHED)
            self._refuse_others()
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def count(self) -> int:
        return len(self._written)

    def has(self, image: PanopticImage) -> bool:
        """Whether the map of an image is written, by its number.

        Raises:
            SinkError: it is that of another image: the source changed.
        """
        number = int(image.id)
        if number > self.count:
            return False
        found = self._written[number - 1].image
        if found != image:
            raise SinkError(
                f"{self._folder}: its map {number} is of {found.file_name}, {found.width}x{found.height}; "
                f"the source now has {image.file_name}, {image.width}x{image.height}, there; begin anew with "
                "`overwrite`"
            )
        return True

    def add(self, joined: PanopticMap, image: PanopticImage) -> None:
        """Writes the next map.

        Args:
            joined: the map.
            image: that it is of; ``id`` is its number, from 1.

        Raises:
            SinkError: it cannot be written; those before are kept.
        """
        number = int(image.id)
        if number != self.count + 1:
            raise ValueError(f"map {number} is not the next; expected {self.count + 1}")
        path, joined = self._map(number), coloured(joined, self._by_name)
        entry = _Written(image=image, annotation=describe(joined, number, path.name, self._by_name))
        is_encoded, data = cv2.imencode(".png", panoptic_colours(joined.ids))
        if not is_encoded:
            raise SinkError(f"cannot encode {path}")
        lines = self._begin()
        with atomic_path(path) as partial:
            partial.write_bytes(data.tobytes())
        lines.write(msgspec.json.encode(entry))
        self._written.append(entry)

    def load(self, number: int) -> PanopticMap:
        """Reads a map that is written.

        Args:
            number: of it, 1 to :attr:`count`.

        Raises:
            DataError: it was changed or damaged since.
        """
        return read_map(self._map(number), self._written[number - 1].annotation, self._categories)

    def finish(self) -> None:
        """Writes the json; call it when all maps are there.

        Raises:
            SinkError: it cannot be written; the maps are kept.
        """
        self._begin()
        document = PanopticDocument(
            info=dict(self._origin.info),
            images=[one.image for one in self._written],
            annotations=[one.annotation for one in self._written],
            categories=self._origin.categories,
        )
        write_json(self._folder / INDEX, document)
        self.close()
        with contextlib.suppress(OSError):  # the json is there, and says all that it said
            (self._folder / UNFINISHED).unlink(missing_ok=True)

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _begin(self) -> LineFile:
        """The file of lines; before the first, what an earlier run left is taken away."""
        if self._lines is None:
            _remove_maps(self._folder, self._earlier, and_index=not self.is_continued)
            remove_partial_files(self._folder)
            self._lines = LineFile(self._folder / UNFINISHED, append=bool(self._written))
            if not self._written:
                self._lines.write(msgspec.json.encode(self._origin))
        return self._lines

    def _refuse_others(self) -> None:
        known = {*self._earlier, *(one.annotation.file_name for one in self._written)}
        if self.is_continued:  # the next one may be there: its line comes after it
            known.add(self._map(self.count + 1).name)
        names = {path.name for path in self._folder.iterdir() if _MAP.fullmatch(path.name)}
        others = sorted(names - known)
        if others:
            raise SinkError(
                f"{self._folder / others[0]} is none of this folder's maps and has the name of one; choose "
                "another folder"
            )

    def _map(self, number: int) -> Path:
        return self._folder / f"{number:06d}.png"

    def _read_unfinished(self, path: Path) -> list[_Written]:
        """The lines of an earlier run; none where it was ended before its first line."""
        lines = _whole_lines(path)
        if not lines:
            return []
        try:
            origin = msgspec.json.decode(lines[0], type=_Origin)
            written = [msgspec.json.decode(line, type=_Written) for line in lines[1:]]
        except msgspec.MsgspecError as error:
            raise OutputExistsError(
                f"{path} is damaged ({error}); begin anew with `overwrite`, or choose another folder"
            ) from error
        if origin != self._origin:
            raise OutputExistsError(
                f"{self._folder} holds maps that are not finished, of {_difference(origin, self._origin)}; "
                "begin anew with `overwrite`, or choose another folder"
            )
        lost = [
            one.annotation.file_name
            for one in written
            if not (self._folder / one.annotation.file_name).is_file()
        ]
        if lost:
            raise OutputExistsError(
                f"{self._folder} holds maps that are not finished, and {lost[0]} is missing; begin anew with "
                "`overwrite`, or choose another folder"
            )
        return written


def _difference(found: _Origin, wanted: _Origin) -> str:
    """The first setting that differs, as it was."""
    for key in (*wanted.info, *found.info):
        if found.info.get(key) != wanted.info.get(key):
            return f"another {key} ({found.info.get(key)}, now {wanted.info.get(key)})"
    return "other classes"


def _locked(folder: Path) -> int:
    """A descriptor of the folder, locked for this process."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise SinkError(f"cannot use folder {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UsageError(f"{folder} is being written by another program; choose another folder") from error
    except OSError:  # a file system without locks
        return descriptor
    return descriptor


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file; not what a power failure left of the last one."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SinkError(f"cannot read {path}: {error.strerror}") from error
    return content[: content.rfind(b"\n") + 1].splitlines()


def _map_names(folder: Path) -> list[str]:
    """Maps that a folder says to hold, whole or not."""
    index, unfinished = folder / INDEX, folder / UNFINISHED
    names: list[str] = []
    try:
        if index.exists():
            document = msgspec.json.decode(index.read_bytes(), type=_Names)
            names += [one.file_name for one in document.annotations]
        lines = _whole_lines(unfinished)[1:]
        names += [msgspec.json.decode(line, type=_Written).annotation.file_name for line in lines]
        if unfinished.exists():
            names.append(f"{len(lines) + 1:06d}.png")
    except msgspec.MsgspecError as error:
        raise SinkError(
            f"{folder}: its index cannot be read, so its maps cannot be removed ({error}); remove them, or "
            "choose another folder"
        ) from error
    except OSError as error:
        raise SinkError(f"cannot read {error.filename}: {error.strerror}") from error
    return [name for name in names if _MAP.fullmatch(name)]  # nothing outside, whatever the file says


def _remove_maps(folder: Path, names: Sequence[str], *, and_index: bool) -> None:
    """Removes maps, and then what describes them."""
    try:
        for name in (*names, *((INDEX, UNFINISHED) if and_index else ())):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(f"cannot remove {error.filename}: {error.strerror}") from error
